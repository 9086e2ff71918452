//! Job state and proven state: what a report proves, and what it doesn't.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::device::Device;
use crate::endpoint::with_release;

/// What `rollout status` makes of one device that ended with `status` and this report.
fn judged(status: &str, report: impl FnOnce(&Device, &Device, &Value, [u8; 16], [u8; 32]) -> Option<String>) -> Value {
    let (_home, server, maker) = with_release();
    let device = Device::enrol(&server, "dev-1", "canary");
    let other = Device::enrol(&server, "dev-2", "other");
    server.ok(&["rollout", "create", "--release", "1.0", "--group", "canary", "--name", "r"]);
    let execution = device.start_next();
    let image = Sha256::digest(&maker.fleet.targets[0].image).into();
    let details = match report(&device, &other, &execution, maker.fleet.repository.0, image) {
        Some(report) => json!({ "report": report }),
        None => json!({ "step": "confirm" }),
    };
    assert_eq!(device.update("sl-r-w1", &json!({"status": status, "statusDetails": details})).status, 200);
    let (said, exit) = server.json(&["rollout", "status", "r", "--wait"]);
    let text = said.to_string();
    let first = server.ok(&["rollout", "status", "r"]);
    let proven = first["devices"][0]["proven"]["state"] == "running" && status == "SUCCEEDED";
    assert_eq!(exit, if proven { 0 } else { 3 }, "{text}");
    first["devices"][0].clone()
}

#[test]
fn success_with_a_good_report_is_proven() {
    let device = judged("SUCCEEDED", |d, _, e, repository, image| Some(d.report(repository, e, image, 3)));
    assert_eq!((&device["proven"]["state"], &device["differs"]), (&json!("running"), &json!(false)));
    assert_eq!((&device["proven"]["bootCount"], &device["proven"]["securityCounter"]), (&json!(7), &json!(3)));
}

#[test]
fn success_without_a_report_is_called_out() {
    let device = judged("SUCCEEDED", |_, _, _, _, _| None);
    assert_eq!((&device["proven"]["state"], &device["differs"]), (&json!("missing"), &json!(true)));
}

#[test]
fn failure_without_a_report_is_just_a_failure() {
    let device = judged("FAILED", |_, _, _, _, _| None);
    assert_eq!((&device["proven"]["state"], &device["differs"]), (&json!("missing"), &json!(false)));
}

#[test]
fn reports_about_something_else_or_by_somebody_else_prove_nothing() {
    type Forge = fn(&Device, &Device, &Value, [u8; 16], [u8; 32]) -> Option<String>;
    let forgeries: [(&str, Forge); 8] = [
        ("repository", |d, _, e, _, image| Some(d.report([1; 16], e, image, 3))),
        ("image", |d, _, e, repository, _| Some(d.report(repository, e, [1; 32], 3))),
        ("counter", |d, _, e, repository, image| Some(d.report(repository, e, image, 2))),
        ("job", |d, _, e, repository, image| {
            let mut replayed = e.clone();
            replayed["jobId"] = json!("sl-earlier-w1");
            Some(d.report(repository, &replayed, image, 3))
        }),
        ("execution number", |d, _, e, repository, image| {
            let mut replayed = e.clone();
            replayed["executionNumber"] = json!(2);
            Some(d.report(repository, &replayed, image, 3))
        }),
        ("a key the thing didn't enrol", |_, other, e, repository, image| Some(other.report(repository, e, image, 3))),
        ("signature", |d, _, e, repository, image| {
            use base64::Engine as _;
            let engine = base64::engine::general_purpose::STANDARD;
            let mut bytes = engine.decode(d.report(repository, e, image, 3)).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            Some(engine.encode(bytes))
        }),
        ("base64", |_, _, _, _, _| Some("!".into())),
    ];
    for (word, forge) in forgeries {
        let device = judged("SUCCEEDED", forge);
        assert_eq!((&device["proven"]["state"], &device["differs"]), (&json!("refused"), &json!(true)), "{word}");
        let problem = device["proven"]["problem"].as_str().unwrap();
        assert!(problem.contains(word), "{word}: {problem}");
    }
}
