//! `sealift-server publish`: what it takes, what it refuses and with which code, and that it is all or nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sealift_manifests::sha256;
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Keyring, Release, key, sign};
use crate::process::{BINARY, json, ok, run};
use crate::release::{Maker, now, target};

fn publish(state: &Path, release: &Path) -> (Value, i32) {
    json(&["publish", "--state", state.to_str().unwrap(), "--release", release.to_str().unwrap()])
}

/// Publishes `maker`'s release from a folder of its own.
fn publish_made(home: &TempDir, maker: &Maker) -> (Value, i32) {
    let folder = tempfile::tempdir_in(home.path()).unwrap();
    maker.write(folder.path());
    publish(&home.path().join("state"), folder.path())
}

fn current(home: &TempDir) -> Option<Vec<u8>> {
    std::fs::read(home.path().join("state/artifacts/metadata/timestamp")).ok()
}

/// Every file of the store, by name.
fn stored(home: &TempDir) -> Vec<PathBuf> {
    fn walk(folder: &Path, all: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() { walk(&entry.path(), all) } else { all.push(entry.path()) }
        }
    }
    let mut all = vec![];
    walk(&home.path().join("state/artifacts"), &mut all);
    all.sort();
    all
}

#[test]
fn a_release_is_published_whole_and_again_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let maker = Maker::default();
    let (said, exit) = publish_made(&home, &maker);
    assert_eq!(exit, 0, "{said}");
    assert_eq!((said["changed"].as_bool(), said["timestampVersion"].as_u64()), (Some(true), Some(1)));
    let listed = &said["targets"][0];
    assert_eq!(listed["digest"], hex::encode(maker.fleet.targets[0].digest().0));
    assert_eq!((listed["product"].as_str(), listed["version"].as_str()), (Some("thermostat"), Some("1.0.0")));
    let payload = home.path().join("state/artifacts/payloads").join(listed["payloads"][0]["digest"].as_str().unwrap());
    assert_eq!(std::fs::read(payload).unwrap(), maker.fleet.targets[0].image);
    let before = stored(&home);
    let (again, exit) = publish_made(&home, &maker);
    assert_eq!((again["changed"].as_bool(), exit), (Some(false), 0));
    assert!(again["objects"].as_array().unwrap().iter().all(|object| object["new"] == false));
    assert_eq!(stored(&home), before);
}

#[test]
fn a_dry_run_says_what_would_be_written_and_writes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("release");
    Maker::default().write(&folder);
    let state = home.path().join("state");
    let arguments = ["publish", "--state", state.to_str().unwrap(), "--release", folder.to_str().unwrap(), "--dry-run"];
    let said = ok(&arguments);
    assert_eq!(said["dryRun"], true);
    assert_eq!(said["objects"].as_array().unwrap().iter().filter(|object| object["new"] == true).count(), 5);
    assert_eq!(stored(&home), Vec::<PathBuf>::new());
}

#[test]
fn a_second_release_replaces_the_first_and_leaves_its_files_in_place() {
    let home = tempfile::tempdir().unwrap();
    let mut maker = Maker::default();
    publish_made(&home, &maker);
    let before = stored(&home);
    maker.next(target([1, 1, 0], 30_000));
    let (said, exit) = publish_made(&home, &maker);
    assert_eq!((exit, said["timestampVersion"].as_u64()), (0, Some(2)), "{said}");
    let after = stored(&home);
    assert!(before.iter().all(|file| after.contains(file)), "immutable files stay");
}

#[test]
fn a_renewed_timestamp_may_come_alone() {
    let home = tempfile::tempdir().unwrap();
    let mut maker = Maker::default();
    publish_made(&home, &maker);
    maker.fleet.timestamp_version += 1;
    let folder = home.path().join("renewal");
    std::fs::create_dir_all(folder.join("metadata")).unwrap();
    std::fs::write(folder.join("metadata/timestamp"), maker.fleet.files().timestamp).unwrap();
    let (said, exit) = publish(&home.path().join("state"), &folder);
    assert_eq!((exit, said["timestampVersion"].as_u64()), (0, Some(2)), "{said}");
}

