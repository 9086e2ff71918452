//! The job at hand, kept so that a killed agent neither forgets nor repeats it.

use std::path::{Path, PathBuf};

use sealift_jobs::{ExecutionStatus, JobId, StatusDetails};
use serde::{Deserialize, Serialize};

use super::files::{self, Access};
use crate::error::{Error, Result};

/// How far a job has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "phase")]
pub enum Phase {
    /// Metadata and payload: a restart begins again and finds what was written.
    Working,
    /// The image is activated: how it ends stands in the boot state.
    Activated {
        /// SHA-256 of the target's entry, hex.
        target: String,
        /// Boots that were recorded before: an outcome of then isn't this one's.
        boots: u64,
    },
    /// The outcome is known; it is sent until the server takes it or has one of its own.
    Reporting {
        /// What to report.
        status: ExecutionStatus,
        /// With these words.
        details: StatusDetails,
    },
}

/// The execution that the agent works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalEntry {
    /// Its job.
    pub job: JobId,
    /// Which execution of the job.
    pub execution: u64,
    /// How far it is.
    pub phase: Phase,
}

/// `job.json`.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
}

/// A few kilobytes at the most: the details have AWS's bounds.
const JOURNAL_MAX: usize = 256 * 1024;

impl Journal {
    /// The journal in this file.
    pub fn new(path: PathBuf) -> Self {
        Journal { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The job at hand, if there is one.
    pub fn load(&self) -> Result<Option<JournalEntry>> {
        let Some(bytes) = files::read_if_any(&self.path, JOURNAL_MAX)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|problem| Error::Input {
            path: self.path.clone(),
            problem: format!("{problem}; remove the file: the server tells again which job is at hand"),
        })
    }

    /// Writes it, for good.
    pub fn store(&self, entry: &JournalEntry) -> Result<()> {
        let json = serde_json::to_vec(entry)
            .map_err(|problem| Error::Input { path: self.path.clone(), problem: problem.to_string() })?;
        files::replace(&self.path, &json, Access::Plain)
    }

    /// The job is over.
    pub fn clear(&self) -> Result<()> {
        files::remove(&self.path)
    }
}
