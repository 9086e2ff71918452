//! Signing TUF's JSON. `tough`'s types read what we built and write its canonical form, so that what is signed is what a
//! TUF library makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use sealift_manifests::Digest;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tough::schema::{Role, Root, Signed, Snapshot, Targets, Timestamp};

use super::roles::{self, Pin, snapshot_roles};
use super::{Changed, HostState, device_files, payload_names, target_name};
use crate::error::{Error, Result};
use crate::keys::{KeySource, tuf_key_id};
use crate::release::attachments;
use crate::repository::{Files, Layout};
use crate::signing::{FEWER, Signers};

/// Longest message that a KMS signs raw. Only keys that say so are held to it.
fn check_length(message: &[u8], role: &str, key: &dyn KeySource) -> Result<()> {
    match key.longest_message() {
        Some(most) if message.len() > most => Err(Error::refused(
            format!(
                "{role}: the key {} signs at most {most} bytes, and the JSON of this role has {}",
                key.public_key().id(),
                message.len()
            ),
            FEWER,
        )),
        _ => Ok(()),
    }
}

/// The canonical JSON of a root.
pub(super) fn root_message(root: &sealift_manifests::Root<'_>) -> Result<Vec<u8>> {
    canonical::<Root>(roles::root(root), "root")
}

