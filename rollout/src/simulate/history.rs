//! The model of a fleet, learned from what former rollouts saw of the real one.

use sealift_jobs::ExecutionStatus;
use serde::Serialize;

use super::model::Fleet;

/// A device that starts within this time of being told was online.
const PROMPT_MINUTES: f64 = 5.0;
/// A device that was told so long ago and never started is taken for dead.
const DEAD_MINUTES: f64 = 7.0 * 24.0 * 60.0;

/// What became of one device in a former rollout. Times are in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// What its job says.
    pub status: ExecutionStatus,
    /// Whether its report proves it.
    pub proven: bool,
    /// When it was told.
    pub queued_at: u64,
    /// When it began.
    pub started_at: Option<u64>,
    /// When it was last heard of.
    pub updated_at: u64,
}

/// What was learned, and from how much.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Learned {
    /// The model: what could not be learned is as it was given.
    pub fleet: Fleet,
    /// Fields that were learned, each with the number of executions behind it.
    pub from: Vec<(&'static str, u64)>,
}

/// Learns from executions, as of `now`; what they say nothing of is taken from `given`. Of a device that tried several times
/// the last try alone is seen, so that passing failures are underestimated where a plan retries them.
pub fn learn(seen: &[Seen], given: Fleet, now: u64) -> Learned {
    let mut learned = Learned { fleet: given, from: Vec::new() };
    let count = |wanted: &dyn Fn(&Seen) -> bool| seen.iter().filter(|one| wanted(one)).count() as u64;
    let is = |status| move |one: &Seen| one.status == status;
    let succeeded = count(&is(ExecutionStatus::Succeeded));
    let failed = count(&is(ExecutionStatus::Failed));
    let rejected = count(&is(ExecutionStatus::Rejected));
    let lost = count(&is(ExecutionStatus::TimedOut));
    let attempts = succeeded + failed + rejected + lost;
    let unproven = count(&|one| one.status == ExecutionStatus::Succeeded && !one.proven);
    let open = |one: &Seen| one.started_at.is_none() && one.status == ExecutionStatus::Queued;
    let silent = count(&|one| open(one) && minutes(one.queued_at, now) >= DEAD_MINUTES);

    // When they began: whoever did so at once was online.
    let waits: Vec<f64> = seen.iter().filter_map(|one| Some(minutes(one.queued_at, one.started_at?))).collect();
    let late: Vec<f64> = waits.iter().copied().filter(|wait| *wait > PROMPT_MINUTES).collect();
    let mut works: Vec<f64> = seen
        .iter()
        .filter(|one| one.status == ExecutionStatus::Succeeded)
        .filter_map(|one| Some(minutes(one.started_at?, one.updated_at)))
        .collect();

    let Learned { fleet, from } = &mut learned;
    let mut share = |field: &mut f64, name, part: u64, whole: u64| {
        if whole > 0 {
            *field = part as f64 / whole as f64;
            from.push((name, whole));
        }
    };
    share(&mut fleet.failure_share, "failure-share", failed, attempts);
    share(&mut fleet.rejection_share, "rejection-share", rejected, attempts);
    share(&mut fleet.lost_share, "lost-share", lost, attempts);
    share(&mut fleet.unproven_share, "unproven-share", unproven, succeeded);
    let reached = waits.len() as u64;
    share(&mut fleet.dead_share, "dead-share", silent, reached + silent);
    // A fleet that is never online can't be; one device in a thousand is as little as this can tell.
    share(&mut fleet.online_share, "online-share", (reached - late.len() as u64).max(reached / 1_000), reached);
    fleet.online_share = fleet.online_share.max(0.001);
    if !late.is_empty() {
        fleet.offline_minutes = late.iter().sum::<f64>() / late.len() as f64;
        from.push(("offline-minutes", late.len() as u64));
    }
    works.sort_by(f64::total_cmp);
    if let Some(median) = works.get(works.len() / 2) {
        // What was seen has the download in it; the model adds that by itself.
        let download = fleet.delta_bytes as f64 / fleet.bytes_per_second / 60.0;
        fleet.install_minutes = (median - download).max(0.0);
        from.push(("install-minutes", works.len() as u64));
    }
    learned
}

fn minutes(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 60.0
}
