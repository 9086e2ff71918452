//! What AWS said, and what to do about it.

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// A call that AWS refused or that never reached it.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {}{message}{}", .code.as_deref().map(|code| format!("{code}: ")).unwrap_or_default(), .hint.map(|hint| format!("; {hint}")).unwrap_or_default())]
pub struct AwsError {
    /// The API call, as IAM policies spell it: `s3:PutObject`.
    pub call: &'static str,
    /// AWS's error code, where it answered.
    pub code: Option<String>,
    /// What it said.
    pub message: String,
    /// What to do.
    pub hint: Option<&'static str>,
    /// Whether the same call may go through later.
    pub transient: bool,
    /// Whether it was the wrong bucket or the wrong region: another command line is needed.
    pub misplaced: bool,
}

impl AwsError {
    /// Reads an SDK's error.
    pub fn new<E, R>(call: &'static str, error: SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let code = error.code().map(str::to_owned);
        let message = match error.message() {
            Some(message) => message.to_owned(),
            None => DisplayErrorContext(&error).to_string(),
        };
        let answered = error.as_service_error().is_some();
        let (hint, transient) = match code.as_deref() {
            Some("ExpiredToken" | "ExpiredTokenException" | "RequestExpired") => {
                (Some("the credentials have expired: log in or assume the role again"), false)
            }
            Some(
                "InvalidAccessKeyId" | "InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch",
            ) => (Some("the credentials are not valid: check AWS_PROFILE or AWS_ACCESS_KEY_ID"), false),
            Some("AccessDenied" | "AccessDeniedException" | "UnauthorizedException" | "Forbidden") => {
                (Some("the role lacks this permission, or the bucket's policy denies it"), false)
            }
            Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
                (Some("the bucket is in another region: name it with --region"), false)
            }
            Some("NoSuchBucket") => (Some("create the bucket first, or check its name"), false),
            Some(
                "SlowDown" | "Throttling" | "ThrottlingException" | "TooManyRequestsException" | "RequestLimitExceeded",
            ) => (Some("AWS asks for fewer requests: try again in a minute"), true),
            Some(
                "InternalError" | "InternalFailureException" | "ServiceUnavailable" | "ServiceUnavailableException",
            ) => (Some("AWS had a fault: try again"), true),
            None if !answered => (Some("no answer: check credentials, region and network, and try again"), true),
            _ => (None, false),
        };
        let misplaced = matches!(
            code.as_deref(),
            Some(
                "PermanentRedirect"
                    | "AuthorizationHeaderMalformed"
                    | "IllegalLocationConstraintException"
                    | "NoSuchBucket"
            )
        );
        AwsError { call, code, message, hint, transient, misplaced }
    }

    /// Whether AWS gave one of these codes.
    #[must_use]
    pub fn is(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }
}
