//! Checking the ceremony log: against itself, against the signatures in it, and against the roots that devices follow.
//!
//! A chain of hashes alone can be computed anew by whoever can write the file. What holds it are things outside it: every root
//! and top-level targets file that a ceremony made is listed with its hash, and names, under the officers' signatures, the
//! entry of the log that it follows. So what came before the last root cannot be changed without the officers. What came after
//! can be cut off by somebody who can write the log; a head that was noted elsewhere shows that.

use std::collections::BTreeMap;
use std::fs;

use sealift_manifests::{Digest, Envelope, Root, sha256};

use super::log::{Act, Entry, Log};
use super::request::Examined;
use super::state;
use super::{Open, missing};
use crate::authority::LOG_HEAD;
use crate::clock::date;
use crate::error::Result;
use crate::project::Project;
use crate::repository::Layout;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: String,
    /// What.
    pub fault: String,
}

/// What a check of the log found.
#[derive(Debug, Default)]
pub struct Audit {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is worth knowing, and not wrong.
    pub notes: Vec<String>,
    /// The acts in words: number, time, hash, what happened.
    pub acts: Vec<(u64, u64, Digest, String)>,
    /// Hash of the last entry.
    pub head: Digest,
    /// Roots whose making the log tells.
    pub roots: Vec<u64>,
}

impl Audit {
    fn find(&mut self, place: impl ToString, fault: impl ToString) {
        self.findings.push(Finding { place: place.to_string(), fault: fault.to_string() });
    }
}

/// Checks the log of a project. `heads` were noted elsewhere, and have to be in it.
pub fn audit(project: &Project, heads: &[Digest], development: bool) -> Result<Audit> {
    let mut audit = Audit::default();
    let log = match Log::read(&project.file, &project.id) {
        Ok(log) => log,
        Err(error) => {
            audit.find("the chain", error);
            return Ok(audit);
        }
    };
    audit.head = log.head;
    if log.torn {
        audit.notes.push(
            "the last line was never finished: whoever wrote it was interrupted, and its act never happened".into(),
        );
    }
    for head in heads {
        if log.head != *head && log.entries.iter().all(|entry| entry.hash != *head && entry.previous != *head) {
            audit.find(
                "the chain",
                format!("the entry {head} that was noted is not in it: the log was cut off before it, or written anew"),
            );
        }
    }
    let applied = walk(&log, &mut audit, development);
    check_roots(project, &log, &applied, &mut audit)?;
    Ok(audit)
}

/// An applied ceremony: the entry, the root it made or kept, and the hashes of what it wrote.
struct Done {
    follows: Digest,
    root: u64,
    root_sha256: String,
    targets_sha256: String,
    n: u64,
}

/// Plays the acts through, and checks each request and each response in them.
fn walk(log: &Log, audit: &mut Audit, development: bool) -> Vec<Done> {
    let mut open: Option<Open> = None;
    let mut done = Vec::new();
    let mut time = 0;
    for entry in &log.entries {
        let place = format!("line {}", entry.n);
        audit.acts.push((entry.n, entry.time, entry.hash, words(&entry.act, log, development)));
        if entry.time < time {
            audit
                .notes
                .push(format!("{place}: its clock said {}, which is before the line above it", date(entry.time)));
        }
        time = entry.time;
        if let Act::Applied { root, root_sha256, targets_sha256, .. } = &entry.act {
            if let Some(open) = &open {
                check_applied(open, entry, log, development, audit);
                done.push(Done {
                    follows: open.follows,
                    root: *root,
                    root_sha256: root_sha256.clone(),
                    targets_sha256: targets_sha256.clone(),
                    n: entry.n,
                });
            }
            audit.roots.push(*root);
        }
        if let Err(fault) = state::step(&mut open, entry) {
            audit.find(place, fault);
            return done;
        }
    }
    audit.roots.dedup();
    done
}

/// Whether the signatures that the log has reached the thresholds of what was applied.
fn check_applied(open: &Open, entry: &Entry, log: &Log, development: bool, audit: &mut Audit) {
    let Some(text) = &open.request else { return };
    let place = format!("line {}", entry.n);
    let examined = match Examined::of(text.as_bytes(), &log.path, None, development) {
        Ok(examined) => examined,
        Err(error) => return audit.find(place, format!("the request that was applied does not hold: {error}")),
    };
    for response in &open.responses {
        for (index, signed) in &response.signatures {
            let holds = examined.items.get(*index).is_some_and(|item| {
                sealift_verifier::ed25519::verify(&response.key.0, &[&item.device_message], &signed.device)
            });
            if !holds {
                audit.find(&place, format!("a signature of {} does not hold", response.key.id()));
            }
        }
    }
    for fault in missing(&examined, &open.responses, &BTreeMap::new()) {
        audit.find(&place, format!("applied without the signatures it takes: {fault}"));
    }
}

