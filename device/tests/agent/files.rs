//! Updates from files, and files that are not what they must be.

use std::os::unix::fs::PermissionsExt as _;

use sealift_manifests::install_file;

use crate::world::*;

/// A bundle and payloads in one file.
fn container(bundle: &[u8], payloads: &[&[u8]]) -> Vec<u8> {
    let mut file = bundle.to_vec();
    for payload in payloads {
        install_file::append(&mut file, payload);
    }
    file
}

#[test]
fn an_install_file_is_installed_under_the_very_same_verification() {
    let world = World::new();
    let image = world.fleet.targets[0].image.clone();
    let bundle = world.fleet.files().bundle();
    let refused = |file: Vec<u8>, code: i32, says: &str| {
        let done = world.run(&["install", &world.file("update", &file)]);
        assert_eq!(done.code, code, "{done:?}");
        assert!(done.stderr.contains(says), "{}", done.stderr);
        assert_eq!(world.version(), "1.0.0");
    };
    let good = container(&bundle, &[b"another device's payload", &image]);
    let mut altered = good.clone();
    let length = altered.len();
    altered[length - 1] ^= 1;
    refused(altered, 3, "SL-508");
    refused(container(&bundle, &[]), 3, "--with-payload");
    refused(good[..length - 1].to_vec(), 4, "truncated");
    refused(Vec::new(), 4, "empty");
    refused(b"not a bundle".to_vec(), 4, "not an update bundle");
    refused([&bundle[..], b"\xff"].concat(), 4, "neither a role file nor a payload");
    let mut signature = good.clone();
    signature[bundle.len() - 3] ^= 1;
    refused(signature, 3, "SL-");
    let done = world.run(&["install", &world.file("update", &good), "--health-check", "false"]);
    assert_eq!(done.code, 1, "reverted: {done:?}");
    assert_eq!(world.version(), "1.0.0");
    let done = world.run(&["install", &world.file("update", &good)]);
    assert_eq!((done.code, world.counter()), (0, 5), "{done:?}");
    assert_eq!(world.version(), "1.1.0");
    let again = world.run(&["install", &world.text("update")]);
    assert!(again.code == 0 && again.event("already").is_some());
}

#[test]
fn a_bundle_takes_its_payload_from_a_file_beside_it() {
    let world = World::new();
    let (bundle, payload) =
        (world.file("bundle", &world.fleet.files().bundle()), world.file("payload", &world.fleet.targets[0].image));
    let done = world.run(&["install", &bundle, "--payload", &payload, "--no-boot"]);
    assert_eq!(done.code, 0, "{done:?}");
    let status = world.run(&["status"]).last().clone();
    assert_eq!(status["slots"]["b"]["role"], "pending");
    assert_eq!(status["reportKey"].as_str().map(str::len), Some(64), "{status}");
    assert_eq!(world.version(), "1.1.0");
}

#[test]
fn an_older_bundle_than_the_device_has_seen_is_refused_offline_too() {
    let mut world = World::new();
    let old = world.fleet.files().bundle();
    world.fleet.bump();
    let newer = world.file("newer", &world.fleet.files().bundle());
    assert_eq!(world.run(&["install", &newer]).code, 3);
    let image = world.fleet.targets[0].image.clone();
    let done = world.run(&["install", &world.file("old", &container(&old, &[&image]))]);
    assert_eq!(done.code, 3);
    assert!(done.stderr.contains("SL-401"), "{}", done.stderr);
    assert_eq!(world.version(), "1.0.0");
}

#[test]
fn a_factory_image_with_its_bundle_boots_by_its_signatures() {
    let world = World::new();
    let image = world.file("image", &world.fleet.targets[0].image);
    let bundle = world.file("bundle", &world.fleet.files().bundle());
    let (root, state) = (world.text("root"), world.text("other"));
    let provision = |image: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sealift-device"));
        command.args([
            "provision",
            "--state",
            &state,
            "--root",
            &root,
            "--product",
            "thermostat",
            "--hardware",
            "board-a",
        ]);
        command.args(["--image", image, "--bundle", &bundle]);
        command.output().unwrap()
    };
    let refused = provision(&world.text("v1"));
    assert_eq!(refused.status.code(), Some(3));
    assert!(!exists(&world.path("other")), "all or nothing");
    assert!(provision(&image).status.success());
    assert_eq!(provision(&image).status.code(), Some(4), "a device is provisioned once");
    // In the record, so that no boot takes it on trust.
    let record = world.path("other/records/slot-a");
    let mut bytes = std::fs::read(&record).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&record, bytes).unwrap();
    let mut boot = std::process::Command::new(env!("CARGO_BIN_EXE_sealift-device"));
    let booted = boot.args(["boot", "--state", &state]).output().unwrap();
    assert_eq!(booted.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&booted.stderr).contains("SL-703"));
}

