//! Servers that lie, stall and flood: the running image goes on, and the job says why it failed.

use std::time::Duration;

use sealift_manifests::Digest;
use serde_json::json;

use crate::fleet::Release;
use crate::server::Reply;
use crate::world::*;

fn with_payload(reply: impl FnOnce(Vec<u8>) -> Reply) -> World {
    let world = World::new();
    world.server.put(world.payload_path(), reply(world.fleet.targets[0].image.clone()));
    world.queue(Some(&world.fleet.files().bundle()));
    world
}

#[test]
fn an_altered_payload_is_rejected() {
    let world = with_payload(|mut image| {
        image[400_000] ^= 1;
        Reply::File(image)
    });
    assert_eq!(world.once(&[]).code, 3);
    world.assert_outcome("REJECTED", Some("SL-603"), "1.0.0");
}

#[test]
fn an_endless_payload_is_stopped_at_its_signed_length() {
    let world = with_payload(|_| Reply::Endless);
    assert_eq!(world.once(&[]).code, 3);
    world.assert_outcome("REJECTED", Some("SL-601"), "1.0.0");
    // What the sockets' buffers hold comes on top.
    assert!(world.server.lock().sent < 700_000 + 8_000_000, "{}", world.server.lock().sent);
}

#[test]
fn a_truncated_payload_fails_and_may_be_tried_again() {
    let world = with_payload(|image| Reply::CutAfter(image, 0));
    assert_eq!(world.once(&[]).code, 1);
    world.assert_outcome("FAILED", Some("SL-801"), "1.0.0");
}

#[test]
fn a_connection_that_breaks_again_and_again_is_gone_on_with_by_ranges() {
    let world = with_payload(|image| Reply::CutAfter(image, 200_000));
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    let ranges: Vec<_> = world.server.requests("/payloads/").into_iter().map(|seen| seen.range).collect();
    assert_eq!(ranges.len(), 4, "{ranges:?}");
    assert_eq!(ranges[3].as_deref(), Some("bytes=600000-699999"));
}

#[test]
fn a_server_without_ranges_is_read_over() {
    let world = with_payload(|image| Reply::CutAfter(image, 300_000));
    assert_eq!(world.once(&["--attempts", "1"]).code, 1);
    world.server.put(world.payload_path(), Reply::NoRanges(world.fleet.targets[0].image.clone()));
    world.queue(Some(&world.fleet.files().bundle()));
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
}

#[test]
fn a_payload_that_trickles_below_the_floor_is_given_up() {
    let world = with_payload(|image| Reply::Slow(image, 1_000));
    let started = std::time::Instant::now();
    let floor = ["--min-rate", "50000", "--rate-window", "1", "--attempts", "1"];
    assert_eq!(world.once(&floor).code, 1);
    assert!(started.elapsed() < Duration::from_secs(20));
    world.assert_outcome("FAILED", Some("SL-803"), "1.0.0");
}

#[test]
fn a_download_ends_with_its_deadline() {
    let world = with_payload(|image| Reply::Slow(image, 100_000));
    assert_eq!(world.once(&["--deadline", "1"]).code, 1);
    world.assert_outcome("FAILED", Some("SL-804"), "1.0.0");
}

#[test]
fn another_range_than_the_one_asked_for_is_not_taken() {
    let world = with_payload(Reply::WrongRange);
    assert_eq!(world.once(&[]).code, 1);
    world.assert_outcome("FAILED", Some("SL-802"), "1.0.0");
}

#[test]
fn a_redirect_is_not_followed() {
    let world = with_payload(|_| Reply::Status(302, vec![("location".into(), "https://127.0.0.1:1/elsewhere".into())]));
    assert_eq!(world.once(&[]).code, 1);
    world.assert_outcome("FAILED", Some("SL-802"), "1.0.0");
    assert!(world.server.requests("/elsewhere").is_empty());
}

#[test]
fn endless_metadata_is_stopped_at_its_bound() {
    let world = World::new();
    world.server.put("/metadata/timestamp", Reply::Endless);
    world.queue(None);
    assert_eq!(world.once(&[]).code, 1);
    world.assert_outcome("FAILED", Some("SL-802"), "1.0.0");
    assert!(world.server.lock().sent < 8_000_000);
}

#[test]
fn altered_metadata_is_rejected_wherever_it_comes_from() {
    let world = World::new();
    let files = world.publish();
    let mut timestamp = files.timestamp.clone();
    let length = timestamp.len();
    timestamp[length - 20] ^= 1; // in its signature
    world.server.put("/metadata/timestamp", Reply::File(timestamp.clone()));
    let bundle = [&timestamp[..], &files.snapshot, &files.targets, &files.product].concat();
    world.queue(Some(&bundle));
    assert_eq!(world.once(&[]).code, 3);
    world.assert_outcome("REJECTED", Some("SL-201"), "1.0.0");
    assert!(world.server.requests("/payloads/").is_empty());
}

