//! Answers as AWS gives them: errors carry `x-amzn-errortype` and a JSON body.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sealift_jobs::{ErrorCode, ErrorResponse};
use serde::de::DeserializeOwned;

use crate::jobs::Failure;

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: ErrorResponse,
}

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, body: ErrorResponse { code, message: message.into(), execution_state: None } }
    }

    /// The same refusal under a more exact HTTP status.
    pub(crate) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(body) => {
                let status = StatusCode::from_u16(body.code.http_status());
                Self { status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body }
            }
            // What failed inside is for the log, not for the client.
            Failure::Ledger(error) => {
                tracing::error!(%error, "a request failed");
                Self::new(ErrorCode::InternalError, "the server failed; try again")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let name = HeaderValue::from_static(self.body.code.exception());
        let mut response = (self.status, Json(self.body)).into_response();
        response.headers_mut().insert("x-amzn-errortype", name);
        // Whatever is left of a refused body is never read: the connection ends with the answer.
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Reads a JSON body of at most `most` bytes within `time`. An empty body reads as `{}`, as AWS's services take it.
pub(crate) async fn json_body<T: DeserializeOwned>(body: Body, most: usize, time: Duration) -> Result<T, ApiError> {
    let too_large = || {
        let message = format!("the body is larger than {most} bytes");
        ApiError::new(ErrorCode::InvalidRequest, message).status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    let bytes = match tokio::time::timeout(time, axum::body::to_bytes(body, most)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            // axum wraps the limit's error; its own text is the only thing it shows.
            return Err(if error.to_string().contains("limit") {
                too_large()
            } else {
                ApiError::new(ErrorCode::InvalidRequest, "the body ended early")
            });
        }
        Err(_) => {
            let message = format!("the body didn't arrive within {} seconds", time.as_secs());
            return Err(ApiError::new(ErrorCode::InvalidRequest, message).status(StatusCode::REQUEST_TIMEOUT));
        }
    };
    let bytes: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        let code = if error.is_data() { ErrorCode::InvalidRequest } else { ErrorCode::InvalidJson };
        ApiError::new(code, format!("the body isn't what is expected here: {error}"))
    })
}

pub(crate) async fn no_route(method: Method, uri: Uri) -> ApiError {
    ApiError::new(ErrorCode::ResourceNotFound, format!("no route {method} {}", uri.path()))
}

pub(crate) async fn no_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{method} isn't answered at {}", uri.path());
    ApiError::new(ErrorCode::InvalidRequest, message).status(StatusCode::METHOD_NOT_ALLOWED)
}
