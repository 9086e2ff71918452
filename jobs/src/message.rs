//! Requests and responses of the jobs data plane, without what belongs to the transport (paths, topics, client tokens).

use serde::{Deserialize, Serialize};

use crate::{ExecutionStatus, JobExecution, JobExecutionState, JobExecutionSummary, StatusDetails};

/// Answer to `GetPendingJobExecutions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetPendingJobExecutionsResponse {
    /// Executions in progress.
    #[serde(default)]
    pub in_progress_jobs: Vec<JobExecutionSummary>,
    /// Executions that wait, in the order in which start-next gives them.
    #[serde(default)]
    pub queued_jobs: Vec<JobExecutionSummary>,
}

/// Body of `StartNextPendingJobExecution`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartNextPendingJobExecutionRequest {
    /// Replaces the details of a QUEUED execution; one that is IN_PROGRESS already keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_details: Option<StatusDetails>,
    /// Step timer in minutes, 1 to 10,080.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_timeout_in_minutes: Option<i64>,
}

/// Answer to `StartNextPendingJobExecution`; nothing pending leaves `execution` out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartNextPendingJobExecutionResponse<D = String> {
    /// The execution, now IN_PROGRESS, with its document.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub execution: Option<JobExecution<D>>,
}

/// Parameters of `DescribeJobExecution` (a query string over HTTPS, a body over MQTT).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeJobExecutionRequest {
    /// Which execution; the newest when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_number: Option<u64>,
    /// Whether the answer carries the document; AWS's default is yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_job_document: Option<bool>,
}

/// Answer to `DescribeJobExecution`; `$next` with nothing pending leaves `execution` out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeJobExecutionResponse<D = String> {
    /// The execution.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub execution: Option<JobExecution<D>>,
}

/// Body of `UpdateJobExecution`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateJobExecutionRequest {
    /// The new state: IN_PROGRESS, SUCCEEDED, FAILED or REJECTED.
    pub status: ExecutionStatus,
    /// Replaces all details; left out, they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_details: Option<StatusDetails>,
    /// The version the device believes current; a mismatch refuses the update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
    /// The execution meant; a mismatch refuses the update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_number: Option<u64>,
    /// Whether the answer carries the new state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_job_execution_state: Option<bool>,
    /// Whether the answer carries the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_job_document: Option<bool>,
    /// Step timer in minutes, 1 to 10,080; -1 cancels the running one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_timeout_in_minutes: Option<i64>,
}

impl UpdateJobExecutionRequest {
    /// An update to `status` that says and asks nothing else.
    #[must_use]
    pub fn new(status: ExecutionStatus) -> Self {
        Self {
            status,
            status_details: None,
            expected_version: None,
            execution_number: None,
            include_job_execution_state: None,
            include_job_document: None,
            step_timeout_in_minutes: None,
        }
    }
}

/// Answer to `UpdateJobExecution`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateJobExecutionResponse<D = String> {
    /// The new state, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_state: Option<JobExecutionState>,
    /// The document, when asked for.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub job_document: Option<D>,
}

fn none<D>() -> Option<D> {
    None
}
