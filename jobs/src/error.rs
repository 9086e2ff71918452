//! Errors of the jobs data plane, by MQTT code, HTTPS exception name and HTTP status.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::JobExecutionState;

/// Why the service refused a request. The names are MQTT's; [`exception`](Self::exception) gives HTTPS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorCode {
    /// A topic that names no operation (MQTT).
    InvalidTopic,
    /// The body isn't JSON.
    InvalidJson,
    /// The body is JSON, but a field is missing or out of bounds.
    InvalidRequest,
    /// The execution's state doesn't allow this update.
    InvalidStateTransition,
    /// No such thing, job or execution.
    ResourceNotFound,
    /// `expectedVersion` isn't the current version.
    VersionMismatch,
    /// The service failed; the same request may succeed later.
    InternalError,
    /// Too many requests.
    RequestThrottled,
    /// A describe of a job that is over.
    TerminalStateReached,
    /// The certificate isn't allowed to do this: another thing's route, or a certificate that was revoked.
    Forbidden,
    /// The service is stopping or overloaded.
    ServiceUnavailable,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 11] = [
        Self::InvalidTopic,
        Self::InvalidJson,
        Self::InvalidRequest,
        Self::InvalidStateTransition,
        Self::ResourceNotFound,
        Self::VersionMismatch,
        Self::InternalError,
        Self::RequestThrottled,
        Self::TerminalStateReached,
        Self::Forbidden,
        Self::ServiceUnavailable,
    ];

    /// The exception name in the header `x-amzn-errortype`.
    ///
    /// AWS's HTTPS model has no exception of its own for a version mismatch, although its text promises that error;
    /// `VersionMismatchException` is our reading (SDKs surface an unmodelled name as a generic client error that
    /// carries it).
    #[must_use]
    pub const fn exception(self) -> &'static str {
        match self {
            Self::InvalidTopic | Self::InvalidJson | Self::InvalidRequest => "InvalidRequestException",
            Self::InvalidStateTransition => "InvalidStateTransitionException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::VersionMismatch => "VersionMismatchException",
            Self::InternalError => "InternalFailureException",
            Self::RequestThrottled => "ThrottlingException",
            Self::TerminalStateReached => "TerminalStateException",
            Self::Forbidden => "ForbiddenException",
            Self::ServiceUnavailable => "ServiceUnavailableException",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidTopic | Self::InvalidJson | Self::InvalidRequest => 400,
            Self::Forbidden => 403,
            Self::ResourceNotFound => 404,
            Self::InvalidStateTransition | Self::VersionMismatch => 409,
            Self::TerminalStateReached => 410,
            Self::RequestThrottled => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
        }
    }

    /// The code for an exception name, for clients; a name after a `:` (a namespace or URL some services add) is cut.
    #[must_use]
    pub fn from_exception(header: &str) -> Option<Self> {
        let name = header.split(':').next().unwrap_or(header).trim();
        // Bad topics and bad JSON share InvalidRequestException: name the general one.
        if name == Self::InvalidRequest.exception() {
            return Some(Self::InvalidRequest);
        }
        Self::ALL.into_iter().find(|code| code.exception() == name)
    }

    /// True when the same request may succeed later, unchanged.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::InternalError | Self::RequestThrottled | Self::ServiceUnavailable)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Body of a refusal. HTTPS clients read `message`; MQTT carries all fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorResponse {
    /// Why.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: String,
    /// The current state, with VersionMismatch and InvalidStateTransition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_state: Option<JobExecutionState>,
}
