//! Enrolment by claim: AWS IoT's fleet provisioning. A certificate that the whole production line shares lets the device ask for one of
//! its own, for the key that it made.
//!
//! ```text
//! keys made -> certificate and token got, kept in claim.json -> RegisterThing -> certificate.pem, ca.pem -> connection.json
//! ```
//!
//! `connection.json` comes last: without it the device isn't enrolled. One that is killed on the way goes on from `claim.json` with the
//! same token, for which the server gives the same answer again; if the token has ended meanwhile, it asks for another certificate
//! for the same key. The claim's own files are read where they are, and never kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sealift_jobs::ThingName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::enrol::{Enrolled, PROOF_CONTEXT, request_named, tls_key};
use crate::error::{Error, Result};
use crate::net::mqtt::claim::{CREATE, ClaimLine, Rejection, register};
use crate::net::{self, tls};
use crate::state::State;
use crate::state::config::Connection;
use crate::state::files::{self, Access};
use crate::state::keys::ReportKey;

/// Most bytes of a PEM file, and of what is kept on the way.
const FILE_MAX: usize = 64 * 1024;
/// The common name of a request: what the thing is called, the template says.
const UNNAMED: &str = "sealift-device";

/// A claim, and what it is used for.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Its certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The template.
    pub template: String,
    /// The template's parameters.
    pub parameters: BTreeMap<String, String>,
}

/// `claim.json`: a certificate that is not a thing's yet. The token in it is a secret.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pending {
    server: String,
    template: String,
    certificate: String,
    token: String,
    /// The report key's signature over the certificate request, hex.
    proof: String,
}

impl Drop for Pending {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.token);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    certificate_ownership_token: String,
    certificate_pem: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registered {
    thing_name: ThingName,
}

fn refused(what: &str, said: &Rejection) -> Error {
    let problem = format!("{}: {}", said.error_code, said.error_message);
    match said.status_code {
        429 | 500.. => Error::Network { what: what.into(), problem },
        _ => Error::Answer { what: what.into(), problem },
    }
}

/// Enrols the device by a claim.
pub async fn enrol_by_claim(state: &State, server: &str, ca: &Path, claim: &Claim) -> Result<Enrolled> {
    let origin = net::https(server)?;
    let server = origin.as_str().trim_end_matches('/').to_owned();
    let report_key = ReportKey::load_or_make(&state.key_path("report.key"))?;
    let _ = tls_key(&state.key_path("tls.key"))?;
    let config = tls::mutual(ca, &claim.certificate, &claim.key)?;
    let mut line = ClaimLine::open(&origin, config).await?;
    let kept = kept(state, &server, &claim.template)?;
    let resumed = kept.is_some();
    let mut pending = match kept {
        Some(pending) => pending,
        None => create(state, &mut line, &server, &claim.template, &report_key).await?,
    };
    let mut answer = ask(&mut line, claim, &pending, &report_key).await?;
    if resumed && answer.as_ref().is_err_and(|said| said.error_code == "InvalidCertificateOwnershipToken") {
        // It was off for too long.
        pending = create(state, &mut line, &server, &claim.template, &report_key).await?;
        answer = ask(&mut line, claim, &pending, &report_key).await?;
    }
    line.close().await;
    let what = format!("register by the template {}", claim.template);
    let registered = answer.map_err(|said| refused(&what, &said))?;
    let given = files::read(ca, FILE_MAX)?;
    files::replace(&state.key_path("ca.pem"), &given, Access::Plain)?;
    files::replace(&state.key_path("certificate.pem"), pending.certificate.as_bytes(), Access::Plain)?;
    tls::mutual(&state.key_path("ca.pem"), &state.key_path("certificate.pem"), &state.key_path("tls.key"))?;
    let thing = registered.thing_name;
    Connection { server: server.clone(), thing: thing.clone() }.store(&state.connection_path())?;
    files::remove(&path(state))?;
    let report_key = hex::encode(report_key.public().0);
    Ok(Enrolled { thing, server, product: None, groups: Vec::new(), report_key })
}

fn path(state: &State) -> PathBuf {
    state.key_path("claim.json")
}

/// What an enrolment that was cut off left, if it was for this server and template.
fn kept(state: &State, server: &str, template: &str) -> Result<Option<Pending>> {
    let path = path(state);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read_secret(&path, FILE_MAX)?;
    // It is replaced as a whole: what doesn't read is another agent's, and worth nothing.
    let pending: Option<Pending> = serde_json::from_slice(&bytes).ok();
    Ok(pending.filter(|pending| pending.server == server && pending.template == template))
}

/// Gets a certificate and its token, and keeps both before anything is done with them.
async fn create(
    state: &State,
    line: &mut ClaimLine,
    server: &str,
    template: &str,
    report_key: &ReportKey,
) -> Result<Pending> {
    let key = tls_key(&state.key_path("tls.key"))?;
    let (pem, der) = request_named(&key, UNNAMED)?;
    let mut message = PROOF_CONTEXT.to_vec();
    message.extend_from_slice(&Sha256::digest(&der));
    let what = "get a certificate with the claim";
    let answer = line.ask(CREATE, &json!({ "certificateSigningRequest": pem })).await?;
    let made = answer.map_err(|said| refused(what, &said))?;
    let made: Created = serde_json::from_value(made)
        .map_err(|error| Error::Answer { what: what.into(), problem: error.to_string() })?;
    let pending = Pending {
        server: server.into(),
        template: template.into(),
        certificate: made.certificate_pem,
        token: made.certificate_ownership_token,
        proof: hex::encode(report_key.sign(&message)),
    };
    let bytes = serde_json::to_vec(&pending).map(Zeroizing::new);
    let bytes = bytes.map_err(|error| Error::Answer { what: what.into(), problem: error.to_string() })?;
    files::replace(&path(state), &bytes, Access::Secret)?;
    Ok(pending)
}

async fn ask(
    line: &mut ClaimLine,
    claim: &Claim,
    pending: &Pending,
    report_key: &ReportKey,
) -> Result<std::result::Result<Registered, Rejection>> {
    let mut parameters = claim.parameters.clone();
    parameters.insert("SealiftReportKey".into(), hex::encode(report_key.public().0));
    parameters.insert("SealiftReportKeyProof".into(), pending.proof.clone());
    let body = json!({ "certificateOwnershipToken": pending.token, "parameters": parameters });
    match line.ask(&register(&claim.template), &body).await? {
        Ok(answer) => serde_json::from_value(answer).map(Ok).map_err(|error| Error::Answer {
            what: format!("register by the template {}", claim.template),
            problem: error.to_string(),
        }),
        Err(said) => Ok(Err(said)),
    }
}
