//! The control API's routes.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use sealift_jobs::{ErrorCode, GroupName, ThingName};
use sealift_rollout::buckets::is_bucket_group;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::guard::Asker;
use super::operators::{OperatorError, OperatorView, Operators, Role};
use crate::endpoint::{ApiError, App, json_body, no_method, no_route};
use crate::intake::{self, IntakeError};
use crate::jobs::{self, CreateJob, JobOverview};
use crate::ledger::{EnrolmentToken, Execution, PAGE_MAX, StoredPolicy, Thing};
use crate::registry::{self, GroupOverview};
use crate::rollout::document::Locations;
use crate::rollout::{Explained, NewRollout, Overview, PayloadFacts, Preview, RolloutError, Rollouts, Status};
use crate::service::{LocalJobs, ServiceError};
use crate::store::LocalStore;
use crate::watching::{Alert, fleet};

/// Most bytes of a request.
const BODY_MAX: usize = 256 * 1_024;
/// Makes a write that hands out a secret repeatable.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Characters of such a key: a UUID is one. Short ones are mistakes (`0`, `null`).
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 8..=255;
/// Most characters of a name that a page begins after.
const AFTER_MAX: usize = 128;
/// Most days that a check looks ahead or back: a hundred years.
const DAYS_MAX: u64 = 36_500;
/// Longest life of a token: a year.
const TOKEN_MAX_SECONDS: u64 = 366 * 24 * 3_600;

/// A token to issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewToken {
    /// Product the device will be registered as.
    pub product: String,
    /// Groups it will join.
    pub groups: BTreeSet<GroupName>,
    /// The only thing name allowed.
    #[serde(default)]
    pub thing: Option<ThingName>,
    /// How long it is good, in seconds.
    pub seconds: u64,
}

/// A token that was issued. The secret is shown this once and kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedToken {
    /// The secret, for one device.
    pub token: String,
    /// Product.
    pub product: String,
    /// Groups.
    pub groups: BTreeSet<GroupName>,
    /// The only thing name allowed.
    pub thing: Option<ThingName>,
    /// When it stops being accepted, in seconds since the Unix epoch.
    pub expires_at: u64,
}

#[derive(Deserialize)]
struct Page {
    after: Option<String>,
    group: Option<GroupName>,
}

#[derive(Serialize)]
struct DeviceView {
    #[serde(flatten)]
    thing: Thing,
    executions: Vec<Execution>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    #[serde(default)]
    force: bool,
    #[serde(default)]
    comment: String,
}

#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    overview: Overview,
    created: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    name: GroupName,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pause {
    comment: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    wave: String,
}

/// Every route, and the least role that may use it on the network. `openapi.json` says the same, and a test holds them together.
pub(super) const ROUTES: &[(&str, &str, Role)] = &[
    ("GET", "/v1/openapi.json", Role::Viewer),
    ("POST", "/v1/tokens", Role::Admin),
    ("GET", "/v1/devices", Role::Viewer),
    ("GET", "/v1/devices/{thing}", Role::Viewer),
    ("GET", "/v1/devices/{thing}/metrics", Role::Viewer),
    ("GET", "/v1/alerts", Role::Viewer),
    ("GET", "/v1/check/fleet", Role::Viewer),
    ("POST", "/v1/devices/{thing}/revoke", Role::Admin),
    ("GET", "/v1/policies", Role::Viewer),
    ("POST", "/v1/policies", Role::Admin),
    ("POST", "/v1/policies/{name}/attach/{thing}", Role::Admin),
    ("POST", "/v1/policies/{name}/detach/{thing}", Role::Admin),
    ("GET", "/v1/groups", Role::Viewer),
    ("POST", "/v1/groups", Role::Operator),
    ("GET", "/v1/jobs", Role::Viewer),
    ("POST", "/v1/jobs", Role::Operator),
    ("POST", "/v1/jobs/{job}/cancel", Role::Operator),
    ("GET", "/v1/releases", Role::Viewer),
    ("GET", "/v1/rollouts", Role::Viewer),
    ("POST", "/v1/rollouts", Role::Operator),
    ("POST", "/v1/rollouts/preview", Role::Viewer),
    ("GET", "/v1/rollouts/{name}", Role::Viewer),
    ("POST", "/v1/rollouts/{name}/cancel", Role::Operator),
    ("POST", "/v1/rollouts/{name}/pause", Role::Operator),
    ("POST", "/v1/rollouts/{name}/resume", Role::Operator),
    ("POST", "/v1/rollouts/{name}/approve", Role::Operator),
    ("GET", "/v1/rollouts/{name}/explain/{thing}", Role::Viewer),
    ("GET", "/v1/operators", Role::Admin),
    ("POST", "/v1/operators", Role::Admin),
    ("DELETE", "/v1/operators/{name}", Role::Admin),
];

