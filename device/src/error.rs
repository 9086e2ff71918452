//! What can go wrong in the agent, what it means for a job, and the exit code it ends with.
//!
//! | code | what | reported as |
//! |---|---|---|
//! | `SL-1nn` to `SL-7nn` | the verifier refused (its own table of errors) | per [`Disposition`] |
//! | `SL-801` | the network or the server failed | FAILED |
//! | `SL-802` | the server answered something that isn't an answer | FAILED |
//! | `SL-803` | the payload came more slowly than the floor allows | FAILED |
//! | `SL-804` | the deadline of the whole download passed | FAILED |
//! | `SL-805` | the job document isn't one this agent understands | REJECTED |
//! | `SL-806` | a file of the state couldn't be read or written | FAILED |
//! | `SL-807` | a hook (boot command, boot loader, reboot command) failed, or the machine runs another slot than it must | FAILED |
//! | `SL-808` | no delta fits, and the link is for deltas alone | FAILED |
//! | `SL-809` | the update waits for a maintenance window or the owner's consent | not at all: the job stays IN_PROGRESS |
//! | `SL-810` | the owner said never | REJECTED |
//! | `SL-811` | the new identity that a job asked for can't be had | FAILED |

use std::io;
use std::path::PathBuf;

use sealift_verifier::image::Slot;
use sealift_verifier::{Disposition, Error as Refusal};

/// Anything that ends an act of the agent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The verifier refused.
    #[error("{refusal} ({context})")]
    Refused {
        /// Its reason.
        refusal: Refusal,
        /// What it was asked about.
        context: String,
    },
    /// The connection failed, or the server says that it can't now.
    #[error("{what}: {problem}; try again, and check --server, --ca and the network if it stays so")]
    Network {
        /// What was being done.
        what: String,
        /// What went wrong.
        problem: String,
    },
    /// The server answered out of the protocol.
    #[error("{what}: the server answered {problem}")]
    Answer {
        /// What was being done.
        what: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// A payload trickles.
    #[error(
        "the payload came at {rate} bytes/s over {window} s, below the floor of {floor}; lower --min-rate if the link is that slow"
    )]
    TooSlow {
        /// Measured, in bytes per second.
        rate: u64,
        /// Over this many seconds.
        window: u64,
        /// Least rate.
        floor: u64,
    },
    /// A download took too long as a whole.
    #[error("the payload wasn't complete after {seconds} s; raise --deadline if the link is that slow")]
    Deadline {
        /// The deadline.
        seconds: u64,
    },
    /// There is no delta for this device, and its link is for deltas alone, by its own setting or by the job's word.
    #[error(
        "no delta fits this device, and it is to take deltas alone (--delta-only here, or a metered group in the rollout); the smallest other payload has {bytes} bytes"
    )]
    Metered {
        /// What the cheapest other payload would cost.
        bytes: u32,
    },
    /// The job can't be understood.
    #[error("{0}")]
    Document(#[from] sealift_jobs::DocumentError),
    /// A file.
    #[error("can't {act} {}: {source}", path.display())]
    File {
        /// What was being done.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that was given, or one of the state, doesn't say what it must.
    #[error("{}: {problem}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A hook failed.
    #[error("the {hook} failed: {problem}")]
    Hook {
        /// Which.
        hook: &'static str,
        /// How.
        problem: String,
    },
    /// The machine runs another slot than the boot stage chose.
    #[error("the machine runs slot {runs}, and slot {must} has to run: reboot, and check that the boot loader obeys")]
    Elsewhere {
        /// What runs.
        runs: Slot,
        /// What must.
        must: Slot,
    },
    /// The update waits.
    #[error("the update waits for {why}")]
    Waiting {
        /// For what.
        why: String,
    },
    /// The owner of the device said never.
    #[error("the device's owner opted out of this update (consent command, stage {stage})")]
    OptedOut {
        /// Before what.
        stage: &'static str,
    },
    /// A new key was made, but no certificate came with which the device can speak.
    #[error("the device keeps its identity: {0}")]
    Rotation(String),
    /// The arguments don't fit together.
    #[error("{0}")]
    Usage(String),
    /// The server refused what the agent asked: a state of the job, not a fault of the network.
    #[error("{what}: the server refused with {code}: {message}")]
    Service {
        /// What was being done.
        what: String,
        /// Its code.
        code: sealift_jobs::ErrorCode,
        /// Its words.
        message: String,
    },
}

/// The result of the agent's acts.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A closure for `map_err` on file operations.
    pub fn file(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { act, path, source }
    }

    /// A refusal by the verifier, with what it was asked about.
    pub fn refused(context: impl Into<String>) -> impl FnOnce(Refusal) -> Error {
        let context = context.into();
        move |refusal| Error::Refused { refusal, context }
    }

    /// The verifier's reason, where it is one.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Error::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }

    /// The stable code, as it stands in status details.
    pub fn code(&self) -> String {
        let number = match self {
            Error::Refused { refusal, .. } => refusal.code(),
            Error::Network { .. } | Error::Service { .. } => 801,
            Error::Answer { .. } => 802,
            Error::TooSlow { .. } => 803,
            Error::Deadline { .. } => 804,
            Error::Document(_) => 805,
            Error::File { .. } | Error::Input { .. } | Error::Usage(_) => 806,
            Error::Hook { .. } | Error::Elsewhere { .. } => 807,
            Error::Metered { .. } => 808,
            Error::Waiting { .. } => 809,
            Error::OptedOut { .. } => 810,
            Error::Rotation(_) => 811,
        };
        format!("SL-{number}")
    }

    /// Whether the same job can't become right by trying again.
    pub fn is_permanent(&self) -> bool {
        match self {
            Error::Refused { refusal, .. } => refusal.disposition() == Disposition::Permanent,
            Error::Document(_) | Error::OptedOut { .. } => true,
            _ => false,
        }
    }

    /// Whether asking the same server again, a little later, may help within this session.
    pub fn is_passing(&self) -> bool {
        matches!(self, Error::Network { .. } | Error::Answer { .. } | Error::TooSlow { .. })
    }

    /// Whether what was written so far is as good as before.
    pub fn is_interruption(&self) -> bool {
        self.is_passing() || matches!(self, Error::Deadline { .. } | Error::Service { .. })
    }

    /// The exit code: 1 try again, 2 usage, 3 refused, 4 bad input file.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            // The disk's fault, or the image's: not a verdict.
            Error::Refused { refusal: Refusal::Storage | Refusal::Reverted, .. } => 1,
            Error::Refused { .. } | Error::Document(_) | Error::OptedOut { .. } => 3,
            Error::Input { .. } => 4,
            Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound => 4,
            _ => 1,
        }
    }
}
