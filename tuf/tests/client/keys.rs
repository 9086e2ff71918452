//! Whose signatures count.

use sealift_tuf::KeyIds;
use serde_json::json;

use crate::bench::{Bench, code};
use crate::repo::{Key, Repo, signed};

const THRESHOLD_NOT_MET: u16 = 201;
const BAD_VALUE: u16 = 112;
const NOT_ASCENDING: u16 = 106;

#[test]
fn one_public_key_under_two_valid_key_ids_counts_once() {
    let mut bench = Bench::new(Repo::new());
    let key = bench.repo.new_key();
    bench.repo.set_keys("timestamp", &[key.clone(), key.twin()], 2);
    bench.repo.publish(&["root", "timestamp"]);
    assert_eq!(bench.refusal(), THRESHOLD_NOT_MET);
    assert_eq!((bench.kept("root"), bench.kept("timestamp")), (Some(2), None));

    // With a second key it does.
    let other = bench.repo.new_key();
    bench.repo.set_keys("timestamp", &[key.clone(), key.twin(), other], 2);
    bench.repo.publish(&["root", "timestamp"]);
    bench.refresh().unwrap();
}

#[test]
fn one_public_key_under_two_opaque_key_ids_counts_once() {
    let mut bench = Bench::new(Repo::new());
    bench.config.key_ids = KeyIds::Opaque;
    let key = bench.repo.new_key();
    bench.repo.set_keys("timestamp", &[key.called("one"), key.called("two")], 2);
    bench.repo.publish(&["root", "timestamp"]);
    assert_eq!(bench.refusal(), THRESHOLD_NOT_MET);
}

#[test]
fn one_public_key_under_two_key_ids_counts_once_for_a_delegation() {
    let mut bench = Bench::new(Repo::new());
    let key = bench.repo.delegate("targets", "app", json!({"paths": ["app/*"]}));
    let twin = key.twin();
    let delegations = &mut bench.repo.role("targets")["delegations"];
    delegations["keys"][twin.id()] = twin.json();
    delegations["roles"][0]["keyids"] = json!([key.id(), twin.id()]);
    delegations["roles"][0]["threshold"] = json!(2);
    bench.repo.signers.insert("app".into(), vec![key, twin]);
    bench.repo.add_target("app", "app/a", b"a");
    bench.repo.publish_all();
    assert_eq!(code(&bench.download("app/a").unwrap_err()), THRESHOLD_NOT_MET);
}

#[test]
fn a_key_listed_under_an_id_that_is_not_its_own_refuses_the_root() {
    let mut bench = Bench::new(Repo::new());
    let key = bench.repo.new_key().called("abc123");
    bench.repo.set_keys("timestamp", &[key], 1);
    bench.repo.publish(&["root", "timestamp"]);
    let error = bench.refresh().unwrap_err();
    assert_eq!(code(&error), BAD_VALUE);
    assert!(error.to_string().contains("signed.keys.abc123"), "{error}");
    assert_eq!(bench.kept("root"), Some(1));
}

#[test]
fn a_key_listed_under_an_id_that_is_not_its_own_refuses_the_targets_file_that_delegates_with_it() {
    let mut bench = Bench::new(Repo::new());
    let key = bench.repo.delegate("targets", "app", json!({"paths": ["*"]}));
    let called = key.called("mine");
    let delegations = &mut bench.repo.role("targets")["delegations"];
    delegations["keys"] = json!({ "mine": called.json() });
    delegations["roles"][0]["keyids"] = json!(["mine"]);
    bench.repo.signers.insert("app".into(), vec![called]);
    bench.repo.publish_all();
    assert_eq!(bench.refusal(), BAD_VALUE);
}

#[test]
fn opaque_key_ids_are_a_policy_for_repositories_that_follow_tap_12() {
    let mut bench = Bench::new(Repo::new());
    let key = bench.repo.new_key().called("abc123");
    bench.repo.set_keys("timestamp", &[key], 1);
    bench.repo.publish(&["root", "timestamp"]);
    bench.config.key_ids = KeyIds::Opaque;
    bench.refresh().unwrap();
    assert_eq!(bench.kept("root"), Some(2));
}

#[test]
fn a_threshold_of_0_refuses_the_root() {
    for threshold in [0, -1] {
        for role in ["root", "timestamp", "snapshot", "targets"] {
            let mut bench = Bench::new(Repo::new());
            let keys = bench.repo.signers[role].clone();
            bench.repo.set_keys(role, &keys, threshold);
            bench.repo.publish(&["root"]);
            assert_eq!(bench.refusal(), BAD_VALUE, "{role} {threshold}");
            assert_eq!(bench.kept("root"), Some(1));
        }
    }
}

