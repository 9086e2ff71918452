//! What the device's owner has a say in: when, and whether.

use serde_json::Value;

use crate::world::*;

fn owner(world: &World, toml: &str) {
    std::fs::write(world.state().join("agent.toml"), toml).unwrap();
}

/// The last details that the server was told.
fn told(world: &World) -> Value {
    world.server.lock().updates.last().map(|(_, details)| details.clone()).unwrap_or_default()
}

/// A window that opens in twelve hours, whatever time it is.
fn far_window() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let hour = (now / 3600 + 12) % 24;
    format!("[maintenance]\nwindows = [\"{hour:02}:00-{hour:02}:30\"]\n")
}

#[test]
fn outside_its_maintenance_window_a_device_fetches_waits_says_so_and_goes_on_when_it_opens() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    owner(&world, &far_window());
    let done = world.once(&[]);
    assert_eq!((done.code, done.last()["event"].as_str()), (0, Some("waiting")), "{done:?}");
    let details = told(&world);
    assert_eq!(details["step"], "waiting");
    assert!(details["waitingFor"].as_str().unwrap().contains("maintenance window that opens at 20"), "{details}");
    assert_eq!(world.server.lock().job.as_ref().unwrap().status, "IN_PROGRESS");
    assert_eq!(world.version(), "1.0.0");
    let fetched = world.server.lock().sent;
    assert!(fetched >= 700_000, "the payload came before the window: {fetched}");
    // It opens: the same job goes on, and what was fetched isn't fetched again.
    owner(&world, "[maintenance]\nwindows = [\"00:00-24:00\"]\n");
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    assert!(world.server.lock().sent < fetched + 300_000, "{} after {fetched}", world.server.lock().sent);
}

#[test]
fn where_downloads_belong_to_the_window_too_not_a_byte_comes_outside_of_it() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    owner(&world, &format!("{}download_inside = true\n", far_window()));
    assert_eq!(world.once(&[]).last()["event"], "waiting");
    assert!(world.server.requests("/payloads/").is_empty());
}

#[test]
fn a_running_agent_that_waits_hears_that_its_job_was_cancelled() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    // Asked every second; "metadata" and the first word on waiting pass, then the server has ended the job.
    owner(&world, "[consent]\ncommand = \"exit 75\"\nask_every = 1\n");
    let mut child = world.command(&["run", "--poll", "1"]).spawn().unwrap();
    wait(&|| told(&world)["step"] == "waiting");
    world.server.lock().refuse_updates = vec![(409, "InvalidStateTransitionException")];
    wait(&|| !exists(&world.state().join("job.json")));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(world.version(), "1.0.0");
}

#[test]
fn not_now_is_asked_again_and_overruled_after_its_bound_even_if_the_agent_restarts() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    let log = world.text("asked");
    let config = format!(
        "[consent]\ncommand = \"echo $SEALIFT_STAGE $SEALIFT_VERSION >> {log}; exit 75\"\ndefer_most = 3\nask_every = 1\n"
    );
    owner(&world, &config);
    let mut rounds = 0;
    while world.server.outcome().0.is_empty() {
        assert_eq!(world.once(&[]).code, 0);
        std::thread::sleep(std::time::Duration::from_millis(600));
        rounds += 1;
        assert!(rounds < 40, "never overruled");
    }
    assert!(rounds > 2, "put off at all: {rounds}");
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    let asked = std::fs::read_to_string(&log).unwrap();
    assert!(asked.lines().filter(|line| *line == "download 1.1.0").count() >= 2, "{asked}");
    assert!(asked.contains("activate 1.1.0"), "{asked}");
    assert!(!exists(&world.state().join("deferred.json")));
}

#[test]
fn never_is_a_refusal_with_its_own_code_and_nothing_is_fetched() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    owner(&world, "[consent]\ncommand = \"exit 77\"\n");
    assert_eq!(world.once(&[]).code, 3);
    world.assert_outcome("REJECTED", Some("SL-810"), "1.0.0");
    assert!(world.server.requests("/payloads/").is_empty());
}

#[test]
fn a_broken_consent_command_delays_an_update_and_cannot_prevent_it() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    owner(&world, "[consent]\ncommand = \"/nonexistent/program\"\ndefer_most = 0\n");
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
}

#[test]
fn a_mistake_in_the_owners_file_is_told_with_its_line_before_anything_is_done() {
    let world = World::new();
    owner(&world, "[maintenance]\nwindows = [\"sometimes\"]\n");
    let done = world.once(&[]);
    assert_eq!(done.code, 4, "{done:?}");
    assert!(done.stderr.contains("agent.toml") && done.stderr.contains("line 2"), "{}", done.stderr);
    let done = world.once(&["--config", &world.text("none.toml")]);
    assert_eq!(done.code, 4, "{done:?}");
}

#[test]
fn the_agents_json_log_carries_the_releases_trace_from_arrival_to_report() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    let done = world.once(&["--log", "info", "--log-format", "json"]);
    assert_eq!(done.code, 0);
    let trace = world.fleet.targets[0].digest().to_string()[..32].to_owned();
    let lines: Vec<Value> = done.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let of = |message: &str| {
        lines.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("{message}: {lines:?}"))
    };
    for message in ["the job is taken up", "the target is approved", "reported"] {
        assert_eq!(of(message)["span"]["trace"], trace.as_str(), "{message}");
    }
}

fn wait(what: &dyn Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !what() {
        assert!(std::time::Instant::now() < deadline, "not within a minute");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
