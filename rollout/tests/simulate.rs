//! Simulations: the whole story, the stop, and a million devices in seconds.

use sealift_rollout::observed::Outcome;
use sealift_rollout::plan::Plan;
use sealift_rollout::simulate::{Fleet, Prices, chart, simulate};

const PLAN: &str = r#"
product = "p"
version = "1.0.0"
[[wave]]
name = "canary"
percent = 1
rate = 100
gate = { success-ratio = 0.9, min-finished = 50, soak = "12h" }
[[wave]]
name = "early"
percent = 10
rate = 500
gate = { success-ratio = 0.9, min-finished = 500, soak = "24h" }
[[wave]]
name = "half"
percent = 50
rate = { base = 100, factor = 2.0, succeeded = 1000, max = 1000 }
gate = { success-ratio = 0.9, min-finished = 1000, soak = "24h" }
[[wave]]
name = "all"
percent = 100
rate = 1000
"#;

#[test]
fn a_good_release_reaches_everybody_who_lives() {
    let plan = Plan::from_toml(PLAN).unwrap();
    let fleet = Fleet { dead_share: 0.0, failure_share: 0.0, ..Fleet::default() };
    let story = simulate(&plan, &fleet, &Prices::default(), 0, 30).unwrap();
    assert_eq!(story.outcome, Some(Outcome::Completed));
    assert_eq!(story.updated, 10_000);
    assert!(story.bytes < story.bytes_without_deltas / 3);
    let picture = chart(&story, "p 1.0.0 <all>");
    assert!(picture.contains("p 1.0.0 &lt;all&gt;") && picture.ends_with("</svg>\n"));
}

#[test]
fn a_bad_release_is_stopped_in_its_first_wave() {
    let plan = Plan::from_toml(PLAN).unwrap();
    let fleet = Fleet { failure_share: 0.3, ..Fleet::default() };
    let story = simulate(&plan, &fleet, &Prices::default(), 0, 30).unwrap();
    assert!(matches!(story.outcome, Some(Outcome::Aborted { wave: 0, .. })), "{:?}", story.events);
    assert!(story.exposed <= 100, "one percent of the fleet at the most: {}", story.exposed);
    assert_eq!(story.waves[1].started, None);
}

#[test]
fn one_seed_tells_one_story() {
    let plan = Plan::from_toml(PLAN).unwrap();
    let tell = |seed| {
        let story = simulate(&plan, &Fleet { seed, ..Fleet::default() }, &Prices::default(), 0, 10).unwrap();
        serde_json::to_string(&story).unwrap()
    };
    assert_eq!(tell(1), tell(1));
    assert_ne!(tell(1), tell(2));
}

#[test]
fn every_device_is_in_one_state_at_every_hour() {
    let plan = Plan::from_toml(PLAN).unwrap();
    let fleet = Fleet { failure_share: 0.02, rejection_share: 0.01, lost_share: 0.01, ..Fleet::default() };
    let story = simulate(&plan, &fleet, &Prices::default(), 0, 14).unwrap();
    for point in &story.timeline {
        let counts = point.counts;
        let told: u64 = story
            .waves
            .iter()
            .filter(|wave| wave.started.is_some_and(|at| at < point.minute))
            .map(|wave| wave.devices)
            .sum();
        assert_eq!(counts.open() + counts.finished() + counts.cancelled, told, "at minute {}", point.minute);
    }
}

#[test]
fn an_impossible_fleet_is_refused_by_its_field() {
    let plan = Plan::from_toml(PLAN).unwrap();
    let fleet = Fleet { online_share: 1.5, ..Fleet::default() };
    let error = simulate(&plan, &fleet, &Prices::default(), 0, 1).unwrap_err();
    assert_eq!(error.to_string(), "`online-share` of the fleet is 1.5: a share is from 0 to 1");
}

/// `cargo test --release -p sealift-rollout --test simulate -- --nocapture million` prints the time.
#[test]
fn a_million_devices_in_four_waves_over_fourteen_days_take_seconds() {
    let plan = Plan::from_toml(PLAN).unwrap();
    let fleet = Fleet { devices: 1_000_000, ..Fleet::default() };
    let start = std::time::Instant::now();
    let story = simulate(&plan, &fleet, &Prices::default(), 0, 14).unwrap();
    println!("1,000,000 devices, 14 days: {:.2} s, {} updated", start.elapsed().as_secs_f64(), story.updated);
    assert!(story.updated > 900_000, "{}", story.updated);
    assert!(start.elapsed().as_secs() < 10);
}

#[test]
fn a_fleet_is_learned_from_what_former_rollouts_saw_and_the_rest_is_left_as_given() {
    use sealift_jobs::ExecutionStatus::{Canceled, Failed, Queued, Rejected, Succeeded, TimedOut};
    use sealift_rollout::simulate::{Seen, learn};
    let week = 7 * 24 * 3_600;
    let told = |status, wait: Option<u64>, took| Seen {
        status,
        proven: true,
        queued_at: 1_000,
        started_at: wait.map(|wait| 1_000 + wait),
        updated_at: 1_000 + wait.unwrap_or(0) + took,
    };
    let mut seen = vec![told(Succeeded, Some(10), 240); 70];
    seen.extend([told(Succeeded, Some(7_200), 240); 10]);
    seen.extend([Seen { proven: false, ..told(Succeeded, Some(10), 240) }; 10]);
    seen.extend([told(Failed, Some(10), 60); 5]);
    seen.extend([told(Rejected, Some(10), 60); 3]);
    seen.extend([told(TimedOut, Some(10), 7_200); 2]);
    seen.extend([told(Queued, None, 0); 25]);
    seen.extend([told(Canceled, None, 0); 40]);
    let given = Fleet { delta_share: 0.3, ..Fleet::default() };

    let learned = learn(&seen, given.clone(), 1_000 + week).fleet;
    assert_eq!((learned.failure_share, learned.rejection_share, learned.lost_share), (0.05, 0.03, 0.02));
    assert_eq!((learned.unproven_share, learned.dead_share), (10.0 / 90.0, 0.2));
    assert_eq!((learned.online_share, learned.offline_minutes), (0.9, 120.0));
    assert!((3.9..=4.0).contains(&learned.install_minutes), "{}", learned.install_minutes);
    assert_eq!((learned.delta_share, learned.bytes_per_second), (0.3, given.bytes_per_second));
    learned.check().unwrap();

    // Told an hour ago: not dead, only not there yet.
    assert_eq!(learn(&seen, given.clone(), 1_000 + 3_600).fleet.dead_share, 0.0);
    // Nothing seen, nothing learned; nobody ever prompt, and still a fleet that can be.
    assert_eq!(learn(&[], given.clone(), 0).fleet, given);
    learn(&[told(Succeeded, Some(7_200), 240)], given, 0).fleet.check().unwrap();
}
