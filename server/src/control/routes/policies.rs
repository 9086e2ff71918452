//! AWS IoT policies.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use sealift_jobs::{ErrorCode, ThingName};
use serde::Deserialize;

use super::{BODY_MAX, Removed, invalid, registry};
use crate::endpoint::{ApiError, App, json_body};
use crate::ledger::{StoredPolicy, Thing};

/// A policy to write.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPolicy {
    name: String,
    document: String,
}

pub(super) async fn policies(State(app): State<Arc<App>>) -> Result<Json<Vec<StoredPolicy>>, ApiError> {
    match registry(&app, registry::Request::Policies).await? {
        registry::Response::Policies(policies) => Ok(Json(policies)),
        _ => Ok(Json(Vec::new())),
    }
}

pub(super) async fn put_policy(State(app): State<Arc<App>>, body: Body) -> Result<Json<Vec<StoredPolicy>>, ApiError> {
    let NewPolicy { name, document } = json_body(body, BODY_MAX, app.limits.body).await?;
    match registry(&app, registry::Request::PutPolicy { name, document }).await? {
        registry::Response::Policies(policies) => Ok(Json(policies)),
        _ => Ok(Json(Vec::new())),
    }
}

pub(super) async fn attach_policy(
    app: State<Arc<App>>,
    names: Path<(String, String)>,
) -> Result<Json<Thing>, ApiError> {
    change_policies(app, names, true).await
}

pub(super) async fn detach_policy(
    app: State<Arc<App>>,
    names: Path<(String, String)>,
) -> Result<Json<Thing>, ApiError> {
    change_policies(app, names, false).await
}

pub(super) async fn change_policies(
    State(app): State<Arc<App>>,
    Path((name, thing)): Path<(String, String)>,
    attach: bool,
) -> Result<Json<Thing>, ApiError> {
    let thing: ThingName = thing.parse().map_err(invalid)?;
    match registry(&app, registry::Request::AttachPolicy { name, thing, attach }).await? {
        registry::Response::Thing(thing) => Ok(Json(*thing)),
        _ => Err(ApiError::new(ErrorCode::InternalError, "the registry answered another question")),
    }
}

/// Removes a policy that nothing has attached; one that isn't there stays away.
pub(super) async fn remove_policy(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Removed>, ApiError> {
    match app.engine.registry(registry::Request::RemovePolicy(name.clone())).await {
        Some(Err(registry::Failure::NoPolicy(_))) => Ok(Json(Removed { name, removed: false })),
        Some(Err(failure @ registry::Failure::PolicyInUse { .. })) => {
            Err(invalid(failure).status(axum::http::StatusCode::CONFLICT))
        }
        Some(Ok(_)) => {
            tracing::warn!(name, "a policy was removed");
            Ok(Json(Removed { name, removed: true }))
        }
        Some(Err(failure @ registry::Failure::PolicyName(_))) => Err(invalid(failure)),
        Some(Err(failure)) => Err(ApiError::new(ErrorCode::InternalError, failure.to_string())),
        None => Err(ApiError::new(ErrorCode::ServiceUnavailable, "the server is busy; try again")),
    }
}
