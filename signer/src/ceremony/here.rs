//! The ceremony of a project whose keys are all in one place: the same transaction, with every act of it in one command.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sealift_manifests::PublicKey;

use super::edit::Edit;
use super::log::Act;
use super::plan::{self, present};
use super::request::{Examined, Need};
use super::response::Response;
use super::{Applied, Ceremony, Open, digest_of, missing, officer};
use crate::error::{Error, Result};
use crate::keys::{self, KeySource, KeyUri};
use crate::repository::Transaction;
use crate::signing::{Signers, too_few};

/// The keys of a request that are on this machine.
#[derive(Debug, Default)]
pub struct LocalKeys {
    /// They.
    pub open: Vec<Box<dyn KeySource>>,
    absent: Vec<(PublicKey, String)>,
    offline: Vec<PublicKey>,
}

impl LocalKeys {
    /// How many keys of a need are here, and how many more are offline.
    fn of(&self, need: &Need) -> (usize, usize) {
        let here = self.open.iter().filter(|key| need.keys.contains(&key.public_key())).count();
        (here, self.offline.iter().filter(|key| need.keys.contains(key)).count())
    }
}

impl Ceremony {
    /// Opens the keys that a request asks for, as far as the project file, now or staged, knows where they are.
    pub fn local_keys(&self, examined: &Examined) -> Result<LocalKeys> {
        let mut local = LocalKeys::default();
        let mut seen = Vec::new();
        let staged = self.staged().ok();
        for project in std::iter::once(&self.project).chain(&staged) {
            for (name, key) in &project.keys {
                let wanted =
                    examined.items.iter().flat_map(|item| &item.needs).any(|need| need.keys.contains(&key.public));
                if !wanted || seen.contains(&key.public) {
                    continue;
                }
                seen.push(key.public);
                if let KeyUri::Offline(_) = key.uri {
                    local.offline.push(key.public);
                }
                match keys::open(&key.uri, project.folder(), self.development)? {
                    None => local.absent.push((key.public, format!("{name} ({})", key.uri))),
                    Some(source) if source.public_key() != key.public => {
                        return Err(Error::input(
                            format!("{}: keys.{name}", project.file.display()),
                            format!("the key at {} is another one: its id is {}", key.uri, source.public_key().id()),
                            format!("its id must be {}; correct the URI, or the public key", key.public.id()),
                        ));
                    }
                    Some(source) => local.open.push(source),
                }
            }
        }
        Ok(local)
    }

    /// Signs the request under way with keys that are on this machine, each as if its officer's response had come in.
    pub fn sign_here(&mut self, keys: &[Box<dyn KeySource>]) -> Result<Vec<Response>> {
        let examined = self.examined()?;
        let mut responses = Vec::new();
        for key in keys {
            let signed = self.opened()?.responses.iter().any(|known| known.key == key.public_key());
            if !signed && responses.iter().all(|known: &Response| known.key != key.public_key()) {
                responses.push(officer::sign(&examined, key.as_ref())?);
            }
        }
        self.append(responses.iter().map(|response| Act::Response { response: response.encode() }))?;
        Ok(responses)
    }

    /// Signs and applies what sealift.toml says, or what is staged, with the keys that are on this machine. `None` when the
    /// repository says so already and `renew` does not ask for new expiries. Where offline keys are needed, the ceremony is
    /// left open and the request written.
    pub fn apply_here(&mut self, renew: bool) -> Result<Option<Applied>> {
        if let Some(open) = &self.open {
            if renew {
                return Err(Error::refused(
                    "a ceremony is under way",
                    "apply or cancel it first; or renew with it: `sealift root stage renew`",
                ));
            }
            if open.request.is_some() || open.applying {
                return self.apply().map(Some);
            }
            self.request(false)?;
            let examined = self.examined()?;
            let local = self.local_keys(&examined)?;
            if self.reach(&examined, &local)? {
                self.sign_here(&local.open)?;
                return self.apply().map(Some);
            }
            self.sign_here(&local.open)?;
            return self.wait(&examined).map(Some);
        }
        let layout = self.layout();
        let transaction = Transaction::begin(&layout)?;
        let present = present(&self.project, &layout, self.development)?;
        let edit = if renew { Edit::Renew {} } else { Edit::AsWritten {} };
        let edits = vec![edit.clone()];
        let follows = self.log.head;
        let plan = plan::plan(&self.project, &layout, present.as_ref(), &edits, &follows, self.development, self.now)?;
        if plan.idle {
            return Ok(None);
        }
        // What every apply needs, before anything is asked of anybody.
        let mut online = Signers::default();
        online.add(&self.project, "timestamp", self.development)?;
        online.add(&self.project, "snapshot", self.development)?;
        drop(online);
        let mut acts = vec![self.begin_act(present.as_ref())?, Act::Stage { edit }];
        let mut open = Open {
            began: self.log.entries.len() as u64 + 1,
            root: present.as_ref().map_or(0, |present| present.files.roots.len() as u64),
            follows,
            edits,
            request: None,
            void: Vec::new(),
            responses: Vec::new(),
            applying: false,
        };
        let mut asked = None;
        if !plan.items.is_empty() {
            let files = present.as_ref().map(|present| &present.files);
            let text = plan::request(&self.project, files, plan.items, self.now)?.text()?;
            let examined = self.examine(&text)?;
            let local = self.local_keys(&examined)?;
            let enough = self.reach(&examined, &local)?;
            for key in &local.open {
                open.responses.push(officer::sign(&examined, key.as_ref())?);
            }
            acts.push(Act::Request { request: text.clone() });
            acts.extend(open.responses.iter().map(|response| Act::Response { response: response.encode() }));
            if !enough {
                self.append(acts)?;
                return self.wait(&examined).map(Some);
            }
            debug_assert_eq!(digest_of(&text), examined.digest);
            open.request = Some(text);
            asked = Some(examined);
        }
        let prepared = self.prepare(&transaction, &open, asked.as_ref())?;
        acts.push(Act::Applying {});
        self.append(acts)?;
        let outcome = self.commit(&transaction, prepared);
        if let Err(error) = &outcome {
            // As long as no new root is out, nothing happened.
            let _ = self.cancel(format!("it could not be written: {error}"));
        }
        outcome.map(Some)
    }

