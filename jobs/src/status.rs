//! The states of a job and of its executions.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// State of one job execution: one job on one thing (AWS `JobExecutionStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutionStatus {
    /// Waits for the thing to ask.
    Queued,
    /// The thing works on it.
    InProgress,
    /// The thing says it is done.
    Succeeded,
    /// The thing tried and failed; retried while the job's retry policy allows.
    Failed,
    /// A step timer or the job's in-progress timer ran out; retried like [`Failed`](Self::Failed).
    TimedOut,
    /// The thing refuses it for good; never retried.
    Rejected,
    /// The thing or the job was deleted.
    Removed,
    /// The job was cancelled.
    Canceled,
}

impl ExecutionStatus {
    /// Every state, in the order in which AWS lists them.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::InProgress,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Rejected,
        Self::Removed,
        Self::Canceled,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::InProgress => "IN_PROGRESS",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
            Self::Rejected => "REJECTED",
            Self::Removed => "REMOVED",
            Self::Canceled => "CANCELED",
        }
    }

    /// True for a state that no update leaves.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }

    /// True for the states a device may set with `UpdateJobExecution`; the others belong to the service.
    #[must_use]
    pub const fn is_settable_by_device(self) -> bool {
        matches!(self, Self::InProgress | Self::Succeeded | Self::Failed | Self::Rejected)
    }

    /// True for the states AWS IoT Jobs retries.
    #[must_use]
    pub const fn is_retried(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }
}

impl fmt::Display for ExecutionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no execution state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no job execution status")]
pub struct UnknownStatus(String);

impl FromStr for ExecutionStatus {
    type Err = UnknownStatus;
    fn from_str(s: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == s).ok_or_else(|| UnknownStatus(s.into()))
    }
}

/// State of a job as a whole (AWS `JobStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobStatus {
    /// Executions are open.
    InProgress,
    /// Cancelled; executions that were in progress may still end by themselves.
    Canceled,
    /// Every execution is in a terminal state.
    Completed,
}

impl JobStatus {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Canceled => "CANCELED",
            Self::Completed => "COMPLETED",
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
