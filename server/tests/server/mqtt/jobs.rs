//! The jobs topics over MQTT 3.1.1 and 5.

use serde_json::{Value, json};

use super::client::{Client, Options};
use crate::device::{Connection, Device};
use crate::process::Server;

pub fn started(things: &[&str]) -> (tempfile::TempDir, Server, Vec<Device>) {
    started_with(things, &[])
}

pub fn started_with(things: &[&str], more: &[&str]) -> (tempfile::TempDir, Server, Vec<Device>) {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_with(&home.path().join("state"), 0, more);
    let devices = things.iter().map(|name| Device::enrol(&server, name, "canary")).collect();
    (home, server, devices)
}

pub fn topic(thing: &str, rest: &str) -> String {
    format!("$aws/things/{thing}/jobs/{rest}")
}

#[test]
fn every_request_is_answered_to_the_one_who_asked_in_both_versions() {
    let (_home, server, devices) = started(&["dev-3", "dev-5"]);
    for (device, level) in devices.iter().zip([4, 5]) {
        let name = &device.name;
        server.job(
            &format!("j-{level}"),
            &json!({"a": [1, 2]}),
            &["--thing", name, "--timeout", "10", "--retries", "1"],
        );
        // On the port for MQTT, and by ALPN on the port for HTTPS.
        for (port, alpn) in
            [(server.mqtt, None), (server.mqtt, Some("x-amzn-mqtt-ca")), (server.port, Some("x-amzn-mqtt-ca"))]
        {
            let options = Options { alpn, ..Options::new(level, name, port) };
            Client::connect(device, &options).ping().unwrap();
        }
        // Never subscribed to anything: the answers come all the same.
        let mut client = Client::connect(device, &Options::new(level, name, server.mqtt));
        let (verdict, pending) = client.ask(&topic(name, "get"), &json!({"clientToken": "t-1"}));
        assert_eq!((verdict.as_str(), &pending["clientToken"]), ("accepted", &json!("t-1")));
        assert_eq!(pending["queuedJobs"][0]["jobId"], format!("j-{level}"));
        assert!(pending["timestamp"].is_u64());
        let (_, started) = client.ask(&topic(name, "start-next"), &json!({"stepTimeoutInMinutes": 5}));
        let execution = &started["execution"];
        assert_eq!((&execution["status"], &execution["jobDocument"]), (&json!("IN_PROGRESS"), &json!({"a": [1, 2]})));
        assert!(execution["approximateSecondsBeforeTimedOut"].as_u64().unwrap() <= 300);
        let (_, described) = client.ask(&topic(name, "$next/get"), &json!({"includeJobDocument": false}));
        assert_eq!(described["execution"]["jobDocument"], Value::Null);
        let update = topic(name, &format!("j-{level}/update"));
        // AWS's library for microcontrollers sends numbers as text.
        let body =
            json!({"status": "FAILED", "expectedVersion": "2", "includeJobExecutionState": true, "clientToken": "u"});
        let (verdict, failed) = client.ask(&update, &body);
        assert_eq!((verdict.as_str(), &failed["executionState"]["status"]), ("accepted", &json!("FAILED")), "{failed}");
        // The job allows a retry: the next execution waits.
        let (_, again) = client.ask(&topic(name, "start-next"), &json!({}));
        assert_eq!(again["execution"]["executionNumber"], 2);
        let (verdict, done) = client.ask(&update, &json!({"status": "SUCCEEDED", "executionNumber": 2}));
        assert_eq!((verdict.as_str(), done.get("executionState")), ("accepted", None));
        let (_, nothing) = client.ask(&topic(name, "start-next"), &json!({}));
        assert_eq!(nothing.get("execution"), None);
        client.disconnect();
    }
}