#[test]
fn a_threshold_of_0_refuses_the_delegating_targets_file() {
    let mut bench = Bench::new(Repo::new());
    bench.repo.delegate("targets", "app", json!({"paths": ["*"]}));
    bench.repo.role("targets")["delegations"]["roles"][0]["threshold"] = json!(0);
    bench.repo.publish_all();
    assert_eq!(bench.refusal(), BAD_VALUE);
}

#[test]
fn a_threshold_above_the_number_of_keys_accepts_nothing_for_that_role_and_is_mended_by_a_later_root() {
    let mut bench = Bench::new(Repo::new());
    let keys = bench.repo.signers["timestamp"].clone();
    bench.repo.set_keys("timestamp", &keys, 2);
    bench.repo.publish(&["root", "timestamp"]);
    assert_eq!(bench.refusal(), THRESHOLD_NOT_MET);
    assert_eq!((bench.kept("root"), bench.kept("timestamp")), (Some(2), None));
    bench.repo.set_keys("timestamp", &keys, 1);
    bench.repo.publish(&["root"]);
    bench.refresh().unwrap();
}

#[test]
fn two_signatures_under_one_key_id_refuse_the_file() {
    let mut bench = Bench::new(Repo::new());
    let content = bench.repo.roles["timestamp"].clone();
    let mut file = signed(&content, &bench.repo.signers["timestamp"]);
    let first = file["signatures"][0].clone();
    file["signatures"].as_array_mut().unwrap().push(first);
    bench.repo.serve("timestamp", file.to_string().as_bytes());
    assert_eq!(bench.refusal(), NOT_ASCENDING);
}

#[test]
fn signatures_that_do_not_hold_are_passed_over_beside_ones_that_do() {
    let mut bench = Bench::new(Repo::new());
    let spare = bench.repo.new_key();
    let keys = [bench.repo.signers["timestamp"].clone(), vec![spare.clone()]].concat();
    bench.repo.set_keys("timestamp", &keys, 1);
    bench.repo.publish(&["root"]);
    for bad in ["", "zz", "00", &"ab".repeat(64), "not hex at all"] {
        let content = bench.repo.roles["timestamp"].clone();
        let mut file = signed(&content, &keys[..1]);
        file["signatures"].as_array_mut().unwrap().insert(0, json!({"keyid": spare.id(), "sig": bad}));
        file["signatures"].as_array_mut().unwrap().push(json!({"keyid": "nobody", "sig": bad}));
        bench.repo.serve("timestamp", file.to_string().as_bytes());
        bench.refresh().unwrap();
    }
}

#[test]
fn a_signature_by_a_key_of_another_role_counts_nothing() {
    let mut bench = Bench::new(Repo::new());
    let snapshot = bench.repo.signers["snapshot"].clone();
    bench.repo.signers.insert("timestamp".into(), snapshot);
    bench.repo.publish(&["timestamp"]);
    assert_eq!(bench.refusal(), THRESHOLD_NOT_MET);
}

#[test]
fn unknown_fields_are_under_the_signature() {
    let mut bench = Bench::new(Repo::new());
    for role in ["root", "targets", "snapshot", "timestamp"] {
        bench.repo.role(role)["x-unknown"] = json!({"b": [1, {"a": null}], "a": "\u{e9}\"\\"});
    }
    bench.repo.role("root")["roles"]["root"]["x-unknown"] = json!(1);
    bench.repo.publish(&["root", "targets", "snapshot", "timestamp"]);
    bench.refresh().unwrap();

    bench.repo.publish(&["timestamp"]);
    let mut file: serde_json::Value =
        serde_json::from_slice(&bench.repo.files.file("metadata/timestamp.json").unwrap()).unwrap();
    file["signed"]["x-unknown"]["b"][0] = json!(2);
    bench.repo.serve("timestamp", file.to_string().as_bytes());
    assert_eq!(bench.refusal(), THRESHOLD_NOT_MET);
}

#[test]
fn a_small_order_public_key_that_accepts_any_message_counts_nothing() {
    // The neutral point, with R the neutral point and S 0: a lax predicate accepts it for every message.
    let mut bench = Bench::new(Repo::new());
    let mut weak = Key::new(1).json();
    weak["keyval"]["public"] = json!(format!("01{}", "00".repeat(31)));
    let id = crate::repo::sha256(weak.to_string().as_bytes());
    bench.repo.role("root")["keys"][&id] = weak;
    bench.repo.role("root")["roles"]["timestamp"]["keyids"] = json!([id]);
    bench.repo.publish(&["root"]);
    let content = bench.repo.roles["timestamp"].clone();
    let forged = format!("01{}", "00".repeat(63));
    let file = json!({"signed": content, "signatures": [{"keyid": id, "sig": forged}]});
    bench.repo.serve("timestamp", file.to_string().as_bytes());
    assert_eq!(bench.refusal(), THRESHOLD_NOT_MET);
}
