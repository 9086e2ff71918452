//! Enrolment: keys made here, a certificate from the server.

use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use reqwest::StatusCode;
use sealift_jobs::ThingName;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::net;
use crate::state::State;
use crate::state::config::Connection;
use crate::state::files::{self, Access};
use crate::state::keys::ReportKey;

/// What the report key signs, before the SHA-256 of the certificate request's DER: it joins the two keys.
pub(crate) const PROOF_CONTEXT: &[u8] = b"sealift enrol v1\0";
/// Most bytes of an answer.
const ANSWER_MAX: usize = 256 * 1024;
const PEM_MAX: usize = 64 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    token: &'a str,
    csr: String,
    report_key: String,
    report_key_proof: String,
}

#[derive(Deserialize)]
struct Response {
    certificate: String,
    ca: String,
    #[serde(default)]
    product: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// What an enrolment brought.
#[derive(Clone, Debug, Serialize)]
pub struct Enrolled {
    /// The thing's name.
    pub thing: ThingName,
    /// Origin of the server.
    pub server: String,
    /// Product that the server filed it under, if it says so.
    pub product: Option<String>,
    /// Groups the server put it into.
    pub groups: Vec<String>,
    /// The report key's public half, hex.
    pub report_key: String,
}

/// Enrols the device. Both keys are on disk before anything is asked, so that an enrolment whose answer was lost can be
/// repeated with the same keys.
pub async fn enrol(state: &State, server: &str, token: &str, ca: &Path, thing: &ThingName) -> Result<Enrolled> {
    let origin = net::https(server)?;
    let server = origin.as_str().trim_end_matches('/').to_owned();
    let report_key = ReportKey::load_or_make(&state.key_path("report.key"))?;
    let key = tls_key(&state.key_path("tls.key"))?;
    let (pem, der) = request(&key, thing)?;
    let mut message = PROOF_CONTEXT.to_vec();
    message.extend_from_slice(&Sha256::digest(&der));
    let body = Request {
        token,
        csr: pem,
        report_key: hex::encode(report_key.public().0),
        report_key_proof: hex::encode(report_key.sign(&message)),
    };
    let client = net::client(net::tls::anonymous(ca)?)?;
    let what = format!("enrol at {server}");
    let work = async {
        let url = net::https(&format!("{server}/enrol"))?;
        let sent = client.post(url).json(&body).send().await;
        let response = sent.map_err(|error| net::network(&what, &error))?;
        let status = response.status();
        let body = net::bounded(response, ANSWER_MAX, &what).await?;
        match status {
            StatusCode::OK | StatusCode::CREATED => serde_json::from_slice::<Response>(&body)
                .map_err(|error| Error::Answer { what: what.clone(), problem: error.to_string() }),
            status if status.is_client_error() => {
                let problem = serde_json::from_slice::<Refusal>(&body).map(|said| said.message);
                let problem = problem.unwrap_or_else(|_| status.to_string());
                Err(Error::Answer { what: what.clone(), problem })
            }
            status => Err(net::unexpected(&what, status)),
        }
    };
    let answer = timeout(net::ANSWER, work).await.map_err(|_| net::timed_out(&what))??;
    // The connection is trusted for what was given by hand: the CA file, not the one in the answer.
    let given = files::read(ca, PEM_MAX)?;
    if answer.ca.trim().is_empty() || answer.certificate.trim().is_empty() {
        return Err(Error::Answer { what, problem: "no certificate".into() });
    }
    files::replace(&state.key_path("ca.pem"), &given, Access::Plain)?;
    files::replace(&state.key_path("certificate.pem"), answer.certificate.as_bytes(), Access::Plain)?;
    net::tls::mutual(&state.key_path("ca.pem"), &state.key_path("certificate.pem"), &state.key_path("tls.key"))?;
    let connection = Connection { server: server.clone(), thing: thing.clone() };
    connection.store(&state.connection_path())?;
    Ok(Enrolled {
        thing: thing.clone(),
        server,
        product: answer.product,
        groups: answer.groups,
        report_key: hex::encode(report_key.public().0),
    })
}

/// The TLS key: read, or made.
pub(crate) fn tls_key(path: &Path) -> Result<KeyPair> {
    let problem = |problem: String| Error::Input { path: path.into(), problem };
    if path.exists() {
        let pem = files::read_secret(path, PEM_MAX)?;
        let text = std::str::from_utf8(&pem).map_err(|_| problem("not PEM; remove it and enrol again".into()))?;
        return KeyPair::from_pem(text).map_err(|error| problem(format!("{error}; remove it and enrol again")));
    }
    let key = KeyPair::generate().map_err(|error| problem(format!("no key can be made: {error}")))?;
    let pem = Zeroizing::new(key.serialize_pem());
    files::replace(path, pem.as_bytes(), Access::Secret)?;
    Ok(key)
}

/// The certificate request: PEM and DER.
pub(crate) fn request(key: &KeyPair, thing: &ThingName) -> Result<(String, Vec<u8>)> {
    request_named(key, thing.as_str())
}

/// The same, under any name.
pub(crate) fn request_named(key: &KeyPair, common_name: &str) -> Result<(String, Vec<u8>)> {
    let problem = |error: rcgen::Error| Error::Usage(format!("no certificate request can be made: {error}"));
    let mut params = CertificateParams::new(Vec::new()).map_err(problem)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let made = params.serialize_request(key).map_err(problem)?;
    Ok((made.pem().map_err(problem)?, made.der().to_vec()))
}
