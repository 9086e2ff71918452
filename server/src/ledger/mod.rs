//! The server's database: things, groups, tokens, jobs and executions in one redb file.
//!
//! A [`Ledger`] is one write transaction, opened table by table, with typed access. Nothing here decides anything;
//! [`crate::jobs`] and [`crate::registry`] do. A transaction that isn't committed leaves no trace, and one that is
//! committed is on disk when the commit returns.

mod record;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use sealift_jobs::{ExecutionStatus, GroupName, JobId, ThingName};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use record::{EnrolmentToken, Execution, Group, Job, NextCertificate, Proof, RetryBudget, StoredPolicy, Thing};

type Bytes = &'static [u8];
type Str = &'static str;
/// `(thing, job, execution number)`.
type ExecutionKey = (Str, Str, u64);

const META: TableDefinition<'_, Str, u64> = TableDefinition::new("meta");
const THINGS: TableDefinition<'_, Str, Bytes> = TableDefinition::new("things");
const GROUPS: TableDefinition<'_, Str, Bytes> = TableDefinition::new("groups");
const MEMBERS: TableDefinition<'_, (Str, Str), ()> = TableDefinition::new("members");
const TOKENS: TableDefinition<'_, Str, Bytes> = TableDefinition::new("tokens");
const JOBS: TableDefinition<'_, Str, Bytes> = TableDefinition::new("jobs");
const DOCUMENTS: TableDefinition<'_, Str, Str> = TableDefinition::new("documents");
const COUNTS: TableDefinition<'_, (Str, Str), u64> = TableDefinition::new("counts");
const EXECUTIONS: TableDefinition<'_, ExecutionKey, Bytes> = TableDefinition::new("executions");
const CURRENT: TableDefinition<'_, (Str, Str), u64> = TableDefinition::new("current");
const PENDING: TableDefinition<'_, (Str, u64), (Str, u64)> = TableDefinition::new("pending");
const POLICIES: TableDefinition<'_, Str, Bytes> = TableDefinition::new("policies");
const TIMERS: TableDefinition<'_, (u64, Str, Str, u64), ()> = TableDefinition::new("timers");

/// Version of the tables' layout; a database of another version is refused, never guessed at.
pub const SCHEMA: u64 = 1;
/// Most entries one page of a listing holds.
pub const PAGE_MAX: usize = 1_000;

/// Why the database failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// redb or the disk under it failed.
    #[error("the server's database failed: {0}")]
    Storage(#[source] Box<redb::Error>),
    /// A record doesn't read back.
    #[error("the server's database holds a bad record in table {table}, key {key:?}: {source}; restore a backup")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// Which key.
        key: String,
        /// What serde said.
        source: serde_json::Error,
    },
    /// Written by another version of the server.
    #[error("the server's database has layout {found}; this build reads layout {SCHEMA}: use the matching version")]
    Schema {
        /// The layout found.
        found: u64,
    },
}

impl<E: Into<redb::Error>> From<E> for LedgerError {
    fn from(error: E) -> Self {
        Self::Storage(Box::new(error.into()))
    }
}

type Result<T> = core::result::Result<T, LedgerError>;

/// One write transaction over all tables.
pub struct Ledger<'t> {
    meta: Table<'t, Str, u64>,
    things: Table<'t, Str, Bytes>,
    groups: Table<'t, Str, Bytes>,
    members: Table<'t, (Str, Str), ()>,
    tokens: Table<'t, Str, Bytes>,
    jobs: Table<'t, Str, Bytes>,
    documents: Table<'t, Str, Str>,
    counts: Table<'t, (Str, Str), u64>,
    executions: Table<'t, ExecutionKey, Bytes>,
    current: Table<'t, (Str, Str), u64>,
    pending: Table<'t, (Str, u64), (Str, u64)>,
    timers: Table<'t, (u64, Str, Str, u64), ()>,
    policies: Table<'t, Str, Bytes>,
    dirty: bool,
}

fn read<T: DeserializeOwned>(table: &'static str, key: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| LedgerError::Corrupt { table, key: key.into(), source })
}

