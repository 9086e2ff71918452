//! The control API's routes: the table of them, and what their handlers share. Each handler is in the file of what it is about.

mod devices;
mod jobs;
mod operators;
mod policies;
mod provisioning;
mod rollouts;
mod tokens;

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use sealift_jobs::{ErrorCode, GroupName};
use serde::{Deserialize, Serialize};

use super::guard::Asker;
use super::operators::{Operators, Role};
use crate::endpoint::{ApiError, App, no_method, no_route};
use crate::registry;

pub use provisioning::{NewClaim, NewTemplate};
pub use tokens::{IssuedToken, NewToken};

/// Most bytes of a request.
const BODY_MAX: usize = 256 * 1_024;
/// Makes a write that hands out a secret repeatable.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Characters of such a key: a UUID is one. Short ones are mistakes (`0`, `null`).
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 8..=255;
/// Most characters of a name that a page begins after.
const AFTER_MAX: usize = 128;

#[derive(Deserialize)]
struct Page {
    after: Option<String>,
    group: Option<GroupName>,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    #[serde(default)]
    force: bool,
    #[serde(default)]
    comment: String,
}

/// What became of a removal.
#[derive(Serialize)]
struct Removed {
    name: String,
    /// False when there was nothing of that name.
    removed: bool,
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
    ("DELETE", "/v1/policies/{name}", Role::Admin),
    ("POST", "/v1/policies/{name}/attach/{thing}", Role::Admin),
    ("POST", "/v1/policies/{name}/detach/{thing}", Role::Admin),
    ("GET", "/v1/cas", Role::Viewer),
    ("POST", "/v1/cas", Role::Admin),
    ("GET", "/v1/cas/registration-code", Role::Viewer),
    ("POST", "/v1/cas/{id}/activate", Role::Admin),
    ("POST", "/v1/cas/{id}/deactivate", Role::Admin),
    ("GET", "/v1/templates", Role::Viewer),
    ("POST", "/v1/templates", Role::Admin),
    ("DELETE", "/v1/templates/{name}", Role::Admin),
    ("POST", "/v1/claims", Role::Admin),
    ("GET", "/v1/certificates", Role::Viewer),
    ("POST", "/v1/certificates/{id}/activate", Role::Admin),
    ("POST", "/v1/certificates/{id}/revoke", Role::Admin),
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
const OPENAPI: &str = include_str!("../openapi.json");

/// The control API over `app`.
pub fn router(app: Arc<App>, operators: Arc<Operators>) -> Router {
    Router::new()
        .route("/v1/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI)))
        .route("/v1/operators", get(operators::list_operators).post(operators::add_operator))
        .route("/v1/operators/{name}", delete(operators::remove_operator))
        .route("/v1/tokens", post(tokens::issue_token))
        .route("/v1/devices", get(devices::devices))
        .route("/v1/devices/{thing}", get(devices::device))
        .route("/v1/devices/{thing}/metrics", get(devices::device_metrics))
        .route("/v1/devices/{thing}/revoke", post(devices::revoke))
        .route("/v1/alerts", get(devices::alerts))
        .route("/v1/check/fleet", get(devices::check_fleet))
        .route("/v1/policies", get(policies::policies).post(policies::put_policy))
        .route("/v1/policies/{name}", delete(policies::remove_policy))
        .route("/v1/policies/{name}/attach/{thing}", post(policies::attach_policy))
        .route("/v1/policies/{name}/detach/{thing}", post(policies::detach_policy))
        .route("/v1/cas", get(provisioning::cas).post(provisioning::register_ca))
        .route("/v1/cas/registration-code", get(provisioning::registration_code))
        .route("/v1/cas/{id}/activate", post(provisioning::activate_ca))
        .route("/v1/cas/{id}/deactivate", post(provisioning::deactivate_ca))
        .route("/v1/templates", get(provisioning::templates).post(provisioning::put_template))
        .route("/v1/templates/{name}", delete(provisioning::remove_template))
        .route("/v1/claims", post(provisioning::create_claim))
        .route("/v1/certificates", get(provisioning::certificates))
        .route("/v1/certificates/{id}/activate", post(provisioning::activate_certificate))
        .route("/v1/certificates/{id}/revoke", post(provisioning::revoke_certificate))
        .route("/v1/groups", get(devices::groups).post(devices::create_group))
        .route("/v1/jobs", get(jobs::list_jobs).post(jobs::create_job))
        .route("/v1/jobs/{job}/cancel", post(jobs::cancel_job))
        .route("/v1/releases", get(rollouts::releases))
        .route("/v1/rollouts", get(rollouts::rollouts).post(rollouts::create_rollout))
        .route("/v1/rollouts/preview", post(rollouts::preview_rollout))
        .route("/v1/rollouts/{name}", get(rollouts::rollout_status))
        .route("/v1/rollouts/{name}/cancel", post(rollouts::cancel_rollout))
        .route("/v1/rollouts/{name}/pause", post(rollouts::pause_rollout))
        .route("/v1/rollouts/{name}/resume", post(rollouts::resume_rollout))
        .route("/v1/rollouts/{name}/approve", post(rollouts::approve_rollout))
        .route("/v1/rollouts/{name}/explain/{thing}", get(rollouts::explain_rollout))
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
        let text = include_str!("mod.rs").split("#[cfg(test)]").next().unwrap();
        let routed: BTreeSet<&str> =
            text.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(routed, ROUTES.iter().map(|(_, path, _)| *path).collect());
    }
}
