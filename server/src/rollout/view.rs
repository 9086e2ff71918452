//! What is told of a rollout: to the command line, and to whoever reads its JSON.

use std::collections::{BTreeMap, BTreeSet};

use sealift_jobs::{ExecutionStatus, GroupName, JobId, ThingName, details};
use sealift_rollout::explain::Explanation;
use sealift_rollout::observed::{Outcome, Standing};
use serde::{Deserialize, Serialize};

use super::proof::Proven;
use super::record::Entry;
use crate::intake::chain::{ListedPayload, ListedTarget};
use crate::service::{ExecutionView, JobProgress};

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Waves are open or still to come.
    Running,
    /// Somebody paused it.
    Paused,
    /// A threshold was reached, or a job was cancelled by somebody else: no further wave begins.
    Stopped,
    /// Cancelled.
    Canceled,
    /// Every wave is over.
    Completed,
}

impl State {
    /// Whether nothing more will happen by itself or by approval.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, State::Stopped | State::Canceled | State::Completed)
    }
}

impl From<&Standing> for State {
    fn from(standing: &Standing) -> Self {
        match standing {
            Standing::Running => State::Running,
            Standing::Paused => State::Paused,
            Standing::Ended(Outcome::Completed) => State::Completed,
            Standing::Ended(Outcome::AbortedByHand) => State::Canceled,
            Standing::Ended(Outcome::Aborted { .. } | Outcome::CancelledElsewhere { .. }) => State::Stopped,
        }
    }
}

/// A rollout and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Its name.
    pub rollout: String,
    /// Where it stands.
    pub state: State,
    /// What it brings.
    pub target: ListedTarget,
    /// Repository id.
    pub repository: String,
    /// When it was made, in seconds since the Unix epoch.
    pub created_at: u64,
    /// Why it was stopped, paused or cancelled.
    pub comment: Option<String>,
    /// Its waves.
    pub waves: Vec<WaveOverview>,
    /// Executions of all waves by job state.
    pub counts: BTreeMap<ExecutionStatus, u64>,
    /// What happened, in order.
    pub history: Vec<Entry>,
}

/// A wave and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveOverview {
    /// Its name in the plan.
    pub name: String,
    /// Its job.
    pub job: JobId,
    /// Groups.
    pub groups: BTreeSet<GroupName>,
    /// Things.
    pub things: BTreeSet<ThingName>,
    /// The job, once it is made.
    pub progress: Option<JobProgress>,
    /// Since when its gate holds, in seconds since the Unix epoch.
    pub gate_held_since: Option<u64>,
    /// Whether somebody approved the step to the next wave.
    pub approved: bool,
}

/// A rollout with every device: what the job says, and what the device proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The rollout.
    #[serde(flatten)]
    pub overview: Overview,
    /// Devices that signed that they run the target's image.
    pub proven: u64,
    /// Devices whose job state and proven state disagree.
    pub differences: u64,
    /// Each device, up to 10,000.
    pub devices: Vec<DeviceStatus>,
    /// Devices that are counted but not listed.
    #[serde(default)]
    pub left_out: u64,
}

/// Why a device gets the update in which wave and how, or what keeps it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The wave.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// The payload that it would take, as far as can be told from here.
    pub payload: Option<ListedPayload>,
    /// Why that one, or why none.
    pub payload_why: String,
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
    /// When it was told, in seconds since the Unix epoch.
    #[serde(default)]
    pub queued_at: u64,
    /// When it began.
    #[serde(default)]
    pub started_at: Option<u64>,
    /// When it was last heard of.
    #[serde(default)]
    pub updated_at: u64,
}

impl DeviceStatus {
    /// One execution, and what of it is proven.
    pub(super) fn new(execution: ExecutionView, proven: Proven) -> Self {
        let detail = |key| execution.details.value(key).map(str::to_owned);
        DeviceStatus {
            differs: proven.differs(execution.status),
            proven,
            code: detail(details::CODE),
            reason: detail(details::REASON),
            step: detail(details::STEP),
            thing: execution.thing,
            job: execution.job,
            execution: execution.number,
            status: execution.status,
            queued_at: execution.queued_at,
            started_at: execution.started_at,
            updated_at: execution.updated_at,
        }
    }
}
