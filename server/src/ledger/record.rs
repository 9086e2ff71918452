//! What the database keeps. Times are whole seconds since the Unix epoch.

use std::collections::{BTreeMap, BTreeSet};

use sealift_jobs::{ExecutionStatus, GroupName, JobExecutionState, JobId, JobStatus, StatusDetails, ThingName};
use serde::{Deserialize, Serialize};

/// An enrolled device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Thing {
    /// Its name.
    pub name: ThingName,
    /// The product it is, as the token said.
    pub product: String,
    /// Groups it is a member of.
    pub groups: BTreeSet<GroupName>,
    /// Ed25519 public key of its reports, hex.
    pub report_key: String,
    /// Its certificate, PEM.
    pub certificate: String,
    /// SHA-256 of the certificate's DER, hex: only this very certificate speaks for the thing.
    pub fingerprint: String,
    /// SHA-256 of the public key the certificate was issued for, hex: lets a device repeat a lost enrolment.
    pub key_fingerprint: String,
    /// When it enrolled.
    pub enrolled_at: u64,
    /// False once its certificate was revoked.
    pub active: bool,
    /// The certificate that takes the place of this one when it is first used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextCertificate>,
    /// Policies of its certificate; none stands for the default one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<String>,
    /// What a provisioning template said of it (AWS IoT's thing attributes).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Thing {
    /// Fingerprints of the certificates that speak for it: the one it has, and the one that may take its place.
    pub fn fingerprints(&self) -> impl Iterator<Item = &str> {
        let next = self.next.as_ref().map(|next| next.fingerprint.as_str());
        [Some(self.fingerprint.as_str()), next].into_iter().flatten().filter(|one| !one.is_empty())
    }
}

/// A certificate that was issued to a device for a key of its own making, and not used yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextCertificate {
    /// PEM.
    pub certificate: String,
    /// SHA-256 of its DER, hex.
    pub fingerprint: String,
    /// SHA-256 of its public key, hex.
    pub key_fingerprint: String,
    /// When it was issued.
    pub issued_at: u64,
}

/// A policy: what certificates it is attached to may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredPolicy {
    /// Its name.
    pub name: String,
    /// The JSON document.
    pub document: String,
    /// When it was last written.
    pub updated_at: u64,
}

/// A named set of things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// When it was made.
    pub created_at: u64,
}

/// Permission for one device to enrol. The secret itself is never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolmentToken {
    /// SHA-256 of the secret, hex.
    pub id: String,
    /// Product the device will be registered as.
    pub product: String,
    /// Groups it will join.
    pub groups: BTreeSet<GroupName>,
    /// The only thing name allowed, when the token was made for one.
    pub thing: Option<ThingName>,
    /// When it stops being accepted.
    pub expires_at: u64,
    /// The thing that used it.
    pub used_by: Option<ThingName>,
}

/// How often AWS IoT Jobs tries again, by failure type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudget {
    /// Retries after FAILED.
    pub failed: u32,
    /// Retries after TIMED_OUT.
    pub timed_out: u32,
}

/// A job, without its document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its place in creation order.
    pub sequence: u64,
    /// A sentence for people.
    pub description: String,
    /// Things it was made for by name.
    pub things: BTreeSet<ThingName>,
    /// Groups it was made for; their members at creation got an execution.
    pub groups: BTreeSet<GroupName>,
    /// Minutes an execution may be IN_PROGRESS.
    pub timeout_minutes: Option<u64>,
    /// Retries of each execution.
    pub retries: RetryBudget,
    /// Where it stands.
    pub status: JobStatus,
    /// Why it was cancelled.
    pub comment: Option<String>,
    /// When it was made.
    pub created_at: u64,
    /// When its last execution ended, or when it was cancelled.
    pub completed_at: Option<u64>,
    /// SHA-256 of its document, hex: a second create with the same id must mean the same thing.
    pub document_sha256: String,
}

/// What the server made of a device's signed report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// SHA-256 of the image that the device says it runs, hex.
    pub image: String,
    /// Security counter the device says it is at.
    pub counter: u64,
    /// Boots the device has counted.
    pub boot_count: u64,
}

/// One execution of a job on a thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// The job.
    pub job: JobId,
    /// The thing.
    pub thing: ThingName,
    /// 1, and one more for each retry.
    pub number: u64,
    /// The job's place in creation order.
    pub sequence: u64,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// What the device last said.
    pub details: StatusDetails,
    /// When it was queued.
    pub queued_at: u64,
    /// When it first went IN_PROGRESS.
    pub started_at: Option<u64>,
    /// When it last changed.
    pub updated_at: u64,
    /// Optimistic lock, from 1.
    pub version: u64,
    /// When the step timer fires.
    pub step_deadline: Option<u64>,
    /// When the job's in-progress timer fires.
    pub job_deadline: Option<u64>,
    /// Retries already used by the executions before this one.
    pub used: RetryBudget,
}

impl Execution {
    /// The nearest timer.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        [self.step_deadline, self.job_deadline].into_iter().flatten().min()
    }

    /// The changing part, as the data plane gives it.
    #[must_use]
    pub fn state(&self) -> JobExecutionState {
        JobExecutionState { status: self.status, status_details: self.details.clone(), version_number: self.version }
    }
}
