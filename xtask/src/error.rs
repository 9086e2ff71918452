//! What can go wrong in an xtask command.

use std::{io, path::PathBuf, process::ExitStatus};

/// Failure of an xtask command; each says what was attempted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file couldn't be read, written or removed.
    #[error("{act} {}: {source}", path.display())]
    File {
        /// What was attempted, as a verb.
        act: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program couldn't be started.
    #[error("start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A program ended with a failure.
    #[error("{line}: {status}\n{tail}")]
    Failed {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its output.
        tail: String,
    },
    /// Something that must be installed isn't, and can't be from here.
    #[error("{what} is missing: {remedy}")]
    Missing {
        /// The missing thing.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A file isn't what it should be.
    #[error("{}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The demo didn't go as its story says.
    #[error("{what}")]
    Story {
        /// What happened instead.
        what: String,
    },
}

/// Result of an xtask command.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;
