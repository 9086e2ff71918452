//! Timestamp, snapshot and targets (sections 5.4 to 5.6).

use serde_json::json;

use crate::bench::Bench;
use crate::repo::{PAST, Repo, signed};

const THRESHOLD_NOT_MET: u16 = 201;
const LENGTH_MISMATCH: u16 = 304;
const HASH_MISMATCH: u16 = 305;
const VERSION_MISMATCH: u16 = 306;
const NOT_IN_SNAPSHOT: u16 = 307;
const ROLLBACK: u16 = 401;
const VERSION_REUSED: u16 = 402;
const EXPIRED: u16 = 403;
const UNKNOWN_VERSION: u16 = 113;
const WRONG_ROLE: u16 = 114;

#[test]
fn exactly_what_is_needed_is_asked_for_and_received_bytes_are_kept() {
    let mut bench = Bench::new(Repo::new());
    // White space is not signed, but hashes of kept files are over it.
    let timestamp = [bench.repo.files.file("metadata/timestamp.json").unwrap(), b"\n \t".to_vec()].concat();
    bench.repo.serve("timestamp", &timestamp);
    bench.refresh().unwrap();
    let all =
        ["metadata/2.root.json", "metadata/timestamp.json", "metadata/1.snapshot.json", "metadata/1.targets.json"];
    assert_eq!(bench.server.requests(), all);
    assert_eq!(std::fs::read(bench.trust().join("timestamp.json")).unwrap(), timestamp);
    bench.refresh().unwrap();
    assert_eq!(bench.server.requests(), all[..2]);
    bench.repo.publish(&["snapshot", "timestamp"]);
    bench.refresh().unwrap();
    assert_eq!(bench.server.requests(), [all[0], all[1], "metadata/2.snapshot.json"]);
}

#[test]
fn without_consistent_snapshots_file_names_have_no_version() {
    let mut repo = Repo::new();
    repo.consistent = false;
    repo.role("root")["consistent_snapshot"] = json!(false);
    repo.role("root")["version"] = json!(0);
    repo.delegate("targets", "app", json!({"paths": ["app/*"]}));
    repo.add_target("app", "app/a", b"a");
    repo.publish(&["root"]);
    repo.publish_all();
    let bench = Bench::new(repo);
    assert_eq!(bench.download("app/a").unwrap(), b"a");
    assert_eq!(
        bench.server.requests(),
        [
            "metadata/2.root.json",
            "metadata/timestamp.json",
            "metadata/snapshot.json",
            "metadata/targets.json",
            "metadata/app.json",
            "targets/app/a"
        ]
    );
}

#[test]
fn a_root_that_does_not_say_means_no_consistent_snapshots() {
    let mut repo = Repo::new();
    repo.consistent = false;
    repo.role("root").as_object_mut().unwrap().remove("consistent_snapshot");
    repo.role("root")["version"] = json!(0);
    repo.publish(&["root"]);
    repo.publish_all();
    Bench::new(repo).refresh().unwrap();
}

#[test]
fn without_consistent_snapshots_a_mixed_state_is_refused() {
    let mut repo = Repo::new();
    repo.consistent = false;
    repo.role("root")["consistent_snapshot"] = json!(false);
    repo.role("root")["version"] = json!(0);
    repo.publish(&["root"]);
    repo.publish_all();
    let mut bench = Bench::new(repo);
    bench.repo.pinned = false;
    // Targets of the next state under the snapshot of this one.
    let before = bench.repo.files.file("metadata/snapshot.json").unwrap();
    bench.repo.publish(&["targets"]);
    bench.repo.files.put("metadata/snapshot.json", &before);
    assert_eq!(bench.refusal(), HASH_MISMATCH);
}

