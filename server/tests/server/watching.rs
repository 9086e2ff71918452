//! Metrics, alerts, the page for Prometheus, one id through the logs, and the check of the fleet.

use std::io::{Read as _, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::device::{Device, enrolment, post_enrolment, report_key};
use crate::endpoint::with_release;
use crate::process::Server;

pub fn page(server: &Server) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.metrics)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

/// A server with the metrics on, and a job for `dev-1`.
fn with_job(home: &std::path::Path, more: &[&str]) -> (Server, Device) {
    let server = Server::start_with(&home.join("state"), 0, &[&["--metrics-listen", "127.0.0.1:0"], more].concat());
    let device = Device::enrol(&server, "dev-1", "canary");
    (server, device)
}

fn job(server: &Server, home: &std::path::Path, id: &str) {
    let document = home.join("document.json");
    std::fs::write(&document, "{}").unwrap();
    server.ok(&["jobs", "create", "--id", id, "--thing", "dev-1", "--document", document.to_str().unwrap()]);
}

fn alert(server: &Server, behavior: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let alerts = server.ok(&["alerts"]);
        if let Some(found) = alerts.as_array().unwrap().iter().find(|alert| alert["behavior"] == behavior) {
            return found.clone();
        }
        assert!(Instant::now() < deadline, "no alert {behavior}: {alerts}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_verification_that_failed_raises_an_alert_that_names_the_device_and_outlives_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let (mut server, device) = with_job(home.path(), &[]);
    job(&server, home.path(), "bad");
    device.start_next();
    let refused = json!({ "status": "REJECTED", "statusDetails": { "code": "SL-105", "reason": "signature" } });
    assert_eq!(device.update("bad", &refused).status, 200);
    let raised = alert(&server, "no-failed-verification");
    assert_eq!((raised["thing"].as_str(), raised["value"].as_u64()), (Some("dev-1"), Some(1)), "{raised}");
    assert!(server.log().contains("an alert is raised"));
    let report = server.ok(&["devices", "metrics", "dev-1"]);
    assert_eq!(report["custom_metrics"]["sealift_failed_verifications"], json!([{ "number": 1 }]), "{report}");
    assert_eq!(report["header"]["version"], "1.0");
    assert!(report["lastSeen"].as_u64().unwrap() > 1_700_000_000);
    server.signal("-TERM");
    server.wait();
    let state = server.state.clone();
    server = Server::start_with(&state, 0, &[]);
    assert_eq!(server.ok(&["alerts"]), json!([]), "counts begin anew");
    assert_eq!(server.ok(&["alerts", "--all"])[0]["behavior"], "no-failed-verification");
    let report = server.ok(&["devices", "metrics", "dev-1"]);
    assert!(report["lastSeen"].as_u64().is_some(), "who was heard when is kept: {report}");
}

#[test]
fn a_device_that_tries_anothers_routes_and_a_revoked_one_are_counted_and_told() {
    let home = tempfile::tempdir().unwrap();
    let (server, _) = with_job(home.path(), &[]);
    let nosy = Device::enrol(&server, "dev-2", "canary");
    nosy.get(&nosy.jobs());
    for _ in 0..6 {
        assert_eq!(nosy.get("/things/dev-1/jobs").status, 403);
    }
    assert_eq!(alert(&server, "few-wrong-identities")["thing"], "dev-2");
    server.ok(&["devices", "revoke", "dev-2"]);
    assert_eq!(nosy.get(&nosy.jobs()).status, 403);
    let report = server.ok(&["devices", "metrics", "dev-2"]);
    assert_eq!(report["sinceStart"]["aws:num-authorization-failures"], 7, "{report}");
}

#[test]
fn the_owners_profile_decides_and_one_that_cannot_be_measured_stops_the_start() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("profile.json");
    let profile = |operator: &str| {
        json!({ "securityProfileName": "mine", "behaviors": [{ "name": "silent", "metric": "aws:num-messages-received",
            "criteria": { "comparisonOperator": operator, "value": { "count": 2 }, "durationSeconds": 60 } }] })
    };
    std::fs::write(&path, profile("less-than").to_string()).unwrap();
    let (server, device) = with_job(home.path(), &["--security-profiles", path.to_str().unwrap()]);
    for _ in 0..3 {
        device.get(&device.jobs());
    }
    assert_eq!(alert(&server, "silent")["profile"], "mine");
    std::fs::write(&path, profile("in-cidr-set").to_string()).unwrap();
    let state = home.path().join("other");
    let (said, exit) = crate::process::json(&[
        "serve",
        "--state",
        state.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--security-profiles",
        path.to_str().unwrap(),
    ]);
    assert_eq!(exit, 4, "{said}");
    assert!(said["error"]["message"].as_str().unwrap().contains("profile.json"), "{said}");
}

