//! What operators do with jobs: create, cancel, describe.

use std::collections::{BTreeMap, BTreeSet};

use sealift_jobs::limits::{
    JOB_DOCUMENT_MAX_CHARS, JOB_TARGETS_MAX, RETRIES_MAX, TIMEOUT_MAX_MINUTES, TIMEOUT_MIN_MINUTES,
};
use sealift_jobs::{ErrorCode, ExecutionStatus, GroupName, JobId, JobStatus, StatusDetails, ThingName};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Effect, Failure, Response, end, observed};
use crate::ledger::{Execution, Job, Ledger, RetryBudget};

/// A job to make. The document is any text: the machine never looks inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateJob {
    /// Its id.
    pub id: JobId,
    /// The document each device gets.
    pub document: String,
    /// A sentence for people.
    #[serde(default)]
    pub description: String,
    /// Things by name.
    #[serde(default)]
    pub things: BTreeSet<ThingName>,
    /// Groups; their members now get an execution (AWS: SNAPSHOT).
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// Minutes an execution may be IN_PROGRESS.
    #[serde(default)]
    pub timeout_minutes: Option<u64>,
    /// Retries of each execution.
    #[serde(default)]
    pub retries: RetryBudget,
}

/// A job to cancel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelJob {
    /// The job.
    pub id: JobId,
    /// Also ends executions in progress; without it only waiting ones end, as in AWS.
    #[serde(default)]
    pub force: bool,
    /// Why.
    #[serde(default)]
    pub comment: Option<String>,
}

/// A job and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOverview {
    /// The job.
    #[serde(flatten)]
    pub job: Job,
    /// Current executions by state; states with none are left out.
    pub counts: BTreeMap<ExecutionStatus, u64>,
}

pub(super) fn create(
    ledger: &mut Ledger<'_>,
    create: &CreateJob,
    now: u64,
    effects: &mut Vec<Effect>,
) -> Result<Response, Failure> {
    check(create)?;
    let document_sha256 = hex::encode(Sha256::digest(&create.document));
    if let Some(job) = ledger.job(&create.id)? {
        // The same again is a repeated call whose answer was lost; anything else is a clash.
        let same = job.document_sha256 == document_sha256 && job.things == create.things && job.groups == create.groups;
        if !same {
            let message = format!("job {} exists already, with another document or other targets", create.id);
            return Err(Failure::refused(ErrorCode::InvalidRequest, message));
        }
        return Ok(Response::Created(Box::new(describe(ledger, &create.id)?), false));
    }
    let things = targets(ledger, create)?;
    let job = Job {
        id: create.id.clone(),
        sequence: ledger.next_sequence()?,
        description: create.description.clone(),
        things: create.things.clone(),
        groups: create.groups.clone(),
        timeout_minutes: create.timeout_minutes,
        retries: create.retries,
        // A job without a thing is over when it begins.
        status: if things.is_empty() { JobStatus::Completed } else { JobStatus::InProgress },
        comment: None,
        created_at: now,
        completed_at: things.is_empty().then_some(now),
        document_sha256,
    };
    ledger.put_job(&job)?;
    ledger.put_document(&job.id, &create.document)?;
    for thing in things {
        let execution = Execution {
            job: job.id.clone(),
            thing: thing.clone(),
            number: 1,
            sequence: job.sequence,
            status: ExecutionStatus::Queued,
            details: StatusDetails::new(),
            queued_at: now,
            started_at: None,
            updated_at: now,
            version: 1,
            step_deadline: None,
            job_deadline: None,
            used: RetryBudget::default(),
        };
        observed(ledger, &thing, effects, |ledger, _| ledger.put_execution(&execution))?;
    }
    Ok(Response::Created(Box::new(describe(ledger, &create.id)?), true))
}

