//! Updates that go well, and what the device tells of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealift_manifests::PublicKey;
use sealift_manifests::report::{Report, SignedReport};
use sealift_manifests::sha256;

use crate::fleet::{Keyring, Release};
use crate::server::{Reply, Server};
use crate::world::*;

#[test]
fn a_job_is_verified_installed_tried_confirmed_and_reported_under_the_devices_key() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    let done = world.once(&["--health-check", "test \"$SEALIFT_VERSION\" = 1.1.0 && test -f \"$SEALIFT_SLOT_PATH\""]);
    assert_eq!(done.code, 0, "{done:?}");
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    assert_eq!(world.counter(), 5);
    let (_, details) = world.server.outcome();
    let text = details["report"].as_str().unwrap();
    assert!(text.len() <= 1024);
    let bytes = STANDARD.decode(text).unwrap();
    let signed = SignedReport::decode(&bytes).unwrap();
    let mut key = [0; 32];
    hex::decode_to_slice(world.server.lock().report_key.clone().unwrap(), &mut key).unwrap();
    assert_eq!(signed.key_id, PublicKey(key).id());
    assert!(sealift_verifier::ed25519::verify(&key, &[&SignedReport::sig_structure(signed.payload)], signed.signature));
    let report = Report::decode(signed.payload).unwrap();
    assert_eq!((report.thing, report.job, report.execution, report.boot_count), ("thing-1", "job-1", 1, 1));
    assert_eq!((report.image, report.security_counter), (sha256(&world.fleet.targets[0].image), 5));
    // Every request to the device's own server came with its certificate.
    assert!(world.server.requests("/").iter().filter(|seen| seen.path != "/enrol").all(|seen| seen.with_certificate));
}

#[test]
fn without_a_job_there_is_nothing_to_do() {
    let world = World::new();
    let done = world.once(&[]);
    assert_eq!((done.code, done.last()["event"].as_str()), (0, Some("idle")));
    assert_eq!(world.version(), "1.0.0");
}

#[test]
fn a_job_without_a_bundle_is_verified_by_metadata_of_stable_names() {
    let world = World::new();
    world.publish();
    world.queue(None);
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
}

#[test]
fn a_stale_bundle_is_no_attack_the_device_asks_for_the_latest_metadata() {
    let mut world = World::new();
    let old = world.fleet.files().bundle();
    // Something newer was seen in between, another release is published beside, and the old bundle is below the floors.
    world.fleet.bump();
    let mut other = Release::new([1, 0, 5]);
    other.security_counter = 3;
    world.fleet.targets.push(other);
    world.publish();
    world.queue(None);
    let first = world.fleet.targets.clone();
    world.fleet.targets.swap(0, 1);
    world.publish();
    world.fleet.targets = first;
    world.fleet.bump();
    world.publish();
    let seen = world.run(&["install", &world.file("bundle", &world.fleet.files().bundle())]);
    assert_eq!(seen.code, 3, "no payload, but the floors are raised: {seen:?}");
    world.queue(Some(&old));
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
}

#[test]
fn a_device_that_slept_through_thirty_roots_catches_up_in_one_job() {
    let mut world = World::new();
    for version in 2..=31u8 {
        let before = world.fleet.clone();
        world.fleet.root_version = u64::from(version);
        world.fleet.roles[1] = Keyring::of(1, &[100 + version]);
        world.server.put(format!("/metadata/{version}.root"), Reply::File(world.fleet.root_after(&before)));
    }
    world.publish();
    world.queue(None);
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    assert_eq!(world.run(&["status"]).last()["root"], 31);
}

#[test]
fn an_image_that_is_not_well_is_reverted_and_the_reason_told() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    let done = world.once(&["--health-check", "exit 7"]);
    assert_eq!(done.code, 1);
    world.assert_outcome("FAILED", Some("SL-706"), "1.0.0");
    assert!(world.server.outcome().1["reason"].as_str().unwrap().contains("exit code 7"));
    assert_eq!(world.counter(), 3);
}

#[test]
fn a_health_check_that_hangs_is_ended_and_the_image_reverted() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    assert_eq!(world.once(&["--health-check", "sleep 600 & wait", "--hook-timeout", "1"]).code, 1);
    world.assert_outcome("FAILED", Some("SL-706"), "1.0.0");
}

#[test]
fn the_boot_command_is_told_every_slot_that_runs() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    let log = world.text("boots");
    let command = format!("echo $SEALIFT_SLOT $SEALIFT_VERSION $SEALIFT_TRIAL >> {log}");
    assert_eq!(world.once(&["--boot-command", &command]).code, 0);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "a 1.0.0 0\nb 1.1.0 1\n");
}

#[test]
fn with_a_reboot_command_the_boot_stage_tries_the_image_and_the_agent_reports_after_it() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    let flag = world.text("rebooted");
    let reboot = format!("touch {flag}");
    assert_eq!(world.once(&["--reboot-command", &reboot]).code, 0);
    assert!(exists(&world.path("rebooted")));
    assert_eq!(world.server.outcome().0, "", "nothing is reported before the reboot");
    let booted = world.run(&["boot", "--health-check", "true"]);
    assert_eq!(booted.last()["version"], "1.1.0");
    assert_eq!(world.once(&["--reboot-command", &reboot]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
}

#[test]
fn payloads_from_elsewhere_are_taken_without_showing_the_certificate() {
    let world = World::new();
    let elsewhere = Server::start();
    elsewhere.put(world.payload_path(), Reply::File(world.fleet.targets[0].image.clone()));
    // The device is given both CAs.
    std::fs::write(world.state().join("keys/ca.pem"), format!("{}{}", world.server.ca, elsewhere.ca)).unwrap();
    let mut document = world.document(Some(&world.fleet.files().bundle()));
    for url in document["payloads"].as_object_mut().unwrap().values_mut() {
        *url = format!("{}{}", elsewhere.origin, world.payload_path()).into();
    }
    world.queue_document(document.to_string());
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    let asked = elsewhere.requests("/payloads/");
    assert!(asked.len() == 1 && !asked[0].with_certificate);
}

#[test]
fn a_payload_url_that_expired_is_asked_for_anew() {
    let world = World::new();
    let mut document = world.document(Some(&world.fleet.files().bundle()));
    for url in document["payloads"].as_object_mut().unwrap().values_mut() {
        *url = format!("{}/expired", world.server.origin).into();
    }
    world.server.put("/expired", Reply::Status(403, vec![]));
    world.queue_document(document.to_string());
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    let seen = world.server.requests("/");
    let at = |path: &str| seen.iter().position(|seen| seen.path.starts_with(path)).unwrap();
    assert!(at("/expired") < at("/things/thing-1/jobs/job-1?") && at("/things/thing-1/jobs/job-1?") < at("/payloads/"));
}

#[test]
fn a_metered_link_takes_deltas_alone_and_the_job_may_be_tried_again() {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    assert_eq!(world.once(&["--delta-only"]).code, 1);
    world.assert_outcome("FAILED", Some("SL-808"), "1.0.0");
    assert!(world.server.requests("/payloads/").is_empty());
}

#[test]
fn a_job_of_a_metered_group_takes_deltas_alone_even_where_the_whole_image_could_be_had() {
    let world = World::new();
    let mut document = world.document(Some(&world.fleet.files().bundle()));
    document["deltaOnly"] = true.into();
    world.queue_document(document.to_string());
    assert_eq!(world.once(&[]).code, 1);
    world.assert_outcome("FAILED", Some("SL-808"), "1.0.0");
    assert!(world.server.requests("/payloads/").is_empty());
}
