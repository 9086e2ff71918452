//! kill -9 of the server under load: nothing acknowledged is lost, nothing unacknowledged half happens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::device::{Connection, Device};
use crate::endpoint::with_release;
use crate::process::Server;

/// Works on its job, one update after another, across crashes; returns what the server acknowledged last.
fn work(device: &Device, stop: &AtomicBool) -> (u64, u64, u64) {
    let path = format!("/things/{}/jobs/sl-load-w1", device.name);
    let (mut acknowledged, mut version, mut unsure) = (0, 1, 0);
    let mut connection: Option<Connection> = None;
    let mut step = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = connection.as_mut() else {
            connection = device.connect().ok();
            if connection.is_none() {
                std::thread::sleep(Duration::from_millis(20));
            }
            continue;
        };
        step += 1;
        let body = json!({"status": "IN_PROGRESS", "statusDetails": {"step": step.to_string()},
            "includeJobExecutionState": true, "executionNumber": 1});
        match open.request("POST", &path, "", body.to_string().as_bytes()) {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{answer:?}");
                let now = answer.json()["executionState"]["versionNumber"].as_u64().unwrap();
                // Every update between two acknowledgements was sent by us: at most the unsure ones happened besides.
                assert!(now > version && now <= version + 1 + unsure, "{version} -> {now}, {unsure} unsure");
                (acknowledged, version, unsure) = (step, now, 0);
            }
            Err(_) => {
                unsure += 1;
                connection = None;
            }
        }
    }
    (acknowledged, version, unsure)
}

#[test]
fn killed_fifty_times_under_load_the_server_loses_nothing_it_acknowledged() {
    let (_home, mut server, _) = with_release();
    let devices: Vec<Device> = (0..4).map(|n| Device::enrol(&server, &format!("dev-{n}"), "load")).collect();
    server.ok(&["rollout", "create", "--release", "1.0", "--group", "load", "--name", "load"]);
    let stop = AtomicBool::new(false);
    let mut updates = 0;
    std::thread::scope(|scope| {
        let workers: Vec<_> = devices.iter().map(|device| scope.spawn(|| work(device, &stop))).collect();
        for round in 0..50 {
            std::thread::sleep(Duration::from_millis(40 + round * 7 % 120));
            server.crash_and_restart();
        }
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
        for (device, worker) in devices.iter().zip(workers) {
            let (acknowledged, version, unsure) = worker.join().unwrap();
            let execution = described(device);
            let (found, kept) = (execution["versionNumber"].as_u64().unwrap(), kept_step(&execution));
            assert!(found >= version && found <= version + unsure, "{version} {unsure} -> {found}");
            assert!(kept >= acknowledged, "acknowledged step {acknowledged}, kept {kept}");
            updates += acknowledged;
        }
    });
    assert!(updates > 200, "only {updates} updates were acknowledged: no load");
    println!("{updates} updates acknowledged across 50 kills");
}

fn described(device: &Device) -> Value {
    device.get(&format!("/things/{}/jobs/sl-load-w1", device.name)).json()["execution"].clone()
}

fn kept_step(execution: &Value) -> u64 {
    execution["statusDetails"]["step"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_first_start_that_was_killed_between_key_and_certificate_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let server = Server::start(&state);
    drop(server);
    std::fs::remove_file(state.join("ca/ca.pem")).unwrap();
    let server = Server::start(&state);
    Device::enrol(&server, "dev-1", "canary");
}
