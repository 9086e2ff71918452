//! What is kept of a rollout: one object in the artifact store, changed by conditional writes alone.

use sealift_jobs::{JobId, NameError};
use sealift_rollout::observed::Standing;
use sealift_rollout::plan::Plan;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::intake::chain::ListedTarget;
use crate::store::{Key, KeyError, ROLLOUTS};

/// Most characters of a rollout's name, so that its jobs' ids fit AWS's 64.
const NAME_MAX_CHARS: usize = 48;

/// A rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its name.
    pub rollout: String,
    /// Repository id, hex.
    pub repository: String,
    /// The target, as it was listed when the rollout was made.
    pub target: ListedTarget,
    /// The plan.
    pub plan: Plan,
    /// What people asked for, or how it ended.
    pub standing: Standing,
    /// Each wave, in the plan's order.
    pub waves: Vec<WaveRecord>,
    /// When it was made, in seconds since the Unix epoch.
    pub created_at: u64,
    /// Why it was paused or aborted.
    pub comment: Option<String>,
    /// Aborting also tells devices that are at it already.
    pub force: bool,
}

/// What is kept of a wave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveRecord {
    /// Which attempt its present job is: a pause ends one, a resume starts the next.
    pub attempt: u32,
    /// Since when its gate holds.
    pub gate_held_since: Option<u64>,
    /// Whether somebody approved the step to the next wave.
    pub approved: bool,
}

impl Record {
    /// The id of a wave's job: the same for everybody who carries this rollout out, so that no wave starts twice.
    ///
    /// # Errors
    /// [`NameError`] when the rollout's name can't be part of a job id.
    pub fn job(&self, wave: usize, attempt: u32) -> Result<JobId, NameError> {
        let again = if attempt == 0 { String::new() } else { format!("-a{}", attempt + 1) };
        format!("sl-{}-w{}{again}", self.rollout, wave + 1).parse()
    }

    /// True when both are the same wish, however far they are.
    #[must_use]
    pub fn same_wish(&self, other: &Self) -> bool {
        self.rollout == other.rollout
            && self.repository == other.repository
            && self.target.digest == other.target.digest
            && self.plan == other.plan
    }
}

/// Where a rollout's record is.
///
/// # Errors
/// [`KeyError`] for a name that can't be part of a key.
pub fn key(rollout: &str) -> Result<Key, KeyError> {
    format!("{ROLLOUTS}/{rollout}.json").parse()
}

/// Checks a name that a person gave.
///
/// # Errors
/// [`NameError`].
pub fn check_name(name: &str) -> Result<(), NameError> {
    let length = name.chars().count();
    if length > NAME_MAX_CHARS {
        return Err(NameError::Length { what: "the rollout's name", length, max: NAME_MAX_CHARS });
    }
    name.parse::<JobId>().map(drop)
}

/// The name of a rollout that got none: the same wish has the same name, so repeating it makes no second rollout.
#[must_use]
pub fn derived_name(repository: &str, target: &ListedTarget, plan: &Plan) -> String {
    // Plans are plain data; one that doesn't serialise would be refused when its record is written.
    let plan = serde_json::to_string(plan).unwrap_or_default();
    let id = hex::encode(Sha256::digest(format!("{repository}\n{}\n{plan}", target.digest)));
    let plain = |text: &str, most: usize| -> String {
        let clean = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
        clean.take(most).collect()
    };
    format!("{}-{}-{}", plain(&target.product, 20), plain(&target.version, 15), id.get(..8).unwrap_or_default())
}
