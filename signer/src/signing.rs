//! From a role's content to its signed file.

use std::collections::BTreeMap;

use sealift_manifests::bounds::MAX_PAYLOAD;
use sealift_manifests::envelope::{SigStructure, Signature};
use sealift_manifests::{Envelope, List, Role, Root, Snapshot, Targets, Timestamp};

use crate::error::{Error, Result};
use crate::keys::{self, KeySource};
use crate::project::Project;

/// What to do when a key cannot sign that much.
pub const FEWER: &str = "list fewer releases (`keep-releases` in sealift.toml, or `sealift release withdraw`), make fewer \
                         deltas (`--from`, `--no-deltas`), or give the products delegations of their own";

/// The keys at hand for the roles of one act, opened and checked before anything is made.
#[derive(Debug, Default)]
pub struct Signers(BTreeMap<String, Vec<Box<dyn KeySource>>>);

impl Signers {
    /// Opens the keys of a role: `role` is one of TUF's four names, or a delegated role's. Keys that are not here are
    /// passed over as long as the threshold is reached without them.
    pub fn add(&mut self, project: &Project, role: &str, development: bool) -> Result<()> {
        let Some(missing) = self.add_present(project, role, development)? else { return Ok(()) };
        Err(Error::Input {
            place: format!("{}: keys of {role}", project.file.display()),
            fault: missing,
            remedy: match project.is_offline(role) {
                true => "what offline keys sign goes through a ceremony: see `sealift root --help`".into(),
                false => "bring the key files to these places, or set these variables".into(),
            },
        })
    }

    /// Does what [`Signers::add`] does, and says which keys are missing when too few are here. A key that is here and
    /// cannot be used is an error all the same.
    pub fn add_present(&mut self, project: &Project, role: &str, development: bool) -> Result<Option<String>> {
        let top = Role::ALL.into_iter().find(|known| known.name() == role).map(|known| project.role(known));
        let (names, threshold) = match (top, project.delegations.get(role)) {
            (Some(signers), _) => (&signers.keys, signers.threshold),
            (None, Some(delegation)) => (&delegation.keys, delegation.threshold),
            (None, None) => {
                return Err(Error::usage(format!("there is no role `{role}`"), "see [roles] and [delegations]"));
            }
        };
        let Opened { here: open, absent } = open_keys(project, names, development)?;
        if (open.len() as u64) < threshold {
            return Ok(Some(too_few(open.len(), threshold, &absent)));
        }
        self.0.insert(role.to_owned(), open);
        Ok(None)
    }

    /// Takes keys that were opened, or used, elsewhere.
    pub fn insert(&mut self, role: &str, keys: Vec<Box<dyn KeySource>>) {
        self.0.insert(role.to_owned(), keys);
    }

    /// The open keys of a role.
    pub fn of(&self, role: &str) -> impl Iterator<Item = &dyn KeySource> {
        self.0.get(role).into_iter().flatten().map(Box::as_ref)
    }
}

/// Keys of a role: those that are here, and the names of the others.
#[derive(Debug, Default)]
pub struct Opened {
    /// Open, each held to the public key that the project file has for it.
    pub here: Vec<Box<dyn KeySource>>,
    /// Name and place of those that are not here.
    pub absent: Vec<String>,
}

/// Opens those of these keys that are here.
pub fn open_keys(project: &Project, names: &[String], development: bool) -> Result<Opened> {
    let mut opened = Opened::default();
    for (name, key) in project.keys_of(names) {
        match keys::open(&key.uri, project.folder(), development)? {
            None => opened.absent.push(format!("{name} ({})", key.uri)),
            Some(source) if source.public_key() != key.public => {
                return Err(Error::input(
                    format!("{}: keys.{name}", project.file.display()),
                    format!("the key at {} is another one: its id is {}", key.uri, source.public_key().id()),
                    format!("its id must be {}; correct the URI, or the public key", key.public.id()),
                ));
            }
            Some(source) => opened.here.push(source),
        }
    }
    Ok(opened)
}

/// Why a threshold is not reached.
pub fn too_few(open: usize, threshold: u64, absent: &[String]) -> String {
    format!("{open} of the {threshold} keys it takes are here; missing: {}", absent.join(", "))
}

/// Signs a role's payload with every key given and returns the file. Keys are used once each.
pub fn seal<'k>(payload: &[u8], role: Role, keys: impl Iterator<Item = &'k dyn KeySource>) -> Result<Vec<u8>> {
    check_content(payload, role)?;
    let message = SigStructure::new(payload).to_vec();
    let mut signatures = BTreeMap::new();
    for key in keys {
        let public = key.public_key();
        if signatures.contains_key(&public.id()) {
            continue;
        }
        if let Some(most) = key.longest_message().filter(|most| message.len() > *most) {
            return Err(Error::refused(
                format!("{role}: the key {} signs at most {most} bytes, and these are {}", public.id(), message.len()),
                FEWER,
            ));
        }
        let signature = key.sign(&message)?;
        // A token with a fault must not be noticed by the devices first.
        if !sealift_verifier::ed25519::verify(&public.0, &[&message], &signature) {
            return Err(Error::failed(
                format!("{role}: the key {} made a signature that does not verify", public.id()),
                "try again; if it stays so, the key or its token is broken",
            ));
        }
        signatures.insert(public.id(), signature);
    }
    let signatures: Vec<_> =
        signatures.iter().map(|(key_id, signature)| Signature { key_id: *key_id, signature }).collect();
    Ok(Envelope { payload, signatures: List::new(&signatures) }.encode())
}

/// Every reader's bounds, before a key is used: what would be refused later is refused now.
pub fn check_content(payload: &[u8], role: Role) -> Result<()> {
    let read = match role {
        Role::Root => Root::decode(payload).map(|root| root.keys.len()),
        Role::Timestamp => Timestamp::decode(payload).map(|_| 1),
        Role::Snapshot => Snapshot::decode(payload).map(|snapshot| snapshot.delegated.len()),
        Role::Targets => Targets::decode(payload).map(|targets| targets.targets.len().max(targets.delegations.len())),
    };
    let entries = match read {
        Ok(entries) => entries.max(1),
        Err(error) => {
            return Err(Error::refused(
                format!("the new {role} file breaks a bound of the format: {error}"),
                "at most 16 releases a file, 16 payloads a release, 16 hardware ids, 32 delegations, 16 products each",
            ));
        }
    };
    if payload.len() <= MAX_PAYLOAD {
        return Ok(());
    }
    let fit = MAX_PAYLOAD * entries / payload.len();
    let remedy = match role {
        Role::Targets => format!(
            "about {fit} of its {entries} entries fit: withdraw old releases (`sealift release withdraw`), make fewer \
             deltas, or give the products delegations of their own"
        ),
        Role::Root => format!("about {fit} of its {entries} keys fit; more needs a second repository"),
        Role::Snapshot => format!("about {fit} of its {entries} products fit; more needs a second repository"),
        Role::Timestamp => String::new(),
    };
    Err(Error::refused(
        format!(
            "the signed part of the {role} file would have {} bytes; at most {MAX_PAYLOAD} can be signed",
            payload.len()
        ),
        remedy,
    ))
}
