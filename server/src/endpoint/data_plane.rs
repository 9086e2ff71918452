//! AWS IoT's jobs data plane over HTTPS: four routes onto the Jobs machine.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use sealift_jobs::limits::REQUEST_BODY_MAX_BYTES;
use sealift_jobs::{
    DescribeJobExecutionRequest, DescribeJobExecutionResponse, ErrorCode, GetPendingJobExecutionsResponse,
    JobExecution, JobSelector, StartNextPendingJobExecutionResponse, UpdateJobExecutionResponse,
};

use super::identity::Caller;
use super::{ApiError, App, json_body};
use crate::jobs::{DeviceAsk, Request, Response};

pub(super) async fn pending(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(thing): Path<String>,
) -> Result<Json<GetPendingJobExecutionsResponse>, ApiError> {
    match ask(&app, &caller, &thing, DeviceAsk::Pending).await? {
        Response::Pending(answer) => Ok(Json(answer)),
        other => Err(mixed_up(&other)),
    }
}

pub(super) async fn start_next(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((thing, job)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<StartNextPendingJobExecutionResponse>, ApiError> {
    caller.must_be(&app, &thing)?;
    if selector(&job)? != JobSelector::Next {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "PUT starts `$next` only; update a job with POST"));
    }
    let request = json_body(body, REQUEST_BODY_MAX_BYTES, app.limits.body).await?;
    match ask(&app, &caller, &thing, DeviceAsk::StartNext(request)).await? {
        Response::Execution(execution) => {
            let execution = execution.map(|execution| fill(&app, &headers, *execution));
            Ok(Json(StartNextPendingJobExecutionResponse { execution }))
        }
        other => Err(mixed_up(&other)),
    }
}

pub(super) async fn describe(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((thing, job)): Path<(String, String)>,
    Query(request): Query<DescribeJobExecutionRequest>,
    headers: HeaderMap,
) -> Result<Json<DescribeJobExecutionResponse>, ApiError> {
    caller.must_be(&app, &thing)?;
    match ask(&app, &caller, &thing, DeviceAsk::Describe(selector(&job)?, request)).await? {
        Response::Execution(execution) => {
            let execution = execution.map(|execution| fill(&app, &headers, *execution));
            Ok(Json(DescribeJobExecutionResponse { execution }))
        }
        other => Err(mixed_up(&other)),
    }
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((thing, job)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<UpdateJobExecutionResponse>, ApiError> {
    caller.must_be(&app, &thing)?;
    let JobSelector::Id(job) = selector(&job)? else {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "an update names a job, not `$next`"));
    };
    let request = json_body(body, REQUEST_BODY_MAX_BYTES, app.limits.body).await?;
    match ask(&app, &caller, &thing, DeviceAsk::Update(job, request)).await? {
        Response::Updated(mut answer) => {
            answer.job_document = answer.job_document.map(|text| fill_text(&app, &headers, &text));
            Ok(Json(answer))
        }
        other => Err(mixed_up(&other)),
    }
}

async fn ask(app: &App, caller: &Caller, thing: &str, ask: DeviceAsk) -> Result<Response, ApiError> {
    let thing = caller.must_be(app, thing)?.clone();
    Ok(app.engine.jobs(Request::Device { thing, ask }).await?)
}

fn selector(job: &str) -> Result<JobSelector, ApiError> {
    job.parse().map_err(|error: sealift_jobs::NameError| ApiError::new(ErrorCode::InvalidRequest, error.to_string()))
}

fn mixed_up(response: &Response) -> ApiError {
    tracing::error!(?response, "the Jobs machine answered another question");
    ApiError::new(ErrorCode::InternalError, "the server failed; try again")
}

fn fill(app: &App, headers: &HeaderMap, mut execution: JobExecution) -> JobExecution {
    execution.job_document = execution.job_document.map(|text| fill_text(app, headers, &text));
    execution
}

/// Puts our origin into a job document, as AWS fills its presign placeholders when a device asks. The name the device
/// itself used is the one that works for it; it gets no more than its own answer changed by lying about it.
fn fill_text(app: &App, headers: &HeaderMap, document: &str) -> String {
    let asked = || {
        let host = headers.get(header::HOST)?.to_str().ok()?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
        (!host.is_empty() && host.bytes().all(plain)).then(|| format!("https://{host}"))
    };
    app.links.fill(document, asked().as_deref(), (app.clock)())
}
