//! Names of rollouts: part of job ids, and of the records' keys.

use sealift_jobs::JobId;
use sealift_rollout::plan::Plan;
use sha2::{Digest as _, Sha256};

use super::RolloutError;
use crate::intake::chain::ListedTarget;

/// Most characters of a rollout's name, so that its jobs' ids fit AWS's 64.
const NAME_MAX_CHARS: usize = 48;

/// Checks a name that a person gave.
///
/// # Errors
/// [`RolloutError::Name`].
pub(super) fn check_name(name: &str) -> Result<(), RolloutError> {
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

/// The name of a rollout that got none: the same plan for the same target has the same name, so repeating it makes no
/// second rollout.
#[must_use]
pub(super) fn derived_name(repository: &str, target: &ListedTarget, plan: &Plan) -> String {
    let mut hasher = Sha256::new();
    hasher.update(repository);
    hasher.update(target.digest.0);
    // Plans are plain data: their JSON is a function of them.
    hasher.update(serde_json::to_vec(plan).unwrap_or_default());
    let id = hex::encode(hasher.finalize());
    let plain = |text: &str, most: usize| -> String {
        let clean = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
        clean.take(most).collect()
    };
    format!("{}-{}-{}", plain(&target.product, 20), plain(&target.version, 15), id.get(..8).unwrap_or_default())
}