fn write<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_else(|e| unreachable!("records are plain data with string keys: {e}"))
}

impl<'t> Ledger<'t> {
    /// Opens every table of `transaction`, and stamps a new database with [`SCHEMA`].
    ///
    /// # Errors
    /// [`LedgerError`] when redb fails or the layout is another version's.
    pub fn open(transaction: &'t WriteTransaction) -> Result<Self> {
        let mut ledger = Self {
            meta: transaction.open_table(META)?,
            things: transaction.open_table(THINGS)?,
            groups: transaction.open_table(GROUPS)?,
            members: transaction.open_table(MEMBERS)?,
            tokens: transaction.open_table(TOKENS)?,
            jobs: transaction.open_table(JOBS)?,
            documents: transaction.open_table(DOCUMENTS)?,
            counts: transaction.open_table(COUNTS)?,
            executions: transaction.open_table(EXECUTIONS)?,
            current: transaction.open_table(CURRENT)?,
            pending: transaction.open_table(PENDING)?,
            timers: transaction.open_table(TIMERS)?,
            policies: transaction.open_table(POLICIES)?,
            dirty: false,
        };
        let schema = ledger.meta.get("schema")?.map(|v| v.value());
        match schema {
            Some(SCHEMA) => {}
            Some(found) => return Err(LedgerError::Schema { found }),
            None => {
                ledger.meta.insert("schema", SCHEMA)?;
                ledger.dirty = true;
            }
        }
        Ok(ledger)
    }

