//! The role files of one state of a repository: read from its directory or from a bundle, then verified as a device does.

use std::path::Path;

use sealift_manifests::bounds::{MAX_BUNDLE, MAX_ENVELOPE};
use sealift_manifests::{Digest, Envelope, Role, Root, Snapshot, Targets, Timestamp, bundle, sha256};
use sealift_verifier::repository::Repository;
use sealift_verifier::session::Fetch;
use sealift_verifier::trust::{Policy, Time};

use super::Layout;
use crate::error::{Error, Result};
use crate::input;

const DAMAGED: &str = "the repository is damaged: restore it from its last good copy";

/// Role files, whole and as they were received. Nothing is verified until [`Files::verify`] says so.
#[derive(Debug)]
pub struct Files {
    /// Roots by ascending version.
    pub roots: Vec<Vec<u8>>,
    /// The timestamp.
    pub timestamp: Vec<u8>,
    /// The snapshot it names.
    pub snapshot: Vec<u8>,
    /// The top-level targets file.
    pub targets: Vec<u8>,
    /// Delegated targets files with their names, as the snapshot or the file itself gives them.
    pub delegated: Vec<(String, Vec<u8>)>,
}

/// Reads one role file and returns its bytes.
pub fn read_role(path: &Path, role: Role) -> Result<Vec<u8>> {
    Ok(input::read(path, &format!("{role} file"), MAX_ENVELOPE as u64, DAMAGED)?.to_vec())
}

fn payload<'a>(file: &'a [u8], place: &dyn std::fmt::Display) -> Result<&'a [u8]> {
    let envelope = Envelope::decode(file).map_err(|error| malformed(place, error))?;
    Ok(envelope.payload)
}

fn malformed(place: &dyn std::fmt::Display, error: impl ToString) -> Error {
    Error::Input { place: place.to_string(), fault: error.to_string(), remedy: DAMAGED.into() }
}

