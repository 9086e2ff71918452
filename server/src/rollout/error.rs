//! Why a rollout can't be made or carried on.

use sealift_rollout::plan::PlanError;

use crate::intake::IntakeError;
use crate::service::ServiceError;
use crate::store::{KeyError, StoreError};

/// Why a rollout can't be made or carried on.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// Nothing is published.
    #[error("nothing is published yet; run `sealift-server publish` first")]
    NothingPublished,
    /// No target fits.
    #[error("no published target is {wanted}; published are: {listed}")]
    NoTarget {
        /// What was asked for.
        wanted: String,
        /// What there is.
        listed: String,
    },
    /// Several targets fit.
    #[error("{wanted} fits several targets ({listed}); name one with --target")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// What fits.
        listed: String,
    },
    /// The plan can't be carried out.
    #[error("the plan can't be carried out: {0}")]
    Plan(#[from] PlanError),
    /// The operation doesn't fit where the rollout stands.
    #[error("{0}")]
    Standing(String),
    /// A name that AWS wouldn't take.
    #[error("{0}")]
    Name(sealift_jobs::NameError),
    /// No target devices.
    #[error("{0}")]
    Targets(String),
    /// No such rollout.
    #[error("no rollout is called {0}; `sealift-server rollout list` shows them")]
    Unknown(String),
    /// A rollout of this name exists and is another one, or is over.
    #[error("a rollout called {name} exists already and is {state}; give this one another name with --name")]
    Exists {
        /// Its name.
        name: String,
        /// What about it.
        state: String,
    },
    /// Its record can't be read.
    #[error("{key}: not a rollout record: {source}")]
    Record {
        /// The object.
        key: String,
        /// What serde said.
        source: serde_json::Error,
    },
    /// Too many others write at the same time.
    #[error("rollout {0}: others keep changing it; try again")]
    Contended(String),
    /// The job document can't be written.
    #[error("the job document can't be written: {0}")]
    Document(#[from] sealift_jobs::DocumentError),
    /// What is published doesn't verify.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The audit log can't be read or written.
    #[error(transparent)]
    Audit(#[from] crate::audit::AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The job service failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<KeyError> for RolloutError {
    fn from(error: KeyError) -> Self {
        Self::Unknown(error.to_string())
    }
}