#[test]
fn an_altered_bundle_alone_delays_nothing_the_latest_metadata_decides() {
    let world = World::new();
    world.publish();
    let mut bundle = world.fleet.files().bundle();
    let last = bundle.len() - 1;
    bundle[last] ^= 1;
    world.queue(Some(&bundle));
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
}

#[test]
fn a_repository_frozen_in_the_past_fails_as_stale() {
    let mut world = World::new();
    let old = world.publish();
    world.queue(Some(&old.bundle()));
    assert_eq!(world.once(&["--health-check", "false"]).code, 1);
    // The device has seen this; now the server goes back.
    world.fleet.bump();
    let newer = world.fleet.files().bundle();
    let _ = world.run(&["install", &world.file("newer", &newer)]);
    world.queue(Some(&old.bundle()));
    assert_eq!(world.once(&[]).code, 1);
    world.assert_outcome("FAILED", Some("SL-401"), "1.0.0");
}

#[test]
fn expired_metadata_fails_and_the_running_image_goes_on() {
    let mut world = World::new();
    world.fleet.timestamp_expires = 1_700_000_000;
    world.publish();
    world.queue(Some(&world.fleet.files().bundle()));
    assert_eq!(world.once(&[]).code, 1);
    world.assert_outcome("FAILED", Some("SL-403"), "1.0.0");
}

#[test]
fn a_release_for_other_hardware_is_rejected_before_any_download() {
    let mut fleet = fleet(&image(2, 1000));
    fleet.targets[0].hardware = vec!["board-z"];
    let world = World::with(fleet);
    world.queue(Some(&world.fleet.files().bundle()));
    assert_eq!(world.once(&[]).code, 3);
    world.assert_outcome("REJECTED", Some("SL-504"), "1.0.0");
    assert!(world.server.requests("/payloads/").is_empty());
}

#[test]
fn a_release_below_the_security_counter_is_rejected() {
    let mut fleet = fleet(&image(2, 1000));
    fleet.targets[0].security_counter = 2;
    let world = World::with(fleet);
    world.queue(Some(&world.fleet.files().bundle()));
    assert_eq!(world.once(&[]).code, 3);
    world.assert_outcome("REJECTED", Some("SL-505"), "1.0.0");
}

#[test]
fn a_bridge_release_comes_first() {
    let mut fleet = fleet(&image(2, 1000));
    fleet.targets[0].minimum_version = Some("1.0.1".parse().unwrap());
    let world = World::with(fleet);
    world.queue(Some(&world.fleet.files().bundle()));
    assert_eq!(world.once(&[]).code, 1);
    world.assert_outcome("FAILED", Some("SL-507"), "1.0.0");
}

#[test]
fn a_target_that_is_no_longer_listed_is_superseded() {
    let mut world = World::new();
    let document = world.document(Some(&world.fleet.files().bundle()));
    let mut newer = Release::new([1, 2, 0]);
    newer.security_counter = 5;
    world.fleet.targets = vec![newer];
    world.fleet.bump();
    world.publish();
    let _ = world.run(&["install", &world.file("newer", &world.fleet.files().bundle())]);
    world.queue_document(document.to_string());
    assert_eq!(world.once(&[]).code, 3);
    world.assert_outcome("REJECTED", Some("SL-501"), "1.0.0");
}

#[test]
fn an_image_larger_than_the_slot_is_rejected_before_any_download() {
    let world = World::with(fleet(&image(2, 2_100_000)));
    world.queue(Some(&world.fleet.files().bundle()));
    assert_eq!(world.once(&[]).code, 3);
    world.assert_outcome("REJECTED", Some("SL-606"), "1.0.0");
    assert!(world.server.requests("/payloads/").is_empty());
}

#[test]
fn a_document_that_lies_about_everything_but_the_target_changes_nothing() {
    let world = World::new();
    world.publish();
    let mut document = world.document(None);
    document["product"] = "boiler".into();
    document["repository"] = "00".into();
    document["metadata"] = "https://127.0.0.1:1/nowhere/".into();
    document["payloads"] = json!({ Digest([7; 32]).to_string(): "https://127.0.0.1:1/nothing" });
    world.queue_document(document.to_string());
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
}

#[test]
fn a_document_that_is_none_is_rejected() {
    let world = World::new();
    for document in ["", "{", "[]", "{\"sealift\":2}", "{\"sealift\":1}", "{\"sealift\":1,\"critical\":[\"new\"]}"] {
        world.queue_document(document.into());
        assert_eq!(world.once(&[]).code, 3, "{document}");
        world.assert_outcome("REJECTED", Some("SL-805"), "1.0.0");
    }
}

#[test]
fn plain_http_is_refused() {
    let world = World::new();
    let done = world.once(&["--server", "http://127.0.0.1:1"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("no https URL"), "{}", done.stderr);
}

#[test]
fn a_server_of_another_ca_is_refused() {
    let world = World::new();
    let other = crate::server::Server::start();
    let done = world.once(&["--server", &other.origin]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("certificate"), "{}", done.stderr);
    assert!(other.requests("/").is_empty());
}
