//! The repository directory: what devices and any TUF client fetch, written so that it is never seen half done.
//!
//! ```text
//! metadata/N.root  metadata/timestamp  metadata/SHA256.snapshot  metadata/SHA256.targets  payloads/SHA256
//! tuf/metadata/…   tuf/targets/…
//! ```
//! Everything but `timestamp` is written once under a name that says what is in it; the timestamp is replaced last.

mod files;
mod place;
mod transaction;

pub use files::{Files, read_role, refused};
pub use place::{fill_output, sync_folder, write_atomic, write_output};
pub use transaction::Transaction;

use std::path::{Path, PathBuf};

use sealift_manifests::bounds::MAX_ENVELOPE;
use sealift_manifests::{Digest, Role};

use crate::error::Error;

/// Where things are in a repository directory.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The directory.
    pub directory: PathBuf,
}

impl Layout {
    /// The layout below `directory`.
    pub fn new(directory: &Path) -> Self {
        Layout { directory: directory.to_path_buf() }
    }

    /// The folder of the device encoding's role files.
    pub fn metadata(&self) -> PathBuf {
        self.directory.join("metadata")
    }

    /// The root of a version.
    pub fn root(&self, version: u64) -> PathBuf {
        self.metadata().join(format!("{version}.root"))
    }

    /// The timestamp: the one file that changes.
    pub fn timestamp(&self) -> PathBuf {
        self.metadata().join("timestamp")
    }

    /// A snapshot, by its hash.
    pub fn snapshot(&self, digest: &Digest) -> PathBuf {
        self.metadata().join(format!("{digest}.snapshot"))
    }

    /// A targets file, top-level or delegated, by its hash.
    pub fn targets(&self, digest: &Digest) -> PathBuf {
        self.metadata().join(format!("{digest}.targets"))
    }

    /// The folder of everything that is content-addressed and no metadata: images, deltas, bills of materials.
    pub fn payloads(&self) -> PathBuf {
        self.directory.join("payloads")
    }

    /// A payload, by its hash.
    pub fn payload(&self, digest: &Digest) -> PathBuf {
        self.payloads().join(digest.to_string())
    }

    /// The host encoding's metadata.
    pub fn tuf_metadata(&self) -> PathBuf {
        self.directory.join("tuf").join("metadata")
    }

    /// The host encoding's targets.
    pub fn tuf_targets(&self) -> PathBuf {
        self.directory.join("tuf").join("targets")
    }
}

/// A role file that no reader would accept for its length.
fn refused_file(role: Role, length: usize) -> Error {
    Error::refused(
        format!("the {role} file would have {length} bytes; readers accept {MAX_ENVELOPE}"),
        "sign it with fewer keys",
    )
}
