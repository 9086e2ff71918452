//! Enrolment tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use sealift_jobs::{GroupName, ThingName};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{BODY_MAX, invalid, key_of, registry};
use crate::control::guard::Asker;
use crate::control::operators::Operators;
use crate::endpoint::{ApiError, App, json_body};
use crate::ledger::EnrolmentToken;

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

pub(super) async fn issue_token(
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
