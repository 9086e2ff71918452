//! Single jobs.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use sealift_jobs::ErrorCode;

use super::{BODY_MAX, Cancel, Page, invalid};
use crate::endpoint::{ApiError, App, json_body};
use crate::jobs::{self, CreateJob, JobOverview};
use crate::ledger::PAGE_MAX;

pub(super) async fn job_machine(app: &App, request: jobs::Request) -> Result<Vec<JobOverview>, ApiError> {
    match app.engine.jobs(request).await? {
        jobs::Response::Created(job, _) | jobs::Response::Job(job) => Ok(vec![*job]),
        jobs::Response::Jobs(jobs) => Ok(jobs),
        _ => Ok(Vec::new()),
    }
}

pub(super) fn single(mut jobs: Vec<JobOverview>) -> Result<Json<JobOverview>, ApiError> {
    let missing = || ApiError::new(ErrorCode::InternalError, "the Jobs machine answered another question");
    jobs.pop().map(Json).ok_or_else(missing)
}

pub(super) async fn create_job(State(app): State<Arc<App>>, body: Body) -> Result<Json<JobOverview>, ApiError> {
    let create: CreateJob = json_body(body, BODY_MAX, app.limits.body).await?;
    single(job_machine(&app, jobs::Request::Create(create)).await?)
}

pub(super) async fn list_jobs(
    State(app): State<Arc<App>>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<JobOverview>>, ApiError> {
    page.check()?;
    Ok(Json(job_machine(&app, jobs::Request::Jobs { after: page.after, limit: PAGE_MAX }).await?))
}

pub(super) async fn cancel_job(
    State(app): State<Arc<App>>,
    Path(job): Path<String>,
    body: Body,
) -> Result<Json<JobOverview>, ApiError> {
    let ask: Cancel = json_body(body, BODY_MAX, app.limits.body).await?;
    let id = job.parse().map_err(|e: sealift_jobs::NameError| invalid(e))?;
    let cancel = jobs::CancelJob { id, force: ask.force, comment: Some(ask.comment) };
    single(job_machine(&app, jobs::Request::Cancel(cancel)).await?)
}
