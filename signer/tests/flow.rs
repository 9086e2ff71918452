//! What a release engineer does, with the real binary: keys, init, releases, renewals, exports.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sealift_manifests::{Envelope, Role, Root, Snapshot, Targets, Timestamp, install_file, sha256};
use support::{Project, Run, command, firmware, sealift_in};

#[test]
fn a_release_travels_from_an_image_to_a_bundle() {
    let project = Project::new();
    let image = firmware(20_000, 1);
    let created = project.release("1.0.0", &image);
    assert_eq!(created["release"]["image"]["sha256"], sha256(&image).to_string());
    assert_eq!(created["roles"]["thermostat"]["version"], 1);
    assert_eq!(created["roles"]["timestamp"]["version"], 2, "init wrote the first");

    // The files are where devices look for them, and each pins the next.
    let metadata = project.file("repository/metadata");
    let read = |name: String| fs::read(metadata.join(name)).unwrap();
    let timestamp_file = read("timestamp".into());
    let timestamp = Timestamp::decode(Envelope::decode(&timestamp_file).unwrap().payload).unwrap();
    assert_eq!(timestamp.issued.to_string(), support::THEN);
    let snapshot_file = read(format!("{}.snapshot", timestamp.snapshot.digest));
    let snapshot = Snapshot::decode(Envelope::decode(&snapshot_file).unwrap().payload).unwrap();
    let listed = snapshot.delegated("thermostat").unwrap();
    let targets_file = read(format!("{}.targets", listed.digest));
    let targets = Targets::decode(Envelope::decode(&targets_file).unwrap().payload).unwrap();
    let target = targets.targets.nth(0).unwrap();
    assert_eq!(target.hardware.iter().collect::<Vec<_>>(), ["board-a", "board-b"]);
    assert_eq!(created["release"]["target"], sha256(&target.encoded()).to_string());
    for payload in target.payloads.iter() {
        let bytes = fs::read(project.file(&format!("repository/payloads/{}", payload.digest))).unwrap();
        assert_eq!((bytes.len() as u32, sha256(&bytes)), (payload.length, payload.digest));
    }
    let published = fs::metadata(metadata.join("timestamp")).unwrap().permissions().mode() & 0o777;
    assert_eq!(published & 0o044, 0o044, "a web server can read what is published: {published:o}");

    // A bundle holds the same files, in order.
    let exported = project.run(&["bundle", "export", "--product", "thermostat", "--json"]).ok().json();
    let bundle = fs::read(project.file("thermostat-1.0.0.bundle")).unwrap();
    let top = read(format!("{}.targets", snapshot.targets.digest));
    assert_eq!(bundle, [timestamp_file, snapshot_file, top, targets_file.clone()].concat());
    assert_eq!(exported["target"], created["release"]["target"]);
    // An install file holds the image behind it.
    project.run(&["bundle", "export", "--product", "thermostat", "--with-payload", "--out", "stick"]).ok();
    let stick = fs::read(project.file("stick")).unwrap();
    let (inside, mut payloads) = install_file::split(&stick).unwrap();
    assert_eq!((inside, payloads.next().unwrap().unwrap()), (&bundle[..], &image[..]));
    assert!(payloads.next().is_none());
    project
        .run(&["bundle", "export", "--product", "thermostat", "--out", "stick"])
        .fails(3, &["stick exists", "--force"]);
}

#[test]
fn the_same_input_and_time_give_the_same_bytes() {
    let project = Project::new();
    project.release("1.0.0", &firmware(30_000, 1));
    let twin = project.copy();
    for project in [&project, &twin] {
        project.release("1.1.0", &firmware(30_000, 2));
        project.run(&["renew", "--snapshot"]).ok();
    }
    let (one, other) = (project.repository(), twin.repository());
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    assert!(one == other, "the contents differ");
    assert!(one.len() > 8, "{:?}", names(&one));
}

#[test]
fn elf_hex_and_binary_of_one_build_are_one_image() {
    let images = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-images/images");
    for build in ["station-1.0.0-mps2-an385", "station-1.0.0-qemu-virt-rv32"] {
        let digests = ["elf", "hex", "bin"].map(|ending| {
            let project = Project::new();
            let image = images.join(format!("{build}.{ending}"));
            let arguments = ["--version", "1.0.0", "--security-counter", "1", "--json", "--image"];
            let arguments = [&["release", "create", "--product", "thermostat"][..], &arguments].concat();
            let created = command(project.path(), &arguments).arg(image).run().ok().json();
            let address = &created["release"]["image"]["load_address"];
            assert_eq!(address.is_u64(), ending != "bin", "{ending}: {address}");
            created["release"]["image"]["sha256"].as_str().unwrap().to_owned()
        });
        assert_eq!(digests[0], digests[1], "{build}: elf and hex");
        assert_eq!(digests[0], digests[2], "{build}: elf and bin");
    }
}

#[test]
fn renewal_needs_the_online_keys_alone() {
    let project = Project::new();
    project.release("1.0.0", b"image");
    for key in ["root-1", "targets-1", "release-1", "snapshot-1"] {
        fs::remove_file(project.file(&format!("keys/{key}.pem"))).unwrap();
    }
    let renewed = project.run(&["renew", "--json"]).ok().json();
    assert_eq!(renewed["roles"]["timestamp"]["version"], 3);
    assert_eq!(renewed["roles"]["snapshot"]["version"], 2);
    assert_eq!(renewed["releases"][0]["version"], "1.0.0");
    project.run(&["renew", "--snapshot"]).fails(4, &["snapshot-1", "0 of the 1 keys"]);
    project.run(&["renew", "--product", "thermostat"]).fails(4, &["release-1"]);
}

