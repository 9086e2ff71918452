//! Rollouts in waves, from plan files, through the real server: gates, thresholds, pauses, approvals.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::device::Device;
use crate::endpoint::with_release;
use crate::process::Server;
use crate::release::Maker;

struct Fleet {
    home: tempfile::TempDir,
    server: Server,
    maker: Maker,
}

impl Fleet {
    fn new() -> Self {
        let (home, server, maker) = with_release();
        Self { home, server, maker }
    }

    fn plan(&self, waves: &str) -> String {
        let path = self.home.path().join("plan.toml");
        std::fs::write(&path, format!("product = \"thermostat\"\nversion = \"1.0.0\"\n{waves}")).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn start(&self, waves: &str) {
        self.server.ok(&["rollout", "start", &self.plan(waves), "--name", "r"]);
    }

    fn state(&self) -> Value {
        self.server.ok(&["rollout", "status", "r"])
    }

    /// Waits until the rollout is as expected.
    fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let state = self.state();
            if holds(&state) {
                return state;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "never {what}: {state}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Lets a device take its job and end it; with a report when it succeeds.
    fn end(&self, device: &Device, status: &str) {
        let execution = device.start_next();
        let image = Sha256::digest(&self.maker.fleet.targets[0].image).into();
        let details = match status {
            "SUCCEEDED" => json!({"report": device.report(self.maker.fleet.repository.0, &execution, image, 3)}),
            _ => json!({"code": "SL-602"}),
        };
        let job = execution["jobId"].as_str().unwrap_or_else(|| panic!("{} has no job", device.name));
        let answer = device.update(job, &json!({"status": status, "statusDetails": details}));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn devices(&self, group: &str, count: usize) -> Vec<Device> {
        (0..count).map(|n| Device::enrol(&self.server, &format!("{group}-{n}"), group)).collect()
    }
}

const TWO_WAVES: &str = "
    [[wave]]
    name = \"first\"
    groups = [\"a\"]
    gate = { success-ratio = 1.0, min-finished = 2 }
    abort = []
    [[wave]]
    name = \"second\"
    groups = [\"b\"]
    abort = []
";

#[test]
fn the_second_wave_begins_when_the_first_has_proven_itself_and_not_before() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.devices("a", 2), fleet.devices("b", 1));
    fleet.start(TWO_WAVES);
    fleet.end(&a[0], "SUCCEEDED");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(b[0].start_next(), Value::Null, "one of two isn't enough");
    fleet.end(&a[1], "SUCCEEDED");
    fleet.until("in the second wave", |state| state["waves"][1]["progress"] != Value::Null);
    fleet.end(&b[0], "SUCCEEDED");
    let done = fleet.until("completed", |state| state["state"] == "COMPLETED");
    assert_eq!((&done["proven"], &done["differences"]), (&json!(3), &json!(0)));
}

#[test]
fn success_that_nobody_proved_opens_no_gate() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.devices("a", 2), fleet.devices("b", 1));
    fleet.start(TWO_WAVES);
    fleet.end(&a[0], "SUCCEEDED");
    let job = a[1].start_next()["jobId"].as_str().unwrap().to_owned();
    assert_eq!(a[1].update(&job, &json!({"status": "SUCCEEDED"})).status, 200);
    std::thread::sleep(Duration::from_millis(700));
    let state = fleet.state();
    assert_eq!((&state["state"], &state["waves"][1]["progress"]), (&json!("RUNNING"), &Value::Null));
    assert_eq!((&state["proven"], &state["differences"]), (&json!(1), &json!(1)));
    assert_eq!(b[0].start_next(), Value::Null);
}

#[test]
fn a_rollout_stops_itself_at_its_threshold_and_says_why() {
    let fleet = Fleet::new();
    let a = fleet.devices("a", 4);
    fleet.start(
        "[[wave]]\nname = \"all\"\ngroups = [\"a\"]\nabort = [{ on = \"failed\", percent = 50.0, min-finished = 2 }]",
    );
    fleet.end(&a[0], "FAILED");
    fleet.end(&a[1], "FAILED");
    let stopped = fleet.until("stopped", |state| state["state"] == "STOPPED");
    assert!(stopped["comment"].as_str().unwrap().contains("2 of 2 devices failed"), "{stopped}");
    let stopped = fleet.until("cleared", |state| state["counts"]["CANCELED"] == 2);
    assert_eq!(stopped["counts"], json!({"FAILED": 2, "CANCELED": 2}));
    assert_eq!(a[2].start_next(), Value::Null);
    let (said, exit) = fleet.server.json(&["rollout", "resume", "r"]);
    assert_eq!(exit, 2, "{said}");
}

#[test]
fn a_pause_takes_out_who_has_not_started_and_a_resume_brings_them_back() {
    let fleet = Fleet::new();
    let a = fleet.devices("a", 3);
    fleet.start("[[wave]]\nname = \"all\"\ngroups = [\"a\"]\nabort = []");
    fleet.end(&a[0], "SUCCEEDED");
    let at_it = a[1].start_next()["jobId"].as_str().unwrap().to_owned();
    let paused = fleet.server.ok(&["rollout", "pause", "r", "--comment", "a bad feeling"]);
    assert_eq!((&paused["state"], &paused["comment"]), (&json!("PAUSED"), &json!("a bad feeling")));
    assert_eq!(a[2].start_next(), Value::Null);
    // Who had started goes on.
    assert_eq!(a[1].update(&at_it, &json!({"status": "SUCCEEDED"})).status, 200);
    assert_eq!(fleet.server.ok(&["rollout", "resume", "r"])["state"], "RUNNING");
    assert_eq!(a[2].start_next()["jobId"], "sl-r-w1-a1");
}

#[test]
fn a_step_that_needs_approval_waits_for_it() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.devices("a", 1), fleet.devices("b", 1));
    fleet.start(&TWO_WAVES.replace("min-finished = 2", "min-finished = 1, approval = true"));
    fleet.end(&a[0], "SUCCEEDED");
    fleet.until("held by its gate", |_| {
        fleet.server.ok(&["rollout", "history", "r"]).to_string().contains("gate of wave first holds")
    });
    assert_eq!(b[0].start_next(), Value::Null);
    assert_eq!(fleet.server.json(&["rollout", "approve", "r", "--wave", "nowhere"]).1, 2);
    fleet.server.ok(&["rollout", "approve", "r", "--wave", "first"]);
    assert_eq!(b[0].start_next()["jobId"], "sl-r-w2");
}

