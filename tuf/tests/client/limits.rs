//! What a hostile or broken server can make the client do.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::bench::Bench;
use crate::repo::Repo;
use crate::server::Manner;

#[test]
fn endless_data_stops_at_the_cap_of_each_file() {
    let mut repo = Repo::new();
    repo.pinned = false;
    repo.delegate("targets", "app", json!({"paths": ["*"]}));
    repo.publish(&["root"]);
    repo.publish_all();
    for file in ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json", "1.app.json"] {
        let mut fresh = Repo::new();
        std::mem::swap(&mut fresh.files, &mut repo.files);
        let bench = Bench::new(fresh);
        let path = format!("metadata/{file}");
        bench.server.misbehave(&path, Manner::Endless);
        let error = bench.download("app").unwrap_err().to_string();
        assert!(error.contains(file) && error.contains("more than the"), "{error}");
        bench.server.misbehave(&path, Manner::Well);
        bench.refresh().unwrap();
        repo.files = bench.repo.files.clone();
    }
}

#[test]
fn a_stated_length_above_the_cap_is_not_asked_for() {
    for (by, role) in [("timestamp", "snapshot"), ("snapshot", "targets")] {
        let mut bench = Bench::new(Repo::new());
        bench.repo.publish(&["targets", "snapshot"]);
        bench.repo.role(by)["meta"][format!("{role}.json")]["length"] = json!(u64::MAX);
        bench.repo.publish(if by == "timestamp" { &["timestamp"] } else { &["snapshot", "timestamp"] });
        assert!(bench.refresh().unwrap_err().to_string().contains("more than the"), "{role}");
        assert!(!bench.server.requests().iter().any(|path| path.contains(role)), "{role}");
    }
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let bench = Bench::new(Repo::new());
    bench.server.misbehave("metadata/timestamp.json", Manner::Silence);
    let start = Instant::now();
    bench.refresh().unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn a_server_that_drips_is_left_though_it_never_stops() {
    let mut bench = Bench::new(Repo::new());
    bench.config.pace.grace = Duration::from_secs(1);
    bench.server.misbehave("metadata/timestamp.json", Manner::Drip(Duration::from_millis(100)));
    let start = Instant::now();
    let error = bench.refresh().unwrap_err().to_string();
    assert!(error.contains("slower than 256 bytes a second"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn pauses_shorter_than_the_limit_do_not_end_a_long_transfer() {
    // The limit is on each pause, not on the whole: 40 pauses of 100 ms are longer than the 1.5 s that one may take.
    let mut repo = Repo::new();
    repo.add_target("targets", "app", &[7; 40]);
    repo.publish_all();
    let bench = Bench::new(repo);
    let path = format!("targets/{}.app", crate::repo::sha256(&[7; 40]));
    bench.server.misbehave(&path, Manner::Drip(Duration::from_millis(100)));
    assert_eq!(bench.download("app").unwrap(), [7; 40]);
}

#[test]
fn a_failing_server_is_no_end_of_the_chain_of_roots() {
    let mut bench = Bench::new(Repo::new());
    bench.repo.publish(&["root"]);
    for status in [500, 503, 401, 429] {
        bench.server.misbehave("metadata/2.root.json", Manner::Status(status));
        let error = bench.refresh().unwrap_err().to_string();
        assert!(error.contains(&status.to_string()), "{error}");
    }
    assert_eq!((bench.kept("root"), bench.kept("timestamp")), (Some(1), None));
    // S3 says 403 for what is not there.
    bench.server.misbehave("metadata/2.root.json", Manner::Status(403));
    bench.refresh().unwrap();
    assert_eq!(bench.kept("root"), Some(1));
}
