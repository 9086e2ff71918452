//! Which file comes next, and how long it may be.

use core::fmt;

use sealift_manifests::bounds::MAX_ENVELOPE;
use sealift_manifests::{Digest, Meta, Role};

/// A file to fetch. Its `Display` is its name below the metadata base: `2.root`, `timestamp`, `<sha256>.snapshot`,
/// `<sha256>.targets`. Names are stable and say nothing that needs trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The role of the file.
    pub role: Role,
    /// Most bytes to read; a pinned file has exactly this many. Never read on beyond it.
    pub max_length: usize,
    name: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Version(u64),
    Latest,
    Digest(Digest),
}

impl Fetch {
    /// The root of a version.
    pub fn root(version: u64) -> Self {
        Fetch { role: Role::Root, max_length: MAX_ENVELOPE, name: Name::Version(version) }
    }

    /// The latest timestamp.
    pub fn timestamp() -> Self {
        Fetch { role: Role::Timestamp, max_length: MAX_ENVELOPE, name: Name::Latest }
    }

    /// A file that another file pins.
    pub fn pinned(role: Role, meta: &Meta) -> Self {
        let max_length = usize::try_from(meta.length).unwrap_or(MAX_ENVELOPE).min(MAX_ENVELOPE);
        Fetch { role, max_length, name: Name::Digest(meta.digest) }
    }
}

impl fmt::Display for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Name::Version(version) => write!(f, "{version}.{}", self.role),
            Name::Latest => write!(f, "{}", self.role),
            Name::Digest(digest) => write!(f, "{digest}.{}", self.role),
        }
    }
}
