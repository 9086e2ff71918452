//! The server's database: things, groups, tokens, jobs and executions in one redb file.
//!
//! A [`Ledger`] is one write transaction, opened table by table, with typed access. Nothing here decides anything;
//! [`crate::jobs`] and [`crate::registry`] do. A transaction that isn't committed leaves no trace, and one that is
//! committed is on disk when the commit returns.

mod identities;
mod jobs;
mod record;
mod things;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use identities::{
    CaCertificate, CaMode, Certificate, CertificateStatus, Ownership, Provisioned, ProvisioningTemplate, TemplateKind,
};
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
const CAS: TableDefinition<'_, Str, Bytes> = TableDefinition::new("cas");
const TEMPLATES: TableDefinition<'_, Str, Bytes> = TableDefinition::new("templates");
const CERTIFICATES: TableDefinition<'_, Str, Bytes> = TableDefinition::new("certificates");
const OWNERSHIPS: TableDefinition<'_, (u64, Str), ()> = TableDefinition::new("ownerships");
/// A certificate's fingerprint, and the thing it speaks for. Things of older databases may be missing: they are found by the
/// common name of their certificate.
const PRINCIPALS: TableDefinition<'_, Str, Str> = TableDefinition::new("principals");
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
    cas: Table<'t, Str, Bytes>,
    templates: Table<'t, Str, Bytes>,
    certificates: Table<'t, Str, Bytes>,
    ownerships: Table<'t, (u64, Str), ()>,
    principals: Table<'t, Str, Str>,
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
            cas: transaction.open_table(CAS)?,
            templates: transaction.open_table(TEMPLATES)?,
            certificates: transaction.open_table(CERTIFICATES)?,
            ownerships: transaction.open_table(OWNERSHIPS)?,
            principals: transaction.open_table(PRINCIPALS)?,
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
}
