//! `snapshot.json` (section 4.4).

use std::collections::BTreeMap;

use sealift_manifests::Role;
use sealift_verifier::trust::format::SnapshotFacts;

use super::{Header, MetaFile};
use crate::error::Malformed;
use crate::file::JsonRole;
use crate::json::Node;
use crate::key::KeyIds;

/// What a snapshot says.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) header: Header,
    /// By role name, without `.json`.
    meta: BTreeMap<String, MetaFile>,
}

impl JsonRole for Snapshot {
    const ROLE: Role = Role::Snapshot;

    fn read(signed: &Node<'_>, _: KeyIds) -> Result<Self, Malformed> {
        let mut meta = BTreeMap::new();
        for (file, entry) in signed.required("meta")?.fields()? {
            let entry = MetaFile::read(&entry)?;
            // Only what is named like a role can be asked for.
            if let Some(role) = file.strip_suffix(".json") {
                meta.insert(role.to_owned(), entry);
            }
        }
        Ok(Snapshot { header: Header::read(signed)?, meta })
    }
}

impl Snapshot {
    /// The listed targets roles and their versions, as the trust machine names them.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (Option<&str>, u64)> {
        self.meta.iter().map(|(role, meta)| ((role != Role::Targets.name()).then_some(role.as_str()), meta.version))
    }
}

impl SnapshotFacts for Snapshot {
    type Pin = MetaFile;

    fn targets(&self, name: Option<&str>) -> Option<MetaFile> {
        self.meta.get(name.unwrap_or(Role::Targets.name())).cloned()
    }
}
