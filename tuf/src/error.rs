//! What can go wrong: refusals by the trust machine, with their place in the file; what the network or the disk said.

use std::fmt;
use std::path::PathBuf;

use sealift_manifests::{DecodeError, Fault, Role};
use sealift_verifier::Disposition;

/// What is wrong with a file, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The way to the value, as `signed.roles.root.threshold`; empty for the file as a whole.
    pub place: String,
    /// The kind of fault, which gives the error code.
    pub fault: Fault,
    /// What is wrong, in words.
    pub what: String,
}

impl Malformed {
    pub(crate) fn new(place: &str, fault: Fault, what: impl Into<String>) -> Self {
        Malformed { place: place.to_owned(), fault, what: what.into() }
    }

    /// The trust machine's error for it. JSON has places and not offsets.
    pub(crate) fn refusal(&self, role: Role) -> sealift_verifier::Error {
        sealift_verifier::Error::malformed(role, DecodeError::new(self.fault, 0))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() { f.write_str(&self.what) } else { write!(f, "{}: {}", self.place, self.what) }
    }
}

impl std::error::Error for Malformed {}

/// Why a refresh, a look-up or a download ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The trust machine refused a file. Nothing was changed.
    #[error("{file}: {}{}", refused_text(.reason, .detail), hint(.reason))]
    Refused {
        /// The metadata file, as `3.root.json`, or where it was kept.
        file: String,
        /// The refusal, with its stable code.
        reason: sealift_verifier::Error,
        /// The place in the file, where there is one.
        detail: Option<Malformed>,
    },
    /// The server did not give a file.
    #[error("{url}: {source}")]
    Fetch {
        /// Where it was asked for.
        url: String,
        /// What happened.
        source: FetchError,
    },
    /// The datastore or the target directory could not be read or written.
    #[error("cannot {act} {}: {source}", .path.display())]
    Storage {
        /// What was tried.
        act: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The datastore holds no trusted root.
    #[error("{} holds no trusted root: initialise it with one that came from a trusted place", .0.display())]
    NotInitialised(PathBuf),
    /// The datastore was initialised before, from another root.
    #[error("{} already holds a trusted root: it is not replaced; use an empty directory for another repository", .0.display())]
    AlreadyInitialised(PathBuf),
    /// The clock reads less than it did when this datastore was used last.
    #[error(
        "the clock went back: it reads {} but this client already ran at {}; set the clock, or, if that earlier reading was \
         wrong, remove {}",
        crate::time::format(*.now), crate::time::format(*.latest), .record.display()
    )]
    ClockWentBack {
        /// What it reads: seconds since 1970-01-01T00:00:00Z.
        now: u64,
        /// What it read before, in the same unit.
        latest: u64,
        /// Where that is kept.
        record: PathBuf,
    },
    /// No role that may speak for this target path lists it.
    #[error("no target {0:?}: no role that may speak for this path lists it")]
    NoSuchTarget(String),
    /// A look-up would have visited more delegated roles than the configuration allows.
    #[error(
        "the search for {target:?} would visit more than {limit} roles: raise the limit if this repository is known to be that deep"
    )]
    TooManyDelegations {
        /// The target path.
        target: String,
        /// How many roles may be visited.
        limit: usize,
    },
    /// A target path that could lead out of a directory.
    #[error("{0:?} is no safe target path: empty, absolute, or with a segment `.` or `..`")]
    UnsafeTargetPath(String),
    /// What was downloaded is not the target.
    #[error("{path}: {what}")]
    WrongTarget {
        /// The target path.
        path: String,
        /// What is wrong with the bytes.
        what: &'static str,
    },
}

/// Why a server did not give a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The server has no such file (HTTP 403, 404 or 410).
    #[error("not found")]
    NotFound,
    /// The server answered with another status than success.
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    /// More bytes than the file can have.
    #[error("more than the {0} bytes that it may have")]
    TooLong(u64),
    /// Fewer bytes than the file must have.
    #[error("the file ended after {got} of {wanted} bytes")]
    TooShort {
        /// How many arrived.
        got: u64,
        /// How many were to come.
        wanted: u64,
    },
    /// The bytes come so slowly that somebody may be holding the client up.
    #[error("slower than {0} bytes a second: given up, so that a slow server cannot hold this client; try again")]
    TooSlow(u64),
    /// The connection failed.
    #[error("{0}")]
    Io(String),
}

impl FetchError {
    /// Whether the same request may succeed when it is made again.
    pub(crate) fn may_resume(&self) -> bool {
        matches!(self, FetchError::Io(_) | FetchError::TooShort { .. })
    }
}

impl Error {
    /// The trust machine's refusal, if that is what happened.
    pub fn refusal(&self) -> Option<sealift_verifier::Error> {
        match self {
            Error::Refused { reason, .. } => Some(*reason),
            _ => None,
        }
    }

    /// Whether it was a decision against what was offered, and not a failure to get it.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Error::Refused { .. } | Error::WrongTarget { .. } | Error::UnsafeTargetPath(_))
    }

    pub(crate) fn storage(act: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Storage { act, path: path.into(), source }
    }
}

fn refused_text(reason: &sealift_verifier::Error, detail: &Option<Malformed>) -> String {
    match detail {
        Some(detail) => format!("SL-{:03} {detail}", reason.code()),
        None => reason.to_string(),
    }
}

fn hint(reason: &sealift_verifier::Error) -> &'static str {
    match (reason, reason.disposition()) {
        (sealift_verifier::Error::TooManyRoots, _) => "",
        (sealift_verifier::Error::Expired(_), _) => ": the repository has to publish anew, or the clock is wrong",
        (_, Disposition::Stale) => ": the server offers an older state than this client has seen",
        _ => "",
    }
}
