//! Applying: both thresholds are counted, then root, targets and everything that pins them are written in one act.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use sealift_manifests::envelope::Signature;
use sealift_manifests::{Envelope, KeyId, List, Role, Root, Targets, sha256};
use sealift_verifier::cose::CoseFile;
use sealift_verifier::trust::{Policy, Signers as Counted, Time, count_signatures};

use super::collected::CollectedKey;
use super::log::Act;
use super::plan::{Fate, Present, fates, present};
use super::request::{Bytes, Examined, ExaminedItem};
use super::response::Response;
use super::{Ceremony, Open, missing};
use crate::error::{Error, Result};
use crate::keys::KeySource;
use crate::project::Project;
use crate::publish::{Changes, publish};
use crate::release::agrees;
use crate::repository::{Files, Transaction, write_atomic};
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
    /// Keys that signed root or targets.
    pub signed_by: Vec<KeyId>,
}

/// Everything that applying takes, at hand and checked; nothing is written yet.
pub(super) struct Prepared {
    text: String,
    staged: Project,
    files: Option<Files>,
    changes: Changes,
    signers: Signers,
    unlisted: Vec<String>,
    signed_by: Vec<KeyId>,
    /// An interrupted act got as far as the timestamp.
    written: bool,
}

impl Ceremony {
    /// Applies the ceremony under way, or finishes one whose applying was interrupted.
    pub fn apply(&mut self) -> Result<Applied> {
        let transaction = Transaction::begin(&self.layout())?;
        let open = self.opened()?.clone();
        let examined = match &open.request {
            // Nothing was left to sign: the root of an interrupted act is out.
            None if open.applying => None,
            _ => Some(self.examined()?),
        };
        let prepared = self.prepare(&transaction, &open, examined.as_ref())?;
        if !open.applying {
            self.append([Act::Applying {}])?;
        }
        self.commit(&transaction, prepared)
    }

    /// Brings together everything that applying takes, and changes nothing.
    pub(super) fn prepare(
        &self,
        transaction: &Transaction,
        open: &Open,
        examined: Option<&Examined>,
    ) -> Result<Prepared> {
        let now = self.now;
        let present = present(&self.project, transaction.layout(), self.development)?;
        if let Some(present) = &present {
            crate::clock::check_against(present.files.timestamp()?.issued, now)?;
        }
        if let Some(examined) = examined {
            for response in &open.responses {
                self.check_known(examined, response)?;
            }
            count(examined, &open.responses, &self.names())?;
        }
        let standing = Standing::of(examined, present.as_ref())?;
        let (text, staged) = match standing.is_written() {
            // sealift.toml may be the new one already: then the changes do not fit a second time.
            true => self.written_project(open, present.as_ref())?,
            false => self.parse(&open.edits)?,
        };
        let mut signers = Signers::default();
        // First what is renewed most often, and what is missed most often.
        signers.add(&staged, "timestamp", self.development)?;
        signers.add(&staged, "snapshot", self.development)?;
        let mut changes = Changes { renew_snapshot: true, ..Changes::default() };
        let mut resigned = Vec::new();
        for (index, item) in examined.iter().flat_map(|examined| examined.items.iter().enumerate()) {
            if standing.done.contains(&item.role) {
                continue;
            }
            signers.insert(&item.role, collected(index, item, &open.responses)?);
            let payload = item.payload.clone();
            match item.role.as_str() {
                "root" => changes.root = Some(payload),
                "targets" => changes.targets = Some(payload),
                name => drop(changes.delegated.insert(name.to_owned(), payload)),
            }
        }
        let mut unlisted = Vec::new();
        let files = present.map(|present| present.files);
        let root_payload = next(changes.root.as_deref(), files.as_ref().and_then(|files| files.roots.last()))?;
        let top_payload = next(changes.targets.as_deref(), files.as_ref().map(|files| &files.targets))?;
        let root = Root::decode(&root_payload).map_err(|error| Error::failed(error, ""))?;
        let top = Targets::decode(&top_payload).map_err(|error| Error::failed(error, ""))?;
        if let Err(what) = agrees(&staged, &root, &top)? {
            return Err(Error::refused(
                format!(
                    "{} disagrees with what was signed on {what}: it changed since the request was made",
                    staged.file.display()
                ),
                "undo that change, or make a new request: `sealift root request --anew`",
            ));
        }
        if let Some(files) = &files {
            let waiting = changes.delegated.keys().cloned().chain(standing.done.clone()).collect();
            for (name, fate) in fates(&staged, transaction.layout(), files, &top, &waiting, self.development, now)? {
                match fate {
                    Fate::Removed => drop(changes.removed.insert(name)),
                    Fate::Unlisted => {
                        changes.removed.insert(name.clone());
                        unlisted.push(name);
                    }
                    Fate::Resigned(payload) => {
                        signers.add(&staged, &name, self.development)?;
                        changes.delegated.insert(name.clone(), payload);
                        resigned.push(name);
                    }
                    Fate::Offline(_) => {
                        return Err(Error::refused(
                            format!(
                                "the releases of `{name}` changed since the request was made, and its keys are offline"
                            ),
                            "make a new request: `sealift root request --anew`",
                        ));
                    }
                }
            }
        }
        let mut signed_by: Vec<KeyId> = open.responses.iter().map(|response| response.key.id()).collect();
        signed_by.sort();
        let whole = files.as_ref().is_some_and(|files| {
            let policy = if self.development { Policy::development() } else { Policy::production() };
            let first = files.roots.first().map_or(&[][..], Vec::as_slice);
            files.verify(first, &policy, Time::Unknown).is_ok()
        });
        let idle = changes.root.is_none() && changes.targets.is_none() && changes.delegated.is_empty();
        let written = standing.is_written() && whole && idle && changes.removed.is_empty();
        Ok(Prepared { text, staged, files, changes, signers, unlisted, signed_by, written })
    }

