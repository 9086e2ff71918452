//! Enrolment: a one-time token and two proofs of possession become a certificate.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use sealift_jobs::{ErrorCode, GroupName, ThingName};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

use super::identity::Caller;
use super::{ApiError, App, json_body};
use crate::pki::CertificateRequest;
use crate::registry::{Enrolment, Failure, Request, Response};

/// Most bytes of a request: a certificate request has about a thousand.
const BODY_MAX: usize = 16 * 1_024;
/// What the report key signs: this, and the SHA-256 of the certificate request's DER. It binds the two keys together,
/// so that nobody enrols a report key he doesn't hold.
const PROOF_CONTEXT: &[u8] = b"sealift enrol v1\0";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnrolRequest {
    token: String,
    csr: String,
    report_key: String,
    report_key_proof: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnrolResponse {
    thing: ThingName,
    product: String,
    groups: BTreeSet<GroupName>,
    certificate: String,
    ca: String,
}

pub(super) async fn enrol(
    State(app): State<Arc<App>>,
    body: Body,
) -> Result<(StatusCode, Json<EnrolResponse>), ApiError> {
    let ask: EnrolRequest = json_body(body, BODY_MAX, app.limits.body).await?;
    let invalid = |e: &dyn std::fmt::Display| ApiError::new(ErrorCode::InvalidRequest, e.to_string());
    let csr = CertificateRequest::from_pem(&ask.csr).map_err(|e| invalid(&e))?;
    let report_key = checked_report_key(&ask, &csr).map_err(|e| invalid(&e))?;
    let enrolment = Enrolment {
        token: hex::encode(Sha256::digest(&ask.token)),
        thing: csr.thing().clone(),
        report_key,
        key_fingerprint: csr.key_fingerprint(),
    };
    // Looked at first, so that only a good token costs a signature by the CA; used up in one transaction below.
    let again = match registry(&app, Request::CheckToken(enrolment.clone())).await? {
        Response::TokenGood(thing) => thing,
        _ => None,
    };
    let (status, thing) = match again {
        Some(thing) => (StatusCode::OK, thing),
        None => {
            let issued = app.authority.issue_device(&csr).map_err(|error| {
                tracing::error!(%error, "a certificate couldn't be issued");
                ApiError::new(ErrorCode::InternalError, "the server failed; try again")
            })?;
            match registry(&app, Request::Enrol(Box::new(enrolment), issued)).await? {
                Response::Thing(thing) => (StatusCode::CREATED, thing),
                _ => return Err(ApiError::new(ErrorCode::InternalError, "the server failed; try again")),
            }
        }
    };
    tracing::info!(thing = %thing.name, product = thing.product, groups = ?thing.groups, "enrolled");
    let ca = app.authority.certificate().to_owned();
    let (name, product, groups, certificate) = (thing.name, thing.product, thing.groups, thing.certificate);
    Ok((status, Json(EnrolResponse { thing: name, product, groups, certificate, ca })))
}

async fn registry(app: &App, request: Request) -> Result<Response, ApiError> {
    let code = match app.engine.registry(request).await {
        Some(Ok(response)) => return Ok(response),
        Some(Err(failure @ (Failure::Token | Failure::Name { .. }))) => {
            tracing::warn!(%failure, "an enrolment was refused");
            return Err(ApiError::new(ErrorCode::Forbidden, failure.to_string()));
        }
        Some(Err(failure @ Failure::Taken(_))) => {
            let refused = ApiError::new(ErrorCode::InvalidRequest, failure.to_string());
            return Err(refused.status(StatusCode::CONFLICT));
        }
        Some(Err(failure)) => {
            tracing::error!(%failure, "an enrolment failed");
            ErrorCode::InternalError
        }
        None => ErrorCode::ServiceUnavailable,
    };
    Err(ApiError::new(code, "the server can't enrol now; try again"))
}

/// What the report key signs to renew: a stolen TLS key alone gets no certificate.
const ROTATE_CONTEXT: &[u8] = b"sealift rotate v1\0";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RotateRequest {
    csr: String,
    report_key_proof: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RotateResponse {
    thing: ThingName,
    certificate: String,
}

/// A certificate for a device's new key, by the certificate that it has and a signature of its report key.
pub(super) async fn rotate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(thing): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<RotateResponse>), ApiError> {
    let name = caller.must_be(&app, &thing)?.clone();
    let ask: RotateRequest = json_body(body, BODY_MAX, app.limits.body).await?;
    let invalid = |e: &dyn std::fmt::Display| ApiError::new(ErrorCode::InvalidRequest, e.to_string());
    let csr = CertificateRequest::from_pem(&ask.csr).map_err(|e| invalid(&e))?;
    if *csr.thing() != name {
        let message = format!("csr is for {}, and this certificate is {name}'s", csr.thing());
        return Err(ApiError::new(ErrorCode::Forbidden, message));
    }
    let Response::Thing(known) = registry(&app, Request::Thing(name.clone())).await? else {
        return Err(ApiError::new(ErrorCode::InternalError, "the server failed; try again"));
    };
    if !proven(&known.report_key, &ask.report_key_proof, ROTATE_CONTEXT, &csr) {
        app.engine.watch().wrong_identity(Some(&name), (app.clock)());
        let message = "reportKeyProof isn't the enrolled report key's signature over this csr";
        return Err(ApiError::new(ErrorCode::Forbidden, message));
    }
    let key_fingerprint = csr.key_fingerprint();
    let issued = app.authority.issue_device(&csr).map_err(|error| {
        tracing::error!(%error, "a certificate couldn't be issued");
        ApiError::new(ErrorCode::InternalError, "the server failed; try again")
    })?;
    let rotated = Request::Rotate { thing: name.clone(), issued, key_fingerprint: key_fingerprint.clone() };
    let Response::Thing(thing) = registry(&app, rotated).await? else {
        return Err(ApiError::new(ErrorCode::InternalError, "the server failed; try again"));
    };
    let certificate = match thing.next {
        Some(next) if next.key_fingerprint == key_fingerprint => next.certificate,
        _ => thing.certificate,
    };
    tracing::info!(thing = %name, "a certificate for a new key");
    Ok((StatusCode::CREATED, Json(RotateResponse { thing: name, certificate })))
}

/// Whether a report key signed that it goes with a request's key.
fn proven(report_key: &str, proof: &str, context: &[u8], csr: &CertificateRequest) -> bool {
    let (mut key, mut signature) = ([0; 32], [0; 64]);
    if hex::decode_to_slice(report_key, &mut key).is_err() || hex::decode_to_slice(proof, &mut signature).is_err() {
        return false;
    }
    sealift_verifier::ed25519::verify(&key, &[context, &csr.digest()], &signature)
}

/// The report key, once its proof holds.
fn checked_report_key(ask: &EnrolRequest, csr: &CertificateRequest) -> Result<String, String> {
    let mut key = [0; 32];
    hex::decode_to_slice(&ask.report_key, &mut key).map_err(|_| "reportKey isn't 64 hex characters (Ed25519)")?;
    let mut proof = [0; 64];
    hex::decode_to_slice(&ask.report_key_proof, &mut proof)
        .map_err(|_| "reportKeyProof isn't 128 hex characters (Ed25519)")?;
    let mut signed = PROOF_CONTEXT.to_vec();
    signed.extend_from_slice(&csr.digest());
    if sealift_verifier::ed25519::verify(&key, &[&signed], &proof) {
        Ok(hex::encode(key))
    } else {
        Err("reportKeyProof isn't reportKey's signature over this csr".into())
    }
}
