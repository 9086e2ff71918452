//! What can go wrong, sorted by what the caller should do about it: each class is an exit code.

use std::io;
use std::path::{Path, PathBuf};

/// Success or this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system said no. Trying again may help.
    #[error("cannot {act} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb.
        act: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key source, or something else outside, failed while it was used.
    #[error("{fault}")]
    Failed {
        /// What failed.
        fault: String,
        /// What to do about it.
        remedy: String,
    },
    /// The command line asks for something that makes no sense.
    #[error("{fault}")]
    Usage {
        /// What is wrong.
        fault: String,
        /// What to type instead.
        remedy: String,
    },
    /// A policy or a verification said no: trying again changes nothing.
    #[error("{}{fault}", code.map(|code| format!("SL-{code:03}: ")).unwrap_or_default())]
    Refused {
        /// The verifier's code for this refusal, where it has one.
        code: Option<u16>,
        /// What was refused and why.
        fault: String,
        /// What to do about it.
        remedy: String,
    },
    /// A file that was read is not what it should be.
    #[error("{place}: {fault}")]
    Input {
        /// The file (and the place in it).
        place: String,
        /// What is wrong with it.
        fault: String,
        /// What to do about it.
        remedy: String,
    },
}

impl Error {
    /// An I/O error with the act and the path.
    pub fn io(act: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { act, path, source }
    }

    /// A bad input file.
    pub fn input(path: impl AsRef<Path>, fault: impl ToString, remedy: impl Into<String>) -> Self {
        Error::Input { place: path.as_ref().display().to_string(), fault: fault.to_string(), remedy: remedy.into() }
    }

    /// A refusal by policy.
    pub fn refused(fault: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::Refused { code: None, fault: fault.into(), remedy: remedy.into() }
    }

    /// A command line that makes no sense.
    pub fn usage(fault: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::Usage { fault: fault.into(), remedy: remedy.into() }
    }

    /// Something outside failed.
    pub fn failed(fault: impl ToString, remedy: impl Into<String>) -> Self {
        Error::Failed { fault: fault.to_string(), remedy: remedy.into() }
    }

    /// The class, as `--json` names it.
    pub const fn class(&self) -> &'static str {
        match self {
            Error::Io { .. } | Error::Failed { .. } => "failed",
            Error::Usage { .. } => "usage",
            Error::Refused { .. } => "refused",
            Error::Input { .. } => "bad-input",
        }
    }

    /// The process's exit code: 1 runtime failure, 2 usage, 3 refused, 4 bad input file.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Error::Io { .. } | Error::Failed { .. } => 1,
            Error::Usage { .. } => 2,
            Error::Refused { .. } => 3,
            Error::Input { .. } => 4,
        }
    }

    /// The verifier's stable code, where there is one.
    pub const fn code(&self) -> Option<u16> {
        match self {
            Error::Refused { code, .. } => *code,
            _ => None,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Error::Io { .. } => None,
            Error::Failed { remedy, .. }
            | Error::Usage { remedy, .. }
            | Error::Refused { remedy, .. }
            | Error::Input { remedy, .. } => Some(remedy).filter(|remedy| !remedy.is_empty()).map(String::as_str),
        }
    }
}
