//! The audit log: who did what, when, with which release, to whom. Appended, never changed.
//!
//! Each entry is an object of its own, created once under the next number (`audit/000000000017.json`) and naming the
//! SHA-256 of the entry before it. Whoever alters, removes or inserts one breaks the chain from there on; whoever cuts the
//! end off is found by anybody who kept the head (number and hash) that [`Log::verify`] told. It lives in the artifact
//! store, so every machine that acts appends to the same log, and create-only writes give each number to one of them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::store::{AUDIT, ArtifactStore, Content, Key, KeyError, StoreError};

/// Most bytes of an entry: a wave of 100 named things takes a tenth.
const ENTRY_MAX: u64 = 256 * 1_024;
/// What the first entry names as the one before it.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Entries before the end among which a repeated act is looked for.
const RECENT: u64 = 32;

/// Why the log can't be read or isn't whole.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// An entry can't be read.
    #[error("audit entry {number}: not an entry of this log: {problem}")]
    Entry {
        /// Its number.
        number: u64,
        /// Why.
        problem: String,
    },
    /// An entry names another one before it than there is.
    #[error(
        "audit entry {number}: it follows an entry with SHA-256 {named}, but entry {} has {found}: one of the two was altered, or an entry was removed or put in between", .number - 1
    )]
    Broken {
        /// Its number.
        number: u64,
        /// What it names.
        named: String,
        /// What is there.
        found: String,
    },
    /// An entry is missing.
    #[error("audit entry {number}: missing, though there are later ones")]
    Missing {
        /// Its number.
        number: u64,
    },
    /// The log doesn't reach or pass a head that was kept.
    #[error("audit entry {number}: its SHA-256 is {found}, not {expected}: the log was cut off or written anew")]
    Head {
        /// Its number.
        number: u64,
        /// The hash that was kept.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A number that gives no name.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Something that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Names the act: one that is told twice is written once.
    pub key: String,
    /// When, in seconds since the Unix epoch.
    pub at: u64,
    /// Who.
    pub by: String,
    /// What, in a sentence.
    pub what: String,
    /// Hash of the release: the target's digest, or the timestamp's for a publication.
    pub release: Option<String>,
    /// Jobs, groups, things or objects it touched.
    pub targets: Vec<String>,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u64,
    /// SHA-256 of the entry before it.
    pub previous: String,
    /// Names the act.
    pub key: String,
    /// When, in seconds since the Unix epoch.
    pub at: u64,
    /// Who.
    pub by: String,
    /// What.
    pub what: String,
    /// Hash of the release.
    pub release: Option<String>,
    /// Jobs, groups, things or objects it touched.
    pub targets: Vec<String>,
}

/// The end of a log: its number and hash say everything about what is before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Number of the last entry; 0 for an empty log.
    pub number: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// Holds entries, given in order, to the chain.
#[derive(Clone, Debug)]
pub struct Chain {
    head: Head,
}

impl Default for Chain {
    fn default() -> Self {
        Self { head: Head { number: 0, sha256: NOTHING.into() } }
    }
}

impl Chain {
    /// Takes the next entry as it is stored.
    ///
    /// # Errors
    /// [`AuditError::Entry`], [`AuditError::Broken`].
    pub fn take(&mut self, bytes: &[u8]) -> Result<Entry, AuditError> {
        let number = self.head.number + 1;
        let entry = decode(number, bytes)?;
        if entry.previous != self.head.sha256 {
            let found = self.head.sha256.clone();
            return Err(AuditError::Broken { number, named: entry.previous, found });
        }
        self.head = Head { number, sha256: hash(bytes) };
        Ok(entry)
    }

    /// Where it ends.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Holds the entry just taken to a head that somebody kept.
    ///
    /// # Errors
    /// [`AuditError::Head`].
    pub fn check(&self, kept: Option<&Head>, at_end: bool) -> Result<(), AuditError> {
        let Some(kept) = kept else { return Ok(()) };
        let reached = self.head.number == kept.number;
        if (reached && self.head.sha256 != kept.sha256) || (at_end && self.head.number < kept.number) {
            let found = if reached { self.head.sha256.clone() } else { "missing".into() };
            return Err(AuditError::Head { number: kept.number, expected: kept.sha256.clone(), found });
        }
        Ok(())
    }
}

/// The log in a store.
pub struct Log<'a, S> {
    store: &'a S,
}

impl<'a, S: ArtifactStore> Log<'a, S> {
    /// The log in `store`.
    pub fn new(store: &'a S) -> Self {
        Self { store }
    }

