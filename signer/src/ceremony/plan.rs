//! From a staged project file and the repository's present state to what has to be signed.

use std::collections::BTreeSet;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sealift_manifests::{Digest, Envelope, Role, Root, Target, Targets};
use sealift_verifier::cose::{CoseFile, ListedKeys};
use sealift_verifier::trust::format::RootFacts;
use sealift_verifier::trust::{Policy, Signers as Counted, Time, count_signatures};

use super::edit::Edit;
use super::request::{Bytes, Item, Request};
use crate::authority;
use crate::error::{Error, Result};
use crate::project::Project;
use crate::publish::following;
use crate::release::{delegated_payload, listed};
use crate::repository::{Files, Layout};
use crate::signing::{Opened, check_content, open_keys, too_few};
use crate::tuf;

/// What becomes of a delegated role's file.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is no role any more.
    Removed,
    /// It has to be signed anew, by keys that are here.
    Resigned(Vec<u8>),
    /// It has to be signed anew, and only offline keys can.
    Offline(Vec<u8>),
    /// It has to be signed anew, and its keys are elsewhere: its releases come off the list.
    Unlisted,
}

/// What has to be signed, without snapshot and timestamp, which follow from it.
#[derive(Debug)]
pub struct Plan {
    /// Root, top-level targets, and what only offline keys can sign.
    pub items: Vec<Item>,
    /// Whether there is anything to do at all.
    pub idle: bool,
}

/// The state of a repository, and whether an act on it was interrupted between its new root and its timestamp.
#[derive(Debug)]
pub struct Present {
    /// The files.
    pub files: Files,
    /// Whether the last root's keys have not signed the rest yet.
    pub interrupted: bool,
}

/// Reads and verifies the present state. `None` when there is none yet.
pub fn present(project: &Project, layout: &Layout, development: bool) -> Result<Option<Present>> {
    let Some(files) = Files::of_directory(layout)? else { return Ok(None) };
    let interrupted = !check_chain(&files, development)?;
    let root = files.root()?;
    if root.header.repository != project.id {
        return Err(Error::refused(
            format!(
                "{} is repository {}, the project file says {}",
                project.directory.display(),
                root.header.repository,
                project.id
            ),
            "a repository keeps its id for ever; correct the project file",
        ));
    }
    Ok(Some(Present { files, interrupted }))
}

/// Plans what `edits` come to, `project` being the project file after them. `follows` is the entry of the ceremony log that
/// root and targets are to name.
pub(super) fn plan(
    project: &Project,
    layout: &Layout,
    present: Option<&Present>,
    edits: &[Edit],
    follows: &Digest,
    development: bool,
    now: u64,
) -> Result<Plan> {
    let renew = edits.contains(&Edit::Renew {});
    let host = tuf::is_kept_beside(layout, present.map(|present| &present.files));
    let mut items = Vec::new();
    let Some(present) = present else {
        items.push(root_item(authority::root(project, 1, follows, now)?, host)?);
        items.push(targets_item("targets", None, authority::targets(project, 1, follows, now)?, host, layout)?);
        return Ok(Plan { items, idle: false });
    };
    let files = &present.files;

    // Root: what it says besides version, expiry and log.
    let old = files.root()?;
    let payload = authority::root(project, following(old.header.version, Role::Root)?, follows, now)?;
    let wanted = Root::decode(&payload).map_err(|error| Error::failed(error, ""))?;
    let same = (old.keys, old.roles, old.counter_ceiling) == (wanted.keys, wanted.roles, wanted.counter_ceiling);
    if !same || renew {
        items.push(root_item(payload.clone(), host)?);
    }

    // Top-level targets: what they say, and whether the keys of the root that is to come have signed them.
    let top = files.targets()?;
    let top_payload = authority::targets(project, following(top.header.version, Role::Targets)?, follows, now)?;
    let top_wanted = Targets::decode(&top_payload).map_err(|error| Error::failed(error, ""))?;
    let signed = CoseFile::<Targets<'_>>::new(&files.targets)
        .and_then(|file| count_signatures::<_, _, Counted>(&file, &wanted.authority(Role::Targets), Role::Targets));
    if renew || signed.is_err() || (top.keys, top.delegations) != (top_wanted.keys, top_wanted.delegations) {
        items.push(targets_item("targets", None, top_payload.clone(), host, layout)?);
    }

    // Releases that were made, or withdrawn, and wait for their keys.
    for edit in edits {
        if let Edit::Targets { name, payload } = edit {
            let payload = BASE64.decode(payload).map_err(|error| Error::failed(error, ""))?;
            let present = files.delegated(name)?.map(|(file, _)| Bytes(file.to_vec()));
            items.retain(|item| item.role != *name);
            items.push(targets_item(name, present, payload, host, layout)?);
        }
    }
    let mut idle = items.is_empty() && !present.interrupted;
    let waiting: BTreeSet<String> = items.iter().map(|item| item.role.clone()).collect();
    for (name, fate) in fates(project, layout, files, &top_wanted, &waiting, development, now)? {
        idle = false;
        if let Fate::Offline(payload) = fate {
            let present = files.delegated(&name)?.map(|(file, _)| Bytes(file.to_vec()));
            items.push(targets_item(&name, present, payload, host, layout)?);
        }
    }
    Ok(Plan { items, idle })
}

