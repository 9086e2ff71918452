//! AWS IoT's device provisioning MQTT API, as a claim's holder speaks it: one connection, two questions.

use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::{Gone, KEEP_ALIVE, Line, Place, packets};
use crate::error::{Error, Result};
use crate::net::{ANSWER, CONNECT};
use reqwest::Url;

/// What a claim asks for a certificate on.
pub(crate) const CREATE: &str = "$aws/certificates/create-from-csr/json";

/// What a claim uses a template on.
pub(crate) fn register(template: &str) -> String {
    format!("$aws/provisioning-templates/{template}/provision/json")
}

/// A refusal, as AWS words it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rejection {
    #[serde(default)]
    pub(crate) status_code: u16,
    #[serde(default)]
    pub(crate) error_code: String,
    #[serde(default)]
    pub(crate) error_message: String,
}

/// A connection under a claim's certificate.
pub(crate) struct ClaimLine {
    line: Line,
    next_id: u16,
}

fn network(what: &str, gone: &Gone) -> Error {
    Error::Network { what: what.into(), problem: gone.to_string() }
}

impl ClaimLine {
    /// Connects, under a client id that nobody else has: many devices share a claim.
    pub(crate) async fn open(origin: &Url, tls: ClientConfig) -> Result<Self> {
        let what = format!("connect to {origin} with the claim");
        let mut id = [0; 8];
        getrandom::fill(&mut id).map_err(|error| Error::Usage(format!("no randomness: {error}")))?;
        let place = Place::new(origin, format!("claim-{}", hex::encode(id)), tls);
        match timeout(CONNECT, Line::open(&place, KEEP_ALIVE)).await {
            Ok(Ok(line)) => Ok(ClaimLine { line, next_id: 1 }),
            Ok(Err(Gone::Refused(problem))) => Err(Error::Answer { what, problem }),
            Ok(Err(gone)) => Err(network(&what, &gone)),
            Err(_) => Err(super::super::timed_out(&what)),
        }
    }

    /// Asks, having subscribed to both answers first, as AWS wants it.
    pub(crate) async fn ask(&mut self, topic: &str, body: &Value) -> Result<std::result::Result<Value, Rejection>> {
        let what = format!("ask on {topic}");
        timeout(ANSWER, self.asked(topic, body, &what)).await.map_err(|_| super::super::timed_out(&what))?
    }

    async fn asked(&mut self, topic: &str, body: &Value, what: &str) -> Result<std::result::Result<Value, Rejection>> {
        let answers = ["accepted", "rejected"].map(|verdict| format!("{topic}/{verdict}"));
        for filter in &answers {
            let bytes = packets::subscribe(filter).map_err(Error::Usage)?;
            self.send(&bytes, what).await?;
            loop {
                match self.next(what).await? {
                    packets::Incoming::Suback(code) if code < 0x80 => break,
                    packets::Incoming::Suback(code) => {
                        let problem = format!("{code:#04x}: the claim isn't for this template");
                        return Err(Error::Answer { what: what.into(), problem });
                    }
                    _ => {}
                }
            }
        }
        self.next_id += 1;
        let bytes = packets::publish(topic, self.next_id, body.to_string().into_bytes()).map_err(Error::Usage)?;
        self.send(&bytes, what).await?;
        loop {
            let packets::Incoming::Publish { topic, id, payload } = self.next(what).await? else { continue };
            if let Some(id) = id {
                let [high, low] = id.to_be_bytes();
                self.send(&[0x40, 2, high, low], what).await?;
            }
            let malformed = |error: serde_json::Error| Error::Answer { what: what.into(), problem: error.to_string() };
            if topic == answers[0] {
                return Ok(Ok(serde_json::from_slice(&payload).map_err(malformed)?));
            }
            if topic == answers[1] {
                return Ok(Err(serde_json::from_slice(&payload).map_err(malformed)?));
            }
        }
    }

    async fn send(&mut self, bytes: &[u8], what: &str) -> Result<()> {
        let sent = async {
            self.line.stream.write_all(bytes).await?;
            self.line.stream.flush().await
        };
        sent.await.map_err(|error| network(what, &error.into()))
    }

    async fn next(&mut self, what: &str) -> Result<packets::Incoming> {
        match self.line.read().await {
            Ok(packets::Incoming::Disconnect(0x87)) => {
                let problem = "0x87: the claim may not do this; is it for another template?".into();
                Err(Error::Answer { what: what.into(), problem })
            }
            Ok(packets::Incoming::Disconnect(code)) => {
                Err(network(what, &Gone::Broken(format!("the server said goodbye with {code:#04x}"))))
            }
            Ok(packet) => Ok(packet),
            Err(gone) => Err(network(what, &gone)),
        }
    }

    /// Says goodbye; a server that doesn't hear it loses nothing.
    pub(crate) async fn close(mut self) {
        let _ = self.line.stream.write_all(&packets::DISCONNECT).await;
        let _ = self.line.stream.shutdown().await;
    }
}
