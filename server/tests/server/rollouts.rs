//! Rollouts through the command line and a real server.

use serde_json::{Value, json};

use crate::device::Device;
use crate::endpoint::{publish, with_release};
use crate::process::Server;
use crate::release::{Maker, target};

#[test]
fn only_the_named_group_gets_the_job() {
    let (_home, server, _) = with_release();
    let (inside, outside) = (Device::enrol(&server, "in", "canary"), Device::enrol(&server, "out", "fleet"));
    server.ok(&["rollout", "create", "--release", "1.0", "--group", "canary"]);
    assert_eq!(inside.start_next()["status"], "IN_PROGRESS");
    assert_eq!(outside.start_next(), Value::Null);
    let late = Device::enrol(&server, "late", "canary");
    assert_eq!(late.start_next(), Value::Null, "who joins later isn't part of what was decided");
}

#[test]
fn wishes_that_cannot_be_met_are_refused_before_anything_is_made() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    server.ok(&["groups", "create", "empty"]);
    Device::enrol(&server, "dev-1", "canary");
    let refused = |arguments: &[&str], word: &str| {
        let (said, exit) = server.json(&[&["rollout", "create"], arguments].concat());
        assert_eq!(exit, 2, "{arguments:?}: {said}");
        assert!(said["error"]["message"].as_str().unwrap().contains(word), "{arguments:?}: {said}");
    };
    refused(&["--release", "1.0", "--group", "canary"], "nothing is published");
    publish(&server, &Maker::default());
    refused(&["--release", "9.9", "--group", "canary"], "no published target");
    refused(&["--release", "x.y", "--group", "canary"], "no published target");
    refused(&["--release", "1.0", "--product", "toaster", "--group", "canary"], "no published target");
    refused(&["--target", &"00".repeat(32), "--group", "canary"], "no published target");
    refused(&["--release", "1.0"], "--group");
    refused(&["--release", "1.0", "--group", "nobody"], "no group is called");
    refused(&["--release", "1.0", "--group", "empty"], "has no devices");
    refused(&["--release", "1.0", "--thing", "nobody"], "no device is called");
    refused(&["--release", "1.0", "--group", "canary", "--name", "a b"], "job id");
    refused(&["--release", "1.0", "--group", "canary", "--name", &"x".repeat(49)], "49 characters");
    refused(&["--release", "1.0", "--group", "canary", "--timeout", "20000"], "timeout");
    let list = server.ok(&["rollout", "list"]);
    assert!(list.as_array().unwrap().iter().all(|r| r["waves"][0]["progress"] == Value::Null), "{list}");
}

