//! The ceremony log: one line an act, each line with the hash of the one before it. The log is the ceremony's state, too:
//! what stands in it has happened, so that there is no second place to fall out of step with.
//!
//! A line that was cut short by a power failure or `kill -9` has no line end: it never happened, and the next act removes it.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sealift_manifests::{Digest, RepositoryId, sha256};
use serde::{Deserialize, Serialize};

use super::edit::Edit;
use crate::error::{Error, Result};
use crate::repository::sync_folder;

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Act {
    /// A ceremony began, on top of this root; 0 when there is none yet.
    Begin {
        /// The present root's version.
        root: u64,
        /// SHA-256 of its file.
        root_sha256: Option<String>,
    },
    /// A change was staged.
    Stage {
        /// The change.
        edit: Edit,
    },
    /// What is to be signed was fixed: the sign-request, whole.
    Request {
        /// The file's text.
        request: String,
    },
    /// An officer's signatures came in: the response, whole.
    Response {
        /// The file's text.
        response: String,
    },
    /// The thresholds are reached, and the new state is about to be written.
    Applying {},
    /// It is written.
    Applied {
        /// Version of the root that is trusted from now on.
        root: u64,
        /// SHA-256 of its file.
        root_sha256: String,
        /// Version of the top-level targets.
        targets: u64,
        /// SHA-256 of their file.
        targets_sha256: String,
    },
    /// The ceremony was called off.
    Cancel {
        /// Why, in somebody's words.
        why: String,
    },
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    n: u64,
    time: u64,
    previous: String,
    act: Act,
}

/// An act of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number, from 1.
    pub n: u64,
    /// When it was written, by the clock of whoever wrote it.
    pub time: u64,
    /// Hash of the entry before it.
    pub previous: Digest,
    /// Its own hash.
    pub hash: Digest,
    /// What happened.
    pub act: Act,
}

/// The log of one project, locked against other ceremonies' acts while it is open.
#[derive(Debug)]
pub struct Log {
    /// The file.
    pub path: PathBuf,
    /// Every act.
    pub entries: Vec<Entry>,
    /// Hash of the last entry, or what an empty log of this repository starts from.
    pub head: Digest,
    /// Where the last whole line ends.
    end: u64,
    /// A line that was never finished follows.
    pub torn: bool,
    file: Option<File>,
}

/// What the first entry of a repository's log follows: a log of another repository does not fit.
fn origin(repository: &RepositoryId) -> Digest {
    sha256(format!("sealift ceremony log of repository {repository}").as_bytes())
}

/// Where a project's log is: beside the project file, under its name.
pub fn path_of(project_file: &Path) -> PathBuf {
    project_file.with_extension("ceremony.jsonl")
}

const RESTORE: &str = "`sealift audit` tells more; restore the log from its last good copy (version control, backup)";

impl Log {
    /// Opens the log to write to it, and waits for others that do.
    pub fn open(project_file: &Path, repository: &RepositoryId) -> Result<Self> {
        let path = path_of(project_file);
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.map_err(Error::io("open the ceremony log", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("waiting for another sealift that is writing {}", path.display());
                file.lock().map_err(Error::io("lock", &path))?;
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
        let mut log = Self::read(project_file, repository)?;
        log.file = Some(file);
        Ok(log)
    }

    /// Reads the log. A missing one is empty.
    pub fn read(project_file: &Path, repository: &RepositoryId) -> Result<Self> {
        let path = path_of(project_file);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            outcome => drop(outcome.map_err(Error::io("read the ceremony log", &path))?),
        }
        let mut log = Log { path, entries: Vec::new(), head: origin(repository), end: 0, torn: false, file: None };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else {
                log.torn = true;
                break;
            };
            log.take(line)?;
            log.end += line.len() as u64 + 1;
        }
        Ok(log)
    }

    /// Holds one line to the chain.
    fn take(&mut self, line: &[u8]) -> Result<()> {
        let n = self.entries.len() as u64 + 1;
        let fault = |fault: String| {
            let place = format!("{}: line {n}", self.path.display());
            Err(Error::Refused { code: None, fault: format!("{place}: {fault}"), remedy: RESTORE.into() })
        };
        let read: Line = match serde_json::from_slice(line) {
            Ok(read) => read,
            Err(error) => return fault(format!("this is no entry of a ceremony log: {error}")),
        };
        if read.previous != self.head.to_string() {
            return fault(match n {
                1 => "it does not start the log of this repository: earlier lines were removed, or it is another's"
                    .into(),
                _ => "it does not follow from the line before it: a line was altered, removed, added or moved".into(),
            });
        }
        if read.n != n {
            return fault(format!("it says that it is entry {}", read.n));
        }
        let (previous, hash) = (self.head, sha256(line));
        self.entries.push(Entry { n, time: read.time, previous, hash, act: read.act });
        self.head = hash;
        Ok(())
    }

    /// Adds acts. When this returns they are on disk.
    pub fn append(&mut self, acts: impl IntoIterator<Item = Act>, now: u64) -> Result<()> {
        let mut bytes = Vec::new();
        let mut entries = Vec::new();
        let mut head = self.head;
        for act in acts {
            let n = (self.entries.len() + entries.len()) as u64 + 1;
            let line = Line { n, time: now, previous: head.to_string(), act };
            let text = serde_json::to_vec(&line).map_err(|error| Error::failed(error, ""))?;
            let hash = sha256(&text);
            entries.push(Entry { n, time: now, previous: head, hash, act: line.act });
            head = hash;
            bytes.extend(text);
            bytes.push(b'\n');
        }
        let Some(file) = &mut self.file else { return Err(Error::failed("the log was opened to read it", "")) };
        let write = |file: &mut File| {
            file.set_len(self.end)?;
            file.seek(SeekFrom::Start(self.end))?;
            file.write_all(&bytes)?;
            file.sync_all()
        };
        write(file).map_err(Error::io("write the ceremony log", &self.path))?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync_folder(folder.unwrap_or(Path::new(".")))?;
        self.end += bytes.len() as u64;
        self.torn = false;
        self.entries.append(&mut entries);
        self.head = head;
        Ok(())
    }
}
