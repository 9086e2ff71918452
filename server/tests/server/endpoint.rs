//! The real server over real TLS: what an honest device does.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::device::{Connection, Device, enrolment, post_enrolment, report_key};
use crate::process::{Server, ok};
use crate::release::{Maker, target};

/// A server with one published release, and the maker to go on with.
pub fn with_release() -> (tempfile::TempDir, Server, Maker) {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    let maker = Maker::default();
    publish(&server, &maker);
    (home, server, maker)
}

pub fn publish(server: &Server, maker: &Maker) -> Value {
    let folder = tempfile::tempdir().unwrap();
    maker.write(folder.path());
    server.ok(&["publish", "--release", folder.path().to_str().unwrap()])
}

#[test]
fn a_device_enrols_takes_a_job_fetches_everything_and_succeeds() {
    let (_home, server, maker) = with_release();
    let device = Device::enrol(&server, "dev-1", "canary");
    Device::enrol(&server, "dev-2", "others");
    assert_eq!(device.start_next(), Value::Null);
    let made = server.ok(&["rollout", "create", "--release", "1.0", "--group", "canary"]);
    assert_eq!(made["created"], true);
    assert_eq!(server.ok(&["rollout", "create", "--release", "1.0.0", "--group", "canary"])["created"], false);

    let pending = device.get(&device.jobs()).json();
    assert_eq!((pending["queuedJobs"].as_array().unwrap().len(), &pending["inProgressJobs"]), (1, &json!([])));
    let execution = device.start_next();
    assert_eq!((execution["status"].as_str(), execution["versionNumber"].as_u64()), (Some("IN_PROGRESS"), Some(2)));
    let document = sealift_jobs::JobDocument::from_json(execution["jobDocument"].as_str().unwrap()).unwrap();
    assert_eq!(document.target.0, maker.fleet.targets[0].digest().0);
    assert_eq!(document.metadata, "https://localhost/metadata/", "the origin the device itself asked");

    // The bundle is exactly the chain, and the device's own session takes it.
    let files = maker.fleet.files();
    assert_eq!(document.bundle.as_deref(), Some(files.bundle().as_slice()));
    for (name, bytes) in [("1.root", &maker.roots[0]), ("timestamp", &files.timestamp)] {
        let answer = device.get(&format!("/metadata/{name}"));
        assert_eq!((answer.status, &answer.body), (200, bytes), "{name}");
    }
    assert_eq!(device.get("/metadata/2.root").status, 404);
    let (digest, url) = document.payloads.iter().next().unwrap();
    let payload = device.get(url.strip_prefix("https://localhost").unwrap());
    assert_eq!(Sha256::digest(&payload.body)[..], digest.0);

    let job = execution["jobId"].as_str().unwrap();
    let image = Sha256::digest(&maker.fleet.targets[0].image).into();
    let report = device.report(maker.fleet.repository.0, &execution, image, 3);
    assert!(report.len() <= 1_024, "{}", report.len());
    let body = json!({"status": "SUCCEEDED", "statusDetails": {"report": report}, "executionNumber": 1,
        "expectedVersion": 2, "includeJobExecutionState": true});
    let answer = device.update(job, &body);
    assert_eq!(answer.json()["executionState"]["status"], "SUCCEEDED", "{answer:?}");
    let name = made["rollout"].as_str().unwrap();
    let status = server.ok(&["rollout", "status", name, "--wait"]);
    assert_eq!((status["state"].as_str(), status["proven"].as_u64()), (Some("COMPLETED"), Some(1)), "{status}");
    assert_eq!((status["differences"].as_u64(), status["devices"].as_array().unwrap().len()), (Some(0), 1));
    assert_eq!(status["devices"][0]["proven"]["state"], "running");
    let shown = server.ok(&["devices", "show", "dev-1"]);
    assert_eq!(shown["executions"][0]["status"], "SUCCEEDED");
}