#[test]
fn length_hash_and_version_are_pinned_from_file_to_file() {
    for (role, by) in [("snapshot", "timestamp"), ("targets", "snapshot")] {
        for (field, value, wanted) in [
            ("length", json!(1), 0),
            ("length", json!(100_000), LENGTH_MISMATCH),
            ("hashes", json!({"sha256": "00".repeat(32)}), HASH_MISMATCH),
            ("hashes", json!({"sha512": "00".repeat(64)}), HASH_MISMATCH),
            ("hashes", json!({"md5": "00"}), HASH_MISMATCH),
        ] {
            let mut bench = Bench::new(Repo::new());
            bench.repo.publish(&["targets", "snapshot"]);
            bench.repo.role(by)["meta"][format!("{role}.json")][field] = value.clone();
            bench.repo.publish(if role == "targets" { &["snapshot", "timestamp"] } else { &["timestamp"] });
            let error = bench.refresh().unwrap_err();
            match wanted {
                // Not a byte more is read than was signed for.
                0 => assert!(error.to_string().contains("more than the 1 bytes"), "{error}"),
                wanted => assert_eq!(crate::bench::code(&error), wanted, "{role} {field} {value}"),
            }
            assert_eq!(bench.kept(role), None);
            assert!(bench.kept(by).is_some());
        }

        let mut bench = Bench::new(Repo::new());
        bench.repo.pinned = false;
        bench.repo.publish(&["targets", "snapshot"]);
        // The file under the pinned name says another version.
        let name = format!("metadata/{}.{role}.json", bench.repo.roles[role]["version"]);
        bench.repo.role(role)["version"] = json!(7);
        let file = signed(&bench.repo.roles[role], &bench.repo.signers[role]);
        bench.repo.files.put(&name, file.to_string().as_bytes());
        bench.repo.publish(&["timestamp"]);
        assert_eq!(bench.refusal(), VERSION_MISMATCH, "{role}");
    }
}

#[test]
fn sha512_alone_and_no_hash_at_all_are_enough_for_metadata() {
    let mut bench = Bench::new(Repo::new());
    bench.repo.pinned = false;
    bench.repo.publish_all();
    let bytes = bench.repo.files.file("metadata/2.targets.json").unwrap();
    let hash = hex::encode(<sha2::Sha512 as sha2::Digest>::digest(&bytes));
    bench.repo.role("snapshot")["meta"]["targets.json"]["hashes"] = json!({"sha512": hash, "future": "xyz"});
    bench.repo.publish(&["snapshot", "timestamp"]);
    bench.refresh().unwrap();
}

#[test]
fn older_versions_are_refused_and_not_kept() {
    // The timestamp itself.
    let mut bench = Bench::new(Repo::new());
    let old = bench.repo.files.file("metadata/timestamp.json").unwrap();
    bench.repo.publish(&["timestamp"]);
    bench.refresh().unwrap();
    bench.repo.files.put("metadata/timestamp.json", &old);
    assert_eq!(bench.refusal(), ROLLBACK);
    assert_eq!(bench.kept("timestamp"), Some(2));

    // The snapshot that it names, and the targets file that that lists.
    for role in ["snapshot", "targets"] {
        let mut bench = Bench::new(Repo::new());
        bench.repo.publish_all();
        bench.refresh().unwrap();
        bench.repo.role(role)["version"] = json!(0);
        let roles: &[&str] =
            if role == "snapshot" { &["snapshot", "timestamp"] } else { &["targets", "snapshot", "timestamp"] };
        bench.repo.publish(roles);
        assert_eq!(bench.refusal(), ROLLBACK, "{role}");
        assert_eq!(bench.kept(role), Some(2), "{role}");
    }
}

#[test]
fn an_older_snapshot_is_refused_even_when_the_one_before_was_named_and_never_came() {
    let mut bench = Bench::new(Repo::new());
    bench.repo.publish(&["snapshot", "timestamp"]);
    bench.repo.files.remove("metadata/2.snapshot.json");
    assert!(bench.refresh().unwrap_err().to_string().contains("not found"));
    assert_eq!((bench.kept("timestamp"), bench.kept("snapshot")), (Some(2), None));
    bench.repo.role("snapshot")["version"] = json!(0);
    bench.repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(bench.refusal(), ROLLBACK);
}

#[test]
fn floors_hold_when_the_kept_files_have_expired() {
    let mut bench = Bench::new(Repo::new());
    for role in ["targets", "snapshot", "timestamp"] {
        bench.repo.role(role)["expires"] = json!("2026-01-02T00:00:00Z");
    }
    bench.repo.publish_all();
    bench.refresh().unwrap();
    bench.config.clock = sealift_tuf::Clock::At(crate::repo::NOW + 7 * 86_400);
    for role in ["targets", "snapshot", "timestamp"] {
        bench.repo.role(role)["expires"] = json!(crate::repo::LATER);
        bench.repo.role(role)["version"] = json!(0);
    }
    bench.repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(bench.refusal(), ROLLBACK);
    // Newer ones are accepted.
    for role in ["targets", "snapshot", "timestamp"] {
        bench.repo.role(role)["version"] = json!(2);
    }
    bench.repo.publish(&["targets", "snapshot", "timestamp"]);
    bench.refresh().unwrap();
}

