//! Releases and rollouts.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use sealift_jobs::{ErrorCode, ThingName};
use serde::{Deserialize, Serialize};

use super::{BODY_MAX, Cancel, invalid};
use crate::endpoint::{ApiError, App, json_body};
use crate::intake::{self, IntakeError};
use crate::rollout::document::Locations;
use crate::rollout::{Explained, NewRollout, Overview, PayloadFacts, Preview, RolloutError, Rollouts, Status};
use crate::service::{LocalJobs, ServiceError};
use crate::store::LocalStore;

#[derive(Serialize)]
pub(super) struct Made {
    #[serde(flatten)]
    overview: Overview,
    created: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pause {
    comment: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approve {
    wave: String,
}

/// The rollouts of this server.
pub(super) fn over<'a>(app: &'a App, jobs: &'a LocalJobs) -> Rollouts<'a, LocalStore, LocalJobs> {
    // Who may open the control socket is the operator of this server: the file's permissions say so.
    let actor = "operator".to_owned();
    Rollouts { store: &app.store, jobs, locations: Locations::local(), policy: app.policy, actor }
}

pub(super) fn failed(error: RolloutError) -> ApiError {
    let code = match &error {
        RolloutError::Unknown(_) => ErrorCode::ResourceNotFound,
        RolloutError::Store(_) | RolloutError::Contended(_) | RolloutError::Service(ServiceError::Unavailable(_)) => {
            ErrorCode::InternalError
        }
        RolloutError::Intake(IntakeError::Store(_) | IntakeError::Io { .. }) => ErrorCode::InternalError,
        _ => ErrorCode::InvalidRequest,
    };
    ApiError::new(code, error.to_string())
}

pub(super) async fn create_rollout(State(app): State<Arc<App>>, body: Body) -> Result<Json<Made>, ApiError> {
    let wish: NewRollout = json_body(body, BODY_MAX, app.limits.body).await?;
    let jobs = LocalJobs(app.engine.clone());
    let (overview, created) = over(&app, &jobs).create(&wish, (app.clock)()).await.map_err(failed)?;
    let trace = sealift_jobs::trace_of(&overview.target.digest);
    tracing::info!(trace, rollout = overview.rollout, target = %overview.target.digest, created, "rollout");
    Ok(Json(Made { overview, created }))
}

pub(super) async fn preview_rollout(State(app): State<Arc<App>>, body: Body) -> Result<Json<Preview>, ApiError> {
    let wish: NewRollout = json_body(body, BODY_MAX, app.limits.body).await?;
    let jobs = LocalJobs(app.engine.clone());
    Ok(Json(over(&app, &jobs).preview(&wish, (app.clock)()).await.map_err(failed)?))
}

pub(super) async fn rollouts(State(app): State<Arc<App>>) -> Result<Json<Vec<Overview>>, ApiError> {
    let jobs = LocalJobs(app.engine.clone());
    let rollouts = over(&app, &jobs);
    let mut all = Vec::new();
    for name in rollouts.names().await.map_err(failed)? {
        all.push(rollouts.overview(&name, (app.clock)()).await.map_err(failed)?);
    }
    all.sort_by_key(|overview| overview.created_at);
    Ok(Json(all))
}

pub(super) async fn rollout_status(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Status>, ApiError> {
    let jobs = LocalJobs(app.engine.clone());
    Ok(Json(over(&app, &jobs).status(&name, (app.clock)()).await.map_err(failed)?))
}

pub(super) async fn cancel_rollout(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Overview>, ApiError> {
    let ask: Cancel = json_body(body, BODY_MAX, app.limits.body).await?;
    let jobs = LocalJobs(app.engine.clone());
    let cancelled = over(&app, &jobs).cancel(&name, ask.force, &ask.comment, (app.clock)()).await;
    Ok(Json(cancelled.map_err(failed)?))
}

pub(super) async fn pause_rollout(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Overview>, ApiError> {
    let ask: Pause = json_body(body, BODY_MAX, app.limits.body).await?;
    let jobs = LocalJobs(app.engine.clone());
    Ok(Json(over(&app, &jobs).pause(&name, &ask.comment, (app.clock)()).await.map_err(failed)?))
}

pub(super) async fn resume_rollout(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Overview>, ApiError> {
    let jobs = LocalJobs(app.engine.clone());
    Ok(Json(over(&app, &jobs).resume(&name, (app.clock)()).await.map_err(failed)?))
}

pub(super) async fn approve_rollout(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Overview>, ApiError> {
    let ask: Approve = json_body(body, BODY_MAX, app.limits.body).await?;
    let jobs = LocalJobs(app.engine.clone());
    Ok(Json(over(&app, &jobs).approve(&name, &ask.wave, (app.clock)()).await.map_err(failed)?))
}

pub(super) async fn explain_rollout(
    State(app): State<Arc<App>>,
    Path((name, thing)): Path<(String, String)>,
    Query(facts): Query<PayloadFacts>,
) -> Result<Json<Explained>, ApiError> {
    let thing: ThingName = thing.parse().map_err(invalid)?;
    let jobs = LocalJobs(app.engine.clone());
    Ok(Json(over(&app, &jobs).explain(&name, &thing, &facts).await.map_err(failed)?))
}

pub(super) async fn releases(State(app): State<Arc<App>>) -> Result<Json<serde_json::Value>, ApiError> {
    let published = intake::published(&app.store, app.policy).await.map_err(|e| failed(e.into()))?;
    Ok(Json(match published.catalog {
        Some(catalog) => serde_json::json!({
            "repository": catalog.repository,
            "rootVersion": catalog.chain.root_version,
            "timestampVersion": catalog.chain.timestamp.version,
            "expires": catalog.chain.expires,
            "targets": catalog.targets,
        }),
        None => serde_json::json!({ "repository": null, "targets": [] }),
    }))
}
