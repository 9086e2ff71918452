//! The four roles (specification 1.0.34, sections 4.3 to 4.6), read from the signed tree.

mod delegation;
mod hashes;
mod pattern;
mod root;
mod snapshot;
mod targets;
mod timestamp;

use sealift_manifests::{Fault, RepositoryId, Role};
use sealift_verifier::trust::format::{Pin, RoleFacts};

use crate::error::Malformed;
use crate::json::Node;

pub(crate) use delegation::Edge;
pub use hashes::{HashCheck, Hashes};
pub use root::Root;
pub use snapshot::Snapshot;
pub use targets::{TargetFile, Targets};
pub use timestamp::Timestamp;

/// What every role says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    version: u64,
    expires: u64,
}

impl Header {
    fn read(signed: &Node<'_>) -> Result<Self, Malformed> {
        let expires = signed.required("expires")?;
        let time = crate::time::parse(expires.text()?);
        Ok(Header {
            version: signed.required("version")?.integer(1)?,
            expires: time.ok_or_else(|| expires.fault(Fault::BadValue, "a time as 1985-10-21T01:21:00Z is wanted"))?,
        })
    }
}

macro_rules! role_facts {
    ($($role:ident),*) => {$(
        impl RoleFacts for $role {
            fn role(&self) -> Role {
                Role::$role
            }
            fn repository(&self) -> Option<RepositoryId> {
                // TUF's own format does not say.
                None
            }
            fn version(&self) -> u64 {
                self.header.version
            }
            fn expires(&self) -> u64 {
                self.header.expires
            }
            fn has_unknown_critical(&self) -> bool {
                // TUF has no such fields: unknown ones are passed over (section 4.1).
                false
            }
        }
    )*};
}

role_facts!(Root, Timestamp, Snapshot, Targets);

/// What one file states of another: its version, and where given its length and hashes.
#[derive(Clone, Debug)]
pub struct MetaFile {
    version: u64,
    length: Option<u64>,
    hashes: Option<Hashes>,
}

impl MetaFile {
    fn read(node: &Node<'_>) -> Result<Self, Malformed> {
        Ok(MetaFile {
            version: node.required("version")?.integer(1)?,
            length: node.optional("length")?.map(|length| length.integer(1)).transpose()?,
            hashes: node.optional("hashes")?.map(|hashes| Hashes::read(&hashes)).transpose()?,
        })
    }

    /// The length, where it is given.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }
}

impl Pin for MetaFile {
    fn version(&self) -> u64 {
        self.version
    }
    fn length_matches(&self, bytes: &[u8]) -> bool {
        self.length.is_none_or(|length| bytes.len() as u64 == length)
    }
    fn hash_matches(&self, bytes: &[u8]) -> bool {
        self.hashes.as_ref().is_none_or(|hashes| hashes.match_bytes(bytes))
    }
}