fn check(create: &CreateJob) -> Result<(), Failure> {
    let refuse = |message: String| Err(Failure::refused(ErrorCode::InvalidRequest, message));
    let length = create.document.chars().count();
    if length == 0 || length > JOB_DOCUMENT_MAX_CHARS {
        return refuse(format!("the job document has {length} characters; 1 to {JOB_DOCUMENT_MAX_CHARS} are allowed"));
    }
    let targets = create.things.len() + create.groups.len();
    if targets == 0 || targets > JOB_TARGETS_MAX {
        return refuse(format!("the job has {targets} targets; 1 to {JOB_TARGETS_MAX} are allowed"));
    }
    let minutes = TIMEOUT_MIN_MINUTES.unsigned_abs()..=TIMEOUT_MAX_MINUTES.unsigned_abs();
    if let Some(timeout) = create.timeout_minutes.filter(|t| !minutes.contains(t)) {
        return refuse(format!("the in-progress timeout is {timeout} minutes; allowed are {minutes:?}"));
    }
    let most = create.retries.failed.max(create.retries.timed_out);
    if most > RETRIES_MAX {
        return refuse(format!("{most} retries; at most {RETRIES_MAX} are allowed"));
    }
    Ok(())
}

fn targets(ledger: &Ledger<'_>, create: &CreateJob) -> Result<BTreeSet<ThingName>, Failure> {
    let missing = |what: String| Failure::refused(ErrorCode::ResourceNotFound, what);
    let mut things = create.things.clone();
    for thing in &create.things {
        ledger.thing(thing)?.ok_or_else(|| missing(format!("no thing is called {thing}")))?;
    }
    for group in &create.groups {
        ledger.group(group)?.ok_or_else(|| missing(format!("no group is called {group}")))?;
        things.extend(ledger.members(group, None, usize::MAX)?);
    }
    Ok(things)
}

pub(super) fn cancel(
    ledger: &mut Ledger<'_>,
    cancel: &CancelJob,
    now: u64,
    effects: &mut Vec<Effect>,
) -> Result<Response, Failure> {
    let mut job = describe(ledger, &cancel.id)?.job;
    if job.status == JobStatus::Completed {
        let message = format!("job {} is COMPLETED: nothing is left to cancel", cancel.id);
        return Err(Failure::refused(ErrorCode::InvalidStateTransition, message));
    }
    if job.status != JobStatus::Canceled {
        job.status = JobStatus::Canceled;
        job.comment.clone_from(&cancel.comment);
        job.completed_at = Some(now);
        ledger.put_job(&job)?;
        effects.push(Effect::JobEnded(job.id.clone()));
    }
    let mut after: Option<String> = None;
    loop {
        let page = ledger.executions_of(&cancel.id, after.as_deref(), crate::ledger::PAGE_MAX)?;
        let Some(last) = page.last() else { break };
        after = Some(last.thing.to_string());
        for execution in page {
            let thing = execution.thing.clone();
            let cancelled = match execution.status {
                ExecutionStatus::Queued => true,
                ExecutionStatus::InProgress => cancel.force,
                _ => false,
            };
            if cancelled {
                observed(ledger, &thing, effects, |ledger, effects| {
                    end(ledger, execution, ExecutionStatus::Canceled, now, effects)
                })?;
            }
        }
    }
    Ok(Response::Job(Box::new(describe(ledger, &cancel.id)?)))
}

pub(super) fn describe(ledger: &Ledger<'_>, id: &JobId) -> Result<JobOverview, Failure> {
    let missing = || Failure::refused(ErrorCode::ResourceNotFound, format!("no job is called {id}"));
    let job = ledger.job(id)?.ok_or_else(missing)?;
    Ok(JobOverview { counts: ledger.counts(id)?.into_iter().collect(), job })
}

pub(super) fn list(ledger: &Ledger<'_>, after: Option<&str>, limit: usize) -> Result<Response, Failure> {
    let mut jobs = Vec::new();
    for job in ledger.jobs(after, limit)? {
        jobs.push(JobOverview { counts: ledger.counts(&job.id)?.into_iter().collect(), job });
    }
    Ok(Response::Jobs(jobs))
}

/// What the next execution has used up when `ended` is retried, or `None` when it isn't.
pub(super) fn retry(job: &Job, ended: &Execution) -> Option<RetryBudget> {
    if job.status == JobStatus::Canceled {
        return None;
    }
    let mut used = ended.used;
    let (count, budget) = match ended.status {
        ExecutionStatus::Failed => (&mut used.failed, job.retries.failed),
        ExecutionStatus::TimedOut => (&mut used.timed_out, job.retries.timed_out),
        _ => return None,
    };
    *count += 1;
    (*count <= budget).then_some(used)
}
