//! `root.json` (section 4.3).

use sealift_manifests::Role;
use sealift_verifier::trust::format::RootFacts;

use super::Header;
use crate::authority::{KeyTable, ListedKeys, RoleKeys};
use crate::error::Malformed;
use crate::file::JsonRole;
use crate::json::Node;
use crate::key::KeyIds;

/// What a root says.
#[derive(Clone, Debug)]
pub struct Root {
    pub(super) header: Header,
    consistent_snapshot: bool,
    keys: KeyTable,
    root: RoleKeys,
    timestamp: RoleKeys,
    snapshot: RoleKeys,
    targets: RoleKeys,
}

impl JsonRole for Root {
    const ROLE: Role = Role::Root;

    fn read(signed: &Node<'_>, key_ids: KeyIds) -> Result<Self, Malformed> {
        let roles = signed.required("roles")?;
        let role = |role: Role| RoleKeys::read(&roles.required(role.name())?);
        let consistent = signed.optional("consistent_snapshot")?;
        Ok(Root {
            header: Header::read(signed)?,
            consistent_snapshot: consistent.map(|node| node.boolean()).transpose()?.unwrap_or(false),
            keys: KeyTable::read(&signed.required("keys")?, key_ids)?,
            root: role(Role::Root)?,
            timestamp: role(Role::Timestamp)?,
            snapshot: role(Role::Snapshot)?,
            targets: role(Role::Targets)?,
        })
    }
}

impl Root {
    /// Whether the repository names files by version and hash (section 6.2).
    pub fn consistent_snapshot(&self) -> bool {
        self.consistent_snapshot
    }
}

impl RootFacts for Root {
    type Authority = ListedKeys;

    fn authority(&self, role: Role) -> ListedKeys {
        self.keys.authority(match role {
            Role::Root => &self.root,
            Role::Timestamp => &self.timestamp,
            Role::Snapshot => &self.snapshot,
            Role::Targets => &self.targets,
        })
    }
}