    /// One entry's bytes; `None` behind the end.
    ///
    /// # Errors
    /// [`AuditError`].
    pub async fn entry(&self, number: u64) -> Result<Option<Bytes>, AuditError> {
        Ok(self.store.small(&key(number)?, ENTRY_MAX).await?.map(|(bytes, _)| bytes))
    }

    /// Number of the last entry, found in a logarithm of looks.
    ///
    /// # Errors
    /// [`AuditError`].
    pub async fn end(&self) -> Result<u64, AuditError> {
        let (mut there, mut beyond) = (0, 1);
        while self.store.length(&key(beyond)?).await?.is_some() {
            (there, beyond) = (beyond, beyond * 2);
        }
        while beyond - there > 1 {
            let middle = there + (beyond - there) / 2;
            if self.store.length(&key(middle)?).await?.is_some() { there = middle } else { beyond = middle }
        }
        Ok(there)
    }

    /// Appends an act, unless it is among the entries after number `from`; returns its number. Exact however many append
    /// at once: an entry gets a number only after all before it were looked at.
    ///
    /// # Errors
    /// [`AuditError`].
    pub async fn append_once(&self, act: &Act, from: u64) -> Result<u64, AuditError> {
        let mut number = from;
        let mut previous = match number {
            0 => NOTHING.to_owned(),
            number => hash(&self.entry(number).await?.ok_or(AuditError::Missing { number })?),
        };
        loop {
            let next = number + 1;
            if let Some(bytes) = self.entry(next).await? {
                if decode(next, &bytes)?.key == act.key {
                    return Ok(next);
                }
                (number, previous) = (next, hash(&bytes));
                continue;
            }
            let Act { key: name, at, by, what, release, targets } = act.clone();
            let entry = Entry { number: next, previous: previous.clone(), key: name, at, by, what, release, targets };
            let bytes = serde_json::to_vec(&entry).unwrap_or_else(|e| unreachable!("entries are plain data: {e}"));
            match self.store.create(&key(next)?, &Content::from_bytes(bytes)).await {
                Ok(_) => return Ok(next),
                // Somebody else has this number now.
                Err(StoreError::Clash { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Appends an act unless it is among the last few: one that a killed run wrote and the next repeats.
    ///
    /// # Errors
    /// [`AuditError`].
    pub async fn append(&self, act: &Act) -> Result<u64, AuditError> {
        let end = self.end().await?;
        self.append_once(act, end.saturating_sub(RECENT)).await
    }

    /// Reads the whole log, one entry at a time, and holds it to its chain; tells each entry as it is stored.
    ///
    /// # Errors
    /// [`AuditError`], naming the first entry that isn't as it was written.
    pub async fn verify(&self, kept: Option<&Head>, mut each: impl FnMut(&Bytes, &Entry)) -> Result<Head, AuditError> {
        let mut chain = Chain::default();
        while let Some(bytes) = self.entry(chain.head().number + 1).await? {
            let entry = chain.take(&bytes)?;
            chain.check(kept, false)?;
            each(&bytes, &entry);
        }
        chain.check(kept, true)?;
        let number = chain.head().number;
        let stored = self.store.list(AUDIT).await?;
        if stored.iter().filter_map(number_of).any(|other| other > number) {
            return Err(AuditError::Missing { number: number + 1 });
        }
        Ok(chain.head().clone())
    }
}

fn key(number: u64) -> Result<Key, KeyError> {
    format!("{AUDIT}/{number:012}.json").parse()
}

fn number_of(key: &Key) -> Option<u64> {
    key.name().strip_suffix(".json")?.parse().ok()
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn decode(number: u64, bytes: &[u8]) -> Result<Entry, AuditError> {
    let entry: Entry =
        serde_json::from_slice(bytes).map_err(|problem| AuditError::Entry { number, problem: problem.to_string() })?;
    if entry.number != number {
        return Err(AuditError::Entry { number, problem: format!("it says that it is entry {}", entry.number) });
    }
    Ok(entry)
}

impl std::str::FromStr for Head {
    type Err = String;

    /// Reads `NUMBER:SHA256`, as `audit verify` prints it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: expected NUMBER:SHA256, as `audit verify` prints it");
        let (number, sha256) = text.split_once(':').ok_or_else(wrong)?;
        let digest: sealift_jobs::Digest = sha256.parse().map_err(|_| wrong())?;
        Ok(Head { number: number.parse().map_err(|_| wrong())?, sha256: digest.to_string() })
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.number, self.sha256)
    }
}