#[test]
fn a_job_cancelled_behind_the_rollouts_back_stops_it() {
    let fleet = Fleet::new();
    let a = fleet.devices("a", 2);
    fleet.devices("b", 1);
    fleet.start(TWO_WAVES);
    fleet.server.ok(&["jobs", "cancel", "sl-r-w1"]);
    let stopped = fleet.until("stopped", |state| state["state"] == "STOPPED");
    assert!(stopped["comment"].as_str().is_some(), "{stopped}");
    assert_eq!(a[0].start_next(), Value::Null);
}

#[test]
fn percentages_reach_everybody_in_the_end_and_nobody_twice() {
    let fleet = Fleet::new();
    let devices = fleet.devices("a", 8);
    fleet.start(
        "[[wave]]\nname = \"half\"\npercent = 50\ngate = { success-ratio = 0.0, min-finished = 0 }\nabort = []
         [[wave]]\nname = \"all\"\npercent = 100\nabort = []",
    );
    fleet.until("in the last wave", |state| {
        let total: u64 = state["counts"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        total == 8
    });
    for device in &devices {
        fleet.end(device, "SUCCEEDED");
        assert_eq!(device.start_next(), Value::Null);
    }
    let done = fleet.until("completed", |state| state["state"] == "COMPLETED");
    assert_eq!(done["proven"], 8);
}

#[test]
fn a_wave_without_devices_does_not_hold_up_the_others() {
    let fleet = Fleet::new();
    let devices = fleet.devices("a", 1);
    // One device is in at most one of these; the others are empty.
    let waves: String = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
        .iter()
        .map(|p| format!("[[wave]]\nname = \"w{p}\"\npercent = {p}\nabort = []\n"))
        .collect();
    fleet.start(&waves);
    fleet.until("at the device", |state| state["counts"] == json!({"QUEUED": 1}));
    fleet.end(&devices[0], "SUCCEEDED");
    fleet.until("completed", |state| state["state"] == "COMPLETED");
}

#[test]
fn a_server_killed_during_a_rollout_in_waves_goes_on_where_it_was() {
    let mut fleet = Fleet::new();
    let (a, b) = (fleet.devices("a", 2), fleet.devices("b", 1));
    fleet.start(TWO_WAVES);
    fleet.server.crash_and_restart();
    fleet.end(&a[0], "SUCCEEDED");
    fleet.end(&a[1], "SUCCEEDED");
    fleet.server.crash_and_restart();
    fleet.until("in the second wave", |state| state["waves"][1]["progress"] != Value::Null);
    fleet.server.crash_and_restart();
    fleet.end(&b[0], "SUCCEEDED");
    fleet.until("completed", |state| state["state"] == "COMPLETED");
    assert_eq!(fleet.server.ok(&["jobs", "list"]).as_array().unwrap().len(), 2, "no wave began twice");
}

#[test]
fn bad_plans_are_refused_with_the_field_that_is_wrong() {
    let fleet = Fleet::new();
    fleet.devices("a", 1);
    let refused = |waves: &str, word: &str, exit: i32| {
        let (said, found) = fleet.server.json(&["rollout", "start", &fleet.plan(waves)]);
        assert_eq!(found, exit, "{waves}: {said}");
        assert!(said["error"]["message"].as_str().unwrap().contains(word), "{waves}: {said}");
    };
    refused("", "wave", 4);
    refused("colour = 1", "colour", 4);
    refused("[[wave]]\nname = \"x\"", "percent", 4);
    refused("[[wave]]\nname = \"x\"\npercent = 101", "101", 4);
    refused("[[wave]]\nname = \"x\"\ngroups = [\"a\"]\nrate = 5000", "1000", 4);
    refused("[[wave]]\nname = \"x\"\ngroups = [\"nobody\"]", "no group is called nobody", 2);
    refused("[[wave]]\nname = \"x\"\nthings = [\"nobody\"]", "no device is called nobody", 2);
    refused("delta-only-groups = [\"a\"]\n[[wave]]\nname = \"x\"\ngroups = [\"a\"]", "delta-only-groups", 4);
    let missing = fleet.server.json(&["rollout", "start", "/nowhere/plan.toml"]);
    assert_eq!(missing.1, 4);
    assert_eq!(fleet.server.ok(&["rollout", "list"]), json!([]));
}

#[test]
fn a_plan_can_be_looked_at_and_every_act_is_in_the_audit_log_once() {
    let fleet = Fleet::new();
    let (a, _b) = (fleet.devices("a", 2), fleet.devices("b", 1));
    let preview = fleet.server.ok(&["rollout", "plan", &fleet.plan(TWO_WAVES)]);
    assert_eq!((&preview["devices"], &preview["waves"][0]["devices"]), (&json!(3), &json!(2)));
    assert_eq!(fleet.server.ok(&["rollout", "list"]), json!([]));
    fleet.start(TWO_WAVES);
    fleet.end(&a[0], "SUCCEEDED");
    let explained = fleet.server.ok(&["rollout", "explain", "r", "a-0"]);
    assert!(explained["payloadWhy"].as_str().unwrap().contains("newest signed report"), "{explained}");
    fleet.server.ok(&["rollout", "pause", "r"]);
    fleet.server.ok(&["rollout", "resume", "r"]);
    fleet.server.ok(&["rollout", "abort", "r", "--comment", "enough"]);
    let entries = fleet.until("all on record", |_| {
        fleet.server.ok(&["audit", "verify"])["number"].as_u64().unwrap()
            == 2 + fleet.server.ok(&["rollout", "history", "r"]).as_array().unwrap().len() as u64
    });
    assert_eq!(entries["state"], "CANCELED");
    let exported = crate::process::run(&["audit", "export", "--state", fleet.server.state()]).stdout;
    let file = fleet.home.path().join("audit.jsonl");
    std::fs::write(&file, &exported).unwrap();
    let head = fleet.server.ok(&["audit", "verify"]);
    assert_eq!(crate::process::ok(&["audit", "verify", "--file", file.to_str().unwrap()]), head);
    // One byte of one entry.
    let altered = String::from_utf8(exported).unwrap().replacen("enough", "enoogh", 1);
    std::fs::write(&file, altered).unwrap();
    let (said, exit) = crate::process::json(&["audit", "verify", "--file", file.to_str().unwrap()]);
    assert_eq!(exit, 3, "{said}");
}

#[test]
fn a_fleet_is_learned_from_its_rollouts_and_simulated() {
    let fleet = Fleet::new();
    let devices = fleet.devices("a", 3);
    assert_eq!(fleet.server.json(&["rollout", "fleet"]).1, 2, "nothing to learn from yet");
    fleet.start("[[wave]]\nname = \"all\"\ngroups = [\"a\"]\nabort = []\n");
    fleet.end(&devices[0], "SUCCEEDED");
    fleet.end(&devices[1], "FAILED");
    fleet.end(&devices[2], "SUCCEEDED");
    let learned = fleet.server.ok(&["rollout", "fleet"]);
    assert_eq!(learned["fleet"]["devices"], 3, "{learned}");
    assert_eq!(learned["fleet"]["groups"], json!({ "a": 3 }), "{learned}");
    assert!((learned["fleet"]["failure-share"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-9, "{learned}");
    // What it prints for people is what `simulate` reads.
    let printed = crate::process::run(&["rollout", "fleet", "r", "--devices", "5000", "--state", fleet.server.state()]);
    assert!(printed.status.success(), "{printed:?}");
    assert!(String::from_utf8_lossy(&printed.stderr).contains("failure-share is from 3 execution(s)"), "{printed:?}");
    let file = fleet.home.path().join("fleet.toml");
    std::fs::write(&file, &printed.stdout).unwrap();
    let plan = fleet.plan("[[wave]]\nname = \"all\"\npercent = 100\nabort = []\n");
    let story = std::process::Command::new(env!("CARGO_BIN_EXE_sealift-server"))
        .args(["rollout", "simulate", &plan, "--json", "--fleet"])
        .arg(&file)
        .output()
        .unwrap();
    let story: Value = serde_json::from_slice(&story.stdout).unwrap();
    let wave = &story["waves"][0];
    assert_eq!(wave["devices"], 5_000, "{story}");
    assert!(
        (1_300..=1_900).contains(&wave["failed"].as_u64().unwrap()),
        "a third of them fails, some after a retry: {wave}"
    );
}
