//! The signed report that comes with SUCCEEDED.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealift_jobs::{JobId, ThingName};
use sealift_manifests::RepositoryId;
use sealift_manifests::report::{Report, SignedReport};

use super::boot::Running;
use crate::state::keys::ReportKey;

/// The device's word on what it runs, as a COSE_Sign1 in base64: for one execution of one job.
pub fn signed_report(
    key: &ReportKey,
    repository: RepositoryId,
    thing: &ThingName,
    job: &JobId,
    execution: u64,
    running: &Running,
) -> String {
    let payload = Report {
        repository,
        thing: thing.as_str(),
        job: job.as_str(),
        execution,
        boot_count: running.state.boots,
        image: running.target.image.digest,
        security_counter: running.security_counter,
    }
    .encode();
    let signature = key.sign(&SignedReport::sig_structure(&payload));
    let signed = SignedReport { payload: &payload, key_id: key.public().id(), signature: &signature };
    STANDARD.encode(signed.encode())
}
