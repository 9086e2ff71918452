//! Devices, their groups, and what is watched of them.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use sealift_jobs::{ErrorCode, GroupName, ThingName};
use sealift_rollout::buckets::is_bucket_group;
use serde::{Deserialize, Serialize};

use super::{BODY_MAX, Page, invalid, registry};
use crate::endpoint::{ApiError, App, json_body};
use crate::jobs;
use crate::ledger::{Execution, PAGE_MAX, Thing};
use crate::registry::GroupOverview;
use crate::watching::{Alert, fleet};

/// Most days that a check looks ahead or back: a hundred years.
const DAYS_MAX: u64 = 36_500;

#[derive(Serialize)]
pub(super) struct DeviceView {
    #[serde(flatten)]
    thing: Thing,
    executions: Vec<Execution>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGroup {
    name: GroupName,
}

pub(super) async fn devices(
    State(app): State<Arc<App>>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<Thing>>, ApiError> {
    page.check()?;
    let Page { after, group } = page;
    match registry(&app, registry::Request::Things { after, group, limit: PAGE_MAX }).await? {
        registry::Response::Things(things) => Ok(Json(things)),
        _ => Ok(Json(Vec::new())),
    }
}

pub(super) async fn device(
    State(app): State<Arc<App>>,
    Path(thing): Path<String>,
) -> Result<Json<DeviceView>, ApiError> {
    let name: ThingName = thing.parse().map_err(invalid)?;
    let registry::Response::Thing(thing) = registry(&app, registry::Request::Thing(name.clone())).await? else {
        return Err(ApiError::new(ErrorCode::InternalError, "the registry answered another question"));
    };
    let executions = match app.engine.jobs(jobs::Request::ExecutionsOn { thing: name, limit: PAGE_MAX }).await? {
        jobs::Response::Executions(executions) => executions,
        _ => Vec::new(),
    };
    Ok(Json(DeviceView { thing: *thing, executions }))
}

pub(super) async fn device_metrics(
    State(app): State<Arc<App>>,
    Path(thing): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let name: ThingName = thing.parse().map_err(invalid)?;
    registry(&app, registry::Request::Thing(name.clone())).await?;
    Ok(Json(app.engine.watch().report(&name, (app.clock)())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertsQuery {
    #[serde(default)]
    all: bool,
}

pub(super) async fn alerts(State(app): State<Arc<App>>, Query(query): Query<AlertsQuery>) -> Json<Vec<Alert>> {
    Json(app.engine.watch().alerts(!query.all))
}

pub(super) async fn check_fleet(
    State(app): State<Arc<App>>,
    Query(bounds): Query<fleet::Bounds>,
) -> Result<Json<Vec<fleet::Finding>>, ApiError> {
    if [bounds.expiring_days, bounds.silent_days].iter().any(|days| *days > DAYS_MAX) {
        return Err(invalid(format!("expiring_days and silent_days are 0 to {DAYS_MAX}")));
    }
    let mut things: Vec<Thing> = Vec::new();
    loop {
        let after = things.last().map(|thing| thing.name.to_string());
        let page = registry::Request::Things { after, group: None, limit: PAGE_MAX };
        match registry(&app, page).await? {
            registry::Response::Things(page) if !page.is_empty() => things.extend(page),
            _ => break,
        }
    }
    let policies = match registry(&app, registry::Request::Policies).await? {
        registry::Response::Policies(policies) => policies,
        _ => Vec::new(),
    };
    let checked = tokio::task::spawn_blocking(move || {
        let (seen, now) = (app.engine.watch().last_seen(), (app.clock)());
        let authority = app.authority.der();
        fleet::check(&fleet::Fleet { things: &things, policies: &policies, seen: &seen, authority, now }, bounds)
    });
    checked.await.map(Json).map_err(|e| ApiError::new(ErrorCode::InternalError, e.to_string()))
}

pub(super) async fn revoke(State(app): State<Arc<App>>, Path(thing): Path<String>) -> Result<Json<Thing>, ApiError> {
    let name: ThingName = thing.parse().map_err(invalid)?;
    match registry(&app, registry::Request::Revoke(name)).await? {
        registry::Response::Thing(thing) => {
            tracing::warn!(thing = %thing.name, "certificate revoked");
            Ok(Json(*thing))
        }
        _ => Err(ApiError::new(ErrorCode::InternalError, "the registry answered another question")),
    }
}

pub(super) async fn groups(State(app): State<Arc<App>>) -> Result<Json<Vec<GroupOverview>>, ApiError> {
    match registry(&app, registry::Request::Groups).await? {
        // The hundred bucket groups of each product are no business of people's.
        registry::Response::Groups(groups) => {
            Ok(Json(groups.into_iter().filter(|group| !is_bucket_group(group.name.as_str())).collect()))
        }
        _ => Ok(Json(Vec::new())),
    }
}

pub(super) async fn create_group(State(app): State<Arc<App>>, body: Body) -> Result<Json<serde_json::Value>, ApiError> {
    let ask: NewGroup = json_body(body, BODY_MAX, app.limits.body).await?;
    registry(&app, registry::Request::CreateGroup(ask.name.clone())).await?;
    Ok(Json(serde_json::json!({ "name": ask.name })))
}
