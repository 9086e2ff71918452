//! HTTPS, with a bound on everything that a server could stretch.

pub mod jobs;
pub mod mqtt;
pub mod payload;
pub mod tls;

use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url, redirect};
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::error::{Error, Result};

/// Time to connect, TLS included.
pub(crate) const CONNECT: Duration = Duration::from_secs(15);
/// Time for the head of an answer, and for the whole of a small one.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);

/// A client for the device's own server, and one without a certificate for everybody else: the device's identity is shown to
/// its own server alone.
#[derive(Clone, Debug)]
pub struct Net {
    own: Client,
    others: Client,
    origin: Url,
}

impl Net {
    /// `mutual` speaks to `server`, `anonymous` to every other origin.
    pub fn new(server: &str, mutual: ClientConfig, anonymous: ClientConfig) -> Result<Self> {
        Ok(Net { own: client(mutual)?, others: client(anonymous)?, origin: https(server)? })
    }

    /// The server's origin.
    pub fn origin(&self) -> &Url {
        &self.origin
    }

    /// The client for a URL.
    fn of(&self, url: &Url) -> &Client {
        if url.origin() == self.origin.origin() { &self.own } else { &self.others }
    }

    /// The server's own URL for a path.
    pub fn own(&self, path: &str) -> String {
        format!("{}{path}", self.origin.as_str().trim_end_matches('/'))
    }

    /// A request to the server's own origin.
    pub(crate) fn own_request(&self, method: reqwest::Method, path: &str) -> Result<reqwest::RequestBuilder> {
        Ok(self.own.request(method, https(&self.own(path))?))
    }

    /// A file of at most `most` bytes; `None` when the server says that there is none. Not a byte more is read.
    pub async fn small(&self, url: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let parsed = https(url)?;
        let what = format!("fetch {url}");
        let work = async {
            let sent = self.of(&parsed).get(parsed.clone()).send().await;
            let response = sent.map_err(|error| network(&what, &error))?;
            match response.status() {
                StatusCode::OK => bounded(response, most, &what).await.map(Some),
                // S3 answers 403 for what isn't there to those who may not list.
                StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Ok(None),
                status => Err(unexpected(&what, status)),
            }
        };
        timeout(ANSWER, work).await.map_err(|_| timed_out(&what))?
    }
}

/// A client that follows no redirect, uses no proxy and speaks TLS alone.
pub fn client(tls: ClientConfig) -> Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT)
        .user_agent(concat!("sealift-device/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Error::Usage(format!("HTTPS can't be set up: {error}")))
}

/// A URL that may be fetched.
pub fn https(url: &str) -> Result<Url> {
    let problem = |problem: String| Error::Answer { what: format!("the URL {url:?}"), problem };
    let parsed = Url::parse(url).map_err(|error| problem(format!("no URL: {error}")))?;
    if parsed.scheme() == "https" && parsed.has_host() { Ok(parsed) } else { Err(problem("no https URL".into())) }
}

/// The body, as long as it is no longer than it may be.
pub(crate) async fn bounded(mut response: Response, most: usize, what: &str) -> Result<Vec<u8>> {
    let too_long = || Error::Answer { what: what.into(), problem: format!("more than {most} bytes") };
    if response.content_length().is_some_and(|length| length > most as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| network(what, &error))? {
        if chunk.len() > most.saturating_sub(body.len()) {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(crate) fn timed_out(what: &str) -> Error {
    Error::Network { what: what.into(), problem: "no answer in time".into() }
}

pub(crate) fn unexpected(what: &str, status: StatusCode) -> Error {
    if status.is_redirection() {
        let problem = "a redirect, which is not followed: name the final URL".into();
        return Error::Answer { what: what.into(), problem };
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Error::Network { what: what.into(), problem: format!("the server says {status}") };
    }
    Error::Answer { what: what.into(), problem: format!("{status}") }
}

/// reqwest's message names the URL; its cause says what happened.
pub(crate) fn network(what: &str, error: &reqwest::Error) -> Error {
    use std::error::Error as _;
    let mut problem = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        problem = cause.to_string();
        source = cause.source();
    }
    if problem.is_empty() {
        problem = error.to_string();
    }
    Error::Network { what: what.into(), problem }
}
