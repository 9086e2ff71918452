//! `sealift doctor`: what is right today and will hurt later. It opens no key and asks nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sealift_manifests::{Envelope, Header, KeyId, PublicKey, Role, example_keys};
use serde::Serialize;

use crate::clock;
use crate::error::{Error, Result};
use crate::keys::{KeyUri, weak_mode};
use crate::project::{Lifetime, Project};
use crate::release;
use crate::repository::{Files, Layout};

/// Something that was found.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Its name, for programs: `expires-soon`, `weak-file-mode`, …
    pub rule: &'static str,
    /// `warning`, or `note` for what is common and worth knowing.
    pub severity: &'static str,
    /// The role, key or file.
    pub place: String,
    /// What is so.
    pub fault: String,
    /// What to do.
    pub remedy: String,
}

/// What was looked at and what was found.
#[derive(Debug, Default)]
pub struct Examination {
    /// What was found.
    pub findings: Vec<Finding>,
    /// How many roles and keys were looked at.
    pub examined: usize,
}

impl Examination {
    fn add(&mut self, rule: &'static str, place: impl ToString, fault: impl ToString, remedy: impl ToString) {
        let (place, fault, remedy) = (place.to_string(), fault.to_string(), remedy.to_string());
        self.findings.push(Finding { rule, severity: "warning", place, fault, remedy });
    }

    fn note(&mut self, rule: &'static str, place: impl ToString, fault: impl ToString, remedy: impl ToString) {
        self.add(rule, place, fault, remedy);
        if let Some(last) = self.findings.last_mut() {
            last.severity = "note";
        }
    }
}

/// Examines a project, and its repository where there is one, at the time `now`.
pub fn examine(project: &Project, now: u64) -> Result<Examination> {
    let mut found = Examination::default();
    if project.development {
        found.add(
            "quick-start",
            project.file.display(),
            "a quick start: all keys lie in one folder",
            "for real, make keys where they belong: `sealift init --help`",
        );
    }
    roles(project, &mut found);
    keys(project, &mut found);
    let layout = Layout::new(&project.directory);
    let files = match Files::of_directory(&layout) {
        Ok(Some(_)) => release::open(project, &layout, true),
        Ok(None) => return Ok(found),
        Err(error) => Err(error),
    };
    match files {
        Ok(files) => {
            expiries(project, &files, now, &mut found)?;
            unused(project, &layout, &files, &mut found)?;
            let issued = files.timestamp()?.issued;
            if let Err(error) = clock::check_against(issued, now) {
                found.add("clock", "this machine", &error, error.remedy().unwrap_or_default());
            }
        }
        Err(error) => {
            found.add("repository", project.directory.display(), &error, error.remedy().unwrap_or_default());
        }
    }
    Ok(found)
}

/// Thresholds, and keys that several roles share.
fn roles(project: &Project, found: &mut Examination) {
    let mut roles_of: BTreeMap<PublicKey, (String, Vec<String>)> = BTreeMap::new();
    for (place, names, threshold) in project.signers() {
        found.examined += 1;
        let mut distinct = BTreeSet::new();
        for (name, key) in project.keys_of(names) {
            if distinct.insert(key.public) {
                roles_of.entry(key.public).or_insert_with(|| (name.to_owned(), Vec::new())).1.push(place.clone());
            }
        }
        if threshold == distinct.len() as u64 {
            let fault = match threshold {
                1 => "its one key is all there is: lost, nothing can be signed".to_owned(),
                _ => format!("all {threshold} keys must sign: one that is lost is enough to sign nothing any more"),
            };
            let online = [Role::Timestamp, Role::Snapshot].iter().any(|role| place == format!("roles.{role}"));
            match (place == "roles.root", online) {
                (true, _) => found.add(
                    "threshold-is-key-count",
                    &place,
                    format!("{fault}, and devices can't be told of a new root"),
                    "list at least one key more than the threshold",
                ),
                // Root replaces them at any time.
                (_, true) => found.note("threshold-is-key-count", &place, fault, "root can replace it at any time"),
                _ => {
                    found.add("threshold-is-key-count", &place, fault, "list at least one key more than the threshold")
                }
            }
        }
    }
    for (name, places) in roles_of.into_values().filter(|(_, places)| places.len() > 1) {
        let fault = format!("signs {}: who steals it has them all", places.join(", "));
        let online = places.iter().all(|place| place == "roles.snapshot" || place == "roles.timestamp");
        let remedy = "give each role a key of its own";
        match online {
            true => found.note("one-key-in-many-roles", format!("keys.{name}"), fault, remedy),
            false => found.add("one-key-in-many-roles", format!("keys.{name}"), fault, remedy),
        }
    }
}

