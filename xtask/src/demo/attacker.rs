//! The attacker's own tools. He has what a thief of the cloud account and of CI has: the bucket, the job queue, the keys of
//! snapshot and timestamp, and the release key that was revoked after it was stolen.

use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use sealift_manifests::{
    Codec, DelegatedMeta, Envelope, Header, Image, List, Meta, Payload, PublicKey, Snapshot, Target, Targets,
    Timestamp, Version,
    envelope::{SigStructure, Signature},
    install_file, sha256,
};

use super::world::World;
use crate::error::{Error, Result};

/// A stolen key.
struct Stolen(SigningKey);

impl Stolen {
    /// Out of a PKCS#8 PEM file: the seed follows the 16 bytes that every Ed25519 key begins with (RFC 8410, section 7).
    fn read(world: &World, file: &str) -> Result<Stolen> {
        let pem = String::from_utf8_lossy(&world.read(file)?).into_owned();
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = BASE64_STANDARD.decode(body).ok();
        let seed: Option<[u8; 32]> = der.and_then(|der| der.get(16..48)?.try_into().ok());
        let broken = || Error::Content { path: world.path(file), what: "no Ed25519 key in PKCS#8 PEM".into() };
        Ok(Stolen(SigningKey::from_bytes(&seed.ok_or_else(broken)?)))
    }

    /// Signs whatever he wants.
    fn sign(&self, payload: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(&SigStructure::new(payload).to_vec()).to_bytes();
        let key_id = PublicKey(self.0.verifying_key().to_bytes()).id();
        Envelope { payload, signatures: List::new(&[Signature { key_id, signature: &signature }]) }.encode()
    }
}

/// The signed payload of a published file.
fn payload<'a>(file: &'a [u8], path: &Path) -> Result<&'a [u8]> {
    Envelope::decode(file).map(|envelope| envelope.payload).map_err(|why| malformed(path, why))
}

fn malformed(path: &Path, why: impl ToString) -> Error {
    Error::Content { path: path.into(), what: why.to_string() }
}

/// An install file with an image of his own for `board`, as well made as he can make it: the newest root and top-level
/// targets, which are public; the product's targets signed with the revoked key; snapshot and timestamp that pin them, signed
/// with the stolen cloud keys, newer than the newest.
pub(super) fn forge(world: &World, product: &str, board: &str, image: &[u8]) -> Result<Vec<u8>> {
    let bucket = Path::new("server/artifacts/metadata");
    let read = |name: &str| world.read(bucket.join(name));
    let place = world.path(bucket);

    let timestamp_file = read("timestamp")?;
    let timestamp = Timestamp::decode(payload(&timestamp_file, &place)?).map_err(|why| malformed(&place, why))?;
    let snapshot_file = read(&format!("{}.snapshot", timestamp.snapshot.digest))?;
    let snapshot = Snapshot::decode(payload(&snapshot_file, &place)?).map_err(|why| malformed(&place, why))?;
    let top_file = read(&format!("{}.targets", snapshot.targets.digest))?;
    let meta = snapshot.delegated(product).ok_or_else(|| malformed(&place, "the product has no targets"))?;
    let listed_file = read(&format!("{}.targets", meta.digest))?;
    let listed = Targets::decode(payload(&listed_file, &place)?).map_err(|why| malformed(&place, why))?;

    let digest = sha256(image);
    let length = u32::try_from(image.len()).map_err(|_| malformed(&place, "the image is too large"))?;
    let raw = [Payload { codec: Codec::RAW, length, digest, base: None, decoder_ram: 0, window_log: 0 }];
    let hardware = [board];
    let genuine = listed.targets.iter().next().ok_or_else(|| malformed(&place, "no release is listed"))?;
    let evil = [Target {
        hardware: List::new(&hardware),
        version: Version([6, 6, 6]),
        security_counter: genuine.security_counter + 1,
        minimum_version: None,
        image: Image { length, digest },
        payloads: List::new(&raw),
        sbom: None,
        ..genuine
    }];
    let forged = Targets { header: following(listed.header), targets: List::new(&evil), ..listed };
    let forged_file = Stolen::read(world, "thief/release.pem")?.sign(&forged.encode());
    let pin = |version, file: &[u8]| Meta::of(version, file).ok_or_else(|| malformed(&place, "a file is too large"));
    let delegated = [DelegatedMeta { name: product, meta: pin(forged.header.version, &forged_file)? }];
    let snapshot = Snapshot { header: following(snapshot.header), delegated: List::new(&delegated), ..snapshot };
    let snapshot_file = Stolen::read(world, "thief/snapshot.pem")?.sign(&snapshot.encode());
    let timestamp = Timestamp {
        header: following(timestamp.header),
        snapshot: pin(snapshot.header.version, &snapshot_file)?,
        ..timestamp
    };
    let timestamp_file = Stolen::read(world, "thief/timestamp.pem")?.sign(&timestamp.encode());

    let mut file = [timestamp_file, snapshot_file, top_file, forged_file].concat();
    install_file::append(&mut file, image);
    Ok(file)
}

/// The header of the version after this one.
fn following(header: Header<'_>) -> Header<'_> {
    Header::new(header.repository, header.version + 1, header.expires)
}

/// A copy of a file in which one bit differs: in the first place where `needle` stands, its last character.
pub(super) fn flip_first(file: &[u8], needle: &str) -> Option<Vec<u8>> {
    let at = file.windows(needle.len()).position(|window| window == needle.as_bytes())? + needle.len() - 1;
    let mut altered = file.to_vec();
    *altered.get_mut(at)? ^= 1;
    Some(altered)
}