#[test]
fn keys_that_others_may_read_are_refused_and_never_shown() {
    let world = World::new();
    for key in ["tls.key", "report.key"] {
        let path = world.state().join("keys").join(key);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let done = world.once(&[]);
        assert_eq!(done.code, 4);
        assert!(done.stderr.contains("chmod 600"), "{}", done.stderr);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    world.queue(Some(&world.fleet.files().bundle()));
    let done = world.once(&["--log", "trace"]);
    let secret = std::fs::read_to_string(world.state().join("keys/report.key")).unwrap();
    let pem = std::fs::read_to_string(world.state().join("keys/tls.key")).unwrap();
    for secret in [secret.trim(), pem.lines().nth(1).unwrap(), "one-time"] {
        assert!(!done.stderr.contains(secret));
    }
}

#[test]
fn one_process_at_a_time_works_on_a_state() {
    let world = World::new();
    let mut daemon = world.command(&["run", "--poll", "600"]).spawn().unwrap();
    while world.server.requests("/things/").is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let done = world.run(&["boot"]);
    assert_eq!(done.code, 4);
    assert!(done.stderr.contains("another sealift-device"), "{}", done.stderr);
    assert_eq!(world.run(&["status"]).code, 0, "looking is always possible");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(world.run(&["boot"]).code, 0, "a lock dies with its process");
}

#[test]
fn a_state_that_is_damaged_is_told_by_file_and_remedy() {
    let world = World::new();
    let damage = |file: &str, bytes: &[u8], says: &str| {
        let path = world.state().join(file);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let done = world.once(&[]);
        assert_eq!(done.code, 4, "{file}: {done:?}");
        assert!(done.stderr.contains(file) && done.stderr.contains(says), "{}", done.stderr);
        std::fs::write(&path, good).unwrap();
    };
    damage("device.json", b"", "provision");
    damage("device.json", b"{\"format\":1}", "provision");
    damage("connection.json", b"[]", "enrol");
    damage("keys/ca.pem", b"nothing", "PEM");
    damage("keys/certificate.pem", b"", "PEM");
    damage("keys/report.key", b"zz\n", "remove it and enrol again");
    damage("slots/b", b"short", "provision");
    assert_eq!(world.once(&[]).code, 0);
    std::fs::write(world.state().join("counter"), "lots\n").unwrap();
    assert_eq!(world.once(&[]).code, 3, "a counter that can't be read fails closed");
}

#[test]
fn both_slots_bad_means_that_nothing_runs() {
    let world = World::new();
    std::fs::write(world.state().join("slots/a"), vec![0; 2_000_000_usize.next_multiple_of(4096)]).unwrap();
    let done = world.run(&["boot", "--boot-command", &format!("touch {}", world.text("ran"))]);
    assert_eq!(done.code, 3);
    assert!(done.stderr.contains("SL-703"), "{}", done.stderr);
    assert!(!exists(&world.path("ran")));
}

#[test]
fn what_provision_is_given_is_checked() {
    let world = World::new();
    let (root, image) = (world.text("root"), world.text("v1"));
    let empty = world.file("empty", b"");
    let provision = |root: &str, image: &str, more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sealift-device"));
        command.args(["provision", "--state", &world.text("new"), "--root", root, "--image", image]);
        command.args(["--product", "thermostat", "--hardware", "board-a"]).args(more);
        let output = command.output().unwrap();
        assert!(!exists(&world.path("new")));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let stated = ["--image-version", "1.0.0", "--security-counter", "1"];
    assert_eq!(provision("/nowhere", &image, &stated).0, 4);
    assert_eq!(provision(&empty, &image, &stated).0, 3);
    assert_eq!(provision(&image, &image, &stated).0, 4, "larger than any root");
    assert_eq!(provision(&root, &empty, &stated).0, 4);
    assert_eq!(provision(&root, &world.text(""), &stated).0, 4, "a directory");
    let (code, says) = provision(&root, &image, &[&stated[..], &["--repository", &"00".repeat(16)]].concat());
    assert!(code == 3 && says.contains("SL-301"), "{says}");
    assert_eq!(provision(&root, &image, &["--image-version", "one", "--security-counter", "1"]).0, 2);
    assert_eq!(provision(&root, &image, &[]).0, 2);
    assert_eq!(provision(&root, &image, &[&stated[..], &["--slot-size", "1000"]].concat()).0, 4);
}
