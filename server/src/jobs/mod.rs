//! The Jobs state machine: AWS IoT Jobs' rules over a [`Ledger`], with no clock, socket or wire format in it.
//!
//! Every protocol that devices speak (HTTPS and MQTT) and every control interface turns what it hears into a
//! [`Request`], hands it to [`handle`] with the time, and turns the [`Response`] back. What others should hear about
//! comes out as [`Effect`]s, to be published after the transaction is on disk.
//!
//! A refused request has written nothing: every rule is checked before the first write.

mod control;
mod device;
mod timer;

use sealift_jobs::{
    DescribeJobExecutionRequest, ErrorCode, ErrorResponse, ExecutionStatus, GetPendingJobExecutionsResponse,
    JobExecution, JobId, JobSelector, StartNextPendingJobExecutionRequest, ThingName, UpdateJobExecutionRequest,
    UpdateJobExecutionResponse,
};

use crate::ledger::{Execution, Ledger, LedgerError};

pub use control::{CancelJob, CreateJob, JobOverview};
pub use timer::fire_timers;

/// What a device or an operator asks of the machine.
#[derive(Clone, Debug)]
pub enum Request {
    /// A data-plane request of one thing. Who it is was settled by its certificate.
    Device {
        /// The thing that asks.
        thing: ThingName,
        /// What it asks.
        ask: DeviceAsk,
    },
    /// Make a job.
    Create(CreateJob),
    /// Cancel a job.
    Cancel(CancelJob),
    /// One job with its counts.
    Job(JobId),
    /// Jobs by id.
    Jobs {
        /// Start after this id.
        after: Option<String>,
        /// At most this many.
        limit: usize,
    },
    /// A job's current executions by thing.
    Executions {
        /// The job.
        job: JobId,
        /// Start after this thing.
        after: Option<String>,
        /// At most this many.
        limit: usize,
    },
    /// A thing's newest execution of each job.
    ExecutionsOn {
        /// The thing.
        thing: ThingName,
        /// At most this many, the newest jobs.
        limit: usize,
    },
}

/// The four operations of the data plane.
#[derive(Clone, Debug)]
pub enum DeviceAsk {
    /// `GetPendingJobExecutions`.
    Pending,
    /// `StartNextPendingJobExecution`.
    StartNext(StartNextPendingJobExecutionRequest),
    /// `DescribeJobExecution`.
    Describe(JobSelector, DescribeJobExecutionRequest),
    /// `UpdateJobExecution`.
    Update(JobId, UpdateJobExecutionRequest),
}

/// The machine's answer.
#[derive(Clone, Debug)]
pub enum Response {
    /// To [`DeviceAsk::Pending`].
    Pending(GetPendingJobExecutionsResponse),
    /// To [`DeviceAsk::StartNext`] and [`DeviceAsk::Describe`].
    Execution(Option<Box<JobExecution>>),
    /// To [`DeviceAsk::Update`].
    Updated(UpdateJobExecutionResponse),
    /// To [`Request::Create`]: the job, and whether it is new.
    Created(Box<JobOverview>, bool),
    /// To [`Request::Job`] and [`Request::Cancel`].
    Job(Box<JobOverview>),
    /// To [`Request::Jobs`].
    Jobs(Vec<JobOverview>),
    /// To [`Request::Executions`] and [`Request::ExecutionsOn`].
    Executions(Vec<Execution>),
}

/// Something that happened and that others may want to hear about, once it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The set of a thing's open executions changed (AWS: `notify`).
    PendingChanged(ThingName),
    /// Another execution is now the thing's next (AWS: `notify-next`).
    NextChanged(ThingName),
    /// An execution reached a terminal state (AWS: `$aws/events/jobExecution/...`).
    ExecutionEnded {
        /// The job.
        job: JobId,
        /// The thing.
        thing: ThingName,
        /// How it ended.
        status: ExecutionStatus,
    },
    /// A job was completed or cancelled (AWS: `$aws/events/job/...`).
    JobEnded(JobId),
    /// A thing's certificate was revoked or replaced, or what it may do changed; without a name, anybody's.
    AccessChanged(Option<ThingName>),
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The rules say no; nothing was written.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(ErrorResponse),
    /// The database failed; the transaction must be abandoned.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Failure {
    pub(crate) fn refused(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Refused(ErrorResponse { code, message: message.into(), execution_state: None })
    }

    fn with_state(code: ErrorCode, message: impl Into<String>, execution: &Execution) -> Self {
        let execution_state = Some(execution.state());
        Self::Refused(ErrorResponse { code, message: message.into(), execution_state })
    }
}

