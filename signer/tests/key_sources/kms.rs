//! Keys in AWS KMS, as the emulator ministack has it.

use std::fs;
use std::path::Path;

use super::ministack::Ministack;
use super::support::{Outcome, Run, THEN, command, firmware};

/// `sealift` with the emulator's credentials and nothing of the machine's own.
fn sealift(emulator: &Ministack, folder: &Path, arguments: &[&str]) -> Outcome {
    let mut sealift = command(folder, arguments);
    sealift
        .env("SOURCE_DATE_EPOCH", THEN)
        .env("AWS_ENDPOINT_URL", &emulator.endpoint)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env("AWS_ACCESS_KEY_ID", "emulator")
        .env("AWS_SECRET_ACCESS_KEY", "emulator");
    sealift.run()
}

/// A project whose release key and online key are in KMS. Gives the folder too, so that it lives on.
fn project(emulator: &Ministack) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| sealift(emulator, folder.path(), arguments);
    run(&["keys", "generate", "root.pem", "targets.pem"]).ok();
    let [release, online] =
        ["release", "online"].map(|_| format!("awskms:///{}", emulator.key("ECC_NIST_EDWARDS25519")));
    let keys = ["--root-key", "file:root.pem", "--targets-key", "file:targets.pem"];
    let kms = ["--snapshot-key", &online, "--timestamp-key", &online, "--release-key", &release];
    run(&[&["init", "--product", "thermostat"][..], &keys, &kms].concat()).ok();
    // CI has no officer's key.
    fs::remove_file(folder.path().join("root.pem")).unwrap();
    fs::remove_file(folder.path().join("targets.pem")).unwrap();
    (folder, release)
}

#[test]
fn ci_signs_and_renews_with_keys_that_never_leave_kms() {
    let emulator = Ministack::start();
    let (folder, _) = project(&emulator);
    let run = |arguments: &[&str]| sealift(&emulator, folder.path(), arguments);
    fs::write(folder.path().join("image.bin"), firmware(20_000, 1)).unwrap();
    let release = ["release", "create", "--product", "thermostat", "--version", "1.0.0", "--security-counter", "1"];
    run(&[&release[..], &["--image", "image.bin"]].concat()).ok();
    run(&["renew", "--snapshot"]).ok();
    // Both encodings hold under the device's own verification.
    run(&["root", "export", "--format", "cbor", "--out", "root"]).ok();
    run(&["verify", "repository", "--root", "root"]).ok();
    #[cfg(feature = "tuf-json")]
    run(&["verify", "repository", "--root", "repository/tuf/metadata/1.root.json"]).ok();
}

#[test]
fn a_role_of_an_oidc_token_signs_as_ci_does() {
    let emulator = Ministack::start();
    let (folder, release) = project(&emulator);
    fs::write(folder.path().join("token"), "an OIDC token of the CI system").unwrap();
    let mut show = command(folder.path(), &["keys", "show", &release]);
    show.env("AWS_ENDPOINT_URL", &emulator.endpoint).env("AWS_EC2_METADATA_DISABLED", "true");
    show.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    show.env("AWS_CONFIG_FILE", "/nonexistent").env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    show.env("AWS_REGION", "eu-west-1").env("AWS_ROLE_ARN", "arn:aws:iam::000000000000:role/ci");
    show.env("AWS_ROLE_SESSION_NAME", "ci").env("AWS_WEB_IDENTITY_TOKEN_FILE", folder.path().join("token"));
    show.run().ok();
}

#[test]
fn keys_that_kms_has_not_or_that_are_of_another_kind_are_told_apart() {
    let emulator = Ministack::start();
    let folder = tempfile::tempdir().unwrap();
    let show = |arn: &str| sealift(&emulator, folder.path(), &["keys", "show", &format!("awskms:///{arn}")]);
    show(&emulator.key("ECC_NIST_P256")).fails(4, &["ECC_NIST_P256, not ECC_NIST_EDWARDS25519", "aws kms create-key"]);
    show("arn:aws:kms:eu-west-1:000000000000:key/none").fails(4, &["KMS has no such key"]);
    let arn = emulator.key("ECC_NIST_EDWARDS25519");
    drop(emulator);
    let mut nowhere = command(folder.path(), &["keys", "show", &format!("awskms:///{arn}")]);
    nowhere
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env("AWS_ACCESS_KEY_ID", "a")
        .env("AWS_SECRET_ACCESS_KEY", "b");
    nowhere.run().fails(1, &["KMS cannot be used", "try again"]);
}

/// The limit holds for both encodings, and nothing of a release that breaks it is written.
#[test]
fn what_kms_cannot_sign_is_refused_before_anything_is_published() {
    let emulator = Ministack::start();
    let (folder, _) = project(&emulator);
    let text = fs::read_to_string(folder.path().join("sealift.toml")).unwrap();
    assert!(text.contains("keep-releases = 2"), "few, since KMS signs little: {text}");
    let text = text.replacen("keep-releases = 2", "keep-releases = 16", 1);
    fs::write(folder.path().join("sealift.toml"), text).unwrap();
    let files = |folder: &Path| {
        let mut names = Vec::new();
        for part in ["metadata", "payloads", "tuf/metadata", "tuf/targets"] {
            let listed = fs::read_dir(folder.join("repository").join(part)).into_iter().flatten();
            names.extend(listed.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())));
        }
        names.sort();
        names
    };
    let mut released = 0;
    let refused = loop {
        fs::write(folder.path().join("image.bin"), firmware(2_000, released)).unwrap();
        let before = files(folder.path());
        let version = format!("1.{released}.0");
        let release =
            ["release", "create", "--product", "thermostat", "--security-counter", "1", "--image", "image.bin"];
        let outcome = sealift(&emulator, folder.path(), &[&release[..], &["--version", &version]].concat());
        if outcome.code != 0 {
            assert!(files(folder.path()) == before, "a refused release changes nothing");
            break outcome;
        }
        released += 1;
        assert!(released < 16, "16 releases fit into 4,096 bytes?");
    };
    refused.fails(3, &["signs at most 4096 bytes", "keep-releases"]);
    assert!(released >= 3, "{released} releases fit");
    // What was there goes on.
    sealift(&emulator, folder.path(), &["renew"]).ok();
}

#[test]
fn another_key_in_kms_than_the_project_names_is_noticed() {
    let emulator = Ministack::start();
    let (folder, release) = project(&emulator);
    let other = format!("awskms:///{}", emulator.key("ECC_NIST_EDWARDS25519"));
    let file = folder.path().join("sealift.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace(&release, &other)).unwrap();
    fs::write(folder.path().join("image.bin"), "image").unwrap();
    let create = ["release", "create", "--product", "thermostat", "--version", "1.0.0", "--security-counter", "1"];
    sealift(&emulator, folder.path(), &[&create[..], &["--image", "image.bin"]].concat())
        .fails(4, &["keys.release-1", "is another one"]);
}
