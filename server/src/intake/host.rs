//! The host encoding of a release: the standard TUF repository below `tuf/`, checked by the same trust machine.
//!
//! Devices of the device encoding never see it. It is checked all the same, because a release is one: what auditors and
//! TUF clients are shown must verify too, every role, every delegation, every target.

use std::path::Path;

use sealift_tuf::{Clock, Config, FetchError, verify_repository};
use sealift_verifier::trust::Policy;

use super::IntakeError;

/// Folder of the host encoding in a release.
const TUF: &str = "tuf";
/// The first root of the host encoding.
const FIRST_ROOT: &str = "metadata/1.root.json";

/// Checks the host encoding of the release in `folder`, if it has one (`sealift` can be built without it).
///
/// # Errors
/// [`IntakeError::Host`] when it does not verify, [`IntakeError::Missing`], [`IntakeError::Io`].
pub(super) fn check(folder: &Path, now: u64, policy: Policy) -> Result<(), IntakeError> {
    let dir = folder.join(TUF);
    if !dir.is_dir() {
        return Ok(());
    }
    let path = dir.join(FIRST_ROOT);
    let root = std::fs::read(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => IntakeError::Missing(path.clone()),
        _ => IntakeError::Io { path: path.clone(), source },
    })?;
    let config = Config { policy, clock: Clock::At(now), ..Config::default() };
    let location = dir.to_string_lossy();
    match verify_repository(&location, &root, &config) {
        Ok(_) => Ok(()),
        Err(sealift_tuf::Error::Fetch { url, source: FetchError::NotFound }) => {
            Err(IntakeError::Missing(dir.join(url)))
        }
        Err(error) => {
            let code = match &error {
                sealift_tuf::Error::Refused { reason, .. } => Some(reason.code()),
                sealift_tuf::Error::WrongTarget { .. } => Some(sealift_verifier::Error::PayloadHash.code()),
                _ => None,
            };
            Err(IntakeError::Host { dir, code, problem: error.to_string() })
        }
    }
}
