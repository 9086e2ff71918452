//! The clock: it never goes back, it is the same throughout, and it may be unknown.

use sealift_tuf::{Clock, Error};
use sealift_verifier::trust::Policy;
use serde_json::json;

use crate::bench::{Bench, code};
use crate::repo::{NOW, PAST, Repo};

const DAY: u64 = 86_400;

#[test]
fn a_clock_that_goes_back_is_refused_and_nothing_is_asked_for() {
    let mut bench = Bench::new(Repo::new());
    bench.config.clock = Clock::At(NOW + 30 * DAY);
    bench.refresh().unwrap();
    bench.server.requests();
    for back in [1970 * 365, 29 * DAY, NOW] {
        bench.config.clock = Clock::At(NOW + 30 * DAY - back);
        let error = bench.refresh().unwrap_err();
        assert!(matches!(error, Error::ClockWentBack { .. }), "{error}");
        assert!(error.to_string().contains("latest-time"), "{error}");
    }
    assert_eq!(bench.server.requests().len(), 0);
    bench.config.clock = Clock::At(NOW + 30 * DAY);
    bench.refresh().unwrap();
}

#[test]
fn what_was_expired_once_stays_expired() {
    let mut bench = Bench::new(Repo::new());
    bench.repo.role("timestamp")["expires"] = json!("2026-01-01T00:00:10Z");
    bench.repo.publish(&["timestamp"]);
    bench.refresh().unwrap();
    bench.config.clock = Clock::At(NOW + 20);
    assert_eq!(bench.refusal(), 403);
    // A step back that time synchronisation makes is allowed, but the later time holds.
    bench.config.clock = Clock::At(NOW);
    assert_eq!(bench.refusal(), 403);
}

#[test]
fn an_unknown_time_expires_nothing_and_versions_still_protect() {
    let mut bench = Bench::new(Repo::new());
    bench.config.clock = Clock::Unknown;
    let old = bench.repo.files.file("metadata/timestamp.json").unwrap();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        bench.repo.role(role)["expires"] = json!(PAST);
    }
    bench.repo.publish(&["root"]);
    bench.repo.publish_all();
    bench.refresh().unwrap();
    bench.repo.files.put("metadata/timestamp.json", &old);
    assert_eq!(bench.refusal(), 401);

    bench.config.policy = Policy::production().with_clock_required();
    assert_eq!(code(&bench.refresh().unwrap_err()), 405);
}
