//! Registered CAs, provisioning templates, claims, and certificates that wait.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use sealift_jobs::{ErrorCode, GroupName, ThingName};
use serde::{Deserialize, Serialize};

use super::{BODY_MAX, Page, Removed, invalid};
use crate::endpoint::{ApiError, App, json_body};
use crate::ledger::{
    CaCertificate, Certificate, CertificateStatus, PAGE_MAX, ProvisioningTemplate, TemplateKind, Thing,
};
use crate::pki::{SignedRequest, inspect_pem};
use crate::provisioning::{Failure, Registration, Request, Response, check_registration};

/// Longest life of a claim: ten years, as long as the CA's.
const CLAIM_MAX_DAYS: u64 = 3_640;
/// What a claim's certificate is called.
const CLAIM_NAME: &str = "sealift-claim";

/// A template to write.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewTemplate {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: TemplateKind,
    /// The JSON document.
    pub document: String,
}

/// A claim to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewClaim {
    /// The template that its holders may use.
    pub template: String,
    /// A certificate signing request, PEM: its key stays with who asks.
    pub csr: String,
    /// Days that it is good.
    pub days: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Activation {
    thing: ThingName,
    product: String,
    #[serde(default)]
    groups: BTreeSet<GroupName>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Code {
    registration_code: String,
}

async fn ask(app: &App, request: Request) -> Result<Response, ApiError> {
    match app.engine.provisioning(request).await {
        Some(Ok(response)) => Ok(response),
        Some(Err(failure @ (Failure::NoTemplate(_) | Failure::NoCa(_) | Failure::NoCertificate(_)))) => {
            Err(ApiError::new(ErrorCode::ResourceNotFound, failure.to_string()))
        }
        Some(Err(failure @ Failure::Ledger(_))) => Err(ApiError::new(ErrorCode::InternalError, failure.to_string())),
        Some(Err(failure @ (Failure::TemplateInUse { .. } | Failure::Taken(_) | Failure::NotPending { .. }))) => {
            Err(invalid(failure).status(StatusCode::CONFLICT))
        }
        Some(Err(failure)) => Err(invalid(failure)),
        None => Err(ApiError::new(ErrorCode::ServiceUnavailable, "the server is busy; try again")),
    }
}

fn other() -> ApiError {
    ApiError::new(ErrorCode::InternalError, "the registry answered another question")
}

fn first<T>(mut all: Vec<T>) -> Result<Json<T>, ApiError> {
    all.pop().map(Json).ok_or_else(other)
}

pub(super) async fn cas(State(app): State<Arc<App>>) -> Result<Json<Vec<CaCertificate>>, ApiError> {
    match ask(&app, Request::Cas).await? {
        Response::Cas(cas) => Ok(Json(cas)),
        _ => Err(other()),
    }
}

pub(super) async fn registration_code(State(app): State<Arc<App>>) -> Json<Code> {
    Json(Code { registration_code: app.authority.registration_code() })
}

pub(super) async fn register_ca(State(app): State<Arc<App>>, body: Body) -> Result<Json<CaCertificate>, ApiError> {
    let wish: Registration = json_body(body, BODY_MAX, app.limits.body).await?;
    let ca = check_registration(&wish, app.authority.der(), &app.authority.registration_code(), (app.clock)());
    let ca = ca.map_err(invalid)?;
    let Response::Cas(cas) = ask(&app, Request::RegisterCa(ca)).await? else { return Err(other()) };
    app.trust.refresh(&app.engine).await;
    for ca in &cas {
        tracing::warn!(ca = ca.id, subject = ca.subject, mode = ?ca.mode, auto = ca.auto_registration, "a CA was registered");
    }
    first(cas)
}

pub(super) async fn activate_ca(app: State<Arc<App>>, id: Path<String>) -> Result<Json<CaCertificate>, ApiError> {
    set_ca(app, id, true).await
}

pub(super) async fn deactivate_ca(app: State<Arc<App>>, id: Path<String>) -> Result<Json<CaCertificate>, ApiError> {
    set_ca(app, id, false).await
}

async fn set_ca(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    active: bool,
) -> Result<Json<CaCertificate>, ApiError> {
    match ask(&app, Request::SetCa { id, active }).await? {
        Response::Cas(cas) => {
            tracing::warn!(ca = cas.first().map(|ca| ca.id.as_str()), active, "a CA was switched");
            first(cas)
        }
        _ => Err(other()),
    }
}

pub(super) async fn templates(State(app): State<Arc<App>>) -> Result<Json<Vec<ProvisioningTemplate>>, ApiError> {
    match ask(&app, Request::Templates).await? {
        Response::Templates(templates) => Ok(Json(templates)),
        _ => Err(other()),
    }
}

pub(super) async fn put_template(
    State(app): State<Arc<App>>,
    body: Body,
) -> Result<Json<ProvisioningTemplate>, ApiError> {
    let NewTemplate { name, kind, document } = json_body(body, BODY_MAX, app.limits.body).await?;
    let template = ProvisioningTemplate { name, kind, document, updated_at: 0 };
    match ask(&app, Request::PutTemplate(template)).await? {
        Response::Templates(templates) => first(templates),
        _ => Err(other()),
    }
}

/// Removes a template that no CA needs; one that isn't there stays away.
pub(super) async fn remove_template(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Removed>, ApiError> {
    match app.engine.provisioning(Request::RemoveTemplate(name.clone())).await {
        Some(Err(Failure::NoTemplate(_))) => Ok(Json(Removed { name, removed: false })),
        Some(Err(failure @ Failure::TemplateInUse { .. })) => Err(invalid(failure).status(StatusCode::CONFLICT)),
        Some(Ok(_)) => {
            tracing::warn!(name, "a provisioning template was removed");
            Ok(Json(Removed { name, removed: true }))
        }
        Some(Err(failure @ Failure::TemplateName(_))) => Err(invalid(failure)),
        Some(Err(failure)) => Err(ApiError::new(ErrorCode::InternalError, failure.to_string())),
        None => Err(ApiError::new(ErrorCode::ServiceUnavailable, "the server is busy; try again")),
    }
}

/// Makes a claim certificate. Asked for again with the same key, it is the same one.
pub(super) async fn create_claim(State(app): State<Arc<App>>, body: Body) -> Result<Json<Certificate>, ApiError> {
    let NewClaim { template, csr, days } = json_body(body, BODY_MAX, app.limits.body).await?;
    if days == 0 || days > CLAIM_MAX_DAYS {
        return Err(invalid(format!("a claim is good for 1 to {CLAIM_MAX_DAYS} days, not {days}")));
    }
    let request = SignedRequest::from_pem(&csr).map_err(invalid)?;
    let failed = |e: &dyn std::fmt::Display| {
        tracing::error!(error = %e, "a claim certificate couldn't be issued");
        ApiError::new(ErrorCode::InternalError, "the server failed; try again")
    };
    let issued = app.authority.issue_unnamed(&request, CLAIM_NAME, days).map_err(|e| failed(&e))?;
    let (inspected, _) = inspect_pem(&issued.certificate).map_err(|e| failed(&e))?;
    let claim = Certificate {
        id: inspected.id,
        certificate: issued.certificate,
        key_fingerprint: request.key_fingerprint(),
        status: CertificateStatus::Active,
        ca: None,
        claim: Some(template),
        policies: BTreeSet::new(),
        registered_at: (app.clock)(),
        not_after: inspected.not_after,
        ownership: None,
        problem: None,
    };
    match ask(&app, Request::AddClaim(Box::new(claim))).await? {
        Response::Certificates(claims) => {
            for claim in &claims {
                tracing::warn!(claim = claim.id, template = claim.claim, "a claim certificate");
            }
            first(claims)
        }
        _ => Err(other()),
    }
}

pub(super) async fn certificates(
    State(app): State<Arc<App>>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<Certificate>>, ApiError> {
    page.check()?;
    match ask(&app, Request::Certificates { after: page.after, limit: PAGE_MAX }).await? {
        Response::Certificates(certificates) => Ok(Json(certificates)),
        _ => Err(other()),
    }
}

pub(super) async fn activate_certificate(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<Thing>, ApiError> {
    let Activation { thing, product, groups } = json_body(body, BODY_MAX, app.limits.body).await?;
    match ask(&app, Request::Activate { id, thing, product, groups }).await? {
        Response::Thing(thing) => {
            tracing::warn!(thing = %thing.name, certificate = thing.fingerprint, "a certificate was activated");
            Ok(Json(*thing))
        }
        _ => Err(other()),
    }
}

pub(super) async fn revoke_certificate(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    ask(&app, Request::Revoke(id.clone())).await?;
    tracing::warn!(certificate = id, "certificate revoked");
    Ok(Json(serde_json::json!({ "id": id, "status": CertificateStatus::Revoked })))
}