#[test]
fn ci_signs_a_release_without_an_officer() {
    let project = Project::new();
    for key in ["root-1", "targets-1"] {
        fs::remove_file(project.file(&format!("keys/{key}.pem"))).unwrap();
    }
    let key = fs::read_to_string(project.file("keys/release-1.pem")).unwrap();
    fs::remove_file(project.file("keys/release-1.pem")).unwrap();
    project.edit("file:keys/release-1.pem", "env:RELEASE_KEY");
    project.write("image.bin", "image");
    let arguments = ["--version", "1.0.0", "--security-counter", "1", "--image", "image.bin"];
    let arguments = [&["release", "create", "--product", "thermostat"][..], &arguments].concat();
    project.run(&arguments).fails(4, &["release-1 (env:RELEASE_KEY)", "set these variables"]);
    command(project.path(), &arguments).env("RELEASE_KEY", key).run().ok();
}

#[test]
fn old_releases_leave_the_list_by_policy_and_by_withdrawal() {
    let project = Project::new();
    project.edit("keep-releases = 4", "keep-releases = 2");
    for (version, seed) in [("1.0.0", 1), ("1.1.0", 2), ("1.2.0", 3)] {
        project.release(version, &firmware(4_000, seed));
    }
    let versions = |project: &Project| {
        let listed = project.run(&["release", "list", "--json"]).ok().json();
        let releases = listed["releases"].as_array().unwrap().clone();
        releases.iter().map(|release| release["version"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(versions(&project), ["1.1.0", "1.2.0"]);
    project.run(&["release", "withdraw", "--product", "thermostat", "--version", "1.1.0"]).ok();
    assert_eq!(versions(&project), ["1.2.0"]);
    let again = ["release", "withdraw", "--product", "thermostat", "--version", "1.1.0"];
    project.run(&again).fails(3, &["1.1.0 is not listed", "1.2.0"]);
}

#[test]
fn a_version_means_one_image_for_ever() {
    let project = Project::new();
    project.release("1.0.0", b"one");
    project.write("other.bin", "other");
    let again = ["release", "create", "--product", "thermostat", "--security-counter", "1", "--image", "other.bin"];
    let again = [&again[..], &["--version", "1.0.0"]].concat();
    project.run(&again).fails(3, &["1.0.0 is listed already"]);
    project.run(&["release", "withdraw", "--product", "thermostat", "--version", "1.0.0"]).ok();
    project.run(&again).fails(3, &["1.0.0 was released before, with another image"]);
}

#[test]
fn the_counter_stays_within_what_devices_accept() {
    let project = Project::new();
    project.edit("counter-ceiling = 1000\n\n[products", "counter-ceiling = 1000\n\n[products");
    project.write("image.bin", "image");
    let release = |version, counter| {
        let arguments = ["--version", version, "--security-counter", counter, "--image", "image.bin"];
        project.run(&[&["release", "create", "--product", "thermostat"][..], &arguments].concat())
    };
    release("1.0.0", "1001").fails(3, &["SL-506", "ceiling of 1000"]);
    release("1.0.0", "7").ok();
    project.write("image.bin", "image 2");
    release("1.1.0", "6").fails(3, &["SL-505", "below the 7 of thermostat 1.0.0", "use 7 or more"]);
    release("1.1.0", "7").ok();
}

#[test]
fn the_root_is_exported_in_three_forms() {
    let project = Project::new();
    let cbor = command(project.path(), &["root", "export", "--format", "cbor"]).output().unwrap().stdout;
    let root = Root::decode(Envelope::decode(&cbor).unwrap().payload).unwrap();
    assert_eq!(root.header.version, 1);
    assert_eq!(Role::peek(Envelope::decode(&cbor).unwrap().payload), Ok(Role::Root));
    project.run(&["root", "export", "--format", "cbor", "--out", "root.cbor"]).ok();
    assert_eq!(fs::read(project.file("root.cbor")).unwrap(), cbor);

    project.run(&["root", "export", "--format", "c", "--out", "root.h"]).ok();
    project.write("main.c", "#include <stdio.h>\n#include \"root.h\"\nint main(void) { fwrite(sealift_root, 1, SEALIFT_ROOT_LENGTH, stdout); return 0; }\n");
    project.run(&["root", "export", "--format", "rust", "--out", "root.rs"]).ok();
    project.write("main.rs", "mod root;\nuse std::io::Write;\nfn main() { let _ = root::REPOSITORY_ID; std::io::stdout().write_all(&root::ROOT).unwrap(); }\n");
    for (compiler, source) in [("cc", "main.c"), ("rustc", "main.rs")] {
        let compiled =
            std::process::Command::new(compiler).current_dir(project.path()).args([source, "-o", "print"]).status();
        assert!(compiled.unwrap().success(), "{compiler}");
        let printed = std::process::Command::new(project.file("print")).output().unwrap().stdout;
        assert_eq!(printed, cbor, "{compiler} carries the very bytes");
    }
}

#[test]
fn completions_and_help_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let script = sealift_in(folder.path(), &["completions", "bash"]).ok();
    assert!(script.stdout.contains("_sealift"));
    for command in [&["--help"][..], &["release", "create", "--help"], &["keys", "show", "--help"]] {
        let help = sealift_in(folder.path(), command).ok();
        assert!(help.stdout.contains("Example"), "{command:?}");
    }
}