#[test]
fn prometheus_own_parser_reads_the_page_and_no_device_adds_a_series() {
    let python = crate::python::interpreter();
    let home = tempfile::tempdir().unwrap();
    let (server, device) = with_job(home.path(), &[]);
    job(&server, home.path(), "one");
    device.start_next();
    device.update("one", &json!({ "status": "SUCCEEDED" }));
    let first = page(&server);
    for number in 2..6 {
        let other = Device::enrol(&server, &format!("dev-{number}"), "canary");
        other.get(&other.jobs());
    }
    let options = |name: &str| crate::mqtt::client::Options::new(5, name, server.mqtt);
    let mut client = crate::mqtt::client::Client::connect(&device, &options("dev-1"));
    assert_eq!(client.ask("$aws/things/dev-1/jobs/get", &json!({})).0, "accepted");
    assert!(crate::mqtt::client::Client::try_connect(&device, &options("dev-2")).is_err());
    let second = page(&server);
    let series = |page: &str| page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(series(&first), series(&second), "{first}\n{second}");
    assert!(!second.contains("dev-"), "{second}");
    let script = "import sys\nfrom prometheus_client.parser import text_string_to_metric_families as parse\n\
        samples = {(s.name, tuple(s.labels.values())): s.value for f in parse(sys.stdin.read()) for s in f.samples}\n\
        assert samples[('sealift_job_updates_total', ('SUCCEEDED',))] == 1, samples\n\
        assert samples[('sealift_devices_seen', ())] == 5, samples\n\
        assert samples[('sealift_device_events_total', ('aws:num-messages-received',))] >= 6, samples\n\
        assert samples[('sealift_mqtt_connections', ())] == 1, samples\n\
        assert samples[('sealift_mqtt_events_total', ('connected',))] == 1, samples\n\
        assert samples[('sealift_mqtt_events_total', ('received',))] == 1, samples\n\
        assert samples[('sealift_mqtt_events_total', ('jobs_accepted',))] == 1, samples\n\
        assert samples[('sealift_mqtt_events_total', ('connects_refused',))] == 1, samples\n\
        print(len(samples))\n";
    let mut judge = Command::new(python);
    let mut judge = judge
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    judge.stdin.take().unwrap().write_all(second.as_bytes()).unwrap();
    let said = judge.wait_with_output().unwrap();
    assert!(said.status.success(), "{second}");
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), series(&second).to_string());
}

#[test]
fn one_id_follows_a_release_from_publishing_through_the_servers_log() {
    let (_home, server, maker) = with_release();
    let device = Device::enrol(&server, "dev-1", "canary");
    let published = server.ok(&["releases"]);
    let digest = published["targets"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(digest, maker.fleet.targets[0].digest().to_string());
    let trace = &digest[..32];
    server.ok(&["rollout", "create", "--release", "1.0", "--group", "canary", "--name", "r"]);
    let execution = device.start_next();
    assert_eq!(execution["jobId"], "sl-r-w1");
    device.update("sl-r-w1", &json!({ "status": "FAILED", "statusDetails": { "code": "SL-801" } }));
    let log = server.log();
    let of: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told: Vec<&str> = of
        .iter()
        .filter(|line: &&Value| line["fields"]["trace"] == trace)
        .map(|line| line["fields"]["message"].as_str().unwrap())
        .collect();
    for message in ["a job is made", "rollout", "a device took a job up", "a device reported"] {
        assert!(told.contains(&message), "{message}: {told:?}\n{log}");
    }
}

#[test]
fn the_check_of_the_fleet_finds_a_shared_key_and_a_policy_for_everything_and_exits_with_3() {
    let home = tempfile::tempdir().unwrap();
    let (server, _) = with_job(home.path(), &[]);
    assert_eq!(server.json(&["check", "fleet"]), (json!([]), 0));
    let key = KeyPair::generate().unwrap();
    for name in ["twin-1", "twin-2"] {
        let body = enrolment(&server.token("canary"), name, &key, &report_key(name));
        assert_eq!(post_enrolment(&server, &body).status, 201);
    }
    let policy = home.path().join("policy.json");
    let wide =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "iot:*", "Resource": "*" }] });
    std::fs::write(&policy, wide.to_string()).unwrap();
    server.ok(&["policies", "put", "--name", "wide", "--document", policy.to_str().unwrap()]);
    let output =
        crate::process::run(&["check", "fleet", "--state", server.state(), "--expiring-days", "36500", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    let findings: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let find = |check: &str| {
        let found = findings.as_array().unwrap().iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("{check}: {findings}")).clone()
    };
    assert_eq!(find("DEVICE_CERTIFICATE_SHARED_CHECK")["things"], json!(["twin-1", "twin-2"]));
    assert!(find("IOT_POLICY_OVERLY_PERMISSIVE_CHECK")["what"].as_str().unwrap().contains("policy wide"));
    assert_eq!(find("DEVICE_CERTIFICATE_EXPIRING_CHECK")["count"], 3);
    find("CA_CERTIFICATE_EXPIRING_CHECK");
}