#[test]
fn each_rejection_has_its_code_and_the_token_of_its_request() {
    let (_home, server, devices) = started(&["dev-1"]);
    server.job("j", &json!({}), &["--thing", "dev-1"]);
    let mut client = Client::connect(&devices[0], &Options::new(5, "dev-1", server.mqtt));
    let mut rejected = |rest: &str, body: &[u8], code: &str| {
        let topic = topic("dev-1", rest);
        client.publish(&topic, body, 1).unwrap();
        let message = client.message().unwrap();
        assert_eq!(message.topic, format!("{topic}/rejected"));
        let answer = message.json();
        assert_eq!(answer["code"], code, "{rest}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|m| !m.is_empty()) && answer["timestamp"].is_u64());
        answer
    };
    rejected("get", b"{", "InvalidJson");
    rejected("get", b"\xff\xfe", "InvalidJson");
    rejected("get", b"[1]", "InvalidRequest");
    rejected("get", &"[".repeat(100_000).into_bytes(), "InvalidJson");
    rejected("bogus", b"{}", "InvalidTopic");
    rejected("j/get/accepted", b"{}", "InvalidTopic");
    rejected("start-next", br#"{"stepTimeoutInMinutes":0}"#, "InvalidRequest");
    rejected("none/get", b"", "ResourceNotFound");
    assert_eq!(rejected("j/update", br#"{"status":"DONE","clientToken":"a"}"#, "InvalidRequest")["clientToken"], "a");
    rejected("j/update", br#"{"clientToken":7,"status":"FAILED"}"#, "InvalidRequest");
    rejected("j/update", br#"{"status":"QUEUED"}"#, "InvalidRequest");
    let stale = rejected("j/update", br#"{"status":"IN_PROGRESS","expectedVersion":7}"#, "VersionMismatch");
    assert_eq!(stale["executionState"]["versionNumber"], 1);
    let long = json!({"status": "IN_PROGRESS", "statusDetails": {"k": "x".repeat(1_025)}}).to_string();
    rejected("j/update", long.as_bytes(), "InvalidRequest");
    client.ask(&topic("dev-1", "j/update"), &json!({"status": "SUCCEEDED"}));
    let mut rejected = |rest: &str, code: &str| {
        let (verdict, answer) = client.ask(&topic("dev-1", rest), &json!({"status": "FAILED"}));
        assert_eq!((verdict.as_str(), answer["code"].as_str()), ("rejected", Some(code)));
        answer
    };
    assert_eq!(rejected("j/update", "InvalidStateTransition")["executionState"]["status"], "SUCCEEDED");
    rejected("j/get", "TerminalStateReached");
}

#[test]
fn a_device_is_told_of_jobs_that_come_and_go() {
    let (_home, server, devices) = started(&["dev-1", "dev-2"]);
    for level in [4, 5] {
        let mut client = Client::connect(&devices[0], &Options::new(level, "dev-1", server.mqtt));
        assert_eq!(client.subscribe(&topic("dev-1", "notify")), 1);
        assert_eq!(client.subscribe(&topic("dev-1", "notify-next")), 1);
        let mut told = |what: &str| -> (Value, Value) {
            let both = [client.message().unwrap(), client.message().unwrap()];
            let of = |last: &str| {
                both.iter().find(|m| m.topic == topic("dev-1", last)).unwrap_or_else(|| panic!("{what}")).json()
            };
            (of("notify"), of("notify-next"))
        };
        let id = format!("j-{level}");
        server.job(&id, &json!({"n": level}), &["--thing", "dev-1"]);
        let (pending, next) = told("created");
        assert_eq!(pending["jobs"]["QUEUED"][0]["jobId"], id);
        assert_eq!(
            (&next["execution"]["jobId"], &next["execution"]["jobDocument"]),
            (&json!(id), &json!({"n": level}))
        );
        server.job(&format!("{id}-b"), &json!({}), &["--thing", "dev-1"]);
        // The next one is still the same: only the list changed.
        let pending = client.message().unwrap();
        assert_eq!((pending.topic, pending.payload.len() > 20), (topic("dev-1", "notify"), true));
        server.ok(&["jobs", "cancel", &id]);
        server.ok(&["jobs", "cancel", &format!("{id}-b")]);
        let mut last = json!(null);
        while last != json!({}) {
            let message = client.message().unwrap();
            if message.topic == topic("dev-1", "notify") {
                last = message.json()["jobs"].clone();
            }
        }
        // Another thing's jobs are no news.
        server.job(&format!("{id}-other"), &json!({}), &["--thing", "dev-2"]);
        while !client.silent(std::time::Duration::from_millis(300)) {
            client.message().unwrap();
        }
    }
}

#[test]
fn mqtt_and_https_are_two_doors_to_one_machine() {
    let (_home, server, devices) = started(&["dev-1"]);
    server.job("j", &json!({}), &["--thing", "dev-1"]);
    let mut client = Client::connect(&devices[0], &Options::new(4, "dev-1", server.mqtt));
    assert_eq!(devices[0].start_next()["versionNumber"], 2);
    let (_, seen) = client.ask(&topic("dev-1", "j/get"), &json!({}));
    assert_eq!((&seen["execution"]["versionNumber"], &seen["execution"]["status"]), (&json!(2), &json!("IN_PROGRESS")));
    client.ask(&topic("dev-1", "j/update"), &json!({"status": "SUCCEEDED", "expectedVersion": 2}));
    assert_eq!(devices[0].get("/things/dev-1/jobs/j").error(), (410, "TerminalStateException"));
}

#[test]
fn presign_placeholders_become_links_that_work_without_a_certificate_for_a_while() {
    let (_home, server, maker) = crate::endpoint::with_release();
    let device = Device::enrol(&server, "dev-1", "canary");
    let image = &maker.fleet.targets[0].image;
    let digest = hex::encode(sealift_manifests::sha256(image).0);
    let placeholder =
        format!("${{aws:iot:s3-presigned-url:https://s3.eu-central-1.amazonaws.com/bucket/payloads/{digest}}}");
    server.job("j", &json!({"url": placeholder}), &["--thing", "dev-1"]);
    let mut client = Client::connect(&device, &Options::new(5, "dev-1", server.mqtt));
    let (_, answer) = client.ask(&topic("dev-1", "start-next"), &json!({}));
    let url = answer["execution"]["jobDocument"]["url"].as_str().unwrap().to_owned();
    let path = url.strip_prefix(&format!("https://localhost:{}", server.port)).unwrap_or_else(|| panic!("{url}"));
    let mut anybody = Connection::open(&server.ca, server.port, None).unwrap();
    let mut get = |path: &str, headers: &str| anybody.request("GET", path, headers, b"").unwrap();
    assert!(get(path, "").body == *image);
    let part = get(path, "range: bytes=10-19\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &image[10..20]));
    let other = path.replace(&digest, &"0".repeat(64));
    assert_eq!(get(&other, "").error(), (403, "ForbiddenException"));
    let (before, tag) = path.rsplit_once('=').unwrap();
    let forged = format!("{before}={}", "0".repeat(tag.len()));
    assert_eq!(get(&forged, "").error(), (403, "ForbiddenException"));
    assert_eq!(get(path.split_once('?').unwrap().0, "").error(), (403, "ForbiddenException"));
    // HTTPS fills it too.
    let text = device.get("/things/dev-1/jobs/j").json()["execution"]["jobDocument"].as_str().unwrap().to_owned();
    assert!(text.contains("X-Sealift-Signature"), "{text}");
}

#[test]
fn whoever_may_listen_is_told_when_executions_and_jobs_end() {
    let (home, server, devices) = started(&["watcher", "dev-1"]);
    super::policies::allow_everything(&home, &server, &["watcher"]);
    let mut watcher = Client::connect(&devices[0], &Options::new(5, "watcher", server.mqtt));
    for filter in ["$aws/events/job/#", "$aws/events/jobExecution/#"] {
        assert_eq!(watcher.subscribe(filter), 1);
    }
    // A device's own policy doesn't open them.
    let mut device = Client::connect(&devices[1], &Options::new(5, "dev-1", server.mqtt));
    assert_eq!(device.subscribe("$aws/events/job/#"), 0x87);
    server.job("done", &json!({}), &["--thing", "dev-1"]);
    device.ask(&topic("dev-1", "start-next"), &json!({}));
    device.ask(&topic("dev-1", "done/update"), &json!({"status": "SUCCEEDED"}));
    server.job("dropped", &json!({}), &["--thing", "dev-1"]);
    server.ok(&["jobs", "cancel", "dropped"]);
    let mut told = std::collections::BTreeMap::new();
    while told.len() < 4 {
        let message = watcher.message().unwrap();
        told.insert(message.topic.clone(), message.json());
    }
    let completed = &told["$aws/events/job/done/completed"];
    assert_eq!((&completed["eventType"], &completed["status"]), (&json!("JOB"), &json!("COMPLETED")));
    assert_eq!(completed["targets"], json!(["arn:aws:iot:local:000000000000:thing/dev-1"]));
    assert_eq!(told["$aws/events/job/dropped/canceled"]["jobId"], "dropped");
    assert_eq!(told["$aws/events/jobExecution/done/succeeded"]["eventType"], "JOB_EXECUTION");
    assert!(told.contains_key("$aws/events/jobExecution/dropped/canceled"), "{told:?}");
}
