//! The decision core: what it does, that it does it once, and that it stops.

use sealift_rollout::decide::{Action, decide};
use sealift_rollout::observed::{Counts, JobObserved, Observed, Outcome, Standing, WaveObserved};
use sealift_rollout::plan::Plan;

fn plan() -> Plan {
    Plan::from_toml(
        r#"
product = "p"
version = "1.0.0"
[[wave]]
name = "first"
percent = 10
gate = { success-ratio = 0.9, min-finished = 10, soak = "10m", approval = true }
abort = [{ on = "all", percent = 20.0, min-finished = 5 }]
[[wave]]
name = "rest"
percent = 100
"#,
    )
    .unwrap()
}

fn seen(waves: &[WaveObserved]) -> Observed {
    Observed { standing: Standing::Running, waves: waves.to_vec() }
}

fn running(counts: Counts) -> WaveObserved {
    WaveObserved { job: JobObserved::InProgress, counts, ..WaveObserved::default() }
}

#[test]
fn waves_follow_each_other_through_the_gate() {
    let plan = plan();
    let start = vec![Action::CreateJob { wave: 0, attempt: 0 }];
    assert_eq!(decide(&plan, &seen(&[]), 0), start);
    // Asked again before it took effect: the same.
    assert_eq!(decide(&plan, &seen(&[]), 1), start);
    let mut wave = running(Counts { queued: 90, proven: 9, ..Counts::default() });
    assert_eq!(decide(&plan, &seen(&[wave.clone()]), 5), vec![]);
    wave.counts.proven = 10;
    assert_eq!(decide(&plan, &seen(&[wave.clone()]), 5), vec![Action::RecordGate { wave: 0, since: Some(5) }]);
    wave.gate_held_since = Some(5);
    assert_eq!(decide(&plan, &seen(&[wave.clone()]), 6), vec![Action::WaitUntil(605)]);
    assert_eq!(decide(&plan, &seen(&[wave.clone()]), 605), vec![Action::AwaitApproval { wave: 0 }]);
    wave.approved = true;
    assert_eq!(decide(&plan, &seen(&[wave.clone()]), 605), vec![Action::CreateJob { wave: 1, attempt: 0 }]);
    wave.job = JobObserved::Completed;
    let last = WaveObserved { job: JobObserved::Completed, ..WaveObserved::default() };
    assert_eq!(decide(&plan, &seen(&[wave, last]), 700), vec![Action::End(Outcome::Completed)]);
}

#[test]
fn a_gate_that_no_longer_holds_starts_its_soak_anew() {
    let mut wave = running(Counts { queued: 1, proven: 88, failed: 12, ..Counts::default() });
    wave.gate_held_since = Some(5);
    assert_eq!(decide(&plan(), &seen(&[wave]), 10_000), vec![Action::RecordGate { wave: 0, since: None }]);
}

#[test]
fn a_gate_is_passed_once() {
    let wave = running(Counts { queued: 1, proven: 88, failed: 12, ..Counts::default() });
    let next = running(Counts { queued: 900, ..Counts::default() });
    assert_eq!(decide(&plan(), &seen(&[wave, next]), 10_000), vec![]);
}

#[test]
fn a_success_without_proof_does_not_open_the_gate() {
    let wave = running(Counts { proven: 5, unproven: 95, queued: 1, ..Counts::default() });
    assert_eq!(decide(&plan(), &seen(&[wave]), 0), vec![]);
}

#[test]
fn a_threshold_ends_it_and_the_end_is_recorded_before_jobs_are_cancelled() {
    let wave = running(Counts { queued: 50, proven: 4, rejected: 1, ..Counts::default() });
    let actions = decide(&plan(), &seen(std::slice::from_ref(&wave)), 0);
    let [Action::End(Outcome::Aborted { wave: 0, reason }), Action::CancelJob { wave: 0 }] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(reason, "1 of 5 devices failed, refused or were not heard of again; the threshold is 20 %");
    // A reconciler that died in between goes on cancelling, and then is done.
    let outcome = Outcome::Aborted { wave: 0, reason: reason.clone() };
    let mut ended = Observed { standing: Standing::Ended(outcome), waves: vec![wave] };
    assert_eq!(decide(&plan(), &ended, 1), vec![Action::CancelJob { wave: 0 }]);
    ended.waves[0].job = JobObserved::Cancelled;
    assert_eq!(decide(&plan(), &ended, 2), vec![]);
}

