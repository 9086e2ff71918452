//! `targets.json` and the files of delegated roles (section 4.5).

use std::collections::BTreeMap;

use sealift_manifests::Role;
use sealift_verifier::trust::format::TargetsFacts;

use super::delegation::{Delegations, Edge};
use super::{Hashes, Header};
use crate::error::Malformed;
use crate::file::JsonRole;
use crate::json::{Json, Node};
use crate::key::KeyIds;

/// What a targets role says.
#[derive(Clone, Debug)]
pub struct Targets {
    pub(super) header: Header,
    targets: BTreeMap<String, TargetFile>,
    delegations: Option<Delegations>,
}

/// What metadata says of a target file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetFile {
    /// Its length in bytes.
    pub length: u64,
    /// Its hashes.
    pub hashes: Hashes,
    /// What the repository adds for the application.
    pub custom: Option<Json>,
}

impl JsonRole for Targets {
    const ROLE: Role = Role::Targets;

    fn read(signed: &Node<'_>, key_ids: KeyIds) -> Result<Self, Malformed> {
        let mut targets = BTreeMap::new();
        for (path, target) in signed.required("targets")?.fields()? {
            let file = TargetFile {
                length: target.required("length")?.integer(0)?,
                hashes: Hashes::read(&target.required("hashes")?)?,
                custom: target.optional("custom")?.map(|custom| custom.json().clone()),
            };
            targets.insert(path.to_owned(), file);
        }
        let delegations = signed.optional("delegations")?;
        Ok(Targets {
            header: Header::read(signed)?,
            targets,
            delegations: delegations.map(|node| Delegations::read(&node, key_ids)).transpose()?,
        })
    }
}

impl Targets {
    /// What it says of the target at `path`.
    pub fn target(&self, path: &str) -> Option<&TargetFile> {
        self.targets.get(path)
    }

    /// The targets it lists, by path.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &TargetFile)> {
        self.targets.iter().map(|(path, target)| (path.as_str(), target))
    }

    /// The delegations that `path` falls under, in their order.
    pub(crate) fn edges_for(&self, path: &str) -> Vec<Edge> {
        self.delegations.as_ref().map_or_else(Vec::new, |delegations| delegations.edges_for(path))
    }

    /// Every delegation, in order; of hash bins, those among the `known` role names.
    pub(crate) fn edges<'n>(&self, known: impl Iterator<Item = &'n str>) -> Vec<Edge> {
        self.delegations.as_ref().map_or_else(Vec::new, |delegations| delegations.edges(known))
    }
}

impl TargetsFacts for Targets {
    fn is_named(&self, _: Option<&str>) -> bool {
        // TUF's own format does not say: the snapshot's pin and the delegation's keys decide.
        true
    }
}
