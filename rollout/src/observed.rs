//! What is known of a rollout at one moment: what its own record says, and what the job service says.

use serde::{Deserialize, Serialize};

/// Everything that a decision rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// What people asked for.
    pub standing: Standing,
    /// The waves, in the plan's order.
    pub waves: Vec<WaveObserved>,
}

/// What people asked for, or how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It goes on by itself.
    #[default]
    Running,
    /// No further wave starts, and devices that have not started yet are taken out of the present one.
    Paused,
    /// It is over.
    Ended(Outcome),
}

/// How a rollout ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every wave is done.
    Completed,
    /// A threshold was reached.
    Aborted {
        /// The wave in which it was.
        wave: usize,
        /// The threshold, in words.
        reason: String,
    },
    /// Somebody asked for it.
    AbortedByHand,
    /// Somebody cancelled or deleted a job behind the rollout's back.
    CancelledElsewhere {
        /// The wave whose job it was.
        wave: usize,
    },
}

/// What is known of one wave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveObserved {
    /// Its job, as the service says.
    pub job: JobObserved,
    /// Which attempt that job is: a pause ends one, a resume starts the next.
    pub attempt: u32,
    /// Its executions, of all attempts.
    pub counts: Counts,
    /// Since when the gate's ratio and number hold without a break: seconds since 1970-01-01T00:00:00Z.
    pub gate_held_since: Option<u64>,
    /// Whether somebody approved the step to the next wave.
    pub approved: bool,
}

/// The state of a wave's present job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobObserved {
    /// There is none yet.
    #[default]
    Absent,
    /// It runs.
    InProgress,
    /// Every execution of it has ended.
    Completed,
    /// It was cancelled by this rollout (paused or aborted).
    Cancelled,
    /// It was cancelled or deleted by somebody else.
    CancelledElsewhere,
}

/// Executions by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Not started.
    pub queued: u64,
    /// Started.
    pub in_progress: u64,
    /// Succeeded, and the signed report names the target's image.
    pub proven: u64,
    /// Said to have succeeded, without a report that proves it.
    pub unproven: u64,
    /// Failed.
    pub failed: u64,
    /// Refused by the device.
    pub rejected: u64,
    /// Not heard of again in time.
    pub timed_out: u64,
    /// Taken out before they started.
    pub cancelled: u64,
}

impl Counts {
    /// Executions that came to an end of their own: the base of every ratio.
    pub fn finished(&self) -> u64 {
        self.proven + self.unproven + self.failed + self.rejected + self.timed_out
    }

    /// The sum of two.
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            queued: self.queued + other.queued,
            in_progress: self.in_progress + other.in_progress,
            proven: self.proven + other.proven,
            unproven: self.unproven + other.unproven,
            failed: self.failed + other.failed,
            rejected: self.rejected + other.rejected,
            timed_out: self.timed_out + other.timed_out,
            cancelled: self.cancelled + other.cancelled,
        }
    }

    /// Executions that may still come to an end.
    pub fn open(&self) -> u64 {
        self.queued + self.in_progress
    }
}
