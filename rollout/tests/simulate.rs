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
