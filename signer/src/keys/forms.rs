//! The forms a public key is written in: `COSE_Key` in hexadecimal, and TUF's JSON.

use sealift_manifests::PublicKey;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The key as TUF 1.0 writes it (specification, section 4.2).
pub fn tuf_key(key: &PublicKey) -> Value {
    json!({"keytype": "ed25519", "keyval": {"public": hex::encode(key.0)}, "scheme": "ed25519"})
}

/// TUF's key id: SHA-256 of the canonical JSON of [`tuf_key`] (section 4.2).
pub fn tuf_key_id(key: &PublicKey) -> String {
    // Canonical JSON sorts the keys and writes no space. The three keys are written in order here, since a map's order
    // is a feature of serde_json that any crate of the build can change; nothing in the values needs an escape.
    let public = hex::encode(key.0);
    let canonical = format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}"#);
    hex::encode(Sha256::digest(canonical))
}

/// Reads an encoded `COSE_Key`, given in hexadecimal.
pub fn public_from_cose_hex(text: &str) -> Result<PublicKey, &'static str> {
    let fault = "not an Ed25519 COSE_Key in hexadecimal (80 digits that start with a301012006215820)";
    let bytes: [u8; 40] = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(fault)?;
    let key = PublicKey(bytes.last_chunk().copied().ok_or(fault)?);
    if key.cose_key() == bytes { Ok(key) } else { Err(fault) }
}
