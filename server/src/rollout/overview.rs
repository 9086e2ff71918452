//! How far a rollout is, for people and programs.

use std::collections::BTreeMap;

use sealift_jobs::{ExecutionStatus, JobId, StatusDetails, ThingName, details};
use sealift_rollout::decide::Action;
use sealift_rollout::observed::{Counts, Outcome, Standing};
use serde::{Deserialize, Serialize};

use super::proof::Proven;
use crate::intake::chain::ListedTarget;
use crate::service::{ExecutionView, JobProgress};

/// Where a rollout stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// It goes on by itself.
    Running,
    /// Somebody paused it.
    Paused,
    /// It stopped itself: a threshold was reached, or a job was cancelled behind its back.
    Stopped,
    /// Somebody aborted it.
    Canceled,
    /// Every wave is over.
    Completed,
}

impl State {
    /// The word for a standing.
    #[must_use]
    pub fn of(standing: &Standing) -> Self {
        match standing {
            Standing::Running => Self::Running,
            Standing::Paused => Self::Paused,
            Standing::Ended(Outcome::Completed) => Self::Completed,
            Standing::Ended(Outcome::AbortedByHand) => Self::Canceled,
            Standing::Ended(Outcome::Aborted { .. } | Outcome::CancelledElsewhere { .. }) => Self::Stopped,
        }
    }

    /// True when it doesn't go on, whatever devices do.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Canceled | Self::Completed)
    }
}

/// A rollout and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Its name.
    pub rollout: String,
    /// Where it stands.
    pub state: State,
    /// Why it stopped, or what it waits for.
    pub reason: Option<String>,
    /// What it brings.
    pub target: ListedTarget,
    /// Repository id.
    pub repository: String,
    /// When it was made, in seconds since the Unix epoch.
    pub created_at: u64,
    /// Why it was paused or aborted.
    pub comment: Option<String>,
    /// Its waves.
    pub waves: Vec<WaveOverview>,
    /// Executions of the waves' present jobs by job state.
    pub counts: BTreeMap<ExecutionStatus, u64>,
}

/// A wave and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveOverview {
    /// Its name in the plan.
    pub name: String,
    /// Its present job.
    pub job: JobId,
    /// That job, once it is made.
    pub progress: Option<JobProgress>,
    /// Executions of all its attempts, proven successes apart.
    pub counts: Counts,
    /// Since when its gate holds.
    pub gate_held_since: Option<u64>,
    /// Whether somebody approved the step to the next wave.
    pub approved: bool,
}

/// A rollout with every device: what the job says, and what the device proved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The rollout.
    #[serde(flatten)]
    pub overview: Overview,
    /// Devices that signed that they run the target's image.
    pub proven: u64,
    /// Devices whose job state and proven state disagree.
    pub differences: u64,
    /// Each device.
    pub devices: Vec<DeviceStatus>,
}

/// One device of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// The thing.
    pub thing: ThingName,
    /// Its job.
    pub job: JobId,
    /// Which execution.
    pub execution: u64,
    /// What the job says.
    pub status: ExecutionStatus,
    /// What the device proved.
    pub proven: Proven,
    /// True when the two disagree.
    pub differs: bool,
    /// Sealift's error code, when the device gave one.
    pub code: Option<String>,
    /// Its reason.
    pub reason: Option<String>,
    /// The step it is in.
    pub step: Option<String>,
}

impl DeviceStatus {
    pub(super) fn new(execution: ExecutionView, proven: Proven) -> Self {
        let said: &StatusDetails = &execution.details;
        let detail = |key| said.value(key).map(str::to_owned);
        let (code, reason, step) = (detail(details::CODE), detail(details::REASON), detail(details::STEP));
        let differs = proven.differs(execution.status);
        let ExecutionView { thing, job, number, status, .. } = execution;
        Self { thing, job, execution: number, status, differs, proven, code, reason, step }
    }
}

/// Why a rollout stopped, or what it waits for.
pub(super) fn reason(standing: &Standing, waves: &[String], next: &[Action]) -> Option<String> {
    let name = |wave: &usize| waves.get(*wave).cloned().unwrap_or_else(|| (wave + 1).to_string());
    match standing {
        Standing::Ended(Outcome::Aborted { wave, reason }) => Some(format!("wave {}: {reason}", name(wave))),
        Standing::Ended(Outcome::CancelledElsewhere { wave }) => {
            Some(format!("the job of wave {} was cancelled by somebody else", name(wave)))
        }
        Standing::Ended(_) | Standing::Paused => None,
        Standing::Running => next.iter().find_map(|action| match action {
            Action::AwaitApproval { wave } => Some(format!("waits for approval of the step after wave {}", name(wave))),
            Action::WaitUntil(time) => Some(format!("waits until {}", super::time(*time))),
            _ => None,
        }),
    }
}