/// Where keys are kept.
fn keys(project: &Project, found: &mut Examination) {
    let mut folders = BTreeSet::new();
    for (name, key) in &project.keys {
        found.examined += 1;
        let place = format!("keys.{name}");
        if example_keys::is_example(&key.public.id()) {
            found.add(
                "example-key",
                &place,
                "one of the EXAMPLE-INSECURE keys, which everybody has",
                "make a key of your own",
            );
        }
        let listed = project.signers().iter().any(|(_, names, _)| names.contains(name));
        if !listed {
            found.add("unused-key", &place, "no role names it", "take it out of sealift.toml, and destroy it");
        }
        let file = match &key.uri {
            KeyUri::File(path) => path,
            KeyUri::Pkcs11(token) => match &token.pin_file {
                Some(path) => path,
                None => continue,
            },
            _ => continue,
        };
        let path = project.folder().join(file);
        if let Some(mode) = weak_mode(&path) {
            let remedy = format!("treat it as stolen unless you know who read it; then `chmod 600 {}`", path.display());
            found.add("weak-file-mode", &place, format!("{} has mode {mode:04o}", path.display()), remedy);
        }
        folders.extend(path.parent().filter(|_| path.exists()).map(Path::to_path_buf));
    }
    for folder in folders {
        let folder = if folder.as_os_str().is_empty() { Path::new(".").to_path_buf() } else { folder };
        let mode = fs::metadata(&folder).map_or(0, |metadata| metadata.permissions().mode() & 0o7777);
        // Whoever can write the folder can put another key into it; the sticky bit prevents that.
        if mode & 0o022 != 0 && mode & 0o1000 == 0 {
            let fault = format!("others can replace the keys in it (mode {mode:04o})");
            found.add("weak-file-mode", folder.display(), fault, format!("chmod 700 {}", folder.display()));
        }
    }
}

/// Roles that are expired, or have less than a quarter of their life before them.
fn expiries(project: &Project, files: &Files, now: u64, found: &mut Examination) -> Result<()> {
    let mut check = |place: String, header: Header<'_>, lifetime: Option<&Lifetime>, remedy: &str| {
        let whole = lifetime.and_then(|lifetime| lifetime.after(now)).map_or(0, |end| end - now);
        if header.expires <= now + whole / 4 {
            let rule = if header.expires <= now { "expired" } else { "expires-soon" };
            let fault = format!("{} ({})", clock::expiry(header.expires, now), clock::date(header.expires));
            found.add(rule, place, fault, remedy);
        }
    };
    let top = [
        (Role::Root, files.root()?.header, "the officers sign a new root before that"),
        (Role::Timestamp, files.timestamp()?.header, "`sealift renew`; is the job that runs it well?"),
        (Role::Snapshot, files.snapshot()?.header, "`sealift renew --snapshot`"),
        (Role::Targets, files.targets()?.header, "the officers sign the top-level targets anew before that"),
    ];
    for (role, header, remedy) in top {
        check(role.to_string(), header, Some(&project.role(role).expires), remedy);
    }
    for (name, _) in &files.delegated {
        let Some((_, targets)) = files.delegated(name)? else { continue };
        let lifetime = project.delegations.get(name).map(|delegation| &delegation.expires);
        check(format!("targets of {name}"), targets.header, lifetime, "`sealift renew --product ID`, or a new release");
    }
    Ok(())
}

/// Keys of roles that have signed no file of the repository: nobody knows whether they work.
fn unused(project: &Project, layout: &Layout, files: &Files, found: &mut Examination) -> Result<()> {
    let mut used: BTreeSet<KeyId> = BTreeSet::new();
    let folder = layout.metadata();
    for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
        let path = entry.map_err(Error::io("list", &folder))?.path();
        let Ok(file) = fs::read(&path) else { continue };
        let Ok(envelope) = Envelope::decode(&file) else { continue };
        used.extend(envelope.signatures.iter().map(|signature| signature.key_id));
    }
    let mut told = BTreeSet::new();
    for (place, names, _) in project.signers() {
        // A delegation without a release has nothing to sign yet.
        let name = place.strip_prefix("delegations.");
        if name.is_some_and(|name| files.delegated.iter().all(|(listed, _)| listed != name)) {
            continue;
        }
        for (name, key) in project.keys_of(names) {
            if !used.contains(&key.public.id()) && told.insert(name) {
                found.add(
                    "never-used",
                    format!("keys.{name}"),
                    format!("a key of {place} that has signed nothing in this repository"),
                    "have it sign something: better to learn today that it is lost than on the day it is needed",
                );
            }
        }
    }
    Ok(())
}
