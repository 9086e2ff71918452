//! Rotation: a new TLS key, a certificate for it by the certificate that is there, and the end of the old pair.
//!
//! ```text
//! tls.key.next made -> certificate.pem.next got -> tried -> both renamed over the old ones
//! ```
//!
//! The server takes the new certificate from the moment it issued it, and drops the old one when the new one is first used. A
//! device that is killed in between finds `.next` files when it starts, and goes on with them ([`settle`]).

use rcgen::KeyPair;
use reqwest::{Method, StatusCode};
use rustls::ClientConfig;
use sealift_jobs::ThingName;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use tokio::time::timeout;

use crate::enrol::{request, tls_key};
use crate::error::{Error, Result};
use crate::net::{self, Net, tls};
use crate::state::State;
use crate::state::files::{self, Access};
use crate::state::keys::ReportKey;

/// What the report key signs, before the SHA-256 of the certificate request's DER: a stolen TLS key alone renews nothing.
const PROOF_CONTEXT: &[u8] = b"sealift rotate v1\0";
/// Most bytes of an answer.
const ANSWER_MAX: usize = 256 * 1024;
const KEY: (&str, &str) = ("tls.key", "tls.key.next");
const CERTIFICATE: (&str, &str) = ("certificate.pem", "certificate.pem.next");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    csr: String,
    report_key_proof: String,
}

#[derive(Deserialize)]
struct Response {
    certificate: String,
}

/// Goes on where a killed process stood: a new pair that is complete and fits replaces the old one. The server recorded the new
/// certificate before it gave it away, so that it is good; a key without a certificate is left for the job, which is repeated.
pub fn settle(state: &State) -> Result<()> {
    let (key, certificate) = (state.key_path(KEY.1), state.key_path(CERTIFICATE.1));
    match (key.exists(), certificate.exists()) {
        (true, true) => match tls::mutual(&state.key_path("ca.pem"), &certificate, &key) {
            Ok(_) => swap(state),
            Err(_) => files::remove(&certificate),
        },
        // The key was renamed, the certificate not yet.
        (false, true) => rename(state, CERTIFICATE),
        _ => Ok(()),
    }
}

fn swap(state: &State) -> Result<()> {
    rename(state, KEY)?;
    rename(state, CERTIFICATE)
}

fn rename(state: &State, (name, next): (&str, &str)) -> Result<()> {
    let path = state.key_path(name);
    std::fs::rename(state.key_path(next), &path).map_err(Error::file("replace", &path))?;
    files::sync_directory(&path)
}

/// Makes a key, gets a certificate for it through `net`, tries it against `server`, and drops the old pair. Returns the
/// client for the new identity, and its TLS for MQTT.
pub async fn rotate(
    state: &State,
    net: &Net,
    server: &str,
    thing: &ThingName,
    report_key: &ReportKey,
) -> Result<(Net, ClientConfig)> {
    let key: KeyPair = tls_key(&state.key_path(KEY.1))?;
    let (pem, der) = request(&key, thing)?;
    let mut message = PROOF_CONTEXT.to_vec();
    message.extend_from_slice(&sha2::Sha256::digest(&der));
    let body = Request { csr: pem, report_key_proof: hex::encode(report_key.sign(&message)) };
    let what = "get a certificate for the new key";
    let work = async {
        let (status, bytes) = net.post(&format!("/things/{thing}/certificate"), &body, ANSWER_MAX, what).await?;
        match status {
            StatusCode::OK | StatusCode::CREATED => serde_json::from_slice::<Response>(&bytes)
                .map_err(|error| Error::Answer { what: what.into(), problem: error.to_string() }),
            status => Err(net::unexpected(what, status)),
        }
    };
    let answer = timeout(net::ANSWER, work).await.map_err(|_| net::timed_out(what))??;
    let certificate = state.key_path(CERTIFICATE.1);
    files::replace(&certificate, answer.certificate.as_bytes(), Access::Plain)?;
    let ca = state.key_path("ca.pem");
    let new = tls::mutual(&ca, &certificate, &state.key_path(KEY.1))
        .and_then(|mutual| Ok((Net::new(server, mutual.clone(), tls::anonymous(&ca)?)?, mutual)));
    let tried = match &new {
        Ok((new, _)) => new.reaches(&format!("/things/{thing}/jobs")).await,
        Err(error) => Err(Error::Rotation(format!("the certificate that came can't be used: {error}"))),
    };
    match (new, tried) {
        // An answer that was lost changes nothing: the server recorded the certificate before it gave it away, and may know it
        // alone by now.
        (Ok(new), Ok(()) | Err(Error::Network { .. })) => {
            swap(state)?;
            Ok(new)
        }
        (_, tried) => {
            files::remove(&certificate)?;
            let why = tried.err().map_or_else(String::new, |error| error.to_string());
            Err(Error::Rotation(format!("the new certificate was refused: {why}")))
        }
    }
}

impl Net {
    /// Sends JSON to the device's own server; the status and at most `most` bytes of the answer.
    async fn post(&self, path: &str, body: &impl Serialize, most: usize, what: &str) -> Result<(StatusCode, Vec<u8>)> {
        let sent = self.own_request(Method::POST, path)?.json(body).send().await;
        let response = sent.map_err(|error| net::network(what, &error))?;
        let status = response.status();
        Ok((status, net::bounded(response, most, what).await?))
    }

    /// Whether the device's own server takes this identity.
    async fn reaches(&self, path: &str) -> Result<()> {
        let what = "try the new certificate";
        let sent = timeout(net::ANSWER, self.own_request(Method::GET, path)?.send()).await;
        let response = sent.map_err(|_| net::timed_out(what))?.map_err(|error| net::network(what, &error))?;
        match response.status() {
            StatusCode::OK => Ok(()),
            status => Err(net::unexpected(what, status)),
        }
    }
}
