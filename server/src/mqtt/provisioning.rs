//! AWS IoT's device provisioning MQTT API: a claim gets a certificate for a key that the device made, and a thing of it.
//!
//! Three requests, each answered on `accepted` or `rejected` with AWS's status and error codes. The one that has the server make a
//! device's key is refused: private keys never leave devices.

use std::sync::Arc;

use sealift_jobs::ThingName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::broker::Broker;
use super::counters::count;
use super::jobs::Asked;
use super::message::Message;
use super::session::Session;
use super::topics::Provisioning;
use crate::ledger::{Certificate, CertificateStatus, Ownership};
use crate::pki::{SignedRequest, inspect_pem};
use crate::provisioning::{Claimed, Parameters, Request, Response, TOKEN_SECONDS};

/// Most characters of a certificate request: an RSA key of 8,192 bits fits.
const CSR_MAX: usize = 16 * 1_024;
/// Parameters of one request, and characters of all of them.
const PARAMETERS_MAX: (usize, usize) = (64, 16 * 1_024);
/// What a certificate is called whose request names nobody.
const UNNAMED: &str = "AWS IoT Certificate";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateCertificateFromCsr {
    certificate_signing_request: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RegisterThing {
    #[serde(default)]
    certificate_ownership_token: String,
    #[serde(default)]
    parameters: Option<Parameters>,
}

/// A refusal, as AWS words it.
struct Rejected {
    status: u16,
    code: &'static str,
    message: String,
}

fn rejected(status: u16, code: &'static str, message: impl Into<String>) -> Rejected {
    Rejected { status, code, message: message.into() }
}

fn busy() -> Rejected {
    rejected(503, "ServiceUnavailable", "the server is busy; try again")
}

/// Answers one request. When this returns, what the answer says is on disk.
pub(super) async fn serve(broker: &Arc<Broker>, session: &Arc<Session>, asked: &Asked<'_>, operation: &Provisioning) {
    let answered = match operation {
        Provisioning::CreateCertificateFromCsr => create(broker, session, asked).await,
        Provisioning::CreateKeysAndCertificate => Err(rejected(
            400,
            "InvalidRequest",
            "this server makes no keys: private keys never leave the device; make one there and use create-from-csr",
        )),
        Provisioning::RegisterThing(template) => register(broker, session, asked, template).await,
    };
    match answered {
        Ok(body) => answer(broker, session, asked, "accepted", &body),
        Err(refused) => {
            tracing::warn!(claim = %session.owner, topic = asked.topic, code = refused.code, message = refused.message,
                "a provisioning request was rejected");
            refuse(broker, session, asked, &refused);
        }
    }
}

/// Rejects a request of a client that asks too often.
pub(super) fn throttle(broker: &Arc<Broker>, session: &Arc<Session>, asked: &Asked<'_>) {
    refuse(broker, session, asked, &rejected(429, "Throttling", "too many requests on this connection: slow down"));
}

fn refuse(broker: &Arc<Broker>, session: &Arc<Session>, asked: &Asked<'_>, refused: &Rejected) {
    count(&broker.counters.provisioning_rejected);
    let body = json!({ "statusCode": refused.status, "errorCode": refused.code, "errorMessage": refused.message });
    answer(broker, session, asked, "rejected", &body);
}

fn answer(broker: &Arc<Broker>, session: &Arc<Session>, asked: &Asked<'_>, verdict: &str, body: &Value) {
    let message = Message::new(format!("{}/{verdict}", asked.topic), body.to_string().into_bytes(), asked.qos);
    // To the one who asked alone: other devices share its claim, and the answer holds a secret.
    broker.answer_alone(session, &message);
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Rejected> {
    // An object, said first: a list would pass for one whose fields come in order.
    serde_json::from_slice::<serde_json::Map<String, Value>>(payload)
        .and_then(|body| serde_json::from_value(Value::Object(body)))
        .map_err(|e| rejected(400, "InvalidPayload", format!("the payload: {e}")))
}

async fn create(broker: &Arc<Broker>, session: &Arc<Session>, asked: &Asked<'_>) -> Result<Value, Rejected> {
    let CreateCertificateFromCsr { certificate_signing_request: csr } = read(asked.payload)?;
    if csr.len() > CSR_MAX {
        return Err(rejected(
            400,
            "InvalidCertificateSigningRequest",
            format!("csr is longer than {CSR_MAX} characters"),
        ));
    }
    let bad = |e: &dyn std::fmt::Display| rejected(400, "InvalidCertificateSigningRequest", e.to_string());
    let request = SignedRequest::from_pem(&csr).map_err(|e| bad(&e))?;
    // What it calls itself is kept for people to read, if it can be a thing's name; nothing follows from it.
    let name = match request.names() {
        [name] => name.parse::<ThingName>().ok(),
        _ => None,
    };
    let failed = |e: &dyn std::fmt::Display| {
        tracing::error!(error = %e, "a certificate couldn't be issued");
        rejected(500, "InternalFailure", "the server failed; try again")
    };
    let name = name.as_ref().map_or(UNNAMED, |name| name.as_str());
    let issued = broker.authority.issue_unnamed(&request, name, broker.authority.device_days());
    let issued = issued.map_err(|e| failed(&e))?;
    let (inspected, _) = inspect_pem(&issued.certificate).map_err(|e| failed(&e))?;
    let mut secret = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut()).map_err(|e| failed(&e))?;
    let token = zeroize::Zeroizing::new(format!("{}.{}", inspected.id, hex::encode(secret.as_ref())));
    let now = (broker.clock)();
    let certificate = Certificate {
        id: inspected.id.clone(),
        certificate: issued.certificate.clone(),
        key_fingerprint: request.key_fingerprint(),
        status: CertificateStatus::PendingActivation,
        ca: None,
        claim: None,
        policies: Default::default(),
        registered_at: now,
        not_after: inspected.not_after,
        ownership: Some(Ownership {
            token: hex::encode(Sha256::digest(token.as_bytes())),
            asked_by: session.fingerprint().to_string(),
            request: hex::encode(request.digest()),
            expires_at: now.saturating_add(TOKEN_SECONDS),
            provisioned: None,
        }),
        problem: None,
    };
    ask(broker, Request::Create(Box::new(certificate))).await?;
    tracing::info!(claim = %session.owner, certificate = inspected.id, "a certificate for a claim");
    Ok(json!({
        "certificateOwnershipToken": token.as_str(),
        "certificateId": inspected.id,
        "certificatePem": issued.certificate,
    }))
}

async fn register(
    broker: &Arc<Broker>,
    session: &Arc<Session>,
    asked: &Asked<'_>,
    template: &str,
) -> Result<Value, Rejected> {
    let RegisterThing { certificate_ownership_token: token, parameters } = read(asked.payload)?;
    if token.is_empty() {
        let message = "Certificate ownership token cannot be empty.";
        return Err(rejected(400, "InvalidCertificateOwnershipToken", message));
    }
    let parameters = parameters.unwrap_or_default();
    let length: usize = parameters.iter().map(|(name, value)| name.len() + value.len()).sum();
    if parameters.len() > PARAMETERS_MAX.0 || length > PARAMETERS_MAX.1 {
        let message = format!("at most {} parameters with {} characters together", PARAMETERS_MAX.0, PARAMETERS_MAX.1);
        return Err(rejected(400, "InvalidParameters", message));
    }
    let claimed = Claimed {
        asked_by: session.fingerprint().to_string(),
        id: token.split('.').next().unwrap_or_default().to_owned(),
        token: hex::encode(Sha256::digest(&token)),
        template: template.to_owned(),
        parameters,
    };
    let (id, request) = (claimed.id.clone(), Request::Claim(Box::new(claimed)));
    match ask(broker, request).await? {
        Response::Claimed { thing, configuration } => {
            count(&broker.counters.things_provisioned);
            tracing::info!(claim = %session.owner, %thing, certificate = id, template, "provisioned by claim");
            Ok(json!({ "deviceConfiguration": configuration, "thingName": thing }))
        }
        _ => Err(rejected(500, "InternalFailure", "the server failed; try again")),
    }
}

async fn ask(broker: &Arc<Broker>, request: Request) -> Result<Response, Rejected> {
    match broker.engine.provisioning(request).await {
        Some(Ok(response)) => Ok(response),
        Some(Err(failure)) => {
            let (status, code) = failure.code();
            Err(rejected(status, code, failure.to_string()))
        }
        None => Err(busy()),
    }
}
