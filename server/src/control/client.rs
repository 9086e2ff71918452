//! The command line's side of the control API.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{Method, Request, header};
use hyper_util::rt::TokioIo;
use sealift_jobs::{ErrorCode, ErrorResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

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

/// Talks to the server that runs on a state directory.
pub struct Client {
    state: PathBuf,
}

impl Client {
    /// A client of the server on `state`.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { state: state.into() }
    }

    /// Reads a route.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::GET, path, Body::empty()).await
    }

    /// Sends `body` to a route.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.send(Method::POST, path, Body::from(serde_json::to_vec(body)?)).await
    }

    async fn send<T: DeserializeOwned>(&self, method: Method, path: &str, body: Body) -> Result<T, ClientError> {
        let stream = connect(&self.state).await.map_err(|error| match error.source.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { state: self.state.display().to_string() }
            }
            _ => error.into(),
        })?;
        let http = |e: &dyn std::fmt::Display| ClientError::Http(e.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| http(&e))?;
        let driver = tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header(header::HOST, "control");
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
}