/// The canonical JSON of a targets file that is signed elsewhere: it lists no file of the device's, since those were not whole
/// when it was fixed.
pub(super) fn targets_message(
    targets: &sealift_manifests::Targets<'_>,
    sbom_length: &dyn Fn(&sealift_manifests::Target<'_>) -> Option<u64>,
) -> Result<Vec<u8>> {
    canonical::<Targets>(roles::targets(targets, sbom_length, &[]), targets.name.unwrap_or("targets"))
}

fn internal(role: &str, error: impl ToString) -> Error {
    Error::failed(format!("the host encoding of {role}: {}", error.to_string()), "please report this")
}

/// What is signed: tough's canonical form of what it reads.
fn canonical<T: Role + DeserializeOwned>(json: Value, role: &str) -> Result<Vec<u8>> {
    let typed: T = serde_json::from_value(json).map_err(|error| internal(role, error))?;
    typed.canonical_form().map_err(|error| internal(role, error))
}

/// Signs a role. `T` is tough's type of it: what tough cannot read is never signed.
fn seal<'k, T>(json: Value, role: &str, keys: impl Iterator<Item = &'k dyn KeySource>) -> Result<Vec<u8>>
where
    T: Role + DeserializeOwned,
{
    let message = canonical::<T>(json, role)?;
    let mut signatures: Vec<(String, String)> = Vec::new();
    for key in keys {
        check_length(&message, role, key)?;
        let public = key.public_key();
        let id = tuf_key_id(&public);
        if signatures.iter().any(|(known, _)| *known == id) {
            continue;
        }
        let signature = key.sign(&message)?;
        // As in the device encoding: a token with a fault must not be noticed by clients first.
        if !sealift_verifier::ed25519::verify(&public.0, &[&message], &signature) {
            return Err(Error::failed(
                format!("{role}: the key {} made a signature that does not verify", public.id()),
                "try again; if it stays so, the key or its token is broken",
            ));
        }
        signatures.push((id, hex::encode(signature)));
    }
    signatures.sort();
    // The signed part is written as it was signed: canonical JSON, whose bytes depend on nothing but the content.
    let list: Vec<_> = signatures.iter().map(|(id, sig)| format!(r#"{{"keyid":"{id}","sig":"{sig}"}}"#)).collect();
    let mut file = format!(r#"{{"signatures":[{}],"signed":"#, list.join(",")).into_bytes();
    file.extend(&message);
    file.push(b'}');
    // Read back as a client will: the canonical form of what it reads must be what was signed.
    let read: Signed<T> = serde_json::from_slice(&file).map_err(|error| internal(role, error))?;
    match read.signed.canonical_form() {
        Ok(again) if again == message => Ok(file),
        _ => Err(internal(role, "it does not read back as what was signed")),
    }
}

/// What is signed for a delegated file that is published later.
pub(super) fn staged_message(
    targets: &sealift_manifests::Targets<'_>,
    sbom_length: &dyn Fn(&sealift_manifests::Target<'_>) -> Option<u64>,
) -> Result<Vec<u8>> {
    targets_message(targets, sbom_length)
}

/// Top-level targets, the role's own targets, and the newest root: what is listed even if little fits.
const LEAST_DEVICE_FILES: usize = 3;

/// How many bytes are signed for a targets file.
fn canonical_length(json: &Value) -> Option<usize> {
    let typed: Targets = serde_json::from_value(json.clone()).ok()?;
    Some(typed.canonical_form().ok()?.len())
}

/// A role's JSON file by name and version.
fn path(layout: &Layout, name: &str, version: u64) -> PathBuf {
    layout.tuf_metadata().join(format!("{version}.{name}.json"))
}

fn pin(file: &[u8], version: u64) -> Pin {
    Pin { version, length: file.len(), sha256: hex::encode(Sha256::digest(file)) }
}

/// Signs what changed, and what pins it.
pub(super) fn encode(
    layout: &Layout,
    next: &Files,
    changed: Changed<'_>,
    made: &BTreeMap<Digest, u64>,
    signers: &Signers,
    cosigners: Option<&Signers>,
) -> Result<HostState> {
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let mut targets = Vec::new();
    if changed.root {
        let root = next.root()?;
        let keys = signers.of("root").chain(cosigners.into_iter().flat_map(|cosigners| cosigners.of("root")));
        files.push((path(layout, "root", root.header.version), seal::<Root>(roles::root(&root), "root", keys)?));
    }
    let mut pins = Vec::new();
    for name in snapshot_roles(next) {
        let content = match name.as_str() {
            "targets" => next.targets()?,
            delegated => next.delegated(delegated)?.map(|(_, targets)| targets).ok_or_else(|| gone(delegated))?,
        };
        let version = content.header.version;
        let path = path(layout, &name, version);
        let is_new = if name == "targets" { changed.targets } else { changed.delegated.contains(&name) };
        let file = if is_new {
            let sbom_length = |target: &sealift_manifests::Target<'_>| {
                let digest = target.sbom?;
                let stored = || fs::metadata(layout.payload(&digest)).ok().map(|metadata| metadata.len());
                made.get(&digest).copied().or_else(stored)
            };
            for target in content.targets.iter() {
                let names =
                    payload_names(&target).into_iter().zip(target.payloads.iter().map(|payload| payload.digest));
                let attached = attachments(&target).into_iter().map(|it| (target_name(&target, it.ending), it.digest));
                let listed = names.chain(attached);
                targets.extend(
                    listed.map(|(name, digest)| (layout.tuf_targets().join(format!("{digest}.{name}")), digest)),
                );
            }
            let mut device = match name.as_str() {
                "targets" => Vec::new(),
                // What was signed elsewhere was fixed before these files were whole.
                _ if !signers.of(&name).all(KeySource::signs_anything) => Vec::new(),
                delegated => device_files(next, delegated)?,
            };
            let most = signers.of(&name).filter_map(KeySource::longest_message).min();
            let json = loop {
                let json = roles::targets(&content, sbom_length, &device);
                let fits = most.is_none_or(|most| canonical_length(&json).is_some_and(|length| length <= most));
                // The oldest root is the last: devices that are behind it find it in the repository.
                if fits || device.len() <= LEAST_DEVICE_FILES {
                    break json;
                }
                device.pop();
            };
            for file in device {
                let path =
                    layout.tuf_targets().join(format!("{}.{}", sealift_manifests::sha256(&file.bytes), file.name));
                files.push((path, file.bytes));
            }
            let file = seal::<Targets>(json, &name, signers.of(&name))?;
            files.push((path, file.clone()));
            file
        } else {
            fs::read(&path).map_err(Error::io("read", &path))?
        };
        pins.push((name, pin(&file, version)));
    }
    let snapshot = next.snapshot()?;
    let snapshot_path = path(layout, "snapshot", snapshot.header.version);
    let snapshot_file = if changed.snapshot {
        let file = seal::<Snapshot>(roles::snapshot(&snapshot, &pins), "snapshot", signers.of("snapshot"))?;
        files.push((snapshot_path, file.clone()));
        file
    } else {
        fs::read(&snapshot_path).map_err(Error::io("read", &snapshot_path))?
    };
    let pin = pin(&snapshot_file, snapshot.header.version);
    let timestamp = roles::timestamp(&next.timestamp()?, &pin);
    let timestamp = seal::<Timestamp>(timestamp, "timestamp", signers.of("timestamp"))?;
    Ok(HostState { files, targets, timestamp })
}

fn gone(name: &str) -> Error {
    Error::failed(format!("the targets of {name} are gone"), "")
}