/// The document that describes the API to programs.
const OPENAPI: &str = include_str!("openapi.json");

/// The control API over `app`.
pub fn router(app: Arc<App>, operators: Arc<Operators>) -> Router {
    Router::new()
        .route("/v1/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI)))
        .route("/v1/operators", get(list_operators).post(add_operator))
        .route("/v1/operators/{name}", delete(remove_operator))
        .route("/v1/tokens", post(issue_token))
        .route("/v1/devices", get(devices))
        .route("/v1/devices/{thing}", get(device))
        .route("/v1/devices/{thing}/metrics", get(device_metrics))
        .route("/v1/devices/{thing}/revoke", post(revoke))
        .route("/v1/alerts", get(alerts))
        .route("/v1/check/fleet", get(check_fleet))
        .route("/v1/policies", get(policies).post(put_policy))
        .route("/v1/policies/{name}/attach/{thing}", post(attach_policy))
        .route("/v1/policies/{name}/detach/{thing}", post(detach_policy))
        .route("/v1/groups", get(groups).post(create_group))
        .route("/v1/jobs", get(list_jobs).post(create_job))
        .route("/v1/jobs/{job}/cancel", post(cancel_job))
        .route("/v1/releases", get(releases))
        .route("/v1/rollouts", get(rollouts).post(create_rollout))
        .route("/v1/rollouts/preview", post(preview_rollout))
        .route("/v1/rollouts/{name}", get(rollout_status))
        .route("/v1/rollouts/{name}/cancel", post(cancel_rollout))
        .route("/v1/rollouts/{name}/pause", post(pause_rollout))
        .route("/v1/rollouts/{name}/resume", post(resume_rollout))
        .route("/v1/rollouts/{name}/approve", post(approve_rollout))
        .route("/v1/rollouts/{name}/explain/{thing}", get(explain_rollout))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(Extension(operators))
        .with_state(app)
}

fn invalid(e: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, e.to_string())
}

async fn registry(app: &App, request: registry::Request) -> Result<registry::Response, ApiError> {
    match app.engine.registry(request).await {
        Some(Ok(response)) => Ok(response),
        Some(Err(failure @ (registry::Failure::NoThing(_) | registry::Failure::NoPolicy(_)))) => {
            Err(ApiError::new(ErrorCode::ResourceNotFound, failure.to_string()))
        }
        Some(Err(failure @ registry::Failure::Ledger(_))) => {
            Err(ApiError::new(ErrorCode::InternalError, failure.to_string()))
        }
        Some(Err(failure @ registry::Failure::KeyReused)) => {
            Err(invalid(failure).status(axum::http::StatusCode::CONFLICT))
        }
        Some(Err(failure)) => Err(invalid(failure)),
        None => Err(ApiError::new(ErrorCode::ServiceUnavailable, "the server is busy; try again")),
    }
}

/// A policy to write.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPolicy {
    name: String,
    document: String,
}

