//! The root ceremony as a transaction: changes are staged, fixed in a sign-request, signed by each officer on a machine of
//! their own, collected, and applied when the thresholds of the old and the new root are reached. Nothing changes before.
//!
//! ```text
//! stage, stage, ...  ->  request  ->  sign (elsewhere)  ->  import, import, ...  ->  apply
//!        \_______________________ cancel _______________________/
//! ```
//! The same transaction serves delegations, and releases whose keys are offline. Its state is the ceremony log (`log.rs`):
//! every act is one durable line, so that it goes on wherever it was interrupted.

mod apply;
mod audit;
mod collected;
mod edit;
mod here;
mod log;
mod officer;
mod plan;
mod request;
mod response;
mod state;
mod summary;

pub use apply::Applied;
pub use audit::{Audit, Finding, audit};
pub use edit::{Edit, NewKey, stand_in};
pub use here::LocalKeys;
pub use log::{Act, Entry, Log, path_of};
pub use officer::{check_clock, sign};
pub use plan::{Plan, Present, present};
pub use request::{Examined, ExaminedItem, MAX_REQUEST, Need, Request};
pub use response::{MAX_RESPONSE, Response, Signed};
pub use state::Open;
pub use summary::{Change, Summary};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sealift_manifests::{KeyId, sha256};

use crate::error::{Error, Result};
use crate::project::Project;
use crate::repository::{Layout, Transaction, write_atomic};

/// The ceremony of one project. While it is held, no other act of the project's ceremonies happens.
#[derive(Debug)]
pub struct Ceremony {
    /// The project as its file stands now.
    pub project: Project,
    /// The log.
    pub log: Log,
    /// The ceremony that is under way.
    pub open: Option<Open>,
    development: bool,
    now: u64,
}

/// How far one threshold is.
#[derive(Debug)]
pub struct Progress {
    /// The file that has to be signed.
    pub role: String,
    /// Whose signatures count.
    pub need: Need,
    /// The keys that have signed.
    pub signed: Vec<KeyId>,
}

impl Progress {
    /// Whether it is reached.
    pub fn is_met(&self) -> bool {
        self.signed.len() as u64 >= self.need.threshold
    }
}

impl Ceremony {
    /// Opens a project's ceremony to act in it.
    pub fn open(project: Project, development: bool, now: u64) -> Result<Self> {
        let log = Log::open(&project.file, &project.id)?;
        Self::with(project, log, development, now)
    }

    /// Opens it to look at it.
    pub fn read(project: Project, development: bool, now: u64) -> Result<Self> {
        let log = Log::read(&project.file, &project.id)?;
        Self::with(project, log, development, now)
    }

    fn with(project: Project, log: Log, development: bool, now: u64) -> Result<Self> {
        let open = state::replay(&log)?;
        Ok(Ceremony { project, log, open, development, now })
    }

    fn append(&mut self, acts: impl IntoIterator<Item = Act>) -> Result<()> {
        self.log.append(acts, self.now)?;
        self.open = state::replay(&self.log)?;
        Ok(())
    }

    /// The repository's layout.
    pub fn layout(&self) -> Layout {
        Layout::new(&self.project.directory)
    }

    /// The act that begins a ceremony.
    fn begin_act(&self, present: Option<&Present>) -> Result<Act> {
        let root = present.map(|present| present.files.root().map(|root| root.header.version)).transpose()?;
        let root_sha256 = present.and_then(|present| present.files.root_digest()).map(|digest| digest.to_string());
        Ok(Act::Begin { root: root.unwrap_or(0), root_sha256 })
    }

    /// Begins a ceremony; one that is under way goes on.
    pub fn begin(&mut self) -> Result<bool> {
        if self.open.is_some() {
            return Ok(false);
        }
        let present = present(&self.project, &self.layout(), self.development)?;
        let mut acts = vec![self.begin_act(present.as_ref())?];
        if present.is_none() {
            acts.push(Act::Stage { edit: Edit::AsWritten {} });
        }
        self.append(acts)?;
        Ok(true)
    }

    /// Stages a change, if sealift.toml is still a sound project file with it. A request that was made before is void.
    pub fn stage(&mut self, edit: Edit) -> Result<()> {
        self.refuse_applying("staged")?;
        let mut edits = self.open.as_ref().map(|open| open.edits.clone()).unwrap_or_default();
        edits.push(edit.clone());
        self.parse(&edits)?;
        self.begin()?;
        self.append([Act::Stage { edit }])
    }

    /// The text of sealift.toml with the staged changes.
    pub fn staged_text(&self, edits: &[Edit]) -> Result<String> {
        let file = &self.project.file;
        let text = fs::read_to_string(file).map_err(Error::io("read", file))?;
        edit::apply(&text, edits)
    }

