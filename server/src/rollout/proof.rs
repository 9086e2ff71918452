//! What a device says under its own key, held against what its job says.
//!
//! A report is the device's word, not remote attestation. But it is a word nobody else can give: it is signed with the
//! key the device enrolled, and names repository, thing, job and execution, so that no other report can stand in for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealift_jobs::{Digest, ExecutionStatus, details};
use sealift_manifests::PublicKey;
use sealift_manifests::report::{Report, SignedReport};
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::service::ExecutionView;

/// What is proven of one execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Proven {
    /// The execution isn't over: nothing is to be proven yet.
    Pending,
    /// The device signed that it runs this image.
    Running {
        /// SHA-256 of the image, hex.
        image: String,
        /// Security counter.
        security_counter: u64,
        /// Boots the device has counted.
        boot_count: u64,
    },
    /// The execution ended without a report: as it should, unless it says SUCCEEDED.
    Missing,
    /// There is a report, and it doesn't hold.
    Refused {
        /// Why.
        problem: String,
    },
}

impl Proven {
    /// True when job state and proven state disagree: somebody should look.
    #[must_use]
    pub fn differs(&self, status: ExecutionStatus) -> bool {
        match self {
            Self::Pending => false,
            Self::Running { .. } => status != ExecutionStatus::Succeeded,
            Self::Missing => status == ExecutionStatus::Succeeded,
            Self::Refused { .. } => true,
        }
    }
}

/// Checks the report of `execution`, made in the rollout `record` by a device whose report key is `key`.
#[must_use]
pub fn prove(record: &Record, execution: &ExecutionView, key: Option<&[u8; 32]>) -> Proven {
    if !execution.status.is_terminal() {
        return Proven::Pending;
    }
    let Some(text) = execution.details.value(details::REPORT) else { return Proven::Missing };
    match check(record, execution, key, text) {
        Ok(proven) => proven,
        Err(problem) => Proven::Refused { problem },
    }
}

/// The image that a device ran when it ended `execution`, if its report of it holds.
#[must_use]
pub(super) fn newest_proof(execution: &ExecutionView, key: Option<&[u8; 32]>) -> Option<Digest> {
    let text = execution.details.value(details::REPORT)?;
    let bytes = STANDARD.decode(text).ok()?;
    let report = signed_report(&bytes, key).ok()?;
    let about = (report.thing, report.job) == (execution.thing.as_str(), execution.job.as_str());
    (about && report.execution == execution.number).then_some(Digest(report.image.0))
}

/// Reads a report whose signature holds.
fn signed_report<'b>(bytes: &'b [u8], key: Option<&[u8; 32]>) -> Result<Report<'b>, String> {
    let key = key.ok_or("the thing has no report key on record")?;
    let signed = SignedReport::decode(bytes).map_err(|e| format!("the report isn't a COSE_Sign1 of ours: {e}"))?;
    if signed.key_id != PublicKey(*key).id() {
        return Err("the report is signed with a key the thing didn't enrol".into());
    }
    let message = SignedReport::sig_structure(signed.payload);
    if !sealift_verifier::ed25519::verify(key, &[&message], signed.signature) {
        return Err("the report's signature doesn't hold".into());
    }
    Report::decode(signed.payload).map_err(|e| format!("the report can't be read: {e}"))
}

fn check(record: &Record, execution: &ExecutionView, key: Option<&[u8; 32]>, text: &str) -> Result<Proven, String> {
    let bytes = STANDARD.decode(text).map_err(|e| format!("the report isn't base64: {e}"))?;
    let report = signed_report(&bytes, key)?;
    let expected = [
        ("repository", record.repository.clone(), report.repository.to_string()),
        ("thing", execution.thing.to_string(), report.thing.to_owned()),
        ("job", execution.job.to_string(), report.job.to_owned()),
        ("execution number", execution.number.to_string(), report.execution.to_string()),
        ("image", record.target.image.to_string(), hex::encode(report.image.0)),
    ];
    if let Some((what, expected, found)) = expected.into_iter().find(|(_, expected, found)| expected != found) {
        return Err(format!("the report is about another {what}: {found} instead of {expected}"));
    }
    if report.security_counter < record.target.security_counter {
        let (found, expected) = (report.security_counter, record.target.security_counter);
        return Err(format!("the device's security counter is {found}, the image's is {expected}"));
    }
    Ok(Proven::Running {
        image: hex::encode(report.image.0),
        security_counter: report.security_counter,
        boot_count: report.boot_count,
    })
}
