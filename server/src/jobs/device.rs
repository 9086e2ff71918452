//! The four operations of the data plane.

use sealift_jobs::limits::{STEP_TIMEOUT_CANCEL, TIMEOUT_MAX_MINUTES, TIMEOUT_MIN_MINUTES};
use sealift_jobs::{
    DescribeJobExecutionRequest, ErrorCode, ExecutionStatus, GetPendingJobExecutionsResponse, JobExecution,
    JobExecutionSummary, JobId, JobSelector, StartNextPendingJobExecutionRequest, ThingName, UpdateJobExecutionRequest,
    UpdateJobExecutionResponse,
};

use super::{DeviceAsk, Effect, Failure, Response, end, next, observed};
use crate::ledger::{Execution, Ledger};

pub(super) fn handle(
    ledger: &mut Ledger<'_>,
    thing: &ThingName,
    ask: &DeviceAsk,
    now: u64,
    effects: &mut Vec<Effect>,
) -> Result<Response, Failure> {
    match ask {
        DeviceAsk::Pending => pending(ledger, thing),
        DeviceAsk::StartNext(request) => start_next(ledger, thing, request, now),
        DeviceAsk::Describe(selector, request) => describe(ledger, thing, selector, request, now),
        DeviceAsk::Update(job, request) => {
            observed(ledger, thing, effects, |ledger, effects| update(ledger, thing, job, request, now, effects))
        }
    }
}

fn pending(ledger: &Ledger<'_>, thing: &ThingName) -> Result<Response, Failure> {
    let mut answer = GetPendingJobExecutionsResponse::default();
    for execution in ledger.pending(thing)? {
        let list = match execution.status {
            ExecutionStatus::InProgress => &mut answer.in_progress_jobs,
            _ => &mut answer.queued_jobs,
        };
        list.push(summary(&execution));
    }
    Ok(Response::Pending(answer))
}

fn start_next(
    ledger: &mut Ledger<'_>,
    thing: &ThingName,
    request: &StartNextPendingJobExecutionRequest,
    now: u64,
) -> Result<Response, Failure> {
    // start-next can set a timer, never cancel one.
    let step = match request.step_timeout_in_minutes {
        Some(STEP_TIMEOUT_CANCEL) => return Err(bad_timeout(STEP_TIMEOUT_CANCEL)),
        minutes => step_timer(minutes, now)?,
    };
    let Some(mut execution) = next(&ledger.pending(thing)?).cloned() else { return Ok(Response::Execution(None)) };
    let queued = execution.status == ExecutionStatus::Queued;
    if queued {
        execution.status = ExecutionStatus::InProgress;
        execution.started_at = Some(now);
        if let Some(details) = &request.status_details {
            execution.details = details.clone();
        }
        start_job_timer(ledger, &mut execution, now)?;
    }
    if let StepTimer::Set(deadline) = step {
        execution.step_deadline = Some(deadline);
    }
    // A repeated start-next that changes nothing is no update: the version a device holds stays good.
    if queued || step != StepTimer::Keep {
        execution.version += 1;
        execution.updated_at = now;
        ledger.put_execution(&execution)?;
    }
    Ok(Response::Execution(Some(Box::new(view(ledger, &execution, true, now)?))))
}

fn describe(
    ledger: &Ledger<'_>,
    thing: &ThingName,
    selector: &JobSelector,
    request: &DescribeJobExecutionRequest,
    now: u64,
) -> Result<Response, Failure> {
    let with_document = request.include_job_document.unwrap_or(true);
    let execution = match selector {
        JobSelector::Next => match next(&ledger.pending(thing)?) {
            Some(execution) => execution.clone(),
            None => return Ok(Response::Execution(None)),
        },
        JobSelector::Id(job) => {
            let execution = find(ledger, thing, job, request.execution_number)?;
            if execution.status.is_terminal() {
                let message = format!("job {job} on {thing} is over: {}", execution.status);
                return Err(Failure::refused(ErrorCode::TerminalStateReached, message));
            }
            execution
        }
    };
    Ok(Response::Execution(Some(Box::new(view(ledger, &execution, with_document, now)?))))
}