#[test]
fn a_cancelled_rollout_reaches_nobody_else_and_is_not_started_again_by_accident() {
    let (_home, server, _) = with_release();
    let (at_it, waiting) = (Device::enrol(&server, "a", "canary"), Device::enrol(&server, "b", "canary"));
    let create = ["rollout", "create", "--release", "1.0", "--group", "canary", "--retries", "3"];
    let name = server.ok(&create)["rollout"].as_str().unwrap().to_owned();
    let job = at_it.start_next()["jobId"].as_str().unwrap().to_owned();
    let cancelled = server.ok(&["rollout", "cancel", &name, "--comment", "bad release"]);
    assert_eq!((&cancelled["state"], &cancelled["comment"]), (&json!("CANCELED"), &json!("bad release")));
    assert_eq!(cancelled["counts"], json!({"IN_PROGRESS": 1, "CANCELED": 1}));
    assert_eq!(waiting.start_next(), Value::Null);
    let (said, exit) = server.json(&create);
    assert_eq!(exit, 2);
    assert!(said["error"]["message"].as_str().unwrap().contains("--name"), "{said}");
    server.ok(&["rollout", "cancel", &name, "--force"]);
    let refused = at_it.update(&job, &json!({"status": "SUCCEEDED"}));
    assert_eq!(refused.json()["executionState"]["status"], "CANCELED");
    assert_eq!(server.ok(&["rollout", "cancel", &name])["state"], "CANCELED", "again changes nothing");
    assert_eq!(server.ok(&["rollout", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_failed_device_tries_again_as_often_as_was_said() {
    let (_home, server, _) = with_release();
    let device = Device::enrol(&server, "a", "canary");
    server.ok(&["rollout", "create", "--release", "1.0", "--group", "canary", "--name", "r", "--retries", "2"]);
    for number in 1..=3 {
        let execution = device.start_next();
        assert_eq!(execution["executionNumber"], number);
        let body = json!({"status": "FAILED", "executionNumber": number, "statusDetails": {"code": "SL-602"}});
        assert_eq!(device.update("sl-r-w1", &body).status, 200);
    }
    assert_eq!(device.start_next(), Value::Null);
    let status = server.ok(&["rollout", "status", "r"]);
    assert_eq!((&status["state"], &status["devices"][0]["code"]), (&json!("COMPLETED"), &json!("SL-602")));
}

/// The record is written before the job is made: a server killed in between finishes it after its restart.
#[test]
fn a_rollout_that_was_cut_off_before_its_job_is_carried_on_after_the_restart() {
    let (home, mut server, _) = with_release();
    let device = Device::enrol(&server, "a", "canary");
    server.ok(&["rollout", "create", "--release", "1.0", "--group", "canary", "--name", "seen"]);
    let folder = server.state.join("artifacts/rollouts");
    // The same record under another name, as a killed `create` leaves it.
    let record = std::fs::read_to_string(folder.join("seen.json")).unwrap();
    server.kill();
    let mut record: Value = serde_json::from_str(&record).unwrap();
    (record["rollout"], record["waves"]) = (json!("cut-off"), json!([]));
    std::fs::write(folder.join("cut-off.json"), record.to_string()).unwrap();
    let server = Server::start(&home.path().join("state"));
    let device = Device { port: server.port, ..device };
    device.update("sl-seen-w1", &json!({"status": "REJECTED"}));
    let mut next = Value::Null;
    for _ in 0..50 {
        next = device.start_next();
        if next != Value::Null {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(next["jobId"], "sl-cut-off-w1");
}

#[test]
fn a_target_of_two_products_with_one_version_has_to_be_named_exactly() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    let mut maker = Maker::default();
    maker.fleet.delegation_products = vec!["thermostat", "toaster"];
    let mut toaster = target([1, 0, 0], 3_000);
    toaster.product = "toaster";
    maker.fleet.targets.push(toaster);
    publish(&server, &maker);
    let device = Device::enrol(&server, "a", "canary");
    let (said, exit) = server.json(&["rollout", "create", "--release", "1.0", "--group", "canary"]);
    assert_eq!(exit, 2);
    assert!(said["error"]["message"].as_str().unwrap().contains("--target"), "{said}");
    server.ok(&["rollout", "create", "--release", "1.0", "--product", "toaster", "--group", "canary"]);
    let document = device.start_next()["jobDocument"].as_str().unwrap().to_owned();
    assert!(document.contains("\"product\":\"toaster\""), "{document}");
}

/// Many roots: the bundle leaves them out rather than break AWS's bound, and a device fetches them.
#[test]
fn a_job_document_keeps_to_awss_bound_whatever_the_repository_holds() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    let mut maker = Maker::default();
    let mut sizes = vec![];
    for version in 1..=12_u64 {
        if version > 1 {
            let before = maker.fleet.clone();
            maker.fleet.root_version = version;
            maker.roots.push(maker.fleet.root_after(&before));
            maker.next(target([1, version as u32, 0], 1_000));
        }
        publish(&server, &maker);
        let name = format!("v{version}");
        let device = Device::enrol(&server, &name, "canary");
        let release = format!("1.{}.0", if version > 1 { version } else { 0 });
        server.ok(&["rollout", "create", "--release", &release, "--thing", &name, "--name", &name]);
        let document = device.start_next()["jobDocument"].as_str().unwrap().to_owned();
        assert!(document.len() <= sealift_jobs::limits::JOB_DOCUMENT_MAX_CHARS);
        let document = sealift_jobs::JobDocument::from_json(&document).unwrap();
        sizes.push(document.bundle.unwrap().len());
    }
    assert!(sizes[8] > sizes[0] && sizes[9] < sizes[8], "{sizes:?}");
}

/// The owner of the job queue can say what he likes: it arrives as it is, and is a hint.
#[test]
fn a_single_job_carries_any_document_and_is_cancelled_by_itself() {
    let (home, server, _) = with_release();
    let device = Device::enrol(&server, "a", "canary");
    let path = home.path().join("document.json");
    let file = path.to_str().unwrap();
    let create = ["jobs", "create", "--id", "probe-1", "--document", file, "--thing", "a"];
    assert_eq!(server.json(&create).1, 4, "no such file");
    std::fs::write(&path, "not json").unwrap();
    assert_eq!(server.json(&create).1, 4);
    std::fs::write(&path, json!({"x": "y".repeat(33_000)}).to_string()).unwrap();
    assert_eq!(server.json(&create).1, 4, "too long");
    std::fs::write(&path, r#"{"at":"${sealift:origin}/x"}"#).unwrap();
    assert_eq!(server.ok(&create)[0]["id"], "probe-1");
    assert_eq!(device.start_next()["jobDocument"], r#"{"at":"https://localhost/x"}"#);
    std::fs::write(&path, "{}").unwrap();
    assert_eq!(server.json(&create).1, 2, "another document under the same id");
    let cancelled = server.ok(&["jobs", "cancel", "probe-1", "--force"]);
    assert_eq!(cancelled[0]["status"], "CANCELED");
    assert_eq!(server.ok(&["jobs", "list"]).as_array().unwrap().len(), 1);
}

/// Three devices, two waves: the first passes its gate by proof and approval, then the second begins; a pause takes out who
/// has not started, a resume brings them back, and every act is on record.
#[test]
fn a_plan_goes_through_gate_approval_pause_and_resume() {
    let (home, server, maker) = with_release();
    let image = {
        use sha2::Digest as _;
        sha2::Sha256::digest(&maker.fleet.targets[0].image).into()
    };
    let devices: Vec<Device> = ["a", "b", "c"].map(|name| Device::enrol(&server, name, "all")).into();
    let plan = home.path().join("plan.toml");
    std::fs::write(
        &plan,
        "product = \"thermostat\"\nversion = \"1.0.0\"\n[[wave]]\nname = \"first\"\nthings = [\"a\"]\n\
         gate = { success-ratio = 1.0, min-finished = 1, soak = \"0s\", approval = true }\n\
         [[wave]]\nname = \"rest\"\npercent = 100\n",
    )
    .unwrap();
    server.ok(&["rollout", "start", plan.to_str().unwrap(), "--name", "p"]);
    assert_eq!(server.ok(&["rollout", "explain", "p", "a"])["wave"], 0);
    assert_eq!(server.ok(&["rollout", "explain", "p", "b"])["wave"], 1);
    let execution = devices[0].start_next();
    assert_eq!(execution["jobId"], "sl-p-w1");
    assert_eq!(devices[1].start_next(), Value::Null);
    let report = devices[0].report(maker.fleet.repository.0, &execution, image, 3);
    devices[0].update("sl-p-w1", &json!({"status": "SUCCEEDED", "statusDetails": {"report": report}}));
    // The gate holds, but nobody has approved.
    server.ok(&["rollout", "approve", "p", "--wave", "first"]);
    let execution = devices[1].start_next();
    assert_eq!(execution["jobId"], "sl-p-w2");
    let paused = server.ok(&["rollout", "pause", "p", "--comment", "lunch"]);
    assert_eq!((&paused["state"], &paused["comment"]), (&json!("PAUSED"), &json!("lunch")));
    assert_eq!(devices[2].start_next(), Value::Null, "taken out before it started");
    assert_eq!(server.ok(&["rollout", "resume", "p"])["state"], "RUNNING");
    let again = devices[2].start_next();
    assert_eq!(again["jobId"], "sl-p-w2-a1", "{again} {}", server.ok(&["rollout", "history", "p"]));
    let history = server.ok(&["rollout", "history", "p"]).to_string();
    for word in [
        "created",
        "wave first begins",
        "gate of wave first holds",
        "approved",
        "paused: lunch",
        "cancelled",
        "resumed",
        "sl-p-w2-a1",
    ] {
        assert!(history.contains(word), "{word}: {history}");
    }
    let (said, exit) = server.json(&["rollout", "approve", "p", "--wave", "nowhere"]);
    assert_eq!(exit, 2);
    assert!(said.to_string().contains("first, rest"), "{said}");
}

#[test]
fn a_wave_whose_devices_refuse_stops_the_rollout_before_the_next() {
    let (home, server, _) = with_release();
    let devices: Vec<Device> = (0..4).map(|n| Device::enrol(&server, &format!("d{n}"), "lab")).collect();
    let plan = home.path().join("plan.toml");
    std::fs::write(
        &plan,
        "product = \"thermostat\"\nversion = \"1.0.0\"\n[[wave]]\nname = \"lab\"\ngroups = [\"lab\"]\n\
         abort = [{ on = \"rejected\", percent = 50.0, min-finished = 2 }]\n[[wave]]\nname = \"all\"\npercent = 100\n",
    )
    .unwrap();
    server.ok(&["rollout", "start", plan.to_str().unwrap(), "--name", "p"]);
    for device in &devices[..2] {
        device.start_next();
        device.update("sl-p-w1", &json!({"status": "REJECTED", "statusDetails": {"code": "SL-504"}}));
    }
    let (_, exit) = server.json(&["rollout", "status", "p", "--wait", "--timeout", "60"]);
    assert_eq!(exit, 3);
    let status = server.ok(&["rollout", "status", "p"]);
    assert_eq!(status["state"], "STOPPED");
    assert!(status["comment"].as_str().unwrap().contains("2 of 2 devices refused"), "{status}");
    // The end is recorded first, then the job is cancelled.
    let spared = |_| server.ok(&["rollout", "status", "p"])["counts"]["CANCELED"] == 2;
    assert!((0..200).any(spared), "two devices are taken out");
    for device in &devices[2..] {
        assert_eq!(device.start_next(), Value::Null);
    }
}