/// One way to spoil a release, and the code it is refused with.
fn refused(spoil: impl FnOnce(&mut Maker, &Path), code: &str) {
    let home = tempfile::tempdir().unwrap();
    let mut maker = Maker::default();
    let (said, exit) = publish_made(&home, &maker);
    assert_eq!(exit, 0, "{said}");
    let (before, files) = (current(&home), stored(&home));
    maker.next(target([1, 1, 0], 30_000));
    let folder = home.path().join("spoilt");
    maker.write(&folder);
    spoil(&mut maker, &folder);
    let (said, exit) = publish(&home.path().join("state"), &folder);
    assert_eq!((said["error"]["code"].as_str(), exit), (Some(code), 3), "{said}");
    assert_eq!((current(&home), stored(&home)), (before, files), "nothing was written");
}

fn rewrite(maker: &Maker, folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
    maker.write(folder);
}

#[test]
fn an_altered_payload_is_refused() {
    refused(
        |maker, folder| {
            let path = folder.join("payloads").join(hex::encode(sha256(&maker.fleet.targets[0].image).0));
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[100] ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
        "SL-603",
    );
}

#[test]
fn a_payload_too_long_or_cut_off_is_refused() {
    let cut = |length: usize| {
        move |maker: &mut Maker, folder: &Path| {
            let path = folder.join("payloads").join(hex::encode(sha256(&maker.fleet.targets[0].image).0));
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.resize(length, 0);
            std::fs::write(path, bytes).unwrap();
        }
    };
    refused(cut(30_001), "SL-601");
    refused(cut(29_999), "SL-602");
}

#[test]
fn altered_metadata_is_refused() {
    refused(
        |maker, folder| {
            let files = maker.fleet.files();
            let name = format!("{}.snapshot", hex::encode(sha256(&files.snapshot).0));
            let mut bytes = files.snapshot;
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(folder.join("metadata").join(name), bytes).unwrap();
        },
        "SL-305",
    );
}

#[test]
fn a_timestamp_by_a_stranger_is_refused() {
    refused(
        |maker, folder| {
            let snapshot = maker.fleet.files().snapshot;
            let forged = sign(&maker.fleet.timestamp_payload(&snapshot), &[&key(99)]);
            std::fs::write(folder.join("metadata/timestamp"), forged).unwrap();
        },
        "SL-201",
    );
}

#[test]
fn an_expired_release_is_refused() {
    refused(
        |maker, folder| {
            maker.fleet.timestamp_expires = now() - 1;
            rewrite(maker, folder);
        },
        "SL-403",
    );
}

#[test]
fn a_rollback_is_refused_role_by_role() {
    for lower in [
        |maker: &mut Maker| maker.fleet.timestamp_version = 0,
        |maker: &mut Maker| maker.fleet.snapshot_version = 2,
        |maker: &mut Maker| maker.fleet.targets_version = 2,
        |maker: &mut Maker| maker.fleet.product_version = 2,
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut maker = Maker::default();
        maker.fleet.timestamp_version = 5;
        maker.fleet.snapshot_version = 5;
        maker.fleet.targets_version = 5;
        maker.fleet.product_version = 5;
        assert_eq!(publish_made(&home, &maker).1, 0);
        maker.fleet.bump();
        lower(&mut maker);
        if maker.fleet.timestamp_version == 0 {
            maker.fleet.timestamp_version = 4;
        }
        let (said, exit) = publish_made(&home, &maker);
        assert_eq!((said["error"]["code"].as_str(), exit), (Some("SL-401"), 3), "{said}");
    }
}

#[test]
fn another_content_under_a_version_that_was_published_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let mut maker = Maker::default();
    publish_made(&home, &maker);
    maker.fleet.issued += 1;
    let (said, exit) = publish_made(&home, &maker);
    assert_eq!((said["error"]["code"].as_str(), exit), (Some("SL-402"), 3), "{said}");
}

#[test]
fn another_repository_is_refused_for_good() {
    let home = tempfile::tempdir().unwrap();
    publish_made(&home, &Maker::default());
    let mut other = Maker::default();
    other.fleet.repository = sealift_manifests::RepositoryId([0xee; 16]);
    other.roots = vec![other.fleet.root()];
    let (said, exit) = publish_made(&home, &other);
    assert_eq!(exit, 3, "{said}");
    assert!(said["error"]["message"].as_str().unwrap().contains("1.root"));
}

