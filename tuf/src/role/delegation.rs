//! Delegations (section 4.5), and hash bins that are described by a prefix and a number of bits (TAP 15).

use std::collections::BTreeSet;

use sealift_manifests::{Fault, Role, sha256};

use super::pattern;
use crate::authority::{KeyTable, ListedKeys, RoleKeys};
use crate::error::Malformed;
use crate::json::Node;
use crate::key::KeyIds;

/// Keys and delegations of a targets role.
#[derive(Clone, Debug)]
pub(super) struct Delegations {
    keys: KeyTable,
    roles: Roles,
}

#[derive(Clone, Debug)]
enum Roles {
    Listed(Vec<DelegatedRole>),
    Succinct(SuccinctRoles),
}

#[derive(Clone, Debug)]
struct DelegatedRole {
    name: String,
    keys: RoleKeys,
    terminating: bool,
    scope: Scope,
}

/// Which target paths a delegated role may speak for.
#[derive(Clone, Debug)]
enum Scope {
    Paths(Vec<String>),
    HashPrefixes(Vec<String>),
}

#[derive(Clone, Debug)]
struct SuccinctRoles {
    keys: RoleKeys,
    bit_length: u32,
    name_prefix: String,
}

/// One delegation: who is asked next, and whose signatures count.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) name: String,
    pub(crate) authority: ListedKeys,
    pub(crate) terminating: bool,
}

impl Delegations {
    pub(super) fn read(node: &Node<'_>, key_ids: KeyIds) -> Result<Self, Malformed> {
        let keys = KeyTable::read(&node.required("keys")?, key_ids)?;
        let roles = match (node.optional("roles")?, node.optional("succinct_roles")?) {
            (Some(roles), None) => {
                let mut names = BTreeSet::new();
                let mut listed = Vec::new();
                for entry in roles.items()? {
                    let role = DelegatedRole::read(&entry)?;
                    if !names.insert(role.name.clone()) {
                        return Err(
                            entry.fault(Fault::NotAscending, format!("the role {:?} is delegated to twice", role.name))
                        );
                    }
                    listed.push(role);
                }
                Roles::Listed(listed)
            }
            (None, Some(succinct)) => Roles::Succinct(SuccinctRoles::read(&succinct)?),
            _ => return Err(node.fault(Fault::BadValue, "exactly one of \"roles\" and \"succinct_roles\" is wanted")),
        };
        Ok(Delegations { keys, roles })
    }

    pub(super) fn edges_for(&self, path: &str) -> Vec<Edge> {
        match &self.roles {
            Roles::Listed(roles) => {
                roles.iter().filter(|role| role.scope.covers(path)).map(|role| self.listed_edge(role)).collect()
            }
            Roles::Succinct(succinct) => vec![self.bin_edge(succinct, bin_of(path, succinct.bit_length))],
        }
    }

    /// Every delegation, in order; of up to 2^32 hash bins, those among `known` role names.
    pub(super) fn edges<'n>(&self, known: impl Iterator<Item = &'n str>) -> Vec<Edge> {
        match &self.roles {
            Roles::Listed(roles) => roles.iter().map(|role| self.listed_edge(role)).collect(),
            Roles::Succinct(succinct) => {
                let bins = known.filter_map(|name| succinct.bin_named(name));
                bins.map(|bin| self.bin_edge(succinct, bin)).collect()
            }
        }
    }

    fn listed_edge(&self, role: &DelegatedRole) -> Edge {
        Edge { name: role.name.clone(), authority: self.keys.authority(&role.keys), terminating: role.terminating }
    }

    fn bin_edge(&self, succinct: &SuccinctRoles, bin: u32) -> Edge {
        Edge {
            name: succinct.bin_name(bin),
            authority: self.keys.authority(&succinct.keys),
            // TAP 15: a bin that a path falls into is the only one that speaks for it.
            terminating: true,
        }
    }
}

impl DelegatedRole {
    fn read(node: &Node<'_>) -> Result<Self, Malformed> {
        let name = node.required("name")?;
        // A delegated file is kept and asked for under its role's name: it must never take a top-level role's place.
        let text = name.text()?;
        if text.is_empty() || Role::ALL.iter().any(|role| role.name() == text) {
            return Err(name.fault(Fault::BadText, format!("{text:?} cannot be the name of a delegated role")));
        }
        let list = |node: Node<'_>| {
            node.items()?.map(|item| Ok(item.text()?.to_owned())).collect::<Result<Vec<_>, Malformed>>()
        };
        let scope = match (node.optional("paths")?, node.optional("path_hash_prefixes")?) {
            (Some(paths), None) => Scope::Paths(list(paths)?),
            (None, Some(prefixes)) => Scope::HashPrefixes(list(prefixes)?),
            _ => {
                return Err(
                    node.fault(Fault::BadValue, "exactly one of \"paths\" and \"path_hash_prefixes\" is wanted")
                );
            }
        };
        Ok(DelegatedRole {
            name: text.to_owned(),
            keys: RoleKeys::read(node)?,
            terminating: node.required("terminating")?.boolean()?,
            scope,
        })
    }
}

impl SuccinctRoles {
    fn read(node: &Node<'_>) -> Result<Self, Malformed> {
        let bits = node.required("bit_length")?;
        let bit_length = u32::try_from(bits.integer(1)?).ok().filter(|bits| *bits <= 32);
        Ok(SuccinctRoles {
            keys: RoleKeys::read(node)?,
            bit_length: bit_length.ok_or_else(|| bits.fault(Fault::BadValue, "1 to 32 bits are wanted"))?,
            name_prefix: node.required("name_prefix")?.text()?.to_owned(),
        })
    }

    /// `PREFIX-` and the bin's number in hex, padded to the length of the last bin's.
    fn bin_name(&self, bin: u32) -> String {
        let digits = self.bit_length.div_ceil(4) as usize;
        format!("{}-{bin:0digits$x}", self.name_prefix)
    }

    /// The number of the bin of that name.
    fn bin_named(&self, name: &str) -> Option<u32> {
        let (_, digits) = name.rsplit_once('-')?;
        let bin = u32::from_str_radix(digits, 16).ok()?;
        (bin <= u32::MAX >> (32 - self.bit_length) && self.bin_name(bin) == name).then_some(bin)
    }
}

impl Scope {
    fn covers(&self, path: &str) -> bool {
        match self {
            Scope::Paths(patterns) => patterns.iter().any(|pattern| pattern::matches(pattern, path)),
            Scope::HashPrefixes(prefixes) => {
                let hash = sha256(path.as_bytes()).to_string();
                prefixes.iter().any(|prefix| hash.starts_with(prefix.as_str()))
            }
        }
    }
}

/// The bin of a path: the first bits of its SHA-256.
fn bin_of(path: &str, bit_length: u32) -> u32 {
    let [a, b, c, d, ..] = sha256(path.as_bytes()).0;
    u32::from_be_bytes([a, b, c, d]) >> (32 - bit_length)
}