    fn parse(&self, edits: &[Edit]) -> Result<(String, Project)> {
        let text = self.staged_text(edits)?;
        let project = Project::parse(&self.project.file, &text, self.development)?;
        if project.id != self.project.id || project.directory != self.project.directory {
            return Err(Error::refused(
                "a ceremony cannot change the repository's id or directory",
                "the id is for ever; move the directory by hand, and then its entry",
            ));
        }
        Ok((text, project))
    }

    /// The project as it will be.
    pub fn staged(&self) -> Result<Project> {
        let edits = self.open.as_ref().map(|open| &open.edits[..]).unwrap_or_default();
        Ok(self.parse(edits)?.1)
    }

    fn refuse_applying(&self, what: &str) -> Result<()> {
        match &self.open {
            Some(open) if open.applying => Err(Error::refused(
                format!("nothing can be {what} now: the ceremony is being applied, and was interrupted"),
                "finish it with `sealift root apply`",
            )),
            _ => Ok(()),
        }
    }

    fn opened(&self) -> Result<&Open> {
        self.open.as_ref().ok_or_else(|| {
            Error::refused("no ceremony is under way", "begin one: `sealift root stage --help`, or `sealift root init`")
        })
    }

    /// What is to be signed as things stand: not fixed, and not asked of anybody.
    pub fn preview(&self) -> Result<Option<Request>> {
        let edits = self.open.as_ref().map_or_else(|| vec![Edit::AsWritten {}], |open| open.edits.clone());
        let follows = self.open.as_ref().map_or(self.log.head, |open| open.follows);
        let layout = self.layout();
        let present = present(&self.project, &layout, self.development)?;
        let (_, staged) = self.parse(&edits)?;
        let plan = plan::plan(&staged, &layout, present.as_ref(), &edits, &follows, self.development, self.now)?;
        if plan.items.is_empty() {
            return Ok(None);
        }
        plan::request(&staged, present.as_ref().map(|present| &present.files), plan.items, self.now).map(Some)
    }

    /// Fixes what is to be signed, and returns the request. One that was made before is returned as it is, unless a new one is
    /// asked for.
    pub fn request(&mut self, anew: bool) -> Result<(String, Examined)> {
        self.opened()?;
        if anew {
            self.refuse_applying("asked for")?;
        }
        if let Some(text) = self.opened()?.request.clone().filter(|_| !anew) {
            let examined = self.examine(&text)?;
            return Ok((text, examined));
        }
        // Under the repository's lock: what is replaced is not to be replaced in the meantime.
        let layout = self.layout();
        let _transaction = Transaction::begin(&layout)?;
        self.check_clock()?;
        let request = self.preview()?.ok_or_else(|| {
            Error::refused(
                "there is nothing to sign: the repository says already what is staged",
                "stage a change (`sealift root stage --help`), or new expiries: `sealift root stage renew`",
            )
        })?;
        let text = request.text()?;
        let examined = self.examine(&text)?;
        self.append([Act::Request { request: text.clone() }])?;
        Ok((text, examined))
    }

    /// Expiries are counted from the clock: it has to fit what the repository states already.
    fn check_clock(&self) -> Result<()> {
        match present(&self.project, &self.layout(), self.development)? {
            Some(present) => crate::clock::check_against(present.files.timestamp()?.issued, self.now),
            None => Ok(()),
        }
    }

    fn examine(&self, text: &str) -> Result<Examined> {
        Examined::of(text.as_bytes(), &self.log.path, None, self.development)
    }

    /// The request under way, checked.
    pub fn examined(&self) -> Result<Examined> {
        let text = self.opened()?.request.as_ref().ok_or_else(|| {
            Error::refused("nothing was asked of the officers yet", "fix what is to be signed: `sealift root request`")
        })?;
        self.examine(text)
    }

    /// Takes an officer's response, if it is one to this request and every signature in it holds.
    pub fn import(&mut self, text: &str, place: &str) -> Result<Response> {
        let response = Response::decode(text, place)?;
        let examined = self.examined()?;
        self.check_response(&examined, &response, place)?;
        self.append([Act::Response { response: response.encode() }])?;
        Ok(response)
    }

