//! The port to the service that carries jobs to devices: the local Jobs machine, or AWS IoT.

mod local;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use sealift_jobs::{ExecutionStatus, GroupName, JobId, JobStatus, StatusDetails, ThingName};
use sealift_rollout::plan::Rate;
use serde::{Deserialize, Serialize};

pub use local::LocalJobs;

/// A job to make.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// Its id; the same id always means the same job.
    pub id: JobId,
    /// The document each device gets.
    pub document: String,
    /// A sentence for people.
    pub description: String,
    /// Groups whose members get it.
    pub groups: BTreeSet<GroupName>,
    /// Things that get it.
    pub things: BTreeSet<ThingName>,
    /// Minutes an execution may be in progress.
    pub timeout_minutes: Option<u64>,
    /// Retries after FAILED and after TIMED_OUT, each.
    pub retries: u32,
    /// How fast devices are told. AWS paces; the local machine, whose devices ask by themselves, tells all at once.
    pub rate: Rate,
    /// The role in whose name AWS IoT presigns the payloads' URLs; the local machine presigns nothing.
    pub presign_role: Option<String>,
}

/// A job and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobProgress {
    /// Its id.
    pub id: JobId,
    /// Where it stands.
    pub status: JobStatus,
    /// Executions by state; states with none are left out.
    pub counts: BTreeMap<ExecutionStatus, u64>,
    /// When it was made, in seconds since the Unix epoch.
    pub created_at: u64,
    /// Why it was cancelled.
    pub comment: Option<String>,
}

impl JobProgress {
    /// Executions in one state.
    #[must_use]
    pub fn count(&self, status: ExecutionStatus) -> u64 {
        self.counts.get(&status).copied().unwrap_or(0)
    }

    /// All executions.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Executions that are over.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.counts.iter().filter(|(status, _)| status.is_terminal()).map(|(_, count)| count).sum()
    }
}

/// One execution of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionView {
    /// The thing.
    pub thing: ThingName,
    /// The job.
    pub job: JobId,
    /// Which execution of the job on the thing.
    pub number: u64,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// What the device last said.
    pub details: StatusDetails,
    /// When the thing was told, in seconds since the Unix epoch.
    pub queued_at: u64,
    /// When it began.
    pub started_at: Option<u64>,
    /// When it last changed.
    pub updated_at: u64,
}

/// Some executions of a job, and how to ask for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionPage {
    /// The newest execution of each thing of this page. A page may be empty and not the last.
    pub executions: Vec<ExecutionView>,
    /// Asks for the next page; `None` at the end.
    pub next: Option<String>,
}

/// What a rollout needs to know of a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThingFacts {
    /// Its name.
    pub name: ThingName,
    /// Its product.
    pub product: String,
    /// Ed25519 public key of its reports.
    pub report_key: Option<[u8; 32]>,
    /// Its groups.
    pub groups: Vec<GroupName>,
    /// RAM that its decoder has, in bytes, where that is known.
    pub decoder_ram: Option<u64>,
}

/// Why the service didn't do it.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// No such thing, group or job.
    #[error("{0}")]
    NotFound(String),
    /// The service's rules say no.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error("the job service isn't available: {0}; try again")]
    Unavailable(String),
}

/// Carries jobs to devices. Every method may be repeated: a call whose answer was lost does no harm when made again.
pub trait JobService: Send + Sync + 'static {
    /// Makes a job, unless one of this id exists; true when it is new.
    ///
    /// # Errors
    /// [`ServiceError`].
    fn create(&self, job: &NewJob) -> impl Future<Output = Result<bool, ServiceError>> + Send;

    /// One job; `None` when there is none.
    ///
    /// # Errors
    /// [`ServiceError::Unavailable`].
    fn job(&self, id: &JobId) -> impl Future<Output = Result<Option<JobProgress>, ServiceError>> + Send;

    /// Cancels a job: waiting executions end, and with `force` those in progress too. Cancelling again, or a job that
    /// is over, changes nothing.
    ///
    /// # Errors
    /// [`ServiceError`].
    fn cancel(&self, id: &JobId, force: bool, comment: &str) -> impl Future<Output = Result<(), ServiceError>> + Send;

    /// A job's executions, those in `status` alone if one is given, page by page: each thing once, with its newest. The
    /// first page without a token, each further one with that of the page before.
    ///
    /// # Errors
    /// [`ServiceError`].
    fn executions(
        &self,
        id: &JobId,
        status: Option<ExecutionStatus>,
        token: Option<&str>,
    ) -> impl Future<Output = Result<ExecutionPage, ServiceError>> + Send;

    /// The newest execution of any job that succeeded on a thing.
    ///
    /// # Errors
    /// [`ServiceError`].
    fn newest_success(
        &self,
        thing: &ThingName,
    ) -> impl Future<Output = Result<Option<ExecutionView>, ServiceError>> + Send;

    /// Number of things in a group, counted up to `at_most` and page by page; `None` when there is no such group.
    ///
    /// # Errors
    /// [`ServiceError::Unavailable`].
    fn group_size(
        &self,
        group: &GroupName,
        at_most: u64,
    ) -> impl Future<Output = Result<Option<u64>, ServiceError>> + Send;

    /// A thing; `None` when there is none.
    ///
    /// # Errors
    /// [`ServiceError::Unavailable`].
    fn thing(&self, thing: &ThingName) -> impl Future<Output = Result<Option<ThingFacts>, ServiceError>> + Send;

    /// The Ed25519 public key of a thing's reports; `None` when there is no thing or no key.
    ///
    /// # Errors
    /// [`ServiceError::Unavailable`].
    fn report_key(&self, thing: &ThingName) -> impl Future<Output = Result<Option<[u8; 32]>, ServiceError>> + Send;
}
