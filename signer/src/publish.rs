//! From one state of the repository to the next: what changed is signed anew, and everything that pins it.

use std::collections::{BTreeMap, BTreeSet};

use sealift_manifests::{DelegatedMeta, Header, List, Meta, Role, Snapshot, Timestamp, sha256};

use crate::clock;
use crate::error::{Error, Result};
use crate::project::Project;
use crate::repository::{Files, Transaction};
use crate::signing::{Signers, seal};
use crate::tuf::{self, Changed};

/// What an act changes, as role payloads that are not signed yet.
#[derive(Debug, Default)]
pub struct Changes {
    /// The next root.
    pub root: Option<Vec<u8>>,
    /// Files that sign the next root besides the project's root keys: the keys of the root before it.
    pub root_cosigners: Option<Signers>,
    /// The next top-level targets.
    pub targets: Option<Vec<u8>>,
    /// The next files of delegated roles.
    pub delegated: BTreeMap<String, Vec<u8>>,
    /// Delegated roles that are no more.
    pub removed: BTreeSet<String>,
    /// Payloads and bills of materials that the new targets list.
    pub payloads: Vec<Vec<u8>>,
    /// Whether the snapshot is signed anew though nothing in it changed.
    pub renew_snapshot: bool,
}

impl Changes {
    /// Whether the snapshot has to change.
    fn touches_snapshot(&self, previous: Option<&Files>) -> bool {
        previous.is_none()
            || self.renew_snapshot
            || self.targets.is_some()
            || !self.delegated.is_empty()
            || !self.removed.is_empty()
    }
}

/// When a role signed now expires.
pub fn expiry(project: &Project, role: Role, now: u64) -> Result<u64> {
    let lifetime = &project.role(role).expires;
    lifetime.after(now).ok_or_else(|| beyond(project, &format!("roles.{role}.expires")))
}

/// An expiry that no calendar has.
pub fn beyond(project: &Project, place: &str) -> Error {
    Error::input(&project.file, format!("{place}: this expiry is beyond the calendar"), "choose a shorter time")
}

/// Signs `changes` and writes the repository's next state, the timestamp last.
pub fn publish(
    project: &Project,
    transaction: &Transaction,
    previous: Option<Files>,
    changes: Changes,
    signers: &Signers,
    now: u64,
) -> Result<Files> {
    let new_snapshot = changes.touches_snapshot(previous.as_ref());
    let mut next = match previous {
        Some(files) => files,
        None => Files { roots: vec![], timestamp: vec![], snapshot: vec![], targets: vec![], delegated: vec![] },
    };
    let (old_snapshot, old_timestamp) = match next.timestamp.is_empty() {
        true => (0, 0),
        false => {
            clock::check_against(next.timestamp()?.issued, now)?;
            (next.snapshot()?.header.version, next.timestamp()?.header.version)
        }
    };

    // Everything is signed before anything is written: a missing key or an oversized file changes nothing.
    if let Some(root) = &changes.root {
        let cosigners = changes.root_cosigners.as_ref();
        let keys = signers.of("root").chain(cosigners.into_iter().flat_map(|cosigners| cosigners.of("root")));
        next.roots.push(seal(root, Role::Root, keys)?);
    }
    if let Some(targets) = &changes.targets {
        next.targets = seal(targets, Role::Targets, signers.of("targets"))?;
    }
    next.delegated.retain(|(name, _)| !changes.removed.contains(name) && !changes.delegated.contains_key(name));
    for (name, payload) in &changes.delegated {
        next.delegated.push((name.clone(), seal(payload, Role::Targets, signers.of(name))?));
    }
    next.delegated.sort();
    if new_snapshot {
        let version = following(old_snapshot, Role::Snapshot)?;
        let meta =
            |version, file: &[u8]| Meta::of(version, file).ok_or_else(|| Error::failed("a file is too large", ""));
        let mut delegated = Vec::new();
        for (name, file) in &next.delegated {
            let version = next.delegated(name)?.map_or(0, |(_, targets)| targets.header.version);
            delegated.push(DelegatedMeta { name, meta: meta(version, file)? });
        }
        let snapshot = Snapshot {
            header: Header::new(project.id, version, expiry(project, Role::Snapshot, now)?),
            targets: meta(next.targets()?.header.version, &next.targets)?,
            delegated: List::new(&delegated),
        };
        let payload = snapshot.encode();
        next.snapshot = seal(&payload, Role::Snapshot, signers.of("snapshot"))?;
    }
    let snapshot_version = next.snapshot()?.header.version;
    let timestamp = Timestamp {
        header: Header::new(
            project.id,
            following(old_timestamp, Role::Timestamp)?,
            expiry(project, Role::Timestamp, now)?,
        ),
        issued: now,
        snapshot: Meta::of(snapshot_version, &next.snapshot).ok_or_else(|| Error::failed("a file is too large", ""))?,
    };
    next.timestamp = seal(&timestamp.encode(), Role::Timestamp, signers.of("timestamp"))?;

    let delegated = changes.delegated.keys().cloned().collect();
    let changed = Changed {
        root: changes.root.is_some(),
        targets: changes.targets.is_some(),
        delegated: &delegated,
        snapshot: new_snapshot,
    };
    let made = changes.payloads.iter().map(|bytes| (sha256(bytes), bytes.len() as u64)).collect();
    let host = tuf::encode(transaction.layout(), &next, changed, &made, signers, changes.root_cosigners.as_ref())?;

    // What nothing points at yet first; a root before the timestamp that its keys may sign; the timestamp last.
    for bytes in &changes.payloads {
        transaction.put_payload(bytes)?;
    }
    if changed.targets {
        transaction.put_role(Role::Targets, next.targets()?.header.version, &next.targets)?;
    }
    for name in &delegated {
        if let Some((file, targets)) = next.delegated(name)? {
            transaction.put_role(Role::Targets, targets.header.version, file)?;
        }
    }
    if new_snapshot {
        transaction.put_role(Role::Snapshot, snapshot_version, &next.snapshot)?;
    }
    if let Some(host) = &host {
        host.prepare(transaction)?;
    }
    if changed.root
        && let Some(root) = next.roots.last()
    {
        transaction.put_role(Role::Root, next.root()?.header.version, root)?;
    }
    transaction.commit(&next.timestamp)?;
    tuf::settle(transaction.layout())?;
    Ok(next)
}

/// The version after `version`.
pub fn following(version: u64, role: Role) -> Result<u64> {
    version.checked_add(1).ok_or_else(|| {
        Error::refused(
            format!("the versions of {role} are used up"),
            "rotate the role's keys in a new root: floors then fall",
        )
    })
}
