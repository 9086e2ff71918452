//! Whole updates: the power is cut at every write and erase of each scenario, then at pairs of them.
//!
//! After each cut, at every later boot: the old or the new image runs, whole; nothing else ever does; no floor falls; and the
//! update then completes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::counts::Counts;
use crate::device::{Device, Ended};
use crate::flash::{Fault, Torn};
use crate::scenario::{NEW, Scenario};

/// Runs each plan of faults on a copy of `device`, on every core.
fn run_all<const W: usize, const E: usize>(scenario: &Scenario, plans: &[Vec<(u64, Fault)>]) {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let lives = lives::<W, E>(scenario);
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let mut device = before(&lives, plan).copy();
                    device.flash.borrow_mut().plan(plan);
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| device.live_on(scenario)));
                    assert!(outcome.is_ok(), "{}, words of {W}, sectors of {E}: {plan:?}", scenario.name);
                }
            });
        }
    });
}

/// The device at the start of each life of a run without faults. A plan begins in the life of its first fault: until then it
/// would only repeat what this run did.
fn lives<const W: usize, const E: usize>(scenario: &Scenario) -> Vec<Device<W, E>> {
    let mut device = prepare::<W, E>(scenario);
    let mut lives = vec![device.copy()];
    while device.live(scenario).expect("nothing fails without a fault") != Ended::Done {
        lives.push(device.copy());
    }
    lives
}

fn before<'d, const W: usize, const E: usize>(lives: &'d [Device<W, E>], plan: &[(u64, Fault)]) -> &'d Device<W, E> {
    let first = plan.first().map_or(0, |(at, _)| *at);
    let begun = |device: &&Device<W, E>| device.flash.borrow().operations() <= first;
    lives.iter().rev().find(begun).unwrap_or(&lives[0])
}

/// A device at the scenario's beginning.
fn prepare<const W: usize, const E: usize>(scenario: &Scenario) -> Device<W, E> {
    let mut device = Device::<W, E>::factory(scenario);
    for _ in 0..scenario.lives_before {
        device.live(scenario).expect("nothing fails yet");
    }
    device
}

/// Every operation of the scenario in each way of tearing it, cut and failing; then pairs. One of `stride` is taken.
fn cut_everywhere<const W: usize, const E: usize>(
    scenario: &Scenario,
    singles: usize,
    pairs: usize,
    counts: &mut Counts,
) {
    let mut device = prepare::<W, E>(scenario);
    let from = device.flash.borrow().operations();
    device.live_on(scenario);
    let to = device.flash.borrow().operations();
    let mut plans = Vec::new();
    let all = (from..to).flat_map(|at| Torn::ALL.map(|torn| (at, torn)));
    for (at, torn) in all.step_by(singles) {
        plans.push(vec![(at, Fault::Cut(torn))]);
        counts.cuts += 1;
        if torn != Torn::Whole {
            plans.push(vec![(at, Fault::Fails(torn))]);
            counts.failures += 1;
        }
    }
    if pairs > 0 {
        let all = (from..to).flat_map(|first| (first + 1..to + 40).map(move |second| (first, second)));
        for (index, (first, second)) in all.step_by(pairs).enumerate() {
            let [a, b] = [Torn::ALL[index % 4], Torn::ALL[index / 4 % 4]];
            plans.push(vec![(first, Fault::Cut(a)), (second, Fault::Cut(b))]);
            counts.cuts += 2;
        }
    }
    run_all::<W, E>(scenario, &plans);
}

fn scenarios(length: usize) -> Vec<Scenario> {
    vec![
        Scenario::full(length),
        Scenario::delta(),
        Scenario::resume(length),
        Scenario::delta_resumed(),
        Scenario::frame_resumed(),
        Scenario::confirm(length),
        Scenario::revert(length),
        Scenario::root_rotation(length),
        Scenario::journal_wrap(),
    ]
}

#[test]
fn every_scenario_survives_a_cut_at_any_write_and_any_erase_and_at_pairs() {
    let long = Counts::is_long();
    let mut sum = Counts::begin("updates in all");
    for scenario in scenarios(2_500) {
        let mut counts = Counts::begin(scenario.name);
        if long {
            cut_everywhere::<4, 4096>(&scenario, 5, 0, &mut counts);
            cut_everywhere::<8, 1024>(&scenario, 2, 0, &mut counts);
            cut_everywhere::<16, 2048>(&scenario, 1, 0, &mut counts);
            cut_everywhere::<32, 4096>(&scenario, 1, 37, &mut counts);
            cut_everywhere::<32, 256>(&scenario, 1, 0, &mut counts);
            cut_everywhere::<32, { 128 * 1024 }>(&scenario, 9, 0, &mut counts);
            cut_everywhere::<1, 256>(&scenario, 97, 0, &mut counts);
        } else {
            cut_everywhere::<32, 4096>(&scenario, 23, 20_011, &mut counts);
            cut_everywhere::<8, 1024>(&scenario, 211, 0, &mut counts);
            cut_everywhere::<1, 256>(&scenario, 4_001, 0, &mut counts);
        }
        sum.cuts += counts.cuts;
        sum.failures += counts.failures;
        counts.end();
    }
    if long {
        assert!(sum.cuts >= 250_000, "{} cuts are too few", sum.cuts);
    }
    sum.end();
}

#[test]
fn the_log_wraps_in_the_scenario_of_that_name() {
    let erasures = |scenario: &Scenario| {
        let mut device = Device::<32, 4096>::factory(scenario);
        device.live_on(scenario);
        device.flash.borrow().erased[Device::<32, 4096>::SLOTS / 4096]
    };
    let full = erasures(&Scenario::full(2_500));
    // The factory, the session that installs, and the trial's boot.
    assert_eq!(full, 3);
    assert_eq!(erasures(&Scenario::journal_wrap()), full + 1);
}

#[test]
fn a_rotten_bit_anywhere_leaves_an_image_that_boots() {
    let mut counts = Counts::begin("whole device, rotten bits");
    let scenario = Scenario::same_counter(2_500);
    let mut device = Device::<8, 1024>::factory(&scenario);
    device.live_on(&scenario);
    let length = device.flash.borrow().bytes().len();
    let (mut new, mut old) = (0, 0);
    for at in (0..length).step_by(if Counts::is_long() { 1 } else { 13 }) {
        let version =
            device.boots_after(|flash| flash.rot(at, at as u8)).unwrap_or_else(|why| panic!("byte {at}: {why}"));
        *(if version == NEW { &mut new } else { &mut old }) += 1;
        counts.rotten += 1;
    }
    // Rot in the new image makes the device fall back; rot elsewhere changes nothing.
    assert!(new > 0 && old > 0);
    counts.end();
}

#[test]
fn with_both_images_rotten_nothing_runs() {
    let scenario = Scenario::same_counter(2_500);
    let mut device = Device::<8, 1024>::factory(&scenario);
    device.live_on(&scenario);
    let slot = Device::<8, 1024>::SLOTS / 2;
    let booted = device.boots_after(|flash| {
        flash.rot(100, 3);
        flash.rot(slot + 100, 3);
    });
    assert_eq!(booted, Err(sealift_verifier::Error::NothingBootable));
}