#[test]
fn a_target_outside_its_delegation_is_refused() {
    for (spoil, code) in [
        ((|maker: &mut Maker| maker.fleet.targets[0].product = "toaster") as fn(&mut Maker), "SL-502"),
        (|maker: &mut Maker| maker.fleet.targets[0].security_counter = 11, "SL-506"),
        (|maker: &mut Maker| maker.fleet.product = Keyring { threshold: 1, ..Keyring::of(1, &[8, 9]) }, "SL-201"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut maker = Maker::default();
        let honest = maker.fleet.clone();
        spoil(&mut maker);
        // The delegation stays the honest one; only what is signed under it changes.
        let product = sign(&maker.fleet.product_payload(), &maker.fleet.product.all());
        let targets = sign(&honest.targets_payload(), &honest.roles[3].all());
        let snapshot = sign(&honest.snapshot_payload(&targets, &product), &honest.roles[2].all());
        let timestamp = sign(&honest.timestamp_payload(&snapshot), &honest.roles[1].all());
        let files = crate::fleet::Files { root: honest.root(), timestamp, snapshot, targets, product };
        let folder = home.path().join("release");
        maker.write_files(&folder, &files);
        let (said, exit) = publish(&home.path().join("state"), &folder);
        assert_eq!((said["error"]["code"].as_str(), exit), (Some(code), 3), "{said}");
    }
}

#[test]
fn published_example_keys_are_refused_outside_development() {
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::pki_types::pem::PemObject as _;
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("keys-example");
    let pkcs8 = PrivatePkcs8KeyDer::from_pem_file(keys.join("EXAMPLE-INSECURE-timestamp.pem")).unwrap();
    // An Ed25519 key ends its PKCS#8 structure (RFC 8410).
    let seed = pkcs8.secret_pkcs8_der().last_chunk().unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut maker = Maker::default();
    maker.fleet.roles[1] = Keyring { threshold: 1, keys: vec![ed25519_dalek::SigningKey::from_bytes(seed)] };
    maker.roots = vec![maker.fleet.root()];
    let (said, exit) = publish_made(&home, &maker);
    assert_eq!((said["error"]["code"].as_str(), exit), (Some("SL-203"), 3), "{said}");
    let folder = home.path().join("release");
    maker.write(&folder);
    let state = home.path().join("state");
    let arguments =
        ["publish", "--state", state.to_str().unwrap(), "--release", folder.to_str().unwrap(), "--development"];
    assert_eq!(json(&arguments).1, 0);
}

#[test]
fn what_is_missing_or_unusable_is_named_with_its_own_exit_code() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let folder = home.path().join("release");
    assert_eq!(publish(&state, &folder).1, 4, "no folder at all");
    Maker::default().write(&folder);
    let timestamp = folder.join("metadata/timestamp");
    let kept = std::fs::read(&timestamp).unwrap();
    std::fs::remove_file(&timestamp).unwrap();
    let (said, exit) = publish(&state, &folder);
    assert_eq!(exit, 4);
    assert!(said["error"]["message"].as_str().unwrap().contains("metadata/timestamp"), "{said}");
    std::fs::write(&timestamp, vec![0; 1 << 20]).unwrap();
    assert_eq!(publish(&state, &folder).1, 4, "too large to be metadata");
    std::fs::write(&timestamp, b"").unwrap();
    let (said, exit) = publish(&state, &folder);
    assert_eq!(exit, 3, "{said}");
    assert!(said["error"]["code"].as_str().unwrap().starts_with("SL-1"), "malformed: {said}");
    std::fs::write(&timestamp, kept).unwrap();
    let payload = std::fs::read_dir(folder.join("payloads")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&payload).unwrap();
    let (said, exit) = publish(&state, &folder);
    assert_eq!(exit, 4);
    assert!(said["error"]["message"].as_str().unwrap().contains("payloads"), "{said}");
    assert_eq!(run(&["publish", "--state", state.to_str().unwrap()]).status.code(), Some(2), "no --release");
}