#[test]
fn a_listed_role_that_is_gone_is_refused() {
    let mut bench = Bench::new(Repo::new());
    bench.repo.delegate("targets", "app", json!({"paths": ["*"]}));
    bench.repo.publish_all();
    bench.refresh().unwrap();
    bench.repo.role("snapshot")["meta"].as_object_mut().unwrap().remove("app.json");
    bench.repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(bench.refusal(), NOT_IN_SNAPSHOT);
}

#[test]
fn a_snapshot_that_lists_no_targets_is_refused() {
    let mut bench = Bench::new(Repo::new());
    bench.repo.role("snapshot")["meta"] = json!({});
    bench.repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(bench.refusal(), NOT_IN_SNAPSHOT);
}

#[test]
fn of_one_timestamp_version_the_first_is_kept_without_an_error_or_another_request() {
    let mut bench = Bench::new(Repo::new());
    bench.refresh().unwrap();
    bench.server.requests();
    bench.repo.role("timestamp")["meta"]["snapshot.json"]["version"] = json!(100);
    bench.repo.publish_as_it_is("timestamp");
    bench.refresh().unwrap();
    assert_eq!(bench.server.requests(), ["metadata/2.root.json", "metadata/timestamp.json"]);
    assert!(!std::fs::read_to_string(bench.trust().join("timestamp.json")).unwrap().contains("100"));
    // It has to be signed all the same.
    bench.repo.signers.insert("timestamp".into(), vec![crate::repo::Key::new(200)]);
    bench.repo.publish_as_it_is("timestamp");
    assert_eq!(bench.refusal(), THRESHOLD_NOT_MET);
}

#[test]
fn another_snapshot_under_a_version_that_was_accepted_is_refused() {
    let mut bench = Bench::new(Repo::new());
    bench.refresh().unwrap();
    bench.repo.role("snapshot")["x-other"] = json!(1);
    bench.repo.publish_as_it_is("snapshot");
    bench.repo.publish(&["timestamp"]);
    assert_eq!(bench.refusal(), VERSION_REUSED);
}

#[test]
fn expired_files_are_refused_and_not_kept() {
    for (at, role) in ["timestamp", "snapshot", "targets"].into_iter().enumerate() {
        let mut bench = Bench::new(Repo::new());
        bench.repo.role(role)["expires"] = json!(PAST);
        bench.repo.publish_all();
        assert_eq!(bench.refusal(), EXPIRED, "{role}");
        let kept = ["timestamp", "snapshot", "targets"].map(|role| bench.kept(role).is_some());
        assert_eq!(kept, [0, 1, 2].map(|before| before < at), "{role}");
    }
}

#[test]
fn a_file_expires_in_the_second_that_it_names() {
    let mut bench = Bench::new(Repo::new());
    bench.repo.role("timestamp")["expires"] = json!("2026-01-01T00:00:01Z");
    bench.repo.publish(&["timestamp"]);
    bench.refresh().unwrap();
    bench.config.clock = sealift_tuf::Clock::At(crate::repo::NOW + 1);
    assert_eq!(bench.refusal(), EXPIRED);
}

#[test]
fn fast_forwarded_versions_are_recovered_from_by_rotating_keys() {
    for (role, rotated) in
        [("timestamp", &["timestamp"][..]), ("snapshot", &["snapshot", "timestamp"]), ("targets", &["snapshot"])]
    {
        let mut bench = Bench::new(Repo::new());
        bench.repo.role(role)["version"] = json!(u64::MAX - 1);
        match role {
            "timestamp" => bench.repo.publish(&["timestamp"]),
            "snapshot" => bench.repo.publish(&["snapshot", "timestamp"]),
            _ => bench.repo.publish(&["targets", "snapshot", "timestamp"]),
        }
        bench.refresh().unwrap();
        assert_eq!(bench.kept(role), Some(u64::MAX));
        bench.repo.role(role)["version"] = json!(1);
        bench.repo.publish(if role == "timestamp" { &["timestamp"] } else { &["targets", "snapshot", "timestamp"] });
        assert_eq!(bench.refusal(), ROLLBACK, "{role}: without a rotation it stays refused");
        for rotated in rotated {
            bench.repo.rotate(rotated);
        }
        bench.repo.publish(&["root", "targets", "snapshot", "timestamp"]);
        bench.refresh().unwrap();
        assert!(bench.kept(role).unwrap() < 100, "{role}");
    }
}

