//! AWS IoT Jobs' limits. The local endpoint enforces the same ones, so that what works here works there.

/// Most characters of a job document (AWS: `JobDocument`, 32,768).
pub const JOB_DOCUMENT_MAX_CHARS: usize = 32_768;
/// Most characters of a job id.
pub const JOB_ID_MAX_CHARS: usize = 64;
/// Most characters of a thing name.
pub const THING_NAME_MAX_CHARS: usize = 128;
/// Most characters of a thing group's name.
pub const GROUP_NAME_MAX_CHARS: usize = 128;
/// Most characters of a key in `statusDetails`.
pub const DETAILS_KEY_MAX_CHARS: usize = 128;
/// Most characters of a value in `statusDetails`.
pub const DETAILS_VALUE_MAX_CHARS: usize = 1_024;
/// Most pairs in `statusDetails`. AWS bounds the whole update message by its MQTT payload; this keeps one inside it.
pub const DETAILS_MAX_PAIRS: usize = 32;
/// Shortest step or in-progress timeout, in minutes.
pub const TIMEOUT_MIN_MINUTES: i64 = 1;
/// Longest step or in-progress timeout, in minutes (7 days).
pub const TIMEOUT_MAX_MINUTES: i64 = 10_080;
/// The value of `stepTimeoutInMinutes` that cancels the running step timer.
pub const STEP_TIMEOUT_CANCEL: i64 = -1;
/// Most retries of one failure type for one thing.
pub const RETRIES_MAX: u32 = 10;
/// Most targets (things and groups) of one job.
pub const JOB_TARGETS_MAX: usize = 100;
/// Most groups a thing may be a member of.
pub const GROUPS_PER_THING_MAX: usize = 10;
/// Most characters of a `clientToken`.
pub const CLIENT_TOKEN_MAX_CHARS: usize = 64;
/// Most bytes of a request body on the data plane: 32 details at their longest, escaped, fit with room to spare.
pub const REQUEST_BODY_MAX_BYTES: usize = 128 * 1_024;
/// Most bytes of a URL in a job document. Presigned S3 URLs with a session token reach about 2,000.
pub const URL_MAX_BYTES: usize = 4_096;
/// Most payloads one job document names: the full image and deltas from this many bases.
pub const DOCUMENT_PAYLOADS_MAX: usize = 16;
/// Most characters of a signed device report in `statusDetails` (one value).
pub const REPORT_MAX_CHARS: usize = DETAILS_VALUE_MAX_CHARS;
