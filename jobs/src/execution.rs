//! What the data plane says about executions. Times are whole seconds since the Unix epoch, as AWS gives them.

use serde::{Deserialize, Serialize};

use crate::{ExecutionStatus, JobId, StatusDetails, ThingName};

/// One job on one thing (AWS `JobExecution`).
///
/// `D` is the type of the job document on the wire: `String` over HTTPS, where AWS sends the document as text, and
/// `serde_json::Value` over MQTT, where it sends an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobExecution<D = String> {
    /// The job.
    pub job_id: JobId,
    /// The thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_name: Option<ThingName>,
    /// Where the execution stands.
    pub status: ExecutionStatus,
    /// What the device last said.
    #[serde(default, skip_serializing_if = "StatusDetails::is_empty")]
    pub status_details: StatusDetails,
    /// When it was queued.
    pub queued_at: u64,
    /// When it first went IN_PROGRESS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// When it last changed.
    pub last_updated_at: u64,
    /// Seconds until the nearest timer ends it; absent when none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approximate_seconds_before_timed_out: Option<u64>,
    /// Optimistic lock: 1 when queued, raised by every change.
    pub version_number: u64,
    /// Which execution of this job on this thing: 1, and one more for each retry.
    pub execution_number: u64,
    /// The document, when asked for.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub job_document: Option<D>,
}

fn none<D>() -> Option<D> {
    None
}

/// One line of the pending list (AWS `JobExecutionSummary`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobExecutionSummary {
    /// The job.
    pub job_id: JobId,
    /// When it was queued.
    pub queued_at: u64,
    /// When it first went IN_PROGRESS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// When it last changed.
    pub last_updated_at: u64,
    /// Optimistic lock.
    pub version_number: u64,
    /// Which execution of this job on this thing.
    pub execution_number: u64,
}

/// The changing part of an execution (AWS `JobExecutionState`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobExecutionState {
    /// Where the execution stands.
    pub status: ExecutionStatus,
    /// What the device last said.
    #[serde(default, skip_serializing_if = "StatusDetails::is_empty")]
    pub status_details: StatusDetails,
    /// Optimistic lock.
    pub version_number: u64,
}
