//! Intake: a release is checked with the verifier's own code before anything of it is taken.
//!
//! The server makes no rules of its own. [`chain`] runs the device's rules over the whole repository (every root, every
//! delegation); this module adds what only a publisher can see: that nothing published is taken back, and that every
//! payload the metadata names is there with the signed length and hash.

pub mod chain;
mod host;
mod rollback;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sealift_jobs::Digest;
use sealift_verifier::trust::{Policy, Time};
use sha2::{Digest as _, Sha256};

use crate::store::{ArtifactStore, Content, Key, METADATA, PAYLOADS, Source, StoreError, TIMESTAMP, Tag};
use chain::{Catalog, Files};

pub use rollback::check_rollback;

/// Most bytes of one metadata file.
pub const FILE_MAX: usize = sealift_manifests::bounds::MAX_ENVELOPE;

/// Why a release wasn't taken.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The verifier refused.
    #[error("{file}: {error}")]
    Refused {
        /// Which file, or which target.
        file: String,
        /// The verifier's code and reason.
        error: sealift_verifier::Error,
    },
    /// The host encoding (the standard TUF repository beside the device's) does not verify.
    #[error("{dir}: the standard TUF repository of this release doesn't verify: {problem}; create the release anew")]
    Host {
        /// Its folder.
        dir: PathBuf,
        /// Sealift's code, where the trust machine refused.
        code: Option<u16>,
        /// What is wrong, and with which file.
        problem: String,
    },
    /// The release lacks a file.
    #[error("{0}: missing; a release folder holds metadata/ and payloads/ as `sealift release create` writes them")]
    Missing(PathBuf),
    /// A file can't be read.
    #[error("{path}: can't read it: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is larger than any of its kind can be.
    #[error("{path}: {length} bytes; no metadata file has more than {FILE_MAX}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        length: u64,
    },
    /// The release's first root isn't the one this server was set up with.
    #[error("{0}: differs from the root already published; a server publishes one repository, for good")]
    OtherRepository(PathBuf),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is published now.
pub struct Published {
    /// Its files, as far as the chain needs them.
    pub files: Files,
    /// Its content, unless nothing was ever published.
    pub catalog: Option<Catalog>,
    /// Identifies the present timestamp.
    pub timestamp: Option<Tag>,
}

/// A release that may be published.
#[derive(Debug)]
pub struct Release {
    /// What it says.
    pub catalog: Catalog,
    /// Immutable objects, in the order in which they are to be created: payloads, then metadata.
    pub objects: Vec<(Key, Content)>,
    /// The timestamp, which makes it current.
    pub timestamp: Bytes,
}

/// Loads what is published and follows its chain. Expiry isn't looked at: an expired repository is there all the same.
///
/// # Errors
/// [`IntakeError::Store`], or [`IntakeError::Refused`] when the store's own files don't verify.
pub async fn published(store: &impl ArtifactStore, policy: Policy) -> Result<Published, IntakeError> {
    let mut files = Files::default();
    let Some((timestamp, tag)) = store.small(&Key::timestamp(), FILE_MAX as u64).await? else {
        // A publication that was cut off before its timestamp may have left roots: they bind already.
        load_roots(store, &mut files).await?;
        return Ok(Published { files, catalog: None, timestamp: None });
    };
    files.insert(TIMESTAMP.into(), timestamp);
    load_roots(store, &mut files).await?;
    let (mut trusted, mut first_refusal) = (files.clone(), None);
    loop {
        match chain::read(&trusted, Time::Unknown, policy) {
            Ok(catalog) => return Ok(Published { files, catalog: Some(catalog), timestamp: Some(tag) }),
            Err(chain::Stop::Needs(name)) => {
                let key = metadata_key(&name)?;
                let (bytes, _) = store.small(&key, FILE_MAX as u64).await?.ok_or(StoreError::NotFound(key))?;
                trusted.insert(name.clone(), bytes.clone());
                files.insert(name, bytes);
            }
            // A publication that rotates keys and was cut off just before its timestamp has left a root that the
            // present timestamp isn't signed for: what is current is what verifies under the root before.
            Err(chain::Stop::Refused { file, error }) => {
                let (file, error) = first_refusal.get_or_insert((file, error)).clone();
                match (2..).take_while(|v| trusted.contains_key(&chain::root_name(*v))).last() {
                    Some(version) => trusted.remove(&chain::root_name(version)),
                    None => return Err(IntakeError::Refused { file, error }),
                };
            }
        }
    }
}

async fn load_roots(store: &impl ArtifactStore, files: &mut Files) -> Result<(), IntakeError> {
    for version in 1.. {
        let name = chain::root_name(version);
        match store.small(&metadata_key(&name)?, FILE_MAX as u64).await? {
            Some((bytes, _)) => files.insert(name, bytes),
            None => break,
        };
    }
    Ok(())
}

fn metadata_key(name: &str) -> Result<Key, StoreError> {
    // Names come from `Fetch`, which spells digests and numbers only.
    Key::metadata(name).map_err(|e| StoreError::Io { key: name.into(), act: "name", source: Box::new(e) })
}