fn words(act: &Act, log: &Log, development: bool) -> String {
    match act {
        Act::Begin { root: 0, .. } => "a ceremony begins, for the first root".into(),
        Act::Begin { root, .. } => format!("a ceremony begins, on root {root}"),
        Act::Stage { edit } => format!("staged: {}", edit.words()),
        Act::Request { request } => {
            let digest = sha256(request.as_bytes());
            match Examined::of(request.as_bytes(), &log.path, None, development) {
                Ok(examined) => {
                    let roles: Vec<_> = examined.items.iter().map(|item| item.role.as_str()).collect();
                    format!("sign-request {digest} for {}", roles.join(", "))
                }
                Err(_) => format!("sign-request {digest}"),
            }
        }
        Act::Response { response } => match super::Response::decode(response, "") {
            Ok(response) => format!("signed by the key {}", response.key.id()),
            Err(_) => "a response".into(),
        },
        Act::Applying {} => "the thresholds are reached; the new state is written".into(),
        Act::Applied { root, targets, .. } => format!("applied: root {root}, targets {targets}"),
        Act::Cancel { why } if why.is_empty() => "cancelled".into(),
        Act::Cancel { why } => format!("cancelled: {why}"),
    }
}

/// Holds the log to what devices follow.
fn check_roots(project: &Project, log: &Log, applied: &[Done], audit: &mut Audit) -> Result<()> {
    let layout = Layout::new(&project.directory);
    for done in applied {
        let place = format!("line {}", done.n);
        match fs::read(layout.root(done.root)) {
            Ok(file) if sha256(&file).to_string() == done.root_sha256 => {}
            Ok(_) => audit
                .find(&place, format!("root {} in the repository is another than the one that was applied", done.root)),
            Err(_) => audit.find(&place, format!("root {}, which was applied, is not in the repository", done.root)),
        }
        let targets = layout.metadata().join(format!("{}.targets", done.targets_sha256));
        if !targets.exists() {
            audit.find(&place, "the top-level targets that were applied are not in the repository");
        }
    }
    let began = log.entries.first().map(|entry| match entry.act {
        Act::Begin { root, .. } => root,
        _ => 0,
    });
    let mut version = 1;
    while let Ok(file) = fs::read(layout.root(version)) {
        let follows = follows_of(&file);
        let made = applied.iter().find(|done| done.root == version);
        match (follows, made) {
            (_, None) if under_way(log, &file) => {}
            (Some(follows), Some(done)) if follows == done.follows => {}
            (Some(_), Some(_)) => audit.find(
                format!("root {version}"),
                "it names, signed, another entry of the log than the one its ceremony follows: what came before was written anew",
            ),
            (Some(_), None) => audit.find(
                format!("root {version}"),
                "a ceremony made it, and the log does not tell of it: the log was cut off, or is another one",
            ),
            (None, _) if began.is_none_or(|began| version <= began) => {
                audit.notes.push(format!("root {version} was made before there was a log"));
            }
            (None, _) => audit.find(format!("root {version}"), "it was made without a ceremony, and the log was begun before it"),
        }
        version += 1;
    }
    Ok(())
}

/// Whether a root is that of the ceremony whose applying was interrupted.
fn under_way(log: &Log, file: &[u8]) -> bool {
    let Ok(Some(open)) = state::replay(log) else { return false };
    let request: Option<super::Request> = open.request.and_then(|text| serde_json::from_str(&text).ok());
    let payload = Envelope::decode(file).map(|envelope| envelope.payload.to_vec()).unwrap_or_default();
    open.applying
        && request
            .is_some_and(|request| request.items.iter().any(|item| item.role == "root" && item.payload.0 == payload))
}

/// The entry of the log that a root says it follows.
fn follows_of(file: &[u8]) -> Option<Digest> {
    let root = Root::decode(Envelope::decode(file).ok()?.payload).ok()?;
    let value = root.header.extensions.iter().find(|(number, _)| *number == LOG_HEAD)?.1;
    value.try_into().ok().map(Digest)
}
