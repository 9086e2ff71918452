//! The decision core: from a plan and what is observed to what is to be done. No I/O, no clock.
//!
//! It is called again and again, by anybody, with whatever is true at that moment; carrying out its actions twice, or
//! only some of them, does no harm, because the next call sees what really happened.

use sealift_jobs::{ExecutionStatus, JobStatus};

use super::plan::{Plan, Wave};
use crate::service::JobProgress;

/// What is true now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Somebody has cancelled the rollout.
    pub cancelled: bool,
    /// Each wave's job, as far as it exists.
    pub jobs: Vec<Option<JobProgress>>,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the job of this wave.
    Create(usize),
    /// Cancel the job of this wave.
    Cancel(usize),
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Waves are open or still to come.
    Running,
    /// A wave ended without passing its gate: the next doesn't begin by itself.
    Stopped,
    /// Cancelled.
    Canceled,
    /// Every wave is over.
    Completed,
}

/// Decides what is to be done now. The time is a parameter for gates that wait; none does yet.
#[must_use]
pub fn decide(plan: &Plan, observed: &Observed, _now: u64) -> Vec<Action> {
    let jobs = || observed.jobs.iter().enumerate();
    if observed.cancelled {
        let open = |job: &Option<JobProgress>| job.as_ref().is_some_and(|job| job.status == JobStatus::InProgress);
        return jobs().filter(|(_, job)| open(job)).map(|(wave, _)| Action::Cancel(wave)).collect();
    }
    for (index, wave) in plan.waves.iter().enumerate() {
        match observed.jobs.get(index).and_then(Option::as_ref) {
            None => return vec![Action::Create(index)],
            Some(job) if passed(wave, job) => {}
            Some(_) => return Vec::new(),
        }
    }
    Vec::new()
}

/// Where the rollout stands.
#[must_use]
pub fn state(plan: &Plan, observed: &Observed) -> State {
    if observed.cancelled {
        return State::Canceled;
    }
    for (index, wave) in plan.waves.iter().enumerate() {
        match observed.jobs.get(index).and_then(Option::as_ref) {
            None => return State::Running,
            Some(job) if job.status == JobStatus::InProgress => return State::Running,
            // Cancelled by hand, in a console say: that stops the rollout.
            Some(job) if job.status == JobStatus::Canceled => return State::Stopped,
            Some(job) if index + 1 < plan.waves.len() && !passed(wave, job) => return State::Stopped,
            Some(_) => {}
        }
    }
    State::Completed
}

fn passed(wave: &Wave, job: &JobProgress) -> bool {
    job.status != JobStatus::Canceled
        && job.count(ExecutionStatus::Succeeded) * 100 >= wave.gate.succeeded_percent * job.total()
}