async fn policies(State(app): State<Arc<App>>) -> Result<Json<Vec<StoredPolicy>>, ApiError> {
    match registry(&app, registry::Request::Policies).await? {
        registry::Response::Policies(policies) => Ok(Json(policies)),
        _ => Ok(Json(Vec::new())),
    }
}

async fn put_policy(State(app): State<Arc<App>>, body: Body) -> Result<Json<Vec<StoredPolicy>>, ApiError> {
    let NewPolicy { name, document } = json_body(body, BODY_MAX, app.limits.body).await?;
    match registry(&app, registry::Request::PutPolicy { name, document }).await? {
        registry::Response::Policies(policies) => Ok(Json(policies)),
        _ => Ok(Json(Vec::new())),
    }
}

async fn attach_policy(app: State<Arc<App>>, names: Path<(String, String)>) -> Result<Json<Thing>, ApiError> {
    change_policies(app, names, true).await
}

async fn detach_policy(app: State<Arc<App>>, names: Path<(String, String)>) -> Result<Json<Thing>, ApiError> {
    change_policies(app, names, false).await
}

async fn change_policies(
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

/// Who asks, and under which key. On the network a key is needed; the socket's user gets one of its own.
fn key_of(asker: Option<Extension<Asker>>, headers: &HeaderMap) -> Result<(String, String), ApiError> {
    let who = asker.as_ref().map_or_else(String::new, |Extension(Asker(name))| name.clone());
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let given = headers.get(IDEMPOTENCY_KEY).map(|value| value.to_str().unwrap_or_default().to_owned());
    match given {
        Some(key) if KEY_LENGTH.contains(&key.len()) && key.chars().all(plain) => Ok((who, key)),
        Some(_) => {
            Err(invalid(format!("the header Idempotency-Key has {KEY_LENGTH:?} of [A-Za-z0-9._-]; a UUID is one")))
        }
        None if asker.is_some() => {
            Err(invalid("the header Idempotency-Key is needed: with it, a repeated request gives the same answer"))
        }
        None => {
            let mut key = [0; 16];
            getrandom::fill(&mut key).map_err(|e| ApiError::new(ErrorCode::InternalError, e.to_string()))?;
            Ok((who, hex::encode(key)))
        }
    }
}

/// An operator to name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewOperator {
    name: String,
    role: Role,
    /// PEM.
    #[serde(default)]
    certificate: Option<String>,
    /// How long his access lasts.
    #[serde(default)]
    seconds: Option<u64>,
}

