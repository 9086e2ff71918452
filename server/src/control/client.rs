//! The command line's side of the control API.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sealift_jobs::{ErrorCode, ErrorResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::socket::{SocketError, connect};

/// Most bytes of an answer: a page of a thousand devices with their certificates.
const ANSWER_MAX: usize = 64 << 20;

/// Why the server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No server runs on this state directory.
    #[error("no sealift-server runs on {state}; start one with `sealift-server serve --state {state}`")]
    NotRunning {
        /// The state directory.
        state: String,
    },
    /// The server elsewhere can't be reached, or isn't the one it should be.
    #[error(
        "{server} can't be reached: {problem}; check --server and --ca, and whether it serves with --control-listen"
    )]
    Unreachable {
        /// Host and port.
        server: String,
        /// Why not.
        problem: String,
    },
    /// The socket failed.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The connection failed.
    #[error("the server's answer was cut off: {0}")]
    Http(String),
    /// The server said no.
    #[error("{}", .0.message)]
    Refused(ErrorResponse),
    /// The server answered something this build doesn't read.
    #[error("the server's answer can't be read: {0}; are command and server of the same version?")]
    Answer(#[from] serde_json::Error),
}

/// How a client shows who it is, to a server elsewhere.
pub enum Credentials {
    /// A token.
    Token(Zeroizing<String>),
    /// A certificate chain and its key.
    Certificate(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
}

/// A server elsewhere.
struct Elsewhere {
    /// `HOST:PORT`, for connecting and for the header.
    authority: String,
    name: ServerName<'static>,
    token: Option<Zeroizing<String>>,
    tls: TlsConnector,
}

enum Server {
    Here(PathBuf),
    Elsewhere(Box<Elsewhere>),
}

/// Talks to a server: the one that runs on a state directory, or one elsewhere over HTTPS.
pub struct Client(Server);

impl Client {
    /// A client of the server on `state`.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self(Server::Here(state.into()))
    }

    /// A client of the server at `url` (`https://HOST:PORT`), whose certificate one of the CAs in `ca` (PEM) signed.
    ///
    /// # Errors
    /// A sentence that says which argument is wrong.
    pub fn elsewhere(url: &str, ca: &[u8], credentials: Credentials) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|e| format!("--server {url}: {e}"))?;
        let plain = uri.scheme_str() == Some("https") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        let (Some(host), true) = (uri.host(), plain) else {
            return Err(format!("--server {url}: expected https://HOST:PORT"));
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|e| format!("--server {url}: {e}"))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(443));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca) {
            let certificate = certificate.map_err(|e| format!("--ca: not PEM: {e}"))?;
            roots.add(certificate).map_err(|e| format!("--ca: not a CA certificate: {e}"))?;
        }
        if roots.is_empty() {
            return Err("--ca: the file holds no certificate".into());
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
        let builder = builder.with_root_certificates(roots);
        let (config, token) = match credentials {
            Credentials::Token(token) => (builder.with_no_client_auth(), Some(token)),
            Credentials::Certificate(chain, key) => {
                let config = builder.with_client_auth_cert(chain, key);
                (config.map_err(|e| format!("--client-key doesn't fit --client-certificate: {e}"))?, None)
            }
        };
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self(Server::Elsewhere(Box::new(Elsewhere { authority, name, token, tls }))))
    }

    /// Reads a route.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Body::empty()).await
    }

    /// Sends `body` to a route.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.ask(Method::POST, path, Body::from(serde_json::to_vec(body)?)).await
    }

    /// Deletes a route's object.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::DELETE, path, Body::empty()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Body) -> Result<T, ClientError> {
        let request = Request::builder().method(method.clone()).uri(path);
        match &self.0 {
            Server::Here(state) => {
                let stream = connect(state).await.map_err(|error| match error.source.kind() {
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                        ClientError::NotRunning { state: state.display().to_string() }
                    }
                    _ => error.into(),
                })?;
                send(stream, request.header(header::HOST, "control"), body).await
            }
            Server::Elsewhere(there) => {
                let unreachable = |e: std::io::Error| ClientError::Unreachable {
                    server: there.authority.clone(),
                    problem: e.to_string(),
                };
                let work = async {
                    let socket = TcpStream::connect(&there.authority).await.map_err(unreachable)?;
                    there.tls.connect(there.name.clone(), socket).await.map_err(unreachable)
                };
                let late = || ClientError::Unreachable {
                    server: there.authority.clone(),
                    problem: "no answer in time".into(),
                };
                let stream = tokio::time::timeout(CONNECT, work).await.map_err(|_| late())??;
                let mut request = request.header(header::HOST, &there.authority);
                if method != Method::GET {
                    let mut key = [0; 16];
                    getrandom::fill(&mut key).map_err(|e| ClientError::Http(e.to_string()))?;
                    request = request.header(super::routes::IDEMPOTENCY_KEY, hex::encode(key));
                    request = request.header(header::CONTENT_TYPE, "application/json");
                }
                if let Some(token) = &there.token {
                    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| {
                        ClientError::Http("the token isn't one: it has characters that no token has".into())
                    })?;
                    value.set_sensitive(true);
                    request = request.header(header::AUTHORIZATION, value);
                }
                send(stream, request, body).await
            }
        }
    }
}

/// Time to connect, TLS included.
const CONNECT: Duration = Duration::from_secs(15);

async fn send<T: DeserializeOwned>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: axum::http::request::Builder,
    body: Body,
) -> Result<T, ClientError> {
    let http = |e: &dyn std::fmt::Display| ClientError::Http(e.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| http(&e))?;
    let driver = tokio::spawn(connection);
    let request = request.body(body).map_err(|e| http(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| http(&e))?;
    let status = answer.status();
    let bytes = axum::body::to_bytes(Body::new(answer.into_body()), ANSWER_MAX).await.map_err(|e| http(&e))?;
    driver.abort();
    if status.is_success() {
        return Ok(serde_json::from_slice(&bytes)?);
    }
    let unreadable = || ErrorResponse {
        code: ErrorCode::InternalError,
        message: format!("the server answered {status}"),
        execution_state: None,
    };
    Err(ClientError::Refused(serde_json::from_slice(&bytes).unwrap_or_else(|_| unreadable())))
}
