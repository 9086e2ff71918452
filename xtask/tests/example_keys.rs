//! The published keys and the list that refuses them are the same, both ways.

use std::{collections::BTreeSet, fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use sealift_manifests::{PublicKey, example_keys};

/// Key id of a PKCS#8 PEM file of version 1 (RFC 8410, section 7): the seed is the last 32 bytes.
fn key_id(file: &Path) -> String {
    let pem = fs::read_to_string(file).expect("a readable key");
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = BASE64_STANDARD.decode(body).expect("base64");
    assert_eq!(der.len(), 48, "{}: not an Ed25519 key of PKCS#8 version 1", file.display());
    let seed = der[16..].try_into().expect("32 bytes");
    let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    PublicKey(public.to_bytes()).id().to_string()
}

#[test]
fn every_published_key_is_refused_and_nothing_else_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keys-example");
    let entries = fs::read_dir(folder).expect("keys-example").map(|entry| entry.expect("an entry").path());
    let files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "pem")).collect();
    assert!(files.len() >= 5, "only {} example keys", files.len());
    for file in &files {
        let name = file.file_name().expect("a name").to_string_lossy();
        assert!(name.starts_with("EXAMPLE-INSECURE-"), "{name} doesn't say what it is");
    }
    let published: BTreeSet<String> = files.iter().map(|file| key_id(file)).collect();
    let refused: BTreeSet<String> = example_keys::EXAMPLE_KEY_IDS.iter().map(ToString::to_string).collect();
    assert_eq!(published, refused);
}