    /// True when something was written, so that the transaction has to be committed.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The next number of the one counter that orders jobs.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn next_sequence(&mut self) -> Result<u64> {
        let next = self.meta.get("sequence")?.map_or(0, |v| v.value()) + 1;
        self.meta.insert("sequence", next)?;
        self.dirty = true;
        Ok(next)
    }

    // -- things, groups, tokens

    /// One thing.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn thing(&self, name: &ThingName) -> Result<Option<Thing>> {
        self.things.get(name.as_str())?.map(|v| read("things", name.as_str(), v.value())).transpose()
    }

    /// Writes a thing and its memberships.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn put_thing(&mut self, thing: &Thing) -> Result<()> {
        self.dirty = true;
        if let Some(before) = self.thing(&thing.name)? {
            for group in &before.groups {
                self.members.remove((group.as_str(), thing.name.as_str()))?;
            }
        }
        for group in &thing.groups {
            self.members.insert((group.as_str(), thing.name.as_str()), ())?;
        }
        self.things.insert(thing.name.as_str(), write(thing).as_slice())?;
        Ok(())
    }

    /// Things by name, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn things(&self, after: Option<&str>, limit: usize) -> Result<Vec<Thing>> {
        let mut page = Vec::new();
        for entry in self.things.range(after.unwrap_or("")..)? {
            let (key, value) = entry?;
            if after == Some(key.value()) {
                continue;
            }
            if page.len() == limit.min(PAGE_MAX) {
                break;
            }
            page.push(read("things", key.value(), value.value())?);
        }
        Ok(page)
    }

    /// One group.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn group(&self, name: &GroupName) -> Result<Option<Group>> {
        self.groups.get(name.as_str())?.map(|v| read("groups", name.as_str(), v.value())).transpose()
    }

    /// Writes a group.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn put_group(&mut self, group: &Group) -> Result<()> {
        self.dirty = true;
        self.groups.insert(group.name.as_str(), write(group).as_slice())?;
        Ok(())
    }

    /// Every group. Groups are few: they are named by people.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn groups(&self) -> Result<Vec<Group>> {
        let mut all = Vec::new();
        for entry in self.groups.iter()? {
            let (key, value) = entry?;
            all.push(read("groups", key.value(), value.value())?);
        }
        Ok(all)
    }

    /// Names of a group's things, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn members(&self, group: &GroupName, after: Option<&str>, limit: usize) -> Result<Vec<ThingName>> {
        let mut page = Vec::new();
        for entry in self.members.range((group.as_str(), after.unwrap_or(""))..)? {
            let (key, _) = entry?;
            let (of, thing) = key.value();
            if of != group.as_str() || page.len() == limit {
                break;
            }
            if after == Some(thing) {
                continue;
            }
            page.extend(thing.parse::<ThingName>());
        }
        Ok(page)
    }

    /// One enrolment token, by the hex SHA-256 of its secret.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn token(&self, id: &str) -> Result<Option<EnrolmentToken>> {
        self.tokens.get(id)?.map(|v| read("tokens", id, v.value())).transpose()
    }

    /// Writes a token.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn put_token(&mut self, token: &EnrolmentToken) -> Result<()> {
        self.dirty = true;
        self.tokens.insert(token.id.as_str(), write(token).as_slice())?;
        Ok(())
    }

    /// One policy.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn policy(&self, name: &str) -> Result<Option<StoredPolicy>> {
        self.policies.get(name)?.map(|v| read("policies", name, v.value())).transpose()
    }

    /// Writes a policy.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn put_policy(&mut self, policy: &StoredPolicy) -> Result<()> {
        self.dirty = true;
        self.policies.insert(policy.name.as_str(), write(policy).as_slice())?;
        Ok(())
    }

    /// Every policy. Policies are few: they are named by people.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn policies(&self) -> Result<Vec<StoredPolicy>> {
        let mut all = Vec::new();
        for entry in self.policies.iter()? {
            let (key, value) = entry?;
            all.push(read("policies", key.value(), value.value())?);
        }
        Ok(all)
    }

    // -- jobs

    /// One job.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn job(&self, id: &JobId) -> Result<Option<Job>> {
        self.jobs.get(id.as_str())?.map(|v| read("jobs", id.as_str(), v.value())).transpose()
    }

    /// Writes a job.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn put_job(&mut self, job: &Job) -> Result<()> {
        self.dirty = true;
        self.jobs.insert(job.id.as_str(), write(job).as_slice())?;
        Ok(())
    }

    /// Jobs by id, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn jobs(&self, after: Option<&str>, limit: usize) -> Result<Vec<Job>> {
        let mut page = Vec::new();
        for entry in self.jobs.range(after.unwrap_or("")..)? {
            let (key, value) = entry?;
            if after == Some(key.value()) {
                continue;
            }
            if page.len() == limit.min(PAGE_MAX) {
                break;
            }
            page.push(read("jobs", key.value(), value.value())?);
        }
        Ok(page)
    }

    /// A job's document.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn document(&self, id: &JobId) -> Result<Option<String>> {
        Ok(self.documents.get(id.as_str())?.map(|v| v.value().to_owned()))
    }

    /// Writes a job's document.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn put_document(&mut self, id: &JobId, document: &str) -> Result<()> {
        self.dirty = true;
        self.documents.insert(id.as_str(), document)?;
        Ok(())
    }

    /// How many of a job's current executions are in each state; states with none are left out.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn counts(&self, job: &JobId) -> Result<Vec<(ExecutionStatus, u64)>> {
        let mut counts = Vec::new();
        for status in ExecutionStatus::ALL {
            let count = self.counts.get((job.as_str(), status.as_str()))?.map_or(0, |v| v.value());
            if count > 0 {
                counts.push((status, count));
            }
        }
        Ok(counts)
    }

    // -- executions

    /// The number of the newest execution of `job` on `thing`.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn current_number(&self, thing: &ThingName, job: &JobId) -> Result<Option<u64>> {
        Ok(self.current.get((job.as_str(), thing.as_str()))?.map(|v| v.value()))
    }

    /// One execution.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn execution(&self, thing: &ThingName, job: &JobId, number: u64) -> Result<Option<Execution>> {
        let value = self.executions.get((thing.as_str(), job.as_str(), number))?;
        value.map(|v| read("executions", &format!("{thing}/{job}/{number}"), v.value())).transpose()
    }

    /// Writes an execution, and with it every index: the job's counts, the thing's pending list, the timers.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn put_execution(&mut self, execution: &Execution) -> Result<()> {
        self.dirty = true;
        let (thing, job, number) = (execution.thing.as_str(), execution.job.as_str(), execution.number);
        let current = self.current_number(&execution.thing, &execution.job)?;
        let before = match current {
            Some(n) => self.execution(&execution.thing, &execution.job, n)?,
            None => None,
        };
        if let Some(before) = &before {
            self.count(job, before.status, -1)?;
            if let Some(deadline) = before.deadline() {
                self.timers.remove((deadline, thing, job, before.number))?;
            }
        }
        self.count(job, execution.status, 1)?;
        if current != Some(number) {
            self.current.insert((job, thing), number)?;
        }
        if execution.status.is_terminal() {
            self.pending.remove((thing, execution.sequence))?;
        } else {
            self.pending.insert((thing, execution.sequence), (job, number))?;
            if let Some(deadline) = execution.deadline() {
                self.timers.insert((deadline, thing, job, number), ())?;
            }
        }
        self.executions.insert((thing, job, number), write(execution).as_slice())?;
        Ok(())
    }

    fn count(&mut self, job: &str, status: ExecutionStatus, change: i64) -> Result<()> {
        let key = (job, status.as_str());
        let count = self.counts.get(key)?.map_or(0, |v| v.value()).saturating_add_signed(change);
        self.counts.insert(key, count)?;
        Ok(())
    }

    /// A thing's open executions in creation order.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn pending(&self, thing: &ThingName) -> Result<Vec<Execution>> {
        let mut open = Vec::new();
        for entry in self.pending.range((thing.as_str(), 0)..=(thing.as_str(), u64::MAX))? {
            let (_, value) = entry?;
            let (job, number) = value.value();
            let key = (thing.as_str(), job, number);
            if let Some(v) = self.executions.get(key)? {
                open.push(read("executions", &format!("{thing}/{job}/{number}"), v.value())?);
            }
        }
        Ok(open)
    }

    /// A job's current executions by thing name, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn executions_of(&self, job: &JobId, after: Option<&str>, limit: usize) -> Result<Vec<Execution>> {
        let mut page = Vec::new();
        for entry in self.current.range((job.as_str(), after.unwrap_or(""))..)? {
            let (key, number) = entry?;
            let (of, thing) = key.value();
            if of != job.as_str() || page.len() == limit.min(PAGE_MAX) {
                break;
            }
            if after == Some(thing) {
                continue;
            }
            if let Some(v) = self.executions.get((thing, job.as_str(), number.value()))? {
                page.push(read("executions", &format!("{thing}/{job}"), v.value())?);
            }
        }
        Ok(page)
    }

    /// A thing's newest execution of each job, newest job last; at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn executions_on(&self, thing: &ThingName, limit: usize) -> Result<Vec<Execution>> {
        let mut by_job: std::collections::BTreeMap<String, Execution> = std::collections::BTreeMap::new();
        for entry in self.executions.range((thing.as_str(), "", 0)..)? {
            let (key, value) = entry?;
            let (of, job, _) = key.value();
            if of != thing.as_str() {
                break;
            }
            by_job.insert(job.to_owned(), read("executions", &format!("{thing}/{job}"), value.value())?);
        }
        let mut all: Vec<Execution> = by_job.into_values().collect();
        all.sort_by_key(|e| e.sequence);
        let skip = all.len().saturating_sub(limit);
        Ok(all.split_off(skip))
    }

    /// The earliest timer that is due at `now`.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn due(&self, now: u64) -> Result<Option<(ThingName, JobId, u64)>> {
        let Some((key, ())) = self.timers.first()?.map(|(k, _)| (k, ())) else { return Ok(None) };
        let (deadline, thing, job, number) = key.value();
        if deadline > now {
            return Ok(None);
        }
        Ok(thing.parse().ok().zip(job.parse().ok()).map(|(thing, job)| (thing, job, number)))
    }

    /// When the earliest timer is due.
    ///
    /// # Errors
    /// [`LedgerError`] when the database fails.
    pub fn next_deadline(&self) -> Result<Option<u64>> {
        Ok(self.timers.first()?.map(|(key, _)| key.value().0))
    }
}
