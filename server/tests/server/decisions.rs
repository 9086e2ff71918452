//! The decision core, as pure as it is.

use std::collections::BTreeMap;

use sealift_jobs::{Digest, ExecutionStatus, JobStatus};
use sealift_server::intake::chain::ListedTarget;
use sealift_server::rollout::decide::{Action, Observed, State, decide, state};
use sealift_server::rollout::plan::{Gate, Plan, Wave, derived_name};
use sealift_server::service::JobProgress;

fn plan(gates: &[u64]) -> Plan {
    let waves = gates
        .iter()
        .map(|percent| Wave {
            groups: ["g".parse().unwrap()].into(),
            things: [].into(),
            gate: Gate { succeeded_percent: *percent },
        })
        .collect();
    Plan { rollout: "r".into(), repository: "00".into(), target: target(), waves, timeout_minutes: None, retries: 0 }
}

fn target() -> ListedTarget {
    ListedTarget {
        digest: Digest([1; 32]),
        product: "thermostat".into(),
        component: "main".into(),
        hardware: vec![],
        version: "1.0.0".into(),
        security_counter: 1,
        image: Digest([2; 32]),
        image_length: 1,
        payloads: vec![],
        role: None,
    }
}

fn job(status: JobStatus, counts: &[(ExecutionStatus, u64)]) -> Option<JobProgress> {
    let counts: BTreeMap<_, _> = counts.iter().copied().collect();
    Some(JobProgress { id: "sl-r-w1".parse().unwrap(), status, counts, created_at: 0, comment: None })
}

fn seen(jobs: &[Option<JobProgress>]) -> Observed {
    Observed { cancelled: false, jobs: jobs.to_vec() }
}

use ExecutionStatus::{Failed, InProgress, Queued, Succeeded};

#[test]
fn waves_begin_one_after_another_as_their_gates_pass() {
    let plan = plan(&[50, 100, 100]);
    assert_eq!(decide(&plan, &seen(&[None, None, None]), 0), [Action::Create(0)]);
    let open = job(JobStatus::InProgress, &[(Queued, 3), (Succeeded, 1)]);
    assert_eq!(decide(&plan, &seen(&[open.clone(), None, None]), 0), []);
    let half = job(JobStatus::InProgress, &[(InProgress, 2), (Succeeded, 2)]);
    assert_eq!(decide(&plan, &seen(&[half.clone(), None, None]), 0), [Action::Create(1)]);
    assert_eq!(decide(&plan, &seen(&[half, open, None]), 0), []);
}

#[test]
fn a_gate_that_was_missed_stops_the_rollout_and_the_last_wave_just_ends_it() {
    let plan = plan(&[100, 100]);
    let missed = job(JobStatus::Completed, &[(Failed, 1), (Succeeded, 9)]);
    let observed = seen(&[missed.clone(), None]);
    assert_eq!(decide(&plan, &observed, 0), []);
    let passed = job(JobStatus::Completed, &[(Succeeded, 10)]);
    assert_eq!(state(&plan, &seen(&[passed.clone(), missed])), State::Completed);
    assert_eq!(state(&plan, &seen(&[passed, None])), State::Running);
}

#[test]
fn a_cancelled_rollout_cancels_what_is_open_and_begins_nothing() {
    let plan = plan(&[0, 100]);
    let open = job(JobStatus::InProgress, &[(Queued, 3)]);
    let over = job(JobStatus::Canceled, &[]);
    for (jobs, expected) in [
        (vec![None, None], vec![]),
        (vec![open.clone(), None], vec![Action::Cancel(0)]),
        (vec![open.clone(), open.clone()], vec![Action::Cancel(0), Action::Cancel(1)]),
        (vec![over.clone(), open], vec![Action::Cancel(1)]),
        (vec![over.clone(), over.clone()], vec![]),
    ] {
        assert_eq!(decide(&plan, &Observed { cancelled: true, jobs }, 0), expected);
    }
    // Cancelled behind our back: the next wave doesn't begin.
    assert_eq!(decide(&plan, &seen(&[over.clone(), None]), 0), []);
    assert_eq!(state(&plan, &seen(&[over, None])), State::Stopped);
}

#[test]
fn the_same_wish_has_the_same_name_and_another_wish_another() {
    let waves = |groups: &[&str]| {
        vec![Wave {
            groups: groups.iter().map(|g| g.parse().unwrap()).collect(),
            things: [].into(),
            gate: Gate::default(),
        }]
    };
    let name = derived_name("00", &target(), &waves(&["a", "b"]));
    assert_eq!(name, derived_name("00", &target(), &waves(&["b", "a"])));
    for other in [
        derived_name("01", &target(), &waves(&["a", "b"])),
        derived_name("00", &target(), &waves(&["ab"])),
        derived_name("00", &ListedTarget { digest: Digest([9; 32]), ..target() }, &waves(&["a", "b"])),
    ] {
        assert_ne!(name, other);
    }
    assert!(name.starts_with("thermostat-1-0-0-"));
    let long = ListedTarget { product: "p".repeat(64), version: "4294967295.4294967295.4294967295".into(), ..target() };
    let plan = Plan { rollout: derived_name("00", &long, &waves(&["a"])), ..plan(&[100]) };
    assert!(plan.job(0).is_ok());
}