    /// Asks the officers of delegated roles for signatures over these payloads. What comes back is always the error that says
    /// so: nothing is released before they signed.
    pub fn ask(&mut self, delegated: &BTreeMap<String, Vec<u8>>) -> Error {
        if self.open.is_some() {
            return Error::refused(
                "offline keys have to sign this, and another ceremony is under way",
                "apply or cancel that one first: see `sealift root show`",
            );
        }
        let stage = |(name, payload): (&String, &Vec<u8>)| Edit::Targets {
            name: name.clone(),
            payload: BASE64.encode(payload),
        };
        let asked = delegated.iter().map(stage).try_for_each(|edit| self.stage(edit));
        let waits = asked.and_then(|()| {
            let (_, examined) = self.request(false)?;
            let local = self.local_keys(&examined)?;
            self.sign_here(&local.open)?;
            self.wait(&examined).map(drop)
        });
        waits.err().unwrap_or_else(|| Error::failed("a ceremony that waits for nobody", "please report this"))
    }

    /// Whether the keys here reach every threshold. An error when not even the offline ones would.
    fn reach(&self, examined: &Examined, local: &LocalKeys) -> Result<bool> {
        let mut enough = true;
        for item in &examined.items {
            for need in &item.needs {
                let (here, offline) = local.of(need);
                if here as u64 >= need.threshold {
                    continue;
                }
                if (here + offline) as u64 >= need.threshold {
                    enough = false;
                    continue;
                }
                let file = self.project.file.display();
                let absent = local.absent.iter().filter(|(key, _)| need.keys.contains(key));
                let absent: Vec<String> = absent.map(|(_, name)| name.clone()).collect();
                if need.present {
                    let known =
                        if absent.is_empty() { String::new() } else { format!(" (absent: {})", absent.join(", ")) };
                    return Err(Error::Input {
                        place: file.to_string(),
                        fault: format!(
                            "{here} of the {} keys of the present root are here{known}, and its successor needs their \
                             signatures too",
                            need.threshold
                        ),
                        remedy: "keep the old keys under [keys] until the new root is signed, and bring their files; or have \
                                 their officers sign elsewhere: `sealift root request --help`"
                            .into(),
                    });
                }
                return Err(Error::Input {
                    place: format!("{file}: keys of {}", item.role),
                    fault: too_few(here, need.threshold, &absent),
                    remedy: "bring the key files to these places, or set these variables; or have their officers sign \
                             elsewhere: `sealift root request --help`"
                        .into(),
                });
            }
        }
        Ok(enough)
    }

    /// Leaves the ceremony open for the officers whose keys are elsewhere.
    fn wait(&self, examined: &Examined) -> Result<Applied> {
        let path = self.request_path();
        let open = self.opened()?;
        if let Some(text) = &open.request {
            self.write_request(&path, text)?;
        }
        Err(Error::Refused {
            code: Some(sealift_verifier::Error::ThresholdNotMet(sealift_manifests::Role::Root).code()),
            fault: format!(
                "offline keys have to sign, and nothing is changed before they did: {}",
                missing(examined, &open.responses, &self.names()).join("; ")
            ),
            remedy: format!(
                "the sign-request is {}: each officer runs `sealift root sign --request FILE --key URI`, then `sealift root \
                 import RESPONSE` here, and `sealift root apply`",
                path.display()
            ),
        })
    }
}
