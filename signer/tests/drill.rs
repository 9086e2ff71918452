//! The rehearsal of a key compromise, with the real binary: what it shows, and that the project stays as it is.

mod support;

use std::fs;

use serde_json::Value;
use support::{Project, firmware};

/// Every file of a project's folder but the lock, with its content.
fn contents(project: &Project) -> Vec<(String, Vec<u8>)> {
    let mut files = project.repository();
    for name in ["sealift.toml", "sealift.ceremony.jsonl"] {
        files.push((name.into(), fs::read(project.file(name)).unwrap()));
    }
    files
}

fn drill(project: &Project, role: &str) -> Value {
    let before = contents(project);
    let report = project.run(&["drill", "key-compromise", "--role", role, "--json"]).ok().json();
    assert!(contents(project) == before, "the project is not touched");
    assert_eq!(report["passed"], true, "{report:#}");
    assert!(report["millis"].as_u64().is_some() && report["recovery_millis"].as_u64().is_some());
    report
}

/// The codes with which one device refused, in order.
fn codes(report: &Value, device: &str, words: &str) -> Vec<String> {
    let steps = report["steps"].as_array().unwrap().iter();
    let of_it = steps.filter(|step| {
        let what = step["what"].as_str().unwrap();
        what.starts_with(device) && what.contains(words)
    });
    of_it.filter_map(|step| step["code"].as_str().map(str::to_owned)).collect()
}

fn with_releases() -> Project {
    let project = Project::new();
    project.release("1.0.0", &firmware(9_000, 1));
    project.release("1.1.0", &firmware(9_000, 2));
    project
}

#[test]
fn stolen_targets_keys_are_revoked_and_devices_recover_from_a_fast_forward_without_reflashing() {
    let project = with_releases();
    let report = drill(&project, "targets");
    assert_eq!(report["stolen"], serde_json::json!(["targets-1", "snapshot-1", "timestamp-1"]));
    // Before: the victim takes the forgery, and is stranded by version 2^63.
    assert_eq!(codes(&report, "victim", "nothing genuine any more"), ["SL-401"]);
    // After: everybody follows, whoever slept or was stranded too, and nobody takes the thief's word again.
    for device in ["awake", "victim", "asleep", "fresh"] {
        assert_eq!(codes(&report, device, "what the stolen keys sign now"), ["SL-201"], "{device}");
    }
    // Nor with the new online keys in hand: it is the revoked targets key that does not count.
    let again =
        report["steps"].as_array().unwrap().iter().find(|step| step["what"].as_str().unwrap().contains("once more"));
    assert!(again.unwrap()["outcome"].as_str().unwrap().starts_with("SL-201 targets"), "{again:?}");
    let recovered = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["outcome"].as_str().unwrap().contains("trusts root 2"));
    assert_eq!(recovered.count(), 4, "{report:#}");
    assert!(report["steps"].as_array().unwrap().iter().all(|step| step["millis"].is_u64()));
}

#[test]
fn a_stolen_timestamp_key_makes_devices_try_again_and_not_give_up() {
    let report = drill(&with_releases(), "timestamp");
    assert_eq!(report["stolen"], serde_json::json!(["timestamp-1"]));
    let step =
        report["steps"].as_array().unwrap().iter().find(|step| step["code"] == "SL-402").expect("an equal version");
    assert!(step["outcome"].as_str().unwrap().contains("FAILED, tried again"), "{step}");
    // And once the key is revoked, so does version 2^63.
    assert_eq!(codes(&report, "asleep", "what the stolen keys sign now"), ["SL-201"]);
}

#[test]
fn stolen_snapshot_and_release_keys_are_rehearsed_too() {
    let project = with_releases();
    for role in ["snapshot", "thermostat"] {
        let report = drill(&project, role);
        assert_eq!(codes(&report, "victim", "what the stolen keys sign now"), ["SL-201"], "{role}");
    }
}

#[test]
fn root_keys_below_the_threshold_forge_no_root_and_are_replaced() {
    let project = with_releases();
    // With one root key there is nothing to rehearse.
    project.run(&["drill", "key-compromise", "--role", "root"]).fails(3, &["owns the fleet", "raise the threshold"]);
    for name in ["root-2", "root-3"] {
        let uri = format!("file:keys/{name}.pem");
        project.run(&["keys", "generate", &format!("keys/{name}.pem")]).ok();
        project.run(&["root", "stage", "add-key", "--role", "root", "--name", name, "--uri", &uri]).ok();
    }
    project.run(&["root", "stage", "threshold", "--role", "root", "2"]).ok();
    project.run(&["root", "apply"]).ok();
    let report = drill(&project, "root");
    assert_eq!(report["stolen"].as_array().unwrap().len(), 1);
    assert_eq!(codes(&report, "victim", "below the threshold"), ["SL-201"]);
    assert_eq!(codes(&report, "fresh", "what the stolen keys sign now"), ["SL-201"]);
}

#[test]
fn officers_keys_that_are_elsewhere_are_not_needed_for_a_drill() {
    let project = with_releases();
    fs::rename(project.file("keys"), project.file("elsewhere")).unwrap();
    drill(&project, "targets");
    // A project without a release has one made for it.
    drill(&Project::new(), "targets");
    project.run(&["drill", "key-compromise", "--role", "nobody"]).fails(2, &["no role `nobody`", "thermostat"]);
    let words = project.run(&["drill", "key-compromise", "--role", "targets"]).ok();
    assert!(words.stdout.contains("steps as they have to be") && words.stdout.contains(" ms"), "{}", words.stdout);
}
