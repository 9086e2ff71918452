//! Known attacks that bite where releases are signed: `attack_NN` is the number of the case in SECURITY.md's table.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{EncodePrivateKey, KeypairBytes, PublicKeyBytes};
use support::{Outcome, Project, firmware, sealift_in};

/// Signing with one key and hashing in another gives the private key away (RUSTSEC-2022-0093); a PKCS#8 file of version 2 could ask for it.
#[test]
fn attack_39_a_key_file_whose_public_key_is_another_ones_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.der");
    let put = |public: &SigningKey| {
        let public = Some(PublicKeyBytes(public.verifying_key().to_bytes()));
        let der = KeypairBytes { secret_key: [1; 32], public_key: public }.to_pkcs8_der().unwrap();
        let _ = fs::remove_file(&path);
        fs::write(&path, der.as_bytes()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        sealift_in(folder.path(), &["keys", "show", "file:key.der"])
    };
    put(&SigningKey::from_bytes(&[1; 32])).ok();
    put(&SigningKey::from_bytes(&[2; 32])).fails(4, &["key.der"]);
}

/// The start of a release while the filesystem takes no file beyond `blocks` of 512 bytes, as a full disk would.
fn with_room_for(blocks: u32, project: &Project) -> Outcome {
    // The signal that comes with the limit is ignored, so that the write itself fails.
    let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &limited, "sh"])
        .arg(assert_cmd::cargo::cargo_bin("sealift"))
        .args(["release", "create", "--product", "thermostat", "--security-counter", "1", "--version", "1.1.0"])
        .args(["--image", "next.bin"])
        .current_dir(project.path())
        .env("SOURCE_DATE_EPOCH", support::THEN)
        .output()
        .unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn attack_66_a_full_disk_is_a_clean_error_and_the_former_release_stays() {
    let project = Project::new();
    project.release("1.0.0", &firmware(60_000, 1));
    project.run(&["root", "export", "--format", "cbor", "--out", "root"]).ok();
    project.write("next.bin", firmware(60_000, 2));
    let (mut full, mut done) = (0, 0);
    for blocks in [0, 1, 2, 4, 8, 16, 32, 64, 100, 128, 1024] {
        let project = project.copy();
        let before = project.repository();
        let outcome = with_room_for(blocks, &project);
        let seen = project.run(&["verify", "repository", "--root", "root", "--json"]).ok().json();
        let releases = seen["releases"].as_array().unwrap().len();
        if outcome.code == 0 {
            done += 1;
            assert_eq!(releases, 2, "room for {blocks} blocks");
            continue;
        }
        full += 1;
        outcome.fails(1, &["File too large"]);
        assert_eq!(releases, 1, "room for {blocks} blocks");
        let after = project.repository();
        let lost = before.iter().filter(|file| !after.contains(file)).count();
        assert_eq!(lost, 0, "room for {blocks} blocks: a file of the former release was changed");
        // With room again, the same command does the whole of it.
        with_room_for(100_000, &project).ok();
        let seen = project.run(&["verify", "repository", "--root", "root", "--json"]).ok().json();
        assert_eq!(seen["releases"].as_array().unwrap().len(), 2);
    }
    assert!(full >= 5 && done >= 1, "{full} full, {done} done");
}

/// Whoever may write into the repository's folder could aim a name elsewhere (CVE-2021-41149): a link is replaced, never written through.
#[test]
fn attack_59_what_a_symbolic_link_in_the_repository_points_to_is_never_written() {
    let project = Project::new();
    project.release("1.0.0", &firmware(20_000, 1));
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    for name in ["metadata/timestamp", "metadata/timestamp.next", "tuf/metadata/timestamp.json"] {
        let link = project.file("repository").join(name);
        let _ = fs::remove_file(&link);
        symlink(&victim, &link).unwrap();
        project.write("image.bin", firmware(20_000, 2));
        let act = ["release", "create", "--product", "thermostat", "--security-counter", "1", "--version", "1.1.0"];
        let outcome = project.run(&[&act[..], &["--image", "image.bin"]].concat());
        assert!([0, 1, 3, 4].contains(&outcome.code), "{outcome:?}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "written through {name}");
    }
}
