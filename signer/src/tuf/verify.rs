//! Verifying a standard TUF repository, ours or another, with the trust machine that devices run.

use std::path::Path;

use sealift_tuf::{Clock, Config, FetchError, Report, verify_repository};
use sealift_verifier::trust::{Policy, Time};

use crate::error::{Error, Result};

/// Verifies every role, for every delegation that leads to it, and every target of the repository whose `metadata` and
/// `targets` are in `dir`, starting from the JSON `root`.
pub fn verify(dir: &Path, root: &[u8], policy: Policy, time: Time) -> Result<Report> {
    let clock = match time {
        Time::Unknown => Clock::Unknown,
        Time::AtLeast(now) => Clock::At(now),
    };
    let location =
        dir.to_str().ok_or_else(|| Error::input(dir, "the folder's name is not text", "copy it to another folder"))?;
    let config = Config { policy, clock, ..Config::default() };
    verify_repository(location, root, &config).map_err(|error| failure(dir, error))
}

fn failure(dir: &Path, error: sealift_tuf::Error) -> Error {
    const REMEDY: &str = "publish the repository anew, or take it from another mirror";
    let refused = |code, fault| Error::Refused { code, fault, remedy: REMEDY.into() };
    match error {
        sealift_tuf::Error::Refused { file, reason, detail } => {
            let what = detail.map_or_else(|| reason.message().to_owned(), |detail| detail.to_string());
            refused(Some(reason.code()), format!("{file}: {what}"))
        }
        sealift_tuf::Error::WrongTarget { path, what } => {
            refused(Some(sealift_verifier::Error::PayloadHash.code()), format!("{path}: {what}"))
        }
        sealift_tuf::Error::Fetch { url, source: FetchError::NotFound } => {
            Error::input(dir.join(url), "not found", "name the folder that holds all of `metadata` and `targets`")
        }
        sealift_tuf::Error::Fetch { url, source: source @ (FetchError::TooLong(_) | FetchError::TooShort { .. }) } => {
            refused(None, format!("{}: {source}", dir.join(url).display()))
        }
        error @ (sealift_tuf::Error::UnsafeTargetPath(_) | sealift_tuf::Error::TooManyDelegations { .. }) => {
            refused(None, error.to_string())
        }
        error => Error::failed(error, "try again"),
    }
}
