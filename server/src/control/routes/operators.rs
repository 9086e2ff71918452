//! Who may use the control API from elsewhere.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use sealift_jobs::ErrorCode;
use serde::{Deserialize, Serialize};

use super::{BODY_MAX, invalid, key_of};
use crate::control::guard::Asker;
use crate::control::operators::{OperatorError, OperatorView, Operators, Role};
use crate::endpoint::{ApiError, App, json_body};

/// An operator to name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewOperator {
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
pub(super) struct Named {
    #[serde(flatten)]
    operator: OperatorView,
    /// Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

pub(super) fn operator_failed(error: OperatorError) -> ApiError {
    match &error {
        OperatorError::Taken(_) => invalid(error).status(axum::http::StatusCode::CONFLICT),
        OperatorError::File(_) => {
            tracing::error!(%error, "the operators couldn't be written");
            ApiError::new(ErrorCode::InternalError, "the server failed; try again")
        }
        _ => invalid(error),
    }
}

pub(super) async fn list_operators(Extension(operators): Extension<Arc<Operators>>) -> Json<Vec<OperatorView>> {
    Json(operators.list())
}

pub(super) async fn add_operator(
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

pub(super) async fn remove_operator(
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