/// Checks the release in `folder` as of `now` against what is published.
///
/// The first publication pins the repository by its `1.root`; every later one must begin at that very root.
///
/// # Errors
/// [`IntakeError`]; nothing was written.
pub async fn check(
    folder: &Path,
    published: &Published,
    store: &impl ArtifactStore,
    now: u64,
    policy: Policy,
) -> Result<Release, IntakeError> {
    let mut files = Files::default();
    // Roots that are published count, whether or not the release repeats them: they are never deleted.
    for version in 1.. {
        let name = chain::root_name(version);
        let path = folder.join(METADATA).join(&name);
        let offered = read_metadata(&path)?;
        let known = published.files.get(&name).cloned();
        match (offered, known) {
            (Some(offered), Some(known)) if offered != known => return Err(IntakeError::OtherRepository(path)),
            (Some(bytes), _) | (None, Some(bytes)) => files.insert(name, bytes),
            (None, None) if version == 1 => return Err(IntakeError::Missing(path)),
            (None, None) => break,
        };
    }
    let timestamp_path = folder.join(METADATA).join(TIMESTAMP);
    let timestamp = read_metadata(&timestamp_path)?.ok_or(IntakeError::Missing(timestamp_path))?;
    files.insert(TIMESTAMP.into(), timestamp.clone());
    let catalog = loop {
        match chain::read(&files, Time::AtLeast(now), policy) {
            Ok(catalog) => break catalog,
            Err(chain::Stop::Needs(name)) => {
                let path = folder.join(METADATA).join(&name);
                let bytes = match read_metadata(&path)? {
                    Some(bytes) => bytes,
                    // A renewed timestamp may come alone: what it pins is published already.
                    None => match store.small(&metadata_key(&name)?, FILE_MAX as u64).await? {
                        Some((bytes, _)) => bytes,
                        None => return Err(IntakeError::Missing(path)),
                    },
                };
                files.insert(name, bytes);
            }
            Err(chain::Stop::Refused { file, error }) => return Err(IntakeError::Refused { file, error }),
        }
    };
    if let Some(current) = &published.catalog {
        check_rollback(&current.chain, &catalog.chain)
            .map_err(|error| IntakeError::Refused { file: format!("{METADATA}/{TIMESTAMP}"), error })?;
    }
    host::check(folder, now, policy)?;
    let mut objects = payloads(folder, &catalog, store).await?;
    // New roots come last, in order: only they could disturb a device before the timestamp is there.
    let mut names: Vec<&String> = files.keys().filter(|name| *name != TIMESTAMP).collect();
    names.sort_by_key(|name| name.strip_suffix(".root").and_then(|version| version.parse::<u64>().ok()));
    for name in names {
        let bytes = files.get(name).cloned().unwrap_or_default();
        objects.push((metadata_key(name)?, Content::from_bytes(bytes)));
    }
    Ok(Release { catalog, objects, timestamp })
}

/// Every payload that the metadata names: there, of the signed length, with the signed hash.
async fn payloads(
    folder: &Path,
    catalog: &Catalog,
    store: &impl ArtifactStore,
) -> Result<Vec<(Key, Content)>, IntakeError> {
    let mut objects: Vec<(Key, Content)> = Vec::new();
    for payload in catalog.targets.iter().flat_map(|target| &target.payloads) {
        let key = Key::payload(&payload.digest);
        if objects.iter().any(|(known, _)| *known == key) {
            continue;
        }
        let path = folder.join(PAYLOADS).join(payload.digest.to_string());
        let refuse = |error| IntakeError::Refused { file: path.display().to_string(), error };
        match measure(&path)? {
            Some((length, _)) if length > payload.length => {
                return Err(refuse(sealift_verifier::Error::PayloadTooLong));
            }
            Some((length, _)) if length < payload.length => {
                return Err(refuse(sealift_verifier::Error::PayloadTruncated));
            }
            Some((_, digest)) if digest != payload.digest => return Err(refuse(sealift_verifier::Error::PayloadHash)),
            Some((length, sha256)) => {
                objects.push((key, Content { length, sha256, source: Source::File(path) }));
            }
            // A release may leave out what is published: it was checked when it was taken, and never changes.
            None if store.length(&key).await? == Some(payload.length) => {}
            None => return Err(IntakeError::Missing(path)),
        }
    }
    Ok(objects)
}

fn read_metadata(path: &Path) -> Result<Option<Bytes>, IntakeError> {
    let io = |source| IntakeError::Io { path: path.into(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > FILE_MAX {
        let length = std::fs::metadata(path).map_or(bytes.len() as u64, |m| m.len());
        return Err(IntakeError::TooLarge { path: path.into(), length });
    }
    Ok(Some(bytes.into()))
}

fn measure(path: &Path) -> Result<Option<(u64, Digest)>, IntakeError> {
    let io = |source| IntakeError::Io { path: path.into(), source };
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1_024];
    let mut length = 0;
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => return Ok(Some((length, Digest(hasher.finalize().into())))),
            read => {
                length += read as u64;
                hasher.update(buffer.get(..read).unwrap_or_default());
            }
        }
    }
}
