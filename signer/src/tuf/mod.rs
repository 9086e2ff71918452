//! The host encoding: the same release as a standard TUF 1.0 repository (JSON, consistent snapshots), so that any TUF
//! client, mirror or auditor can check it.
//!
//! It is made in the same act, from the signed device files, with the same keys, versions and expiries. What JSON has no
//! field for stands in fields named `x-sealift-…`, which TUF tells clients to keep and ignore.

#[cfg(feature = "tuf-json")]
mod roles;
#[cfg(feature = "tuf-json")]
mod sign;
#[cfg(feature = "tuf-json")]
mod verify;

#[cfg(feature = "tuf-json")]
pub use verify::verify;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use sealift_manifests::bounds::MAX_BUNDLE_ROOTS;
use sealift_manifests::{Digest, Root, Target, Targets};

use crate::error::{Error, Result};
use crate::release::codec_name;
use crate::repository::{Files, Layout, Transaction};
use crate::signing::Signers;

/// What an act signed anew.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'c> {
    /// The root.
    pub root: bool,
    /// The top-level targets.
    pub targets: bool,
    /// These delegated roles.
    pub delegated: &'c BTreeSet<String>,
    /// The snapshot.
    pub snapshot: bool,
}

/// A signed file of the device encoding that is a target of the host encoding.
#[derive(Debug)]
pub struct DeviceFile {
    /// The target's flat name.
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// The next host state: signed, not written.
#[derive(Debug)]
pub struct HostState {
    /// Files that are written once: roles, and targets that are no payloads.
    files: Vec<(PathBuf, Vec<u8>)>,
    /// Targets, each with the payload it is.
    targets: Vec<(PathBuf, Digest)>,
    /// The timestamp.
    timestamp: Vec<u8>,
}

/// Name of the next timestamp while the device encoding's one is not committed yet.
const STAGED: &str = "timestamp.json.next";

/// The flat name of one of a release's files. The separator stands in no name, so a delegation's pattern `product~*`
/// matches that product alone, and it is never percent-encoded in a URL.
pub fn target_name(target: &Target<'_>, what: &str) -> String {
    format!("{}~{}~{}.{what}", target.product, target.version, target.component)
}

/// The names of a release's payloads, in the order of the list, each with its codec's name as the ending.
pub fn payload_names(target: &Target<'_>) -> Vec<String> {
    let ending = |payload: sealift_manifests::Payload| {
        let from = payload.base.map(|base| format!("from-{}.", &base.digest.to_string()[..16])).unwrap_or_default();
        target_name(target, &format!("{from}{}", codec_name(payload.codec)))
    };
    target.payloads.iter().map(ending).collect()
}

/// The device's files that a delegated role lists beside its releases: roots, the newest first, the top-level targets, and
/// its own targets. A device that has them needs timestamp and snapshot only; those two change without the role's keys, so
/// they are never listed. Each name says the version: it is what a release was signed under, and stays true.
pub fn device_files(next: &Files, role: &str) -> Result<Vec<DeviceFile>> {
    let top = next.targets()?;
    let delegation = top.delegations.iter().find(|delegation| delegation.name == role);
    // The first product's name leads, so that the delegation's pattern lets the role speak for the file.
    let Some(product) = delegation.and_then(|delegation| delegation.products.nth(0)) else { return Ok(Vec::new()) };
    let file = |what: String, bytes: &[u8]| DeviceFile { name: format!("{product}~{what}"), bytes: bytes.to_vec() };
    let mut files = vec![file(format!("{}.targets", top.header.version), &next.targets)];
    if let Some((bytes, targets)) = next.delegated(role)? {
        files.push(file(format!("{}.{role}.targets", targets.header.version), bytes));
    }
    let roots = next.roots.iter().enumerate().rev().take(MAX_BUNDLE_ROOTS);
    files.extend(roots.map(|(index, bytes)| file(format!("{}.root", index + 1), bytes)));
    Ok(files)
}

/// Whether this repository has a host encoding: it does from its first state on, or never.
#[cfg(feature = "tuf-json")]
fn is_kept(layout: &Layout, files: &Files) -> bool {
    let first = files.timestamp().is_ok_and(|timestamp| timestamp.header.version == 1);
    first || layout.tuf_metadata().join("timestamp.json").exists()
}

/// Whether a repository in this state has a host encoding, or will have one from its first state on.
pub fn is_kept_beside(layout: &Layout, files: Option<&Files>) -> bool {
    match files {
        None => cfg!(feature = "tuf-json"),
        Some(_) => layout.tuf_metadata().join("timestamp.json").exists(),
    }
}

/// What is signed for a root in the host encoding: canonical JSON. `None` in builds without it.
pub fn root_message(root: &Root<'_>) -> Result<Option<Vec<u8>>> {
    #[cfg(feature = "tuf-json")]
    return sign::root_message(root).map(Some);
    #[cfg(not(feature = "tuf-json"))]
    return Ok(Some(root).and(None));
}

/// What is signed for a targets file in the host encoding. `sbom_length` says how long a bill of materials is.
pub fn targets_message(
    targets: &Targets<'_>,
    sbom_length: &dyn Fn(&Target<'_>) -> Option<u64>,
) -> Result<Option<Vec<u8>>> {
    #[cfg(feature = "tuf-json")]
    return sign::targets_message(targets, sbom_length).map(Some);
    #[cfg(not(feature = "tuf-json"))]
    return Ok(Some((targets, sbom_length)).and(None));
}

/// Signs the host encoding of `next`. `made` are the lengths of payloads that are not written yet. `None` when the repository
/// has no host encoding.
#[cfg(feature = "tuf-json")]
pub fn encode(
    layout: &Layout,
    next: &Files,
    changed: Changed<'_>,
    made: &BTreeMap<Digest, u64>,
    signers: &Signers,
    cosigners: Option<&Signers>,
) -> Result<Option<HostState>> {
    if !is_kept(layout, next) {
        return Ok(None);
    }
    sign::encode(layout, next, changed, made, signers, cosigners).map(Some)
}

/// This build writes none, and refuses to let one grow stale.
#[cfg(not(feature = "tuf-json"))]
pub fn encode(
    layout: &Layout,
    _next: &Files,
    _changed: Changed<'_>,
    _made: &BTreeMap<Digest, u64>,
    _signers: &Signers,
    _cosigners: Option<&Signers>,
) -> Result<Option<HostState>> {
    if layout.tuf_metadata().join("timestamp.json").exists() {
        return Err(not_kept(layout));
    }
    Ok(None)
}

/// What is signed for a delegated file that is signed now and published later: it lists none of the device's files. `None`
/// when the repository has no host encoding.
#[cfg(feature = "tuf-json")]
pub fn staged_message(
    layout: &Layout,
    targets: &Targets<'_>,
    sbom_length: &dyn Fn(&Target<'_>) -> Option<u64>,
) -> Result<Option<Vec<u8>>> {
    let kept = layout.tuf_metadata().join("timestamp.json").exists();
    kept.then(|| sign::staged_message(targets, sbom_length)).transpose()
}

/// This build makes none; see [`encode`].
#[cfg(not(feature = "tuf-json"))]
pub fn staged_message(
    layout: &Layout,
    _: &Targets<'_>,
    _: &dyn Fn(&Target<'_>) -> Option<u64>,
) -> Result<Option<Vec<u8>>> {
    match layout.tuf_metadata().join("timestamp.json").exists() {
        true => Err(not_kept(layout)),
        false => Ok(None),
    }
}

#[cfg(not(feature = "tuf-json"))]
fn not_kept(layout: &Layout) -> Error {
    Error::refused(
        format!("{} has a host encoding, which this build of sealift cannot sign", layout.directory.display()),
        "use a build with the feature `tuf-json`, which is on by default",
    )
}

impl HostState {
    /// Writes everything that no client finds yet, and stages the timestamp.
    pub fn prepare(&self, transaction: &Transaction) -> Result<()> {
        let layout = transaction.layout();
        for (path, digest) in &self.targets {
            link(&layout.payload(digest), path, transaction)?;
        }
        for (path, bytes) in &self.files {
            transaction.put(path, bytes)?;
        }
        transaction.put(&layout.tuf_metadata().join(STAGED), &self.timestamp)
    }
}

/// Completes, or takes back, what an interrupted act staged: the device encoding's timestamp decides. With nothing staged
/// it does nothing.
pub fn settle(layout: &Layout) -> Result<()> {
    let folder = layout.tuf_metadata();
    let staged = folder.join(STAGED);
    if !staged.exists() {
        return Ok(());
    }
    let bytes = fs::read(&staged).map_err(Error::io("read", &staged))?;
    let version =
        serde_json::from_slice::<serde_json::Value>(&bytes).ok().and_then(|file| file["signed"]["version"].as_u64());
    let committed =
        Files::of_directory(layout)?.map(|files| files.timestamp().map(|timestamp| timestamp.header.version));
    let committed = committed.transpose()?;
    if version.is_some() && version == committed {
        let path = folder.join("timestamp.json");
        fs::rename(&staged, &path).map_err(Error::io("replace", &path))?;
    } else {
        fs::remove_file(&staged).map_err(Error::io("remove", &staged))?;
    }
    crate::repository::sync_folder(&folder)
}

/// The target under its second name: a hard link where the file system has them, else a copy.
fn link(payload: &Path, name: &Path, transaction: &Transaction) -> Result<()> {
    if name.exists() {
        return Ok(());
    }
    if let Some(folder) = name.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
    }
    if fs::hard_link(payload, name).is_ok() {
        return Ok(());
    }
    let bytes = fs::read(payload).map_err(Error::io("read", payload))?;
    transaction.put(name, &bytes)
}