    /// Writes what was prepared: the repository, sealift.toml, the log.
    pub(super) fn commit(&mut self, transaction: &Transaction, prepared: Prepared) -> Result<Applied> {
        let Prepared { text, staged, files, changes, signers, unlisted, signed_by, written } = prepared;
        let (root, targets) = (changes.root.is_some(), changes.targets.is_some());
        let resigned: Vec<String> = changes.delegated.keys().cloned().collect();
        let files = match files {
            Some(files) if written => files,
            files => publish(&staged, transaction, files, changes, &signers, self.now)?,
        };
        // A link to the project file stays one.
        let path = fs::canonicalize(&staged.file).map_err(Error::io("find", &staged.file))?;
        let present = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        if present != text {
            write_atomic(&path, text.as_bytes())?;
        }
        let digest = files.root_digest().ok_or_else(|| Error::failed("a state without a root", ""))?;
        self.append([Act::Applied {
            root: files.root()?.header.version,
            root_sha256: digest.to_string(),
            targets: files.targets()?.header.version,
            targets_sha256: sha256(&files.targets).to_string(),
        }])?;
        self.project = staged;
        Ok(Applied { files, root, targets, resigned, unlisted, signed_by })
    }

    /// A response out of the log: it was checked when it came, and the log may have been altered since.
    fn check_known(&self, examined: &Examined, response: &Response) -> Result<()> {
        for (index, signed) in &response.signatures {
            let holds = examined.items.get(*index).is_some_and(|item| {
                let verify = |message: &[u8], signature: &[u8; 64]| {
                    sealift_verifier::ed25519::verify(&response.key.0, &[message], signature)
                };
                let host = match (&item.host_message, &signed.host) {
                    (None, None) => true,
                    (Some(message), Some(signature)) => verify(message, signature),
                    _ => false,
                };
                host && verify(&item.device_message, &signed.device)
            });
            if !holds {
                return Err(Error::refused(
                    format!(
                        "{}: a signature of {} in the log does not hold",
                        self.log.path.display(),
                        response.key.id()
                    ),
                    "see `sealift audit`; restore the log, or make a new request: `sealift root request --anew`",
                ));
            }
        }
        Ok(())
    }

    /// sealift.toml after an apply that was interrupted: before or after the file itself was replaced.
    fn written_project(&self, open: &Open, present: Option<&Present>) -> Result<(String, Project)> {
        if let Some(present) = present
            && agrees(&self.project, &present.files.root()?, &present.files.targets()?)?.is_ok()
        {
            return self.parse(&[]);
        }
        self.parse(&open.edits)
    }
}

