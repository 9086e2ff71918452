//! What is kept of a rollout in the artifact store.

use sealift_jobs::JobId;
use sealift_rollout::observed::Standing;
use sealift_rollout::plan::Plan;
use serde::{Deserialize, Serialize};

use super::RolloutError;
use super::document::Locations;
use crate::intake::chain::ListedTarget;

/// A rollout's plan, which never changes, and what people and the decision core have made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its name.
    pub rollout: String,
    /// Repository id, hex.
    pub repository: String,
    /// The target, as it was listed when the rollout was made.
    pub target: ListedTarget,
    /// The waves, their gates and thresholds.
    pub plan: Plan,
    /// When it was made, in seconds since the Unix epoch.
    pub created_at: u64,
    /// What people asked for, or how it ended.
    pub standing: Standing,
    /// Why somebody cancelled or paused it.
    pub comment: Option<String>,
    /// Whether devices that are at it are told too when it is cancelled.
    pub force: bool,
    /// The waves' own state, in the plan's order.
    pub waves: Vec<WaveRecord>,
    /// What happened, in order.
    pub history: Vec<Entry>,
    /// Whether it is over and nothing is left to do.
    #[serde(default)]
    pub settled: bool,
    /// How many entries of the history are in the audit log already.
    #[serde(default)]
    pub audited: usize,
    /// Up to which entry the audit log was searched for them.
    #[serde(default)]
    pub audit_position: u64,
    /// Where devices find files, when that isn't the local endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locations: Option<Locations>,
}

/// What is kept of a wave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveRecord {
    /// Whether somebody began to make the job of this attempt.
    #[serde(default)]
    pub claimed: bool,
    /// Whether the job of this attempt was made.
    pub created: bool,
    /// A wave that turned out to have no devices: there is no job to make.
    pub empty: bool,
    /// Which attempt the present job is.
    pub attempt: u32,
    /// Whether this rollout cancelled that job.
    pub cancelled: bool,
    /// Since when its gate holds, in seconds since the Unix epoch.
    pub gate_held_since: Option<u64>,
    /// Whether somebody approved the step to the next wave.
    pub approved: bool,
    /// Whether this rollout is about to cancel that job: on record before the call, so that a reconciler which died in
    /// between isn't taken for somebody else's hand.
    #[serde(default)]
    pub cancelling: bool,
    /// When the job of this attempt was made, in seconds since the Unix epoch.
    #[serde(default)]
    pub began_at: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in seconds since the Unix epoch.
    pub at: u64,
    /// What, in a sentence.
    pub what: String,
    /// Who did it.
    #[serde(default)]
    pub by: String,
    /// The jobs, groups and things that it touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

impl Record {
    /// The id of a wave's job: the same for everybody who carries out this rollout, so that no wave starts twice.
    ///
    /// # Errors
    /// [`RolloutError::Name`] when the rollout's name can't be part of a job id.
    pub fn job(&self, wave: usize, attempt: u32) -> Result<JobId, RolloutError> {
        let again = if attempt == 0 { String::new() } else { format!("-a{attempt}") };
        format!("sl-{}-w{}{again}", self.rollout, wave + 1).parse().map_err(RolloutError::Name)
    }

    /// The state of a wave; a fresh one for a wave that has none yet.
    #[must_use]
    pub fn wave(&self, wave: usize) -> WaveRecord {
        self.waves.get(wave).cloned().unwrap_or_default()
    }

    /// Changes the state of a wave.
    pub fn change(&mut self, wave: usize, change: impl FnOnce(&mut WaveRecord)) {
        if self.waves.len() <= wave {
            self.waves.resize_with(wave + 1, WaveRecord::default);
        }
        change(&mut self.waves[wave]);
    }

    /// Appends to the history.
    pub fn note(&mut self, at: u64, by: &str, what: impl Into<String>, targets: Vec<String>) {
        self.history.push(Entry { at, what: what.into(), by: by.to_owned(), targets });
    }
}
