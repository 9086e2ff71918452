//! What a rollout is to do, decided once and never changed.

use std::collections::BTreeSet;

use sealift_jobs::{GroupName, JobId, ThingName};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::RolloutError;
use crate::intake::chain::ListedTarget;

/// Most characters of a rollout's name, so that its jobs' ids fit AWS's 64.
const NAME_MAX_CHARS: usize = 48;

/// A rollout: one target, in waves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Its name.
    pub rollout: String,
    /// Repository id, hex.
    pub repository: String,
    /// The target, as it was listed when the rollout was made.
    pub target: ListedTarget,
    /// The waves, in order.
    pub waves: Vec<Wave>,
    /// Minutes an execution may be in progress.
    pub timeout_minutes: Option<u64>,
    /// Retries of failed and timed-out executions.
    pub retries: u32,
}

/// One wave: one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// Groups whose members get the target.
    pub groups: BTreeSet<GroupName>,
    /// Things that get the target.
    pub things: BTreeSet<ThingName>,
    /// What must have happened in this wave before the next begins.
    pub gate: Gate,
}

/// When a wave lets the next one begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Percentage of the wave's things that must have succeeded.
    pub succeeded_percent: u64,
}

impl Default for Gate {
    fn default() -> Self {
        Self { succeeded_percent: 100 }
    }
}

impl Plan {
    /// The id of a wave's job: the same for everybody who carries out this plan, so that no wave starts twice.
    ///
    /// # Errors
    /// [`RolloutError::Name`] when the rollout's name can't be part of a job id.
    pub fn job(&self, wave: usize) -> Result<JobId, RolloutError> {
        format!("sl-{}-w{}", self.rollout, wave + 1).parse().map_err(RolloutError::Name)
    }
}

/// Checks a name that a person gave.
///
/// # Errors
/// [`RolloutError::Name`].
pub fn check_name(name: &str) -> Result<(), RolloutError> {
    if name.len() > NAME_MAX_CHARS {
        let length = name.chars().count();
        return Err(RolloutError::Name(sealift_jobs::NameError::Length {
            what: "the rollout's name",
            length,
            max: NAME_MAX_CHARS,
        }));
    }
    name.parse::<JobId>().map(drop).map_err(RolloutError::Name)
}

/// The name of a rollout that got none: the same wish has the same name, so repeating it makes no second rollout.
#[must_use]
pub fn derived_name(repository: &str, target: &ListedTarget, waves: &[Wave]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(repository);
    hasher.update(target.digest.0);
    for wave in waves {
        for name in wave.groups.iter().map(AsRef::as_ref).chain(wave.things.iter().map(AsRef::as_ref)) {
            let name: &str = name;
            hasher.update([name.len() as u8]);
            hasher.update(name);
        }
        hasher.update([0xff]);
    }
    let id = hex::encode(hasher.finalize());
    let plain = |text: &str, most: usize| -> String {
        let clean = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
        clean.take(most).collect()
    };
    format!("{}-{}-{}", plain(&target.product, 20), plain(&target.version, 15), id.get(..8).unwrap_or_default())
}
