//! The job service of the local server: its own Jobs machine.

use sealift_jobs::{ErrorCode, ExecutionStatus, GroupName, JobId, ThingName};

use super::{ExecutionPage, ExecutionView, JobProgress, JobService, NewJob, ServiceError, ThingFacts};
use crate::engine::Engine;
use crate::jobs::{CancelJob, CreateJob, Failure, JobOverview, Request, Response};
use crate::ledger::{Execution, PAGE_MAX, RetryBudget};
use crate::registry;

/// The Jobs machine behind an [`Engine`].
#[derive(Clone)]
pub struct LocalJobs(pub Engine);

fn unavailable(what: impl Into<String>) -> ServiceError {
    ServiceError::Unavailable(what.into())
}

fn failed(failure: Failure) -> ServiceError {
    match failure {
        Failure::Refused(refusal) => match refusal.code {
            ErrorCode::ResourceNotFound => ServiceError::NotFound(refusal.message),
            code if code.is_transient() => unavailable(refusal.message),
            _ => ServiceError::Refused(refusal.message),
        },
        Failure::Ledger(error) => unavailable(error.to_string()),
    }
}

fn progress(overview: JobOverview) -> JobProgress {
    let JobOverview { job, counts } = overview;
    JobProgress { id: job.id, status: job.status, counts, created_at: job.created_at, comment: job.comment }
}

fn view(execution: Execution) -> ExecutionView {
    ExecutionView {
        thing: execution.thing,
        job: execution.job,
        number: execution.number,
        status: execution.status,
        details: execution.details,
        queued_at: execution.queued_at,
        started_at: execution.started_at,
        updated_at: execution.updated_at,
    }
}

impl LocalJobs {
    async fn registry(&self, request: registry::Request) -> Result<Option<registry::Response>, ServiceError> {
        match self.0.registry(request).await {
            Some(Ok(response)) => Ok(Some(response)),
            Some(Err(registry::Failure::NoThing(_))) => Ok(None),
            Some(Err(failure)) => Err(unavailable(failure.to_string())),
            None => Err(unavailable("the server is busy")),
        }
    }
}

impl JobService for LocalJobs {
    async fn create(&self, job: &NewJob) -> Result<bool, ServiceError> {
        if self.job(&job.id).await?.is_some() {
            return Ok(false);
        }
        let create = CreateJob {
            id: job.id.clone(),
            document: job.document.clone(),
            description: job.description.clone(),
            things: job.things.clone(),
            groups: job.groups.clone(),
            timeout_minutes: job.timeout_minutes,
            retries: RetryBudget { failed: job.retries, timed_out: job.retries },
        };
        match self.0.jobs(Request::Create(create)).await {
            Ok(Response::Created(_, new)) => Ok(new),
            Ok(_) => Err(unavailable("the Jobs machine answered another question")),
            // Somebody made it between the look and the call.
            Err(_) if self.job(&job.id).await?.is_some() => Ok(false),
            Err(failure) => Err(failed(failure)),
        }
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobProgress>, ServiceError> {
        match self.0.jobs(Request::Job(id.clone())).await {
            Ok(Response::Job(overview)) => Ok(Some(progress(*overview))),
            Ok(_) => Ok(None),
            Err(failure) => match failed(failure) {
                ServiceError::NotFound(_) => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn cancel(&self, id: &JobId, force: bool, comment: &str) -> Result<(), ServiceError> {
        let cancel = CancelJob { id: id.clone(), force, comment: Some(comment.to_owned()) };
        match self.0.jobs(Request::Cancel(cancel)).await {
            Ok(_) => Ok(()),
            // Over already: nothing to cancel.
            Err(Failure::Refused(refusal)) if refusal.code == ErrorCode::InvalidStateTransition => Ok(()),
            Err(failure) => Err(failed(failure)),
        }
    }

    async fn executions(
        &self,
        id: &JobId,
        status: Option<ExecutionStatus>,
        token: Option<&str>,
    ) -> Result<ExecutionPage, ServiceError> {
        let after = token.map(str::to_owned);
        match self.0.jobs(Request::Executions { job: id.clone(), after, limit: PAGE_MAX }).await {
            Ok(Response::Executions(executions)) => {
                let next = executions.last().map(|last| last.thing.to_string());
                let wanted = executions.into_iter().filter(|e| status.is_none_or(|status| status == e.status));
                Ok(ExecutionPage { executions: wanted.map(view).collect(), next })
            }
            Ok(_) => Ok(ExecutionPage { executions: Vec::new(), next: None }),
            Err(failure) => Err(failed(failure)),
        }
    }

    async fn newest_success(&self, thing: &ThingName) -> Result<Option<ExecutionView>, ServiceError> {
        match self.0.jobs(Request::ExecutionsOn { thing: thing.clone(), limit: PAGE_MAX }).await {
            Ok(Response::Executions(executions)) => {
                let succeeded = executions.into_iter().filter(|e| e.status == ExecutionStatus::Succeeded);
                Ok(succeeded.max_by_key(|e| e.updated_at).map(view))
            }
            Ok(_) => Ok(None),
            Err(failure) => Err(failed(failure)),
        }
    }

    async fn group_size(&self, group: &GroupName, _: u64) -> Result<Option<u64>, ServiceError> {
        match self.registry(registry::Request::Groups).await? {
            Some(registry::Response::Groups(groups)) => {
                Ok(groups.into_iter().find(|g| g.name == *group).map(|g| g.things))
            }
            _ => Ok(None),
        }
    }

    async fn report_key(&self, thing: &ThingName) -> Result<Option<[u8; 32]>, ServiceError> {
        Ok(self.thing(thing).await?.and_then(|facts| facts.report_key))
    }

    async fn thing(&self, thing: &ThingName) -> Result<Option<ThingFacts>, ServiceError> {
        match self.registry(registry::Request::Thing(thing.clone())).await? {
            Some(registry::Response::Thing(thing)) => {
                let mut key = [0; 32];
                let report_key = hex::decode_to_slice(&thing.report_key, &mut key).is_ok().then_some(key);
                let groups = thing.groups.into_iter().collect();
                Ok(Some(ThingFacts { name: thing.name, product: thing.product, report_key, groups, decoder_ram: None }))
            }
            _ => Ok(None),
        }
    }
}
