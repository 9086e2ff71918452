//! `decide(plan, observed, now) -> actions`: the whole policy of a rollout in one pure function.
//!
//! It is idempotent: asked again before its actions took effect it gives the same ones, and asked after they did it gives
//! the next. So a reconciler may die between any two calls, run twice, or run in two places at once.

use crate::observed::{JobObserved, Observed, Outcome, Standing, WaveObserved};
use crate::plan::{Abort, FailureType, Gate, Plan, Wave};

/// What a reconciler is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create the job of a wave's attempt, under the plan's deterministic id. One that exists already is fine.
    CreateJob {
        /// The wave.
        wave: usize,
        /// The attempt.
        attempt: u32,
    },
    /// Cancel the job of a wave: devices that have not started are taken out, those that have go on.
    CancelJob {
        /// The wave.
        wave: usize,
    },
    /// Record since when a wave's gate holds; `None` when it does not (any more).
    RecordGate {
        /// The wave.
        wave: usize,
        /// Seconds since 1970-01-01T00:00:00Z.
        since: Option<u64>,
    },
    /// Record that the rollout is over.
    End(Outcome),
    /// Nothing before this time unless something happens: seconds since 1970-01-01T00:00:00Z.
    WaitUntil(u64),
    /// Nothing until somebody approves the step from this wave to the next.
    AwaitApproval {
        /// The wave that is done.
        wave: usize,
    },
}

/// What to do now. An empty answer means: look again when something has changed.
pub fn decide(plan: &Plan, observed: &Observed, now: u64) -> Vec<Action> {
    let seen = |wave: usize| observed.waves.get(wave).cloned().unwrap_or_default();
    match &observed.standing {
        Standing::Ended(Outcome::Completed) => vec![],
        Standing::Ended(_) | Standing::Paused => cancel_running(plan, observed),
        Standing::Running => {
            if plan.is_held(now) {
                let waiting = |wave: &usize| {
                    let state = seen(*wave);
                    state.job == JobObserved::InProgress && state.counts.queued > 0
                };
                let held: Vec<Action> =
                    (0..plan.waves.len()).filter(waiting).map(|wave| Action::CancelJob { wave }).collect();
                if !held.is_empty() {
                    return held;
                }
            }
            for (index, wave) in plan.waves.iter().enumerate() {
                let state = seen(index);
                if state.job == JobObserved::CancelledElsewhere {
                    return end(plan, observed, Outcome::CancelledElsewhere { wave: index });
                }
                if let Some(reason) = abort_reason(wave, &state) {
                    return end(plan, observed, Outcome::Aborted { wave: index, reason });
                }
                let last = index + 1 == plan.waves.len();
                match state.job {
                    // Somebody may have claimed an attempt and died before making its job.
                    JobObserved::Absent => return create(plan, index, state.attempt, now),
                    // A pause took devices out: the next attempt brings them back.
                    JobObserved::Cancelled => return create(plan, index, state.attempt + 1, now),
                    JobObserved::InProgress | JobObserved::Completed => {}
                    JobObserved::CancelledElsewhere => {}
                }
                if last {
                    return match state.job {
                        JobObserved::Completed => vec![Action::End(Outcome::Completed)],
                        _ => vec![],
                    };
                }
                // A gate is passed once: what happens in its wave later is the thresholds' matter.
                if seen(index + 1).job != JobObserved::Absent {
                    continue;
                }
                match pass_gate(index, &wave.gate, &state, now) {
                    Ok(()) => {}
                    Err(actions) => return actions,
                }
            }
            vec![]
        }
    }
}

/// The next wave may start: `Ok`; else what there is to do about it.
fn pass_gate(index: usize, gate: &Gate, state: &WaveObserved, now: u64) -> Result<(), Vec<Action>> {
    let finished = state.counts.finished();
    let ratio_holds = finished == 0 || state.counts.proven as f64 >= gate.success_ratio * finished as f64;
    // A wave that turned out smaller than the gate's number is full when it is over.
    let enough = finished >= gate.min_finished || (state.job == JobObserved::Completed && state.counts.open() == 0);
    if !(ratio_holds && enough) {
        return Err(match state.gate_held_since {
            Some(_) => vec![Action::RecordGate { wave: index, since: None }],
            None => vec![],
        });
    }
    let Some(since) = state.gate_held_since else {
        return Err(vec![Action::RecordGate { wave: index, since: Some(now) }]);
    };
    let over = since.saturating_add(gate.soak.seconds);
    if now < over {
        return Err(vec![Action::WaitUntil(over)]);
    }
    if gate.approval && !state.approved { Err(vec![Action::AwaitApproval { wave: index }]) } else { Ok(()) }
}

fn create(plan: &Plan, wave: usize, attempt: u32, now: u64) -> Vec<Action> {
    let start = plan.start.map_or(0, |start| u64::try_from(start.as_second()).unwrap_or(0));
    let opens = plan.window.and_then(|window| window.opens_in(now.max(start))).unwrap_or(0);
    match now.max(start).saturating_add(opens) {
        at if at > now => vec![Action::WaitUntil(at)],
        _ => vec![Action::CreateJob { wave, attempt }],
    }
}

fn cancel_running(plan: &Plan, observed: &Observed) -> Vec<Action> {
    let running = |wave: &usize| observed.waves.get(*wave).is_some_and(|wave| wave.job == JobObserved::InProgress);
    (0..plan.waves.len()).filter(running).map(|wave| Action::CancelJob { wave }).collect()
}

/// The end is recorded first: a reconciler that dies in between goes on cancelling.
fn end(plan: &Plan, observed: &Observed, outcome: Outcome) -> Vec<Action> {
    [Action::End(outcome)].into_iter().chain(cancel_running(plan, observed)).collect()
}

/// The threshold that a wave has reached, in words.
fn abort_reason(wave: &Wave, state: &WaveObserved) -> Option<String> {
    wave.abort.iter().find_map(|abort| {
        let counts = &state.counts;
        let (finished, ended) = (counts.finished(), failures(abort, state));
        let reached = finished >= abort.min_finished && ended as f64 * 100.0 >= abort.percent * finished as f64;
        (reached && ended > 0).then(|| {
            let what = match abort.on {
                FailureType::Failed => "failed",
                FailureType::Rejected => "refused",
                FailureType::TimedOut => "were not heard of again",
                FailureType::All => "failed, refused or were not heard of again",
            };
            format!("{ended} of {finished} devices {what}; the threshold is {} %", abort.percent)
        })
    })
}

fn failures(abort: &Abort, state: &WaveObserved) -> u64 {
    let counts = &state.counts;
    match abort.on {
        FailureType::Failed => counts.failed,
        FailureType::Rejected => counts.rejected,
        FailureType::TimedOut => counts.timed_out,
        FailureType::All => counts.failed + counts.rejected + counts.timed_out,
    }
}