fn update(
    ledger: &mut Ledger<'_>,
    thing: &ThingName,
    job: &JobId,
    request: &UpdateJobExecutionRequest,
    now: u64,
    effects: &mut Vec<Effect>,
) -> Result<Response, Failure> {
    if !request.status.is_settable_by_device() {
        let message = format!("a device can't set {}: only IN_PROGRESS, SUCCEEDED, FAILED or REJECTED", request.status);
        return Err(Failure::refused(ErrorCode::InvalidRequest, message));
    }
    let step = step_timer(request.step_timeout_in_minutes, now)?;
    let mut execution = match request.execution_number {
        Some(number) => find(ledger, thing, job, Some(number))?,
        None => find(ledger, thing, job, None)?,
    };
    // An earlier execution is terminal by construction, so the next check covers a stale execution number as well.
    if execution.status.is_terminal() {
        let message = format!("job {job} on {thing} is {} already", execution.status);
        return Err(Failure::with_state(ErrorCode::InvalidStateTransition, message, &execution));
    }
    if let Some(expected) = request.expected_version.filter(|v| *v != execution.version) {
        let message = format!("expected version {expected}, but the current version is {}", execution.version);
        return Err(Failure::with_state(ErrorCode::VersionMismatch, message, &execution));
    }
    let include_document = request.include_job_document.unwrap_or(false);
    let job_document = if include_document { ledger.document(job)? } else { None };
    if let Some(details) = &request.status_details {
        execution.details = details.clone();
    }
    let execution = if request.status.is_terminal() {
        end(ledger, execution, request.status, now, effects)?
    } else {
        if execution.status == ExecutionStatus::Queued {
            execution.status = ExecutionStatus::InProgress;
            execution.started_at = Some(now);
            start_job_timer(ledger, &mut execution, now)?;
        }
        match step {
            StepTimer::Keep => {}
            StepTimer::Set(deadline) => execution.step_deadline = Some(deadline),
            StepTimer::Cancel => execution.step_deadline = None,
        }
        execution.version += 1;
        execution.updated_at = now;
        ledger.put_execution(&execution)?;
        execution
    };
    let include_state = request.include_job_execution_state.unwrap_or(false);
    let execution_state = include_state.then(|| execution.state());
    Ok(Response::Updated(UpdateJobExecutionResponse { execution_state, job_document }))
}

fn find(ledger: &Ledger<'_>, thing: &ThingName, job: &JobId, number: Option<u64>) -> Result<Execution, Failure> {
    let number = match number {
        Some(number) => Some(number),
        None => ledger.current_number(thing, job)?,
    };
    let found = match number {
        Some(number) => ledger.execution(thing, job, number)?,
        None => None,
    };
    found.ok_or_else(|| {
        let which = number.map_or_else(String::new, |n| format!(" with number {n}"));
        Failure::refused(ErrorCode::ResourceNotFound, format!("{thing} has no execution of job {job}{which}"))
    })
}

/// The job's in-progress timer runs from the first IN_PROGRESS on; no update moves it.
fn start_job_timer(ledger: &Ledger<'_>, execution: &mut Execution, now: u64) -> Result<(), Failure> {
    let minutes = ledger.job(&execution.job)?.and_then(|job| job.timeout_minutes);
    execution.job_deadline = minutes.map(|m| now.saturating_add(m.saturating_mul(60)));
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StepTimer {
    Keep,
    Set(u64),
    Cancel,
}

fn step_timer(minutes: Option<i64>, now: u64) -> Result<StepTimer, Failure> {
    match minutes {
        None => Ok(StepTimer::Keep),
        Some(STEP_TIMEOUT_CANCEL) => Ok(StepTimer::Cancel),
        Some(m @ TIMEOUT_MIN_MINUTES..=TIMEOUT_MAX_MINUTES) => Ok(StepTimer::Set(now.saturating_add_signed(m * 60))),
        Some(m) => Err(bad_timeout(m)),
    }
}

fn bad_timeout(minutes: i64) -> Failure {
    let message = format!(
        "stepTimeoutInMinutes is {minutes}; allowed are {TIMEOUT_MIN_MINUTES} to {TIMEOUT_MAX_MINUTES}, and in an update -1"
    );
    Failure::refused(ErrorCode::InvalidRequest, message)
}

fn summary(execution: &Execution) -> JobExecutionSummary {
    JobExecutionSummary {
        job_id: execution.job.clone(),
        queued_at: execution.queued_at,
        started_at: execution.started_at,
        last_updated_at: execution.updated_at,
        version_number: execution.version,
        execution_number: execution.number,
    }
}

fn view(ledger: &Ledger<'_>, execution: &Execution, with_document: bool, now: u64) -> Result<JobExecution, Failure> {
    Ok(JobExecution {
        job_id: execution.job.clone(),
        thing_name: Some(execution.thing.clone()),
        status: execution.status,
        status_details: execution.details.clone(),
        queued_at: execution.queued_at,
        started_at: execution.started_at,
        last_updated_at: execution.updated_at,
        approximate_seconds_before_timed_out: execution.deadline().map(|d| d.saturating_sub(now)),
        version_number: execution.version,
        execution_number: execution.number,
        job_document: if with_document { ledger.document(&execution.job)? } else { None },
    })
}
