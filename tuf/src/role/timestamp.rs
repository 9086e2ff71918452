//! `timestamp.json` (section 4.6).

use sealift_manifests::Role;
use sealift_verifier::trust::format::TimestampFacts;

use super::{Header, MetaFile};
use crate::error::Malformed;
use crate::file::JsonRole;
use crate::json::Node;
use crate::key::KeyIds;

/// What a timestamp says.
#[derive(Clone, Debug)]
pub struct Timestamp {
    pub(super) header: Header,
    snapshot: MetaFile,
}

impl JsonRole for Timestamp {
    const ROLE: Role = Role::Timestamp;

    fn read(signed: &Node<'_>, _: KeyIds) -> Result<Self, Malformed> {
        let snapshot = MetaFile::read(&signed.required("meta")?.required("snapshot.json")?)?;
        Ok(Timestamp { header: Header::read(signed)?, snapshot })
    }
}

impl TimestampFacts for Timestamp {
    type Pin = MetaFile;

    fn snapshot(&self) -> MetaFile {
        self.snapshot.clone()
    }
}
