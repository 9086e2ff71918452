//! How the agent behaves towards the jobs data plane.

use crate::server::Reply;
use crate::world::*;

#[test]
fn a_job_that_is_cancelled_in_mid_run_is_left_alone() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    world.server.lock().refuse_updates = vec![(409, "InvalidStateTransitionException")];
    let done = world.once(&[]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.event("over").is_some());
    assert!(world.server.requests("/payloads/").is_empty());
    assert_eq!(world.version(), "1.0.0");
    assert!(!exists(&world.state().join("job.json")));
}

#[test]
fn a_version_that_somebody_else_raised_is_looked_up_and_the_report_repeated() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    world.server.lock().refuse_updates = vec![(409, "VersionMismatchException")];
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
}

#[test]
fn an_outcome_that_could_not_be_sent_is_sent_by_the_next_run_and_not_worked_out_again() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    // Two steps are told; then the server fails.
    world.server.lock().refuse_updates = vec![(503, "ServiceUnavailableException"); 8];
    assert_eq!(world.once(&[]).code, 1);
    assert_eq!(world.version(), "1.1.0");
    world.server.lock().refuse_updates.clear();
    let payloads = world.server.requests("/payloads/").len();
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    assert_eq!(world.server.requests("/payloads/").len(), payloads);
}

#[test]
fn a_job_for_what_runs_already_succeeds_at_once() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    assert_eq!(world.once(&[]).code, 0);
    let payloads = world.server.requests("/payloads/").len();
    world.queue(Some(&world.fleet.files().bundle()));
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    assert_eq!(world.server.requests("/payloads/").len(), payloads);
}

#[test]
fn a_failed_download_goes_on_in_the_next_execution_where_it_stood() {
    let world = World::new();
    let image = world.fleet.targets[0].image.clone();
    world.server.put(world.payload_path(), Reply::CutAfter(image.clone(), 600_000));
    world.queue(Some(&world.fleet.files().bundle()));
    world.server.lock().job.as_mut().unwrap().retries = 1;
    assert_eq!(world.once(&["--attempts", "1"]).code, 1);
    world.server.put(world.payload_path(), Reply::File(image));
    world.server.lock().seen.clear();
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    let first = world.server.requests("/payloads/").remove(0).range.unwrap();
    let from: u32 = first.trim_start_matches("bytes=").split('-').next().unwrap().parse().unwrap();
    assert!(from >= 512 * 1024, "{first}");
}

#[test]
fn the_daemon_asks_again_and_again() {
    let world = World::new();
    let mut child = world.command(&["run", "--poll", "1"]).spawn().unwrap();
    let wait = |what: &dyn Fn() -> bool| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !what() {
            assert!(std::time::Instant::now() < deadline, "not within a minute");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    wait(&|| world.server.requests("/things/thing-1/jobs/$next").len() > 1);
    world.queue(Some(&world.fleet.files().bundle()));
    wait(&|| world.server.outcome().0 == "SUCCEEDED");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(world.version(), "1.1.0");
}