#[derive(Serialize)]
struct Named {
    #[serde(flatten)]
    operator: OperatorView,
    /// Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

fn operator_failed(error: OperatorError) -> ApiError {
    match &error {
        OperatorError::Taken(_) => invalid(error).status(axum::http::StatusCode::CONFLICT),
        OperatorError::File(_) => {
            tracing::error!(%error, "the operators couldn't be written");
            ApiError::new(ErrorCode::InternalError, "the server failed; try again")
        }
        _ => invalid(error),
    }
}

async fn list_operators(Extension(operators): Extension<Arc<Operators>>) -> Json<Vec<OperatorView>> {
    Json(operators.list())
}

async fn add_operator(
    State(app): State<Arc<App>>,
    Extension(operators): Extension<Arc<Operators>>,
    asker: Option<Extension<Asker>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Named>, ApiError> {
    let NewOperator { name, role, certificate, seconds } = json_body(body, BODY_MAX, app.limits.body).await?;
    let (who, key) = key_of(asker, &headers)?;
    let now = (app.clock)();
    let expires = seconds.map(|seconds| now.saturating_add(seconds));
    let added = tokio::task::spawn_blocking(move || {
        operators.add(&name, role, certificate.as_deref(), expires, (&who, &key), now)
    });
    let added = added.await.map_err(|e| ApiError::new(ErrorCode::InternalError, e.to_string()))?;
    let (operator, token) = added.map_err(operator_failed)?;
    tracing::warn!(name = operator.name, role = ?operator.role, "an operator was named");
    Ok(Json(Named { operator, token }))
}

async fn remove_operator(
    Extension(operators): Extension<Arc<Operators>>,
    asker: Option<Extension<Asker>>,
    Path(name): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    // So that a slip doesn't leave a server without an admin.
    if asker.is_some_and(|Extension(Asker(asker))| asker == name) {
        let message = "nobody removes himself; another admin can, or the command line on the server's machine";
        return Err(invalid(message).status(axum::http::StatusCode::CONFLICT));
    }
    let gone = name.clone();
    let removed = tokio::task::spawn_blocking(move || operators.remove(&gone)).await;
    let removed =
        removed.map_err(|e| ApiError::new(ErrorCode::InternalError, e.to_string()))?.map_err(operator_failed)?;
    tracing::warn!(name, removed, "an operator was removed");
    Ok(Json(serde_json::json!({ "name": name, "removed": removed })))
}

async fn issue_token(
    State(app): State<Arc<App>>,
    Extension(operators): Extension<Arc<Operators>>,
    asker: Option<Extension<Asker>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<IssuedToken>, ApiError> {
    let ask: NewToken = json_body(body, BODY_MAX, app.limits.body).await?;
    if !sealift_manifests::is_name(&ask.product) {
        return Err(invalid(format!("{:?} can't be a product id", ask.product)));
    }
    if ask.seconds == 0 || ask.seconds > TOKEN_MAX_SECONDS {
        return Err(invalid(format!("a token is good for 1 to {TOKEN_MAX_SECONDS} seconds, not {}", ask.seconds)));
    }
    let (who, key) = key_of(asker, &headers)?;
    let token = operators.derived("enrolment", &who, &key);
    let expires_at = (app.clock)().saturating_add(ask.seconds);
    let NewToken { product, groups, thing, .. } = ask;
    let record = EnrolmentToken {
        id: hex::encode(Sha256::digest(&token)),
        product: product.clone(),
        groups: groups.clone(),
        thing: thing.clone(),
        expires_at,
        used_by: None,
    };
    let expires_at = match registry(&app, registry::Request::IssueToken(record)).await? {
        registry::Response::Token(kept) => kept.expires_at,
        _ => expires_at,
    };
    Ok(Json(IssuedToken { token, product, groups, thing, expires_at }))
}

impl Page {
    /// What a page begins after is a name, or nothing.
    fn check(&self) -> Result<(), ApiError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ":_-".contains(c);
        match &self.after {
            Some(after) if after.len() > AFTER_MAX || !after.chars().all(plain) => {
                Err(invalid(format!("after is 0 to {AFTER_MAX} of [a-zA-Z0-9:_-]")))
            }
            _ => Ok(()),
        }
    }
}

async fn devices(State(app): State<Arc<App>>, Query(page): Query<Page>) -> Result<Json<Vec<Thing>>, ApiError> {
    page.check()?;
    let Page { after, group } = page;
    match registry(&app, registry::Request::Things { after, group, limit: PAGE_MAX }).await? {
        registry::Response::Things(things) => Ok(Json(things)),
        _ => Ok(Json(Vec::new())),
    }
}

async fn device(State(app): State<Arc<App>>, Path(thing): Path<String>) -> Result<Json<DeviceView>, ApiError> {
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

async fn device_metrics(
    State(app): State<Arc<App>>,
    Path(thing): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let name: ThingName = thing.parse().map_err(invalid)?;
    registry(&app, registry::Request::Thing(name.clone())).await?;
    Ok(Json(app.engine.watch().report(&name, (app.clock)())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertsQuery {
    #[serde(default)]
    all: bool,
}

async fn alerts(State(app): State<Arc<App>>, Query(query): Query<AlertsQuery>) -> Json<Vec<Alert>> {
    Json(app.engine.watch().alerts(!query.all))
}

async fn check_fleet(
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

async fn revoke(State(app): State<Arc<App>>, Path(thing): Path<String>) -> Result<Json<Thing>, ApiError> {
    let name: ThingName = thing.parse().map_err(invalid)?;
    match registry(&app, registry::Request::Revoke(name)).await? {
        registry::Response::Thing(thing) => {
            tracing::warn!(thing = %thing.name, "certificate revoked");
            Ok(Json(*thing))
        }
        _ => Err(ApiError::new(ErrorCode::InternalError, "the registry answered another question")),
    }
}

async fn groups(State(app): State<Arc<App>>) -> Result<Json<Vec<GroupOverview>>, ApiError> {
    match registry(&app, registry::Request::Groups).await? {
        // The hundred bucket groups of each product are no business of people's.
        registry::Response::Groups(groups) => {
            Ok(Json(groups.into_iter().filter(|group| !is_bucket_group(group.name.as_str())).collect()))
        }
        _ => Ok(Json(Vec::new())),
    }
}

async fn create_group(State(app): State<Arc<App>>, body: Body) -> Result<Json<serde_json::Value>, ApiError> {
    let ask: NewGroup = json_body(body, BODY_MAX, app.limits.body).await?;
    registry(&app, registry::Request::CreateGroup(ask.name.clone())).await?;
    Ok(Json(serde_json::json!({ "name": ask.name })))
}

async fn job_machine(app: &App, request: jobs::Request) -> Result<Vec<JobOverview>, ApiError> {
    match app.engine.jobs(request).await? {
        jobs::Response::Created(job, _) | jobs::Response::Job(job) => Ok(vec![*job]),
        jobs::Response::Jobs(jobs) => Ok(jobs),
        _ => Ok(Vec::new()),
    }
}

fn single(mut jobs: Vec<JobOverview>) -> Result<Json<JobOverview>, ApiError> {
    let missing = || ApiError::new(ErrorCode::InternalError, "the Jobs machine answered another question");
    jobs.pop().map(Json).ok_or_else(missing)
}

async fn create_job(State(app): State<Arc<App>>, body: Body) -> Result<Json<JobOverview>, ApiError> {
    let create: CreateJob = json_body(body, BODY_MAX, app.limits.body).await?;
    single(job_machine(&app, jobs::Request::Create(create)).await?)
}

async fn list_jobs(State(app): State<Arc<App>>, Query(page): Query<Page>) -> Result<Json<Vec<JobOverview>>, ApiError> {
    page.check()?;
    Ok(Json(job_machine(&app, jobs::Request::Jobs { after: page.after, limit: PAGE_MAX }).await?))
}

async fn cancel_job(
    State(app): State<Arc<App>>,
    Path(job): Path<String>,
    body: Body,
) -> Result<Json<JobOverview>, ApiError> {
    let ask: Cancel = json_body(body, BODY_MAX, app.limits.body).await?;
    let id = job.parse().map_err(|e: sealift_jobs::NameError| invalid(e))?;
    let cancel = jobs::CancelJob { id, force: ask.force, comment: Some(ask.comment) };
    single(job_machine(&app, jobs::Request::Cancel(cancel)).await?)
}

/// The rollouts of this server.
fn over<'a>(app: &'a App, jobs: &'a LocalJobs) -> Rollouts<'a, LocalStore, LocalJobs> {
    // Who may open the control socket is the operator of this server: the file's permissions say so.
    let actor = "operator".to_owned();
    Rollouts { store: &app.store, jobs, locations: Locations::local(), policy: app.policy, actor }
}

fn failed(error: RolloutError) -> ApiError {
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

async fn create_rollout(State(app): State<Arc<App>>, body: Body) -> Result<Json<Made>, ApiError> {
    let wish: NewRollout = json_body(body, BODY_MAX, app.limits.body).await?;
    let jobs = LocalJobs(app.engine.clone());
    let (overview, created) = over(&app, &jobs).create(&wish, (app.clock)()).await.map_err(failed)?;
    let trace = sealift_jobs::trace_of(&overview.target.digest);
    tracing::info!(trace, rollout = overview.rollout, target = %overview.target.digest, created, "rollout");
    Ok(Json(Made { overview, created }))
}

async fn preview_rollout(State(app): State<Arc<App>>, body: Body) -> Result<Json<Preview>, ApiError> {
    let wish: NewRollout = json_body(body, BODY_MAX, app.limits.body).await?;
    let jobs = LocalJobs(app.engine.clone());
    Ok(Json(over(&app, &jobs).preview(&wish, (app.clock)()).await.map_err(failed)?))
}

async fn rollouts(State(app): State<Arc<App>>) -> Result<Json<Vec<Overview>>, ApiError> {
    let jobs = LocalJobs(app.engine.clone());
    let rollouts = over(&app, &jobs);
    let mut all = Vec::new();
    for name in rollouts.names().await.map_err(failed)? {
        all.push(rollouts.overview(&name, (app.clock)()).await.map_err(failed)?);
    }
    all.sort_by_key(|overview| overview.created_at);
    Ok(Json(all))
}

async fn rollout_status(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<Status>, ApiError> {
    let jobs = LocalJobs(app.engine.clone());
    Ok(Json(over(&app, &jobs).status(&name, (app.clock)()).await.map_err(failed)?))
}

async fn cancel_rollout(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Overview>, ApiError> {
    let ask: Cancel = json_body(body, BODY_MAX, app.limits.body).await?;
    let jobs = LocalJobs(app.engine.clone());
    let cancelled = over(&app, &jobs).cancel(&name, ask.force, &ask.comment, (app.clock)()).await;
    Ok(Json(cancelled.map_err(failed)?))
}

async fn pause_rollout(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Overview>, ApiError> {
    let ask: Pause = json_body(body, BODY_MAX, app.limits.body).await?;
    let jobs = LocalJobs(app.engine.clone());
    Ok(Json(over(&app, &jobs).pause(&name, &ask.comment, (app.clock)()).await.map_err(failed)?))
}

async fn resume_rollout(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<Overview>, ApiError> {
    let jobs = LocalJobs(app.engine.clone());
    Ok(Json(over(&app, &jobs).resume(&name, (app.clock)()).await.map_err(failed)?))
}

async fn approve_rollout(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Overview>, ApiError> {
    let ask: Approve = json_body(body, BODY_MAX, app.limits.body).await?;
    let jobs = LocalJobs(app.engine.clone());
    Ok(Json(over(&app, &jobs).approve(&name, &ask.wave, (app.clock)()).await.map_err(failed)?))
}

async fn explain_rollout(
    State(app): State<Arc<App>>,
    Path((name, thing)): Path<(String, String)>,
    Query(facts): Query<PayloadFacts>,
) -> Result<Json<Explained>, ApiError> {
    let thing: ThingName = thing.parse().map_err(invalid)?;
    let jobs = LocalJobs(app.engine.clone());
    Ok(Json(over(&app, &jobs).explain(&name, &thing, &facts).await.map_err(failed)?))
}

async fn releases(State(app): State<Arc<App>>) -> Result<Json<serde_json::Value>, ApiError> {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_openapi_document_lists_every_route_with_its_role_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let role = operation["x-sealift-role"].as_str().unwrap().to_owned();
                described.insert((method.to_uppercase(), path.clone(), role));
            }
        }
        let served = ROUTES
            .iter()
            .map(|(method, path, role)| ((*method).to_owned(), (*path).to_owned(), format!("{role:?}").to_lowercase()));
        assert_eq!(described, served.collect());
        // And the router has no route that isn't in the table.
        let text = include_str!("routes.rs").split("#[cfg(test)]").next().unwrap();
        let routed: BTreeSet<&str> =
            text.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(routed, ROUTES.iter().map(|(_, path, _)| *path).collect());
    }
}