macro_rules! opener {
    ($(#[$doc:meta])* $name:ident, $role:ident, $field:ident) => {
        $(#[$doc])*
        pub fn $name(&self) -> Result<$role<'_>> {
            $role::decode(payload(&self.$field, &stringify!($field))?).map_err(|error| malformed(&stringify!($field), error))
        }
    };
}

impl Files {
    /// Reads the state that a repository directory's timestamp names. `None` when nothing was ever written there.
    pub fn of_directory(layout: &Layout) -> Result<Option<Self>> {
        let first = layout.root(1);
        if !first.exists() && !layout.timestamp().exists() {
            return Ok(None);
        }
        let mut roots = vec![read_role(&first, Role::Root)?];
        while layout.root(roots.len() as u64 + 1).exists() {
            roots.push(read_role(&layout.root(roots.len() as u64 + 1), Role::Root)?);
        }
        let timestamp = read_role(&layout.timestamp(), Role::Timestamp)?;
        let place = layout.timestamp();
        let pin = Timestamp::decode(payload(&timestamp, &place.display())?)
            .map_err(|error| malformed(&place.display(), error))?
            .snapshot;
        let place = layout.snapshot(&pin.digest);
        let snapshot = read_role(&place, Role::Snapshot)?;
        let listed = Snapshot::decode(payload(&snapshot, &place.display())?)
            .map_err(|error| malformed(&place.display(), error))?;
        let targets = read_role(&layout.targets(&listed.targets.digest), Role::Targets)?;
        let delegated = listed
            .delegated
            .iter()
            .map(|entry| Ok((entry.name.to_owned(), read_role(&layout.targets(&entry.meta.digest), Role::Targets)?)));
        let delegated = delegated.collect::<Result<_>>()?;
        Ok(Some(Files { roots, timestamp, snapshot, targets, delegated }))
    }

    /// Takes a bundle apart. `place` names it in errors.
    pub fn of_bundle(bytes: &[u8], place: &Path) -> Result<Self> {
        let fault = |fault: String| Error::input(place, fault, "export it again with `sealift bundle export`");
        if bytes.len() > MAX_BUNDLE {
            return Err(fault(format!("larger than the {MAX_BUNDLE} bytes a bundle may have")));
        }
        let mut files =
            Files { roots: vec![], timestamp: vec![], snapshot: vec![], targets: vec![], delegated: vec![] };
        for (index, file) in bundle::files(bytes).enumerate() {
            let file = file.map_err(|error| fault(format!("file {} of the bundle: {error}", index + 1)))?;
            let unread = |error| fault(format!("file {} of the bundle: {error}", index + 1));
            let payload = Envelope::decode(file).map_err(unread)?.payload;
            let single = match Role::peek(payload).map_err(unread)? {
                Role::Root => {
                    files.roots.push(file.to_vec());
                    continue;
                }
                Role::Timestamp => &mut files.timestamp,
                Role::Snapshot => &mut files.snapshot,
                Role::Targets => match Targets::decode(payload).map_err(unread)?.name {
                    Some(name) => {
                        // One of them would be verified and both be shown.
                        if files.delegated.iter().any(|(other, _)| other == name) {
                            return Err(fault(format!("file {} of the bundle: a second file of `{name}`", index + 1)));
                        }
                        files.delegated.push((name.to_owned(), file.to_vec()));
                        continue;
                    }
                    None => &mut files.targets,
                },
            };
            if !single.is_empty() {
                return Err(fault(format!("file {} of the bundle: a second file of its role", index + 1)));
            }
            *single = file.to_vec();
        }
        let parts = [(&files.timestamp, "timestamp"), (&files.snapshot, "snapshot"), (&files.targets, "targets file")];
        match parts.iter().find(|(file, _)| file.is_empty()) {
            Some((_, missing)) => Err(fault(format!("the bundle has no {missing}"))),
            None => Ok(files),
        }
    }

    /// The newest root's content, unverified.
    pub fn root(&self) -> Result<Root<'_>> {
        let newest = self.roots.last().map_or(&[][..], Vec::as_slice);
        Root::decode(payload(newest, &"root")?).map_err(|error| malformed(&"root", error))
    }

    opener! {
        /// The timestamp's content, unverified.
        timestamp, Timestamp, timestamp
    }
    opener! {
        /// The snapshot's content, unverified.
        snapshot, Snapshot, snapshot
    }
    opener! {
        /// The top-level targets' content, unverified.
        targets, Targets, targets
    }

    /// A delegated targets file and its content, unverified. `None` when the role has signed nothing yet.
    pub fn delegated(&self, name: &str) -> Result<Option<(&[u8], Targets<'_>)>> {
        let Some((_, file)) = self.delegated.iter().find(|(listed, _)| listed == name) else { return Ok(None) };
        let targets =
            Targets::decode(payload(file, &format!("targets of {name}"))?).map_err(|error| malformed(&name, error))?;
        Ok(Some((file, targets)))
    }

    /// Verifies every file with the device's own trust machine, and that every target keeps to its delegation: `trusted` is
    /// a root that is trusted for where it comes from, `self.roots` those that follow it (older ones are passed over).
    /// Floors are a device's business.
    pub fn verify(&self, trusted: &[u8], policy: &Policy, time: Time) -> Result<(), Error> {
        let find = |fetch: &Fetch| match fetch.role {
            Role::Root => self.roots.iter().find(|file| *fetch == Fetch::root(root_version(file))),
            Role::Timestamp => Some(&self.timestamp),
            Role::Snapshot => Some(&self.snapshot),
            Role::Targets => Some(&self.targets),
        };
        let open = Repository::open(trusted, |fetch| find(fetch).map(Vec::as_slice), time, *policy);
        let repository = open.map_err(|error| refused("the repository", error))?;
        for delegation in repository.targets().delegations.iter() {
            // A role that has signed nothing yet has no file.
            let Some((file, _)) = self.delegated(delegation.name)? else { continue };
            let place = format!("targets of {}", delegation.name);
            repository.delegated(&delegation, file).map_err(|error| refused(&place, error))?;
        }
        // What nobody delegated to was verified by nothing above: it must not pass for a part of the release.
        let delegations = repository.targets().delegations;
        match self.delegated.iter().find(|(name, _)| !delegations.iter().any(|known| known.name == *name)) {
            Some((name, _)) => Err(refused(&format!("targets of {name}"), sealift_verifier::Error::WrongRoleName)),
            None => Ok(()),
        }
    }

    /// What pins the newest root.
    pub fn root_digest(&self) -> Option<Digest> {
        self.roots.last().map(|root| sha256(root))
    }
}

/// The version a root says it has; 0, which no root has, when it is none.
fn root_version(file: &[u8]) -> u64 {
    let root = Envelope::decode(file).and_then(|envelope| Ok(Root::decode(envelope.payload)?.header.version));
    root.unwrap_or(0)
}

/// The verifier's refusal of one file.
pub fn refused(place: &str, error: sealift_verifier::Error) -> Error {
    Error::Refused {
        code: Some(error.code()),
        fault: match error.role() {
            Some(role) => format!("{place}: {role}: {}", error.message()),
            None => format!("{place}: {}", error.message()),
        },
        remedy: remedy(&error).into(),
    }
}

fn remedy(error: &sealift_verifier::Error) -> &'static str {
    use sealift_verifier::Error as Refusal;
    match error {
        Refusal::Expired(Role::Timestamp | Role::Snapshot) => "sign it anew with `sealift renew --snapshot`",
        Refusal::Expired(Role::Root) => "the officers have to sign a new root: `sealift root apply`",
        Refusal::Expired(_) => {
            "sign it anew: `sealift renew --product ID`, or `sealift root apply` for the top-level targets"
        }
        Refusal::ExampleKey(_) => "make keys of your own; only to try things out, add --development",
        Refusal::WrongRepository(_) => "compare the repository id in sealift.toml with the one in the trusted root",
        _ => "do not ship it: it was altered, or signed with other keys than the trusted root names",
    }
}