/// Killed wherever it may be, what is current is the old release or the new one, whole; and a second run finishes.
#[test]
fn killed_at_any_moment_the_old_release_is_current_or_the_new_one() {
    let home = tempfile::tempdir().unwrap();
    let mut maker = Maker::default();
    assert_eq!(publish_made(&home, &maker).1, 0);
    let (mut killed, mut finished) = (0, 0);
    for round in 0..24_u32 {
        let old = current(&home).unwrap();
        let mut big = target([1, round + 1, 0], 4 << 20);
        big.payloads = vec![Release::raw(&big.image)];
        maker.next(big);
        let folder = tempfile::tempdir_in(home.path()).unwrap();
        let new = maker.write(folder.path()).timestamp;
        let mut child = Command::new(BINARY)
            .args(["publish", "--json", "--release"])
            .arg(folder.path())
            .arg("--state")
            .arg(home.path().join("state"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(round) * 12));
        child.kill().unwrap();
        let done = child.wait().unwrap().success();
        let now_current = current(&home).unwrap();
        assert!(now_current == old || now_current == new, "round {round}: neither old nor new");
        if done {
            finished += 1
        } else {
            killed += 1
        }
        assert!(!done || now_current == new);
        // Whatever is current is whole: another process reads and verifies all of it, and finishes what was cut off.
        let (said, exit) = publish(&home.path().join("state"), folder.path());
        assert_eq!(exit, 0, "round {round}: {said}");
        assert_eq!(current(&home).unwrap(), new);
        for object in said["objects"].as_array().unwrap() {
            let path = home.path().join("state/artifacts").join(object["key"].as_str().unwrap());
            let bytes = std::fs::read(path).unwrap();
            assert_eq!(hex::encode(sha256(&bytes).0), object["sha256"].as_str().unwrap());
        }
    }
    assert!(killed > 0, "no run was killed early enough ({finished} finished)");
}

/// A publication that rotates the timestamp's key and is cut off between root and timestamp doesn't block the next.
#[test]
fn a_root_without_its_timestamp_does_not_block_the_next_publication() {
    let home = tempfile::tempdir().unwrap();
    let mut maker = Maker::default();
    publish_made(&home, &maker);
    let before = maker.fleet.clone();
    maker.fleet.root_version = 2;
    maker.fleet.roles[1] = Keyring::of(1, &[44]);
    maker.roots.push(maker.fleet.root_after(&before));
    std::fs::write(home.path().join("state/artifacts/metadata/2.root"), &maker.roots[1]).unwrap();
    maker.next(target([1, 1, 0], 1_000));
    let (said, exit) = publish_made(&home, &maker);
    assert_eq!((exit, said["rootVersion"].as_u64()), (0, Some(2)), "{said}");
}

/// Sixteen publishers with sixteen different timestamps of the same version: one wins, the others hear of it.
#[test]
fn of_racing_publishers_one_wins_and_the_others_are_told() {
    let home = tempfile::tempdir().unwrap();
    let mut maker = Maker::default();
    assert_eq!(publish_made(&home, &maker).1, 0);
    for round in 0..6 {
        maker.fleet.bump();
        let folders: Vec<TempDir> = (0..16)
            .map(|n| {
                let folder = tempfile::tempdir_in(home.path()).unwrap();
                let mut mine = maker.clone();
                mine.fleet.issued += n;
                mine.write(folder.path());
                folder
            })
            .collect();
        let state = home.path().join("state");
        let exits: Vec<(Value, i32)> = std::thread::scope(|scope| {
            let running: Vec<_> = folders.iter().map(|folder| scope.spawn(|| publish(&state, folder.path()))).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<usize> = (0..16).filter(|n| exits[*n].1 == 0).collect();
        assert_eq!(winners.len(), 1, "round {round}: {exits:?}");
        let winner = std::fs::read(folders[winners[0]].path().join("metadata/timestamp")).unwrap();
        assert_eq!(current(&home).unwrap(), winner);
        for (said, exit) in exits.iter().filter(|(_, exit)| *exit != 0) {
            // Too late by a hair (the race was lost) or by more (it is a second content under one version by now).
            let text = said["error"]["message"].as_str().unwrap();
            assert!((*exit == 1 && text.contains("another publisher")) || said["error"]["code"] == "SL-402", "{said}");
        }
        maker.fleet = {
            let mut f = maker.fleet.clone();
            f.issued += winners[0] as u64;
            f
        };
    }
}
