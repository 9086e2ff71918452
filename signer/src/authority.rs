//! Root and top-level targets as the project file wants them: who signs what.

use sealift_manifests::{Delegation, Digest, Extensions, Header, List, PublicKey, Role, RoleKeys, Root, Targets};

use crate::error::Result;
use crate::project::Project;
use crate::publish::expiry;

/// Number of the ignorable extension of root and top-level targets that names the entry of the ceremony log they follow: who
/// alters the log before that entry would need the officers' signatures anew.
pub const LOG_HEAD: u64 = 1;

/// The keys of several signer lists, sorted, and for each list the ascending indexes of its own.
fn index(project: &Project, lists: &[&[String]]) -> (Vec<PublicKey>, Vec<Vec<u64>>) {
    let public = |names: &[String]| project.keys_of(names).map(|(_, key)| key.public).collect::<Vec<_>>();
    let mut keys: Vec<PublicKey> = lists.iter().flat_map(|names| public(names)).collect();
    keys.sort();
    keys.dedup();
    let of = |names: &&[String]| {
        let mut indexes: Vec<u64> =
            public(names).iter().filter_map(|key| keys.binary_search(key).ok()).map(|index| index as u64).collect();
        indexes.sort();
        indexes
    };
    let indexes = lists.iter().map(of).collect();
    (keys, indexes)
}

/// The payload of a root that says what the project file says, and which entry of the ceremony log it follows.
pub fn root(project: &Project, version: u64, follows: &Digest, now: u64) -> Result<Vec<u8>> {
    let signers = Role::ALL.map(|role| project.role(role));
    let (keys, indexes) = index(project, &signers.map(|signers| &signers.keys[..]));
    let empty = RoleKeys { threshold: 0, keys: List::new(&[]) };
    let mut roles = [empty; 4];
    for (role, (signers, indexes)) in roles.iter_mut().zip(signers.iter().zip(&indexes)) {
        *role = RoleKeys { threshold: signers.threshold, keys: List::new(indexes) };
    }
    let follows = [(LOG_HEAD, &follows.0[..])];
    let header = Header::new(project.id, version, expiry(project, Role::Root, now)?);
    let root = Root {
        header: Header { extensions: Extensions::new(&follows), ..header },
        keys: List::new(&keys),
        roles,
        counter_ceiling: project.counter_ceiling,
    };
    Ok(root.encode())
}

/// The payload of a top-level targets file with the project file's delegations, and no target of its own.
pub fn targets(project: &Project, version: u64, follows: &Digest, now: u64) -> Result<Vec<u8>> {
    let lists: Vec<&[String]> = project.delegations.values().map(|delegation| &delegation.keys[..]).collect();
    let (keys, indexes) = index(project, &lists);
    let products: Vec<Vec<&str>> =
        project.delegations.values().map(|delegation| sorted(&delegation.products)).collect();
    let delegations: Vec<_> = project
        .delegations
        .iter()
        .zip(&indexes)
        .zip(&products)
        .map(|(((name, delegation), indexes), products)| Delegation {
            name,
            keys: RoleKeys { threshold: delegation.threshold, keys: List::new(indexes) },
            products: List::new(products),
            counter_ceiling: delegation.counter_ceiling,
        })
        .collect();
    let follows = [(LOG_HEAD, &follows.0[..])];
    let header = Header::new(project.id, version, expiry(project, Role::Targets, now)?);
    let targets = Targets {
        header: Header { extensions: Extensions::new(&follows), ..header },
        name: None,
        targets: List::new(&[]),
        keys: List::new(&keys),
        delegations: List::new(&delegations),
    };
    Ok(targets.encode())
}

/// Names in the order the format wants, none twice.
pub fn sorted(names: &[String]) -> Vec<&str> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
}