    fn check_response(&self, examined: &Examined, response: &Response, place: &str) -> Result<()> {
        let open = self.opened()?;
        let refuse = |fault: String, remedy: &str| Err(Error::refused(format!("{place}: {fault}"), remedy));
        if response.request != examined.digest {
            return match open.void.contains(&response.request) {
                true => refuse(
                    "this is the response to a request that is stale: another one was made, or changes were staged, since".into(),
                    "send the officer the present request: `sealift root request` writes it",
                ),
                false => refuse(
                    format!(
                        "this is the response to another request: to {}, and not to {}",
                        short(&response.request.to_string()),
                        short(&examined.digest.to_string())
                    ),
                    "send the officer the present request: `sealift root request` writes it",
                ),
            };
        }
        let id = response.key.id();
        if open.responses.iter().any(|known| known.key == response.key) {
            return refuse(
                format!("the key {id} has signed this request already"),
                "one key counts once, whoever holds it. If this is another officer, the two hold the same key: make them a key \
                 of their own (`sealift keys generate`), and stage it with `sealift root stage add-key`",
            );
        }
        for (index, signed) in &response.signatures {
            let Some(item) = examined.items.get(*index) else {
                return refuse(
                    format!("it signs a part {} that the request does not have", index + 1),
                    "ask for it anew",
                );
            };
            if !item.needs.iter().any(|need| need.keys.contains(&response.key)) {
                return refuse(
                    format!("the key {id} is none of those that sign {}", item.role),
                    "ask an officer whose key `sealift root show` lists",
                );
            }
            let holds = |message: &[u8], signature: &[u8; 64]| {
                sealift_verifier::ed25519::verify(&response.key.0, &[message], signature)
            };
            let host = match (&item.host_message, &signed.host) {
                (None, None) => true,
                (Some(message), Some(signature)) => holds(message, signature),
                _ => false,
            };
            if !holds(&item.device_message, &signed.device) || !host {
                return refuse(
                    format!("the signature over {} does not hold", item.role),
                    "ask the officer to sign once more; if it stays so, the key or its token is broken",
                );
            }
        }
        Ok(())
    }

    /// How far every threshold is.
    pub fn progress(&self, examined: &Examined) -> Vec<Progress> {
        let responses = self.open.as_ref().map(|open| &open.responses[..]).unwrap_or_default();
        progress(examined, responses)
    }

    /// Calls the ceremony off.
    pub fn cancel(&mut self, why: String) -> Result<()> {
        self.opened()?;
        let present = present(&self.project, &self.layout(), self.development)?;
        if let (Some(open), Some(present)) = (&self.open, &present)
            && open.applying
            && present.files.root()?.header.version > open.root
        {
            return Err(Error::refused(
                format!("root {} is out already, and devices may follow it", present.files.root()?.header.version),
                "finish with `sealift root apply`; undo it with another ceremony",
            ));
        }
        self.append([Act::Cancel { why }])
    }

    /// Where a request is written unless somebody says otherwise.
    pub fn request_path(&self) -> PathBuf {
        self.project.folder().join("sign-request.json")
    }

    /// Writes the request for the officers.
    pub fn write_request(&self, path: &Path, text: &str) -> Result<()> {
        write_atomic(path, text.as_bytes())
    }

    /// The names that the project file has for keys, now or with the staged changes.
    pub fn names(&self) -> BTreeMap<KeyId, String> {
        let mut names = BTreeMap::new();
        let staged = self.staged().ok();
        for project in std::iter::once(&self.project).chain(&staged) {
            names.extend(project.keys.iter().map(|(name, key)| (key.public.id(), name.clone())));
        }
        names
    }
}

/// How far every threshold is with these responses.
pub fn progress(examined: &Examined, responses: &[Response]) -> Vec<Progress> {
    let mut all = Vec::new();
    for (index, item) in examined.items.iter().enumerate() {
        for need in &item.needs {
            let signed =
                responses.iter().filter(|it| it.signatures.contains_key(&index) && need.keys.contains(&it.key));
            let mut signed: Vec<KeyId> = signed.map(|response| response.key.id()).collect();
            signed.sort();
            signed.dedup();
            all.push(Progress { role: item.role.clone(), need: need.clone(), signed });
        }
    }
    all
}

/// The thresholds that are not reached, in words.
pub fn missing(examined: &Examined, responses: &[Response], names: &BTreeMap<KeyId, String>) -> Vec<String> {
    let unmet = progress(examined, responses).into_iter().filter(|it| !it.is_met());
    unmet
        .map(|it| {
            let open = it.need.keys.iter().map(|key| key.id()).filter(|id| !it.signed.contains(id));
            let mut open: Vec<String> =
                open.map(|id| names.get(&id).cloned().unwrap_or_else(|| short(&id.to_string()))).collect();
            open.sort();
            format!(
                "{}: {} of {} signatures by the keys of {}; not yet: {}",
                it.role,
                it.signed.len(),
                it.need.threshold,
                it.need.by,
                open.join(", ")
            )
        })
        .collect()
}

/// The first digits of a hash, for people.
pub fn short(text: &str) -> String {
    let digest: String = text.chars().take(16).collect();
    format!("{digest}…")
}

/// The digest of a request's text: what a response names.
pub fn digest_of(text: &str) -> sealift_manifests::Digest {
    sha256(text.as_bytes())
}
