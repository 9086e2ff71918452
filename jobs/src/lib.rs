//! What crosses AWS IoT Jobs, shared by server and device.
//!
//! Three things live here, and no I/O: the [job document](document::JobDocument) Sealift puts into a job, the
//! [execution states](status::ExecutionStatus) AWS IoT Jobs gives it, and the requests, responses and errors of the
//! *jobs data plane* in AWS's own wire shapes ([`message`], [`error`]). The same types serve the HTTPS and the MQTT
//! flavour: only [the type of the job document](execution::JobExecution) differs between the two.
//!
//! Nothing that arrives in these types is trusted by a device: a job document is a hint where to look, and
//! `sealift-verifier` decides.

pub mod details;
pub mod digest;
pub mod document;
pub mod error;
pub mod execution;
pub mod limits;
pub mod message;
pub mod name;
pub mod status;

pub use details::{DetailsError, StatusDetails};
pub use digest::Digest;
pub use document::{DocumentError, JobDocument, Order, ROTATE_IDENTITY, trace_of};
pub use error::{ErrorCode, ErrorResponse};
pub use execution::{JobExecution, JobExecutionState, JobExecutionSummary};
pub use message::{
    DescribeJobExecutionRequest, DescribeJobExecutionResponse, GetPendingJobExecutionsResponse,
    StartNextPendingJobExecutionRequest, StartNextPendingJobExecutionResponse, UpdateJobExecutionRequest,
    UpdateJobExecutionResponse,
};
pub use name::{GroupName, JobId, JobSelector, NameError, ThingName};
pub use status::{ExecutionStatus, JobStatus};