#[test]
fn adding_a_key_lowers_no_floor() {
    let mut bench = Bench::new(Repo::new());
    let old = bench.repo.files.file("metadata/timestamp.json").unwrap();
    bench.repo.publish(&["timestamp"]);
    bench.refresh().unwrap();
    let keys = [bench.repo.signers["timestamp"].clone(), vec![bench.repo.new_key()]].concat();
    bench.repo.set_keys("timestamp", &keys, 1);
    bench.repo.publish(&["root"]);
    bench.repo.files.put("metadata/timestamp.json", &old);
    assert_eq!(bench.refusal(), ROLLBACK);
}

#[test]
fn a_role_in_the_place_of_another_is_refused() {
    let mut bench = Bench::new(Repo::new());
    let snapshot = bench.repo.roles["snapshot"].clone();
    let file = signed(&snapshot, &bench.repo.signers["timestamp"]);
    bench.repo.serve("timestamp", file.to_string().as_bytes());
    assert_eq!(bench.refusal(), WRONG_ROLE);
}

#[test]
fn another_major_version_of_the_specification_is_refused() {
    for (version, fine) in [
        ("1.0.34", true),
        ("1.0", true),
        ("1.7.0", true),
        ("2.0.0", false),
        ("0.9", false),
        ("10.0.0", false),
        ("1", false),
        ("1.", false),
        ("1.0.0.0", false),
        ("1.x", false),
        ("", false),
    ] {
        let mut bench = Bench::new(Repo::new());
        bench.repo.role("timestamp")["spec_version"] = json!(version);
        bench.repo.publish(&["timestamp"]);
        match bench.refresh() {
            Ok(()) => assert!(fine, "{version:?}"),
            Err(error) => assert!(!fine && crate::bench::code(&error) == UNKNOWN_VERSION, "{version:?} {error}"),
        }
    }
}

#[test]
fn malformed_files_are_refused_with_their_place() {
    for (field, value, place) in [
        ("version", json!(0), "signed.version"),
        ("version", json!(-1), "signed.version"),
        ("version", json!("1"), "signed.version"),
        ("expires", json!("2040-01-01T00:00:00.5Z"), "signed.expires"),
        ("expires", json!(5), "signed.expires"),
        ("_type", json!(["timestamp"]), "signed._type"),
        ("meta", json!({}), "signed.meta"),
        ("meta", json!({"snapshot.json": {"version": 1, "length": 0}}), "signed.meta.snapshot.json.length"),
        ("meta", json!({"snapshot.json": {"version": 1, "hashes": {}}}), "signed.meta.snapshot.json.hashes"),
        ("meta", json!({"snapshot.json": {"version": 1, "hashes": {"sha256": "00"}}}), "hashes.sha256"),
    ] {
        let mut bench = Bench::new(Repo::new());
        let version = bench.repo.roles["timestamp"]["version"].clone();
        bench.repo.role("timestamp")[field] = value.clone();
        let content = bench.repo.roles["timestamp"].clone();
        bench.repo.role("timestamp")["version"] = version;
        let file = signed(&content, &bench.repo.signers["timestamp"]);
        bench.repo.serve("timestamp", file.to_string().as_bytes());
        let error = bench.refresh().unwrap_err().to_string();
        assert!(error.contains(place), "{field} {value}: {error}");
    }
}

#[test]
fn bytes_that_are_no_metadata_are_refused_without_a_panic() {
    let bench = Bench::new(Repo::new());
    let good = bench.repo.files.file("metadata/timestamp.json").unwrap();
    let half = good[..good.len() / 2].to_vec();
    let nested = "[".repeat(10_000).into_bytes();
    let twice = String::from_utf8(good.clone()).unwrap().replacen("\"version\":1}", "\"version\":1,\"version\":1}", 1);
    for bytes in [&b""[..], b"{}", b"[]", b"null", b"\xff\xfe", b"{\"signed\":{}}", &half, &nested, twice.as_bytes()] {
        bench.repo.files.put("metadata/timestamp.json", bytes);
        let error = bench.refresh().unwrap_err();
        assert!((100..200).contains(&crate::bench::code(&error)), "{error}");
    }
    bench.repo.files.put("metadata/timestamp.json", &good);
    bench.refresh().unwrap();
}

#[test]
fn a_kept_file_that_was_damaged_is_fetched_anew() {
    let mut bench = Bench::new(Repo::new());
    bench.refresh().unwrap();
    for role in ["timestamp", "snapshot", "targets"] {
        std::fs::write(bench.trust().join(format!("{role}.json")), b"{\"signed\"").unwrap();
        bench.refresh().unwrap();
        assert_eq!(bench.kept(role), Some(1));
    }
    bench.repo.publish_all();
    bench.refresh().unwrap();
}
