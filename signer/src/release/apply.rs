//! `root apply`: the project file's keys, thresholds, products and ceilings become the next root and top-level targets.
//!
//! It also finishes what an interrupted act began, and it is how a stolen key is revoked: what that key signed is signed
//! anew with its successor, or taken off the list when the successor is elsewhere.

use sealift_manifests::{Envelope, Role, Root, Targets};
use sealift_verifier::cose::{CoseFile, ListedKeys};
use sealift_verifier::trust::format::RootFacts;
use sealift_verifier::trust::{Policy, Signers as Counted, Time, count_signatures};

use super::state::{delegated_payload, listed};
use crate::authority;
use crate::error::{Error, Result};
use crate::project::Project;
use crate::publish::{Changes, following, publish};
use crate::repository::{Files, Layout, Transaction};
use crate::signing::Signers;

/// What was signed anew.
#[derive(Debug)]
pub struct Applied {
    /// The repository's new state.
    pub files: Files,
    /// Whether there is a new root.
    pub root: bool,
    /// Whether there are new top-level targets.
    pub targets: bool,
    /// Delegated roles whose files were signed anew.
    pub resigned: Vec<String>,
    /// Delegated roles whose files are no longer listed: their keys were revoked, and the new ones are not here.
    pub unlisted: Vec<String>,
}

/// Signs what the project file says. `None` when everything is so already and `renew` does not ask for new expiries.
pub fn apply(project: &Project, renew: bool, development: bool, now: u64) -> Result<Option<Applied>> {
    let transaction = Transaction::begin(&Layout::new(&project.directory))?;
    let files = Files::of_directory(transaction.layout())?.ok_or_else(|| {
        Error::input(&project.directory, "there is no repository yet", "start it with `sealift init`")
    })?;
    let interrupted = !check_chain(&files, development)?;
    let old = files.root()?;
    if old.header.repository != project.id {
        return Err(Error::refused(
            format!(
                "{} is repository {}, the project file says {}",
                project.directory.display(),
                old.header.repository,
                project.id
            ),
            "a repository keeps its id for ever; correct the project file",
        ));
    }
    let mut signers = Signers::default();
    let mut changes = Changes { renew_snapshot: true, ..Changes::default() };

    // Root: what it says besides version and expiry.
    let root_version = following(old.header.version, Role::Root)?;
    let wanted_payload = authority::root(project, root_version, now)?;
    let wanted = Root::decode(&wanted_payload).map_err(|error| Error::failed(error, ""))?;
    let same = (old.keys, old.roles, old.counter_ceiling) == (wanted.keys, wanted.roles, wanted.counter_ceiling);
    if !same || renew {
        signers.add(project, "root", development)?;
        let mut cosigners = Signers::default();
        let keys: Vec<_> = old.role(Role::Root).resolve(old.keys).collect();
        cosigners.add_public(project, "root", &keys, old.role(Role::Root).threshold, development)?;
        changes.root_cosigners = Some(cosigners);
        changes.root = Some(wanted_payload.clone());
    }

    // Top-level targets: what they say, and whether the keys of the root that is to come have signed them.
    let top = files.targets()?;
    let top_version = following(top.header.version, Role::Targets)?;
    let top_payload = authority::targets(project, top_version, now)?;
    let top_wanted = Targets::decode(&top_payload).map_err(|error| Error::failed(error, ""))?;
    let authority = wanted.authority(Role::Targets);
    let signed = CoseFile::<Targets<'_>>::new(&files.targets)
        .and_then(|file| count_signatures::<_, _, Counted>(&file, &authority, Role::Targets));
    if renew || signed.is_err() || (top.keys, top.delegations) != (top_wanted.keys, top_wanted.delegations) {
        signers.add(project, "targets", development)?;
        changes.targets = Some(top_payload.clone());
    }

    // Delegated files that the keys to come have not signed, or whose role is no more.
    let mut resigned = Vec::new();
    let mut unlisted = Vec::new();
    for (name, file) in &files.delegated {
        let Some(delegation) = top_wanted.delegations.iter().find(|delegation| delegation.name == name) else {
            changes.removed.insert(name.clone());
            continue;
        };
        let keys = ListedKeys::of_delegation(&top_wanted, &delegation);
        let signed = CoseFile::<Targets<'_>>::new(file)
            .and_then(|file| count_signatures::<_, _, Counted>(&file, &keys, Role::Targets));
        let (targets, version) = listed(&files, transaction.layout(), name)?;
        let belongs = |target: &sealift_manifests::Target<'_>| {
            delegation.products.iter().any(|product| product == target.product)
                && target.security_counter <= delegation.counter_ceiling.min(project.counter_ceiling)
        };
        if signed.is_ok() && targets.iter().all(belongs) {
            continue;
        }
        // What these keys have signed binds devices as long as the keys do: it can be replaced, and not taken away.
        let missing = match signed.is_ok() {
            true => signers.add(project, name, development).map(|()| None)?,
            false => signers.add_present(project, name, development)?,
        };
        if missing.is_none() {
            let kept: Vec<_> = targets.into_iter().filter(belongs).collect();
            let payload = delegated_payload(project, name, following(version, Role::Targets)?, &kept, now)?;
            changes.delegated.insert(name.clone(), payload);
            resigned.push(name.clone());
        } else {
            changes.removed.insert(name.clone());
            unlisted.push(name.clone());
        }
    }
    let (root, targets) = (changes.root.is_some(), changes.targets.is_some());
    let idle = !root && !targets && changes.delegated.is_empty() && changes.removed.is_empty();
    if idle && !interrupted {
        return Ok(None);
    }
    signers.add(project, "snapshot", development)?;
    signers.add(project, "timestamp", development)?;
    let files = publish(project, &transaction, Some(files), changes, &signers, now)?;
    Ok(Some(Applied { files, root, targets, resigned, unlisted }))
}

/// Verifies the state, and says whether it is whole: `false` when an interrupted act left a new root whose keys have not
/// signed the rest yet. Then the rest has to be right under the root before.
fn check_chain(files: &Files, development: bool) -> Result<bool> {
    let policy = if development { Policy::development() } else { Policy::production() };
    let first = files.roots.first().map_or(&[][..], Vec::as_slice);
    let Err(error) = files.verify(first, &policy, Time::Unknown) else { return Ok(true) };
    let (Some(last), true) = (files.roots.last(), files.roots.len() > 1) else { return Err(error) };
    let before = Files {
        roots: files.roots[..files.roots.len() - 1].to_vec(),
        timestamp: files.timestamp.clone(),
        snapshot: files.snapshot.clone(),
        targets: files.targets.clone(),
        delegated: files.delegated.clone(),
    };
    if before.verify(first, &policy, Time::Unknown).is_err() {
        return Err(error);
    }
    // The new root itself has to be a true successor.
    let newest = Envelope::decode(last).ok().and_then(|envelope| Root::decode(envelope.payload).ok());
    let previous = before.root()?;
    let holds = |authority| {
        let file = CoseFile::<Root<'_>>::new(last)?;
        count_signatures::<_, _, Counted>(&file, &authority, Role::Root).map(drop)
    };
    match newest {
        Some(newest)
            if holds(previous.authority(Role::Root)).is_ok() && holds(newest.authority(Role::Root)).is_ok() =>
        {
            Ok(false)
        }
        _ => Err(error),
    }
}