/// Answers one request as of `now` (seconds since the Unix epoch), and adds what happened to `effects`.
///
/// The caller fires due timers first ([`fire_timers`]), so that no request sees an execution that has run out.
///
/// # Errors
/// [`Failure::Refused`] with AWS's code, or [`Failure::Ledger`].
pub fn handle(
    ledger: &mut Ledger<'_>,
    request: &Request,
    now: u64,
    effects: &mut Vec<Effect>,
) -> Result<Response, Failure> {
    match request {
        Request::Device { thing, ask } => device::handle(ledger, thing, ask, now, effects),
        Request::Create(create) => control::create(ledger, create, now, effects),
        Request::Cancel(cancel) => control::cancel(ledger, cancel, now, effects),
        Request::Job(id) => control::describe(ledger, id).map(|job| Response::Job(Box::new(job))),
        Request::Jobs { after, limit } => control::list(ledger, after.as_deref(), *limit),
        Request::Executions { job, after, limit } => {
            control::describe(ledger, job)?;
            Ok(Response::Executions(ledger.executions_of(job, after.as_deref(), *limit)?))
        }
        Request::ExecutionsOn { thing, limit } => Ok(Response::Executions(ledger.executions_on(thing, *limit)?)),
    }
}

/// The execution that start-next gives: one in progress first, then the oldest job's.
fn next(pending: &[Execution]) -> Option<&Execution> {
    pending.iter().find(|e| e.status == ExecutionStatus::InProgress).or_else(|| pending.first())
}

/// Runs `change` and reports what it did to the pending list of `thing`.
fn observed<T, E: From<LedgerError>>(
    ledger: &mut Ledger<'_>,
    thing: &ThingName,
    effects: &mut Vec<Effect>,
    change: impl FnOnce(&mut Ledger<'_>, &mut Vec<Effect>) -> Result<T, E>,
) -> Result<T, E> {
    let key = |e: &Execution| (e.job.clone(), e.number);
    let before = ledger.pending(thing)?;
    let done = change(ledger, effects)?;
    let after = ledger.pending(thing)?;
    if !before.iter().map(key).eq(after.iter().map(key)) {
        effects.push(Effect::PendingChanged(thing.clone()));
    }
    if next(&before).map(key) != next(&after).map(key) {
        effects.push(Effect::NextChanged(thing.clone()));
    }
    Ok(done)
}

/// Moves an execution into a terminal state, queues its retry if the job allows one, and ends the job with its last.
fn end(
    ledger: &mut Ledger<'_>,
    mut execution: Execution,
    status: ExecutionStatus,
    now: u64,
    effects: &mut Vec<Effect>,
) -> Result<Execution, LedgerError> {
    execution.status = status;
    execution.updated_at = now;
    execution.version += 1;
    execution.step_deadline = None;
    execution.job_deadline = None;
    ledger.put_execution(&execution)?;
    let ended = Effect::ExecutionEnded { job: execution.job.clone(), thing: execution.thing.clone(), status };
    effects.push(ended);
    let Some(mut job) = ledger.job(&execution.job)? else { return Ok(execution) };
    if let Some(used) = control::retry(&job, &execution) {
        ledger.put_execution(&Execution {
            number: execution.number + 1,
            status: ExecutionStatus::Queued,
            details: sealift_jobs::StatusDetails::new(),
            queued_at: now,
            started_at: None,
            version: 1,
            used,
            ..execution.clone()
        })?;
    } else if job.status == sealift_jobs::JobStatus::InProgress
        && ledger.counts(&job.id)?.iter().all(|(status, _)| status.is_terminal())
    {
        job.status = sealift_jobs::JobStatus::Completed;
        job.completed_at = Some(now);
        ledger.put_job(&job)?;
        effects.push(Effect::JobEnded(job.id));
    }
    Ok(execution)
}