#[test]
fn the_job_routes_take_next_and_names_in_every_spelling() {
    let (_home, server, _) = with_release();
    let device = Device::enrol(&server, "a:b_c-1", "canary");
    server.ok(&["rollout", "create", "--release", "1.0", "--thing", "a:b_c-1", "--name", "r"]);
    for path in ["/things/a:b_c-1/jobs/$next", "/things/a%3Ab_c-1/jobs/%24next", "/things/a%3ab_c-1/jobs/%24next"] {
        let answer = device.get(path);
        assert_eq!((answer.status, &answer.json()["execution"]["jobId"]), (200, &json!("sl-r-w1")), "{path}");
    }
    let without = device.get("/things/a:b_c-1/jobs/sl-r-w1?includeJobDocument=false&executionNumber=1").json();
    assert_eq!(without["execution"]["jobDocument"], Value::Null);
    assert_eq!(
        device.get("/things/a:b_c-1/jobs/sl-r-w1?executionNumber=2").error(),
        (404, "ResourceNotFoundException")
    );
    assert_eq!(device.get("/things/a:b_c-1/jobs/none").error(), (404, "ResourceNotFoundException"));
    // An empty body is an empty request, with or without a content type.
    let mut connection = device.connect().unwrap();
    assert_eq!(connection.request("PUT", "/things/a:b_c-1/jobs/$next", "", b"").unwrap().status, 200);
    let update = device.update("sl-r-w1", &json!({"status": "IN_PROGRESS", "expectedVersion": 1}));
    assert_eq!(update.error(), (409, "VersionMismatchException"));
    assert_eq!(update.json()["executionState"]["versionNumber"], 2);
    assert_eq!(
        device.update("sl-r-w1", &json!({"status": "REJECTED", "statusDetails": {"code": "SL-504"}})).status,
        200
    );
    let over = device.update("sl-r-w1", &json!({"status": "SUCCEEDED"}));
    assert_eq!(over.error(), (409, "InvalidStateTransitionException"));
    assert_eq!(device.get("/things/a:b_c-1/jobs/sl-r-w1").error(), (410, "TerminalStateException"));
    let status = server.ok(&["rollout", "status", "r"]);
    assert_eq!(
        (&status["devices"][0]["status"], &status["devices"][0]["code"]),
        (&json!("REJECTED"), &json!("SL-504"))
    );
}

#[test]
fn payloads_come_in_parts_and_know_when_they_are_unchanged() {
    let (_home, server, maker) = with_release();
    let device = Device::enrol(&server, "dev-1", "canary");
    let image = &maker.fleet.targets[0].image;
    let digest = hex::encode(Sha256::digest(image));
    let path = format!("/payloads/{digest}");
    let mut connection = device.connect().unwrap();
    let mut ask = |headers: &str| connection.request("GET", &path, headers, b"").unwrap();
    let whole = ask("");
    assert_eq!((whole.status, &whole.body), (200, image));
    assert_eq!(whole.header("etag"), Some(format!("\"{digest}\"").as_str()));
    let part = ask("range: bytes=100-199\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &image[100..200]));
    assert_eq!(part.header("content-range"), Some(format!("bytes 100-199/{}", image.len()).as_str()));
    assert_eq!(ask("range: bytes=19990-\r\n").body, image[19_990..]);
    assert_eq!(ask("range: bytes=-5\r\n").body, image[19_995..]);
    assert_eq!(ask(&format!("range: bytes=0-1\r\nif-range: \"{digest}\"\r\n")).status, 206);
    assert_eq!(ask("range: bytes=0-1\r\nif-range: \"other\"\r\n").status, 200);
    let outside = ask("range: bytes=20000-\r\n");
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */20000")));
    assert_eq!(ask(&format!("if-none-match: \"{digest}\"\r\n")).status, 304);
    let head = connection.request("HEAD", &path, "", b"").unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("20000")));
    let timestamp = connection.request("GET", "/metadata/timestamp", "", b"").unwrap();
    let etag = timestamp.header("etag").unwrap().to_owned();
    let again = connection.request("GET", "/metadata/timestamp", &format!("if-none-match: {etag}\r\n"), b"").unwrap();
    assert_eq!(again.status, 304);
}

