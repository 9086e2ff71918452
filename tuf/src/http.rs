//! HTTP and HTTPS.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};

use crate::error::FetchError;
use crate::fetch::{Body, Fetcher};

/// Fetches over HTTP(S), blocking. TLS keeps what is asked for from eavesdroppers; what is trusted is decided by signatures.
///
/// Don't call it on a thread that drives an async runtime: use that runtime's way to run blocking code.
#[derive(Clone, Debug)]
pub struct HttpFetcher {
    client: Client,
    direct: Client,
}

/// How long to wait for a server.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For an answer to begin, and between any two pieces of it.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Duration::from_secs(15), stall: Duration::from_secs(30) }
    }
}

impl HttpFetcher {
    /// With the system's proxy settings and trusted certificate authorities.
    pub fn new(timeouts: Timeouts) -> Result<Self, FetchError> {
        // TLS wants one provider of cryptography a process; one that the application has chosen stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            Client::builder()
                .user_agent(concat!("sealift-tuf/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(timeouts.connect)
                .timeout(timeouts.stall)
                .redirect(reqwest::redirect::Policy::limited(5))
        };
        let failed = |error: reqwest::Error| FetchError::Io(in_full(&error));
        Ok(HttpFetcher {
            client: builder().build().map_err(failed)?,
            direct: builder().no_proxy().build().map_err(failed)?,
        })
    }

    /// A proxy cannot reach this machine's own loopback addresses.
    fn client_for(&self, url: &str) -> &Client {
        let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let loopback = host.is_some_and(|host| {
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        });
        if loopback { &self.direct } else { &self.client }
    }
}

impl Fetcher for HttpFetcher {
    fn open(&self, url: &str, from: u64) -> Result<Body, FetchError> {
        // Hashes and lengths are of the bytes as they are published: nothing may be encoded on the way.
        let mut request = self.client_for(url).get(url).header(ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let response = request.send().map_err(|error| FetchError::Io(in_full(&error)))?;
        let from = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(from) => from,
            StatusCode::PARTIAL_CONTENT => return Err(FetchError::Io("the server sent another range".to_owned())),
            // S3 answers 403 for what is not there to callers who may not list.
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => return Err(FetchError::NotFound),
            other => return Err(FetchError::Status(other.as_u16())),
        };
        Ok(Body { from, bytes: Box::new(response) })
    }
}

/// `bytes FIRST-LAST/LENGTH`.
fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// The error with its causes: the outermost alone says only that sending failed.
fn in_full(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