#[test]
fn an_early_failure_below_the_minimum_does_not_end_it() {
    let wave = running(Counts { queued: 50, failed: 4, ..Counts::default() });
    assert_eq!(decide(&plan(), &seen(&[wave]), 0), vec![]);
}

#[test]
fn a_pause_takes_out_who_has_not_started_and_a_resume_brings_them_back() {
    let plan = plan();
    let wave = running(Counts { queued: 50, in_progress: 3, ..Counts::default() });
    let mut observed = Observed { standing: Standing::Paused, waves: vec![wave] };
    assert_eq!(decide(&plan, &observed, 0), vec![Action::CancelJob { wave: 0 }]);
    observed.waves[0].job = JobObserved::Cancelled;
    assert_eq!(decide(&plan, &observed, 0), vec![]);
    observed.standing = Standing::Running;
    assert_eq!(decide(&plan, &observed, 0), vec![Action::CreateJob { wave: 0, attempt: 1 }]);
}

#[test]
fn a_job_cancelled_in_the_console_ends_the_rollout() {
    let wave = WaveObserved { job: JobObserved::CancelledElsewhere, ..WaveObserved::default() };
    assert_eq!(decide(&plan(), &seen(&[wave]), 0), vec![Action::End(Outcome::CancelledElsewhere { wave: 0 })]);
}

#[test]
fn jobs_are_made_inside_the_window_alone_also_across_midnight() {
    let mut plan = plan();
    plan.window = Some(toml::from_str("from = \"22:00:00\"\nto = \"04:00:00\"").unwrap());
    let hour = 3600;
    assert_eq!(decide(&plan, &seen(&[]), 12 * hour), vec![Action::WaitUntil(22 * hour)]);
    assert_eq!(decide(&plan, &seen(&[]), 23 * hour), vec![Action::CreateJob { wave: 0, attempt: 0 }]);
    assert_eq!(decide(&plan, &seen(&[]), 3 * hour), vec![Action::CreateJob { wave: 0, attempt: 0 }]);
    assert_eq!(decide(&plan, &seen(&[]), 4 * hour), vec![Action::WaitUntil(22 * hour)]);
    plan.start = Some(jiff::Timestamp::from_second(5 * 86_400).unwrap());
    assert_eq!(decide(&plan, &seen(&[]), 23 * hour), vec![Action::WaitUntil(5 * 86_400)]);
}

#[test]
fn a_window_that_holds_takes_out_who_waits_at_its_end_and_brings_them_back_at_its_next_begin() {
    let mut plan = plan();
    plan.window = Some(toml::from_str("from = \"22:00:00\"\nto = \"04:00:00\"\nhold = true").unwrap());
    let hour = 3600;
    let mut wave = running(Counts { queued: 5, in_progress: 1, ..Counts::default() });
    assert_eq!(decide(&plan, &seen(&[wave.clone()]), 3 * hour), vec![], "open: nothing to do");
    assert_eq!(decide(&plan, &seen(&[wave.clone()]), 4 * hour), vec![Action::CancelJob { wave: 0 }]);
    // Who is at it goes on, and nobody else waits: there is nothing to take out.
    let at_it = running(Counts { in_progress: 1, ..Counts::default() });
    assert_eq!(decide(&plan, &seen(&[at_it]), 4 * hour), vec![]);
    wave.job = JobObserved::Cancelled;
    assert_eq!(decide(&plan, &seen(&[wave.clone()]), 5 * hour), vec![Action::WaitUntil(22 * hour)]);
    assert_eq!(decide(&plan, &seen(&[wave]), 22 * hour), vec![Action::CreateJob { wave: 0, attempt: 1 }]);
}

#[test]
fn an_attempt_that_somebody_claimed_and_did_not_make_is_made_under_its_own_number() {
    let wave = WaveObserved { job: JobObserved::Absent, attempt: 2, ..WaveObserved::default() };
    assert_eq!(decide(&plan(), &seen(&[wave]), 0), vec![Action::CreateJob { wave: 0, attempt: 2 }]);
}