#[test]
fn an_enrolment_whose_answer_was_lost_is_repeated_with_the_same_keys_and_with_no_others() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    let (key, report) = (rcgen::KeyPair::generate().unwrap(), report_key("x"));
    let token = server.token("canary");
    let body = enrolment(&token, "dev-1", &key, &report);
    let first = post_enrolment(&server, &body);
    let again = post_enrolment(&server, &body);
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json(), again.json());
    let other_key = rcgen::KeyPair::generate().unwrap();
    for thief in [
        enrolment(&token, "dev-1", &other_key, &report),
        enrolment(&token, "dev-1", &key, &report_key("y")),
        enrolment(&token, "dev-2", &key, &report),
    ] {
        assert_eq!(post_enrolment(&server, &thief).error(), (403, "ForbiddenException"));
    }
    let listed = server.ok(&["devices", "list", "--group", "canary"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let taken = enrolment(&server.token("canary"), "dev-1", &other_key, &report);
    assert_eq!(post_enrolment(&server, &taken).status, 409);
}

#[test]
fn a_stop_lets_the_open_request_end_and_then_exits_cleanly() {
    let (_home, mut server, _) = with_release();
    let device = Device::enrol(&server, "dev-1", "canary");
    let mut connection = device.connect().unwrap();
    connection.send(b"PUT /things/dev-1/jobs/$next HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    server.signal("-TERM");
    std::thread::sleep(std::time::Duration::from_millis(300));
    connection.send(b"}").unwrap();
    assert_eq!(connection.answer("PUT").unwrap().status, 200);
    assert_eq!(server.wait(), Some(0));
    assert!(device.connect().and_then(|mut c| c.request("GET", "/healthz", "", b"")).is_err());
}

#[test]
fn a_restart_loses_nothing_and_devices_need_nothing_new() {
    let (_home, mut server, mut maker) = with_release();
    let device = Device::enrol(&server, "dev-1", "canary");
    server.ok(&["rollout", "create", "--release", "1.0", "--group", "canary", "--name", "first"]);
    let execution = device.start_next();
    let before = server.ok(&["rollout", "status", "first"]);
    server.crash_and_restart();
    assert_eq!(server.ok(&["rollout", "status", "first"]), before);
    let mut again = device.start_next();
    again["approximateSecondsBeforeTimedOut"] = execution["approximateSecondsBeforeTimedOut"].clone();
    assert_eq!(again, execution, "all but the time that is left");
    maker.next(target([1, 1, 0], 5_000));
    publish(&server, &maker);
    assert_eq!(server.ok(&["releases"])["targets"][0]["version"], "1.1.0");
}

#[test]
fn logs_are_json_and_hold_no_secret() {
    let (_home, server, _) = with_release();
    let token = server.token("canary");
    let body = enrolment(&token, "dev-1", &rcgen::KeyPair::generate().unwrap(), &report_key("x"));
    post_enrolment(&server, &body);
    let log = server.log();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    assert!(log.contains("enrolled"));
    assert!(!log.contains(&token));
    assert!(!log.contains("PRIVATE"));
}

#[test]
fn two_servers_never_share_a_state_directory() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    let second = crate::process::run(&["serve", "--state", server.state(), "--listen", "127.0.0.1:0", "--json"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another sealift-server"));
    // The first one's control socket is still its own.
    server.ok(&["groups", "list"]);
}

#[test]
fn a_state_directory_with_a_very_long_path_works() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(state.parent().unwrap()).unwrap();
    let server = Server::start(&state);
    assert_eq!(ok(&["groups", "list", "--state", server.state()]), json!([]));
}

#[test]
fn anybody_may_ask_for_health_and_nothing_else() {
    let (_home, server, _) = with_release();
    let mut connection = Connection::open(&server.ca, server.port, None).unwrap();
    assert_eq!(connection.request("GET", "/healthz", "", b"").unwrap().status, 200);
    for path in ["/metadata/timestamp", "/payloads/00", "/things/dev-1/jobs", "/things/dev-1/jobs/$next"] {
        let answer = connection.request("GET", path, "", b"").unwrap();
        assert_eq!(answer.error(), (403, "ForbiddenException"), "{path}");
    }
}