/// What becomes of the delegated files that the keys to come have not signed, or whose role is no more; those in `waiting` are
/// signed in the ceremony.
pub(super) fn fates(
    project: &Project,
    layout: &Layout,
    files: &Files,
    top: &Targets<'_>,
    waiting: &BTreeSet<String>,
    development: bool,
    now: u64,
) -> Result<Vec<(String, Fate)>> {
    let mut fates = Vec::new();
    for (name, file) in files.delegated.iter().filter(|(name, _)| !waiting.contains(name)) {
        let Some(delegation) = top.delegations.iter().find(|delegation| delegation.name == name) else {
            fates.push((name.clone(), Fate::Removed));
            continue;
        };
        let keys = ListedKeys::of_delegation(top, &delegation);
        let signed = CoseFile::<Targets<'_>>::new(file)
            .and_then(|file| count_signatures::<_, _, Counted>(&file, &keys, Role::Targets));
        let (targets, version) = listed(files, layout, name)?;
        let belongs = |target: &Target<'_>| {
            delegation.products.iter().any(|product| product == target.product)
                && target.security_counter <= delegation.counter_ceiling.min(project.counter_ceiling)
        };
        if signed.is_ok() && targets.iter().all(belongs) {
            continue;
        }
        let kept: Vec<_> = targets.into_iter().filter(belongs).collect();
        let payload = delegated_payload(project, name, following(version, Role::Targets)?, &kept, now)?;
        let Opened { here: open, absent } = open_keys(project, project.key_names(name), development)?;
        let threshold = delegation.keys.threshold;
        fates.push((
            name.clone(),
            match () {
                () if open.len() as u64 >= threshold => Fate::Resigned(payload),
                () if open.len() as u64 + offline(project, name) >= threshold => Fate::Offline(payload),
                // What these keys have signed binds devices as long as the keys do: it can be replaced, and not taken away.
                () if signed.is_ok() => {
                    return Err(Error::Input {
                        place: format!("{}: keys of {name}", project.file.display()),
                        fault: too_few(open.len(), threshold, &absent),
                        remedy: "bring the key files to these places, or set these variables".into(),
                    });
                }
                () => Fate::Unlisted,
            },
        ));
    }
    Ok(fates)
}

/// How many of a role's keys are `offline:`.
fn offline(project: &Project, role: &str) -> u64 {
    let keys = project.keys_of(project.key_names(role));
    keys.filter(|(_, key)| matches!(key.uri, crate::keys::KeyUri::Offline(_))).count() as u64
}

fn text(json: Option<Vec<u8>>) -> Result<Option<String>> {
    json.map(String::from_utf8).transpose().map_err(|error| Error::failed(error, "please report this"))
}

fn root_item(payload: Vec<u8>, host: bool) -> Result<Item> {
    check_content(&payload, Role::Root)?;
    let root = Root::decode(&payload).map_err(|error| Error::failed(error, ""))?;
    let json = if host { text(tuf::root_message(&root)?)? } else { None };
    Ok(Item { role: "root".into(), present: None, json, payload: Bytes(payload) })
}

fn targets_item(role: &str, present: Option<Bytes>, payload: Vec<u8>, host: bool, layout: &Layout) -> Result<Item> {
    check_content(&payload, Role::Targets)?;
    let targets = Targets::decode(&payload).map_err(|error| Error::failed(error, ""))?;
    let length = |target: &Target<'_>| fs::metadata(layout.payload(&target.sbom?)).ok().map(|metadata| metadata.len());
    let json = if host { text(tuf::targets_message(&targets, &length)?)? } else { None };
    Ok(Item { role: role.into(), present, json, payload: Bytes(payload) })
}

/// The request for a plan's items.
pub(super) fn request(project: &Project, files: Option<&Files>, items: Vec<Item>, now: u64) -> Result<Request> {
    let mut request = Request {
        sealift_sign_request: 1,
        summary: Vec::new(),
        repository: project.id.to_string(),
        created: now,
        roots: files.into_iter().flat_map(|files| files.roots.iter().cloned().map(Bytes)).collect(),
        targets: files.map(|files| Bytes(files.targets.clone())),
        items,
    };
    request.summary = request.summarize()?.lines();
    Ok(request)
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