/// Counts what has to be reached, with the one function that counts.
fn count(examined: &Examined, responses: &[Response], names: &BTreeMap<KeyId, String>) -> Result<()> {
    for (index, item) in examined.items.iter().enumerate() {
        let mut signatures: BTreeMap<KeyId, &[u8; 64]> = BTreeMap::new();
        for response in responses {
            if let Some(signed) = response.signatures.get(&index) {
                signatures.insert(response.key.id(), &signed.device);
            }
        }
        let signatures: Vec<_> =
            signatures.into_iter().map(|(key_id, signature)| Signature { key_id, signature }).collect();
        let file = Envelope { payload: &item.payload, signatures: List::new(&signatures) }.encode();
        let met = !signatures.is_empty()
            && item.needs.iter().all(|need| match item.tuf_role {
                Role::Root => CoseFile::<Root<'_>>::new(&file)
                    .and_then(|file| count_signatures::<_, _, Counted>(&file, need, Role::Root))
                    .is_ok(),
                _ => CoseFile::<Targets<'_>>::new(&file)
                    .and_then(|file| count_signatures::<_, _, Counted>(&file, need, Role::Targets))
                    .is_ok(),
            });
        if !met {
            return Err(Error::Refused {
                code: Some(sealift_verifier::Error::ThresholdNotMet(Role::Root).code()),
                fault: format!("the thresholds are not reached: {}", missing(examined, responses, names).join("; ")),
                remedy: "have these officers sign the request (`sealift root sign`), and import their responses".into(),
            });
        }
    }
    Ok(())
}

/// The keys that signed an item, to sign it once more with what they signed.
fn collected(index: usize, item: &ExaminedItem, responses: &[Response]) -> Result<Vec<Box<dyn KeySource>>> {
    let mut keys: Vec<Box<dyn KeySource>> = Vec::new();
    for response in responses {
        let Some(signed) = response.signatures.get(&index) else { continue };
        let mut key = CollectedKey::new(response.key);
        key.add(&item.device_message, signed.device);
        if let (Some(message), Some(signature)) = (&item.host_message, signed.host) {
            key.add(message, signature);
        }
        keys.push(Box::new(key));
    }
    Ok(keys)
}

/// The payload that will stand: the new one, or the present file's.
fn next(new: Option<&[u8]>, present: Option<&Vec<u8>>) -> Result<Vec<u8>> {
    if let Some(new) = new {
        return Ok(new.to_vec());
    }
    let file = present.ok_or_else(|| Error::failed("there is neither a present file nor a new one", ""))?;
    Ok(Envelope::decode(file).map_err(|error| Error::failed(error, ""))?.payload.to_vec())
}

/// What of a request is in the repository already: an interrupted act put it there.
struct Standing {
    done: BTreeSet<String>,
    whole: bool,
}

impl Standing {
    fn of(examined: Option<&Examined>, present: Option<&Present>) -> Result<Self> {
        let mut done = BTreeSet::new();
        let Some(examined) = examined else { return Ok(Standing { done, whole: true }) };
        let request = &examined.request;
        let empty = Vec::new();
        let roots = present.map_or(&empty, |present| &present.files.roots);
        let stale = || {
            Error::refused(
                format!(
                    "the request is stale: it was made on root {}, and the repository has root {} and other targets since",
                    request.roots.len(),
                    roots.len()
                ),
                "make a new one, and have it signed: `sealift root request --anew`",
            )
        };
        let same =
            |payload: &[u8], file: &[u8]| Envelope::decode(file).is_ok_and(|envelope| envelope.payload == payload);
        let item = |role: &str| examined.items.iter().find(|item| item.role == role);
        let listed = |roots: &[Vec<u8>]| roots.iter().eq(request.roots.iter().map(|Bytes(file)| file));
        if !listed(roots) {
            match (item("root"), roots.split_last()) {
                (Some(item), Some((last, before))) if listed(before) && same(&item.payload, last) => {
                    done.insert("root".to_owned());
                }
                _ => return Err(stale()),
            }
        }
        let present_targets = present.map(|present| &present.files.targets);
        if present_targets != request.targets.as_ref().map(|Bytes(file)| file) {
            match (item("targets"), present_targets) {
                (Some(item), Some(file)) if same(&item.payload, file) => drop(done.insert("targets".to_owned())),
                _ => return Err(stale()),
            }
        }
        for (index, item) in examined.items.iter().enumerate() {
            if matches!(item.role.as_str(), "root" | "targets") {
                continue;
            }
            let file = present.and_then(|present| {
                present.files.delegated.iter().find(|(name, _)| *name == item.role).map(|(_, file)| file)
            });
            let before = request.items.get(index).and_then(|item| item.present.as_ref()).map(|Bytes(file)| file);
            match file {
                Some(file) if same(&item.payload, file) => drop(done.insert(item.role.clone())),
                file if file == before => {}
                _ => {
                    return Err(Error::refused(
                        format!("the request is stale: the targets of {} changed since it was made", item.role),
                        "make a new one, and have it signed: `sealift root request --anew`",
                    ));
                }
            }
        }
        let whole = examined.items.iter().all(|item| done.contains(&item.role));
        Ok(Standing { done, whole })
    }

    /// Whether everything that was signed is in the repository.
    fn is_written(&self) -> bool {
        self.whole
    }
}
