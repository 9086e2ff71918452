//! Key files: who can read them, what they may be, and that nothing secret is ever printed.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::{Outcome, Project, Run, command, sealift_in};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_new_key_is_readable_by_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let made = sealift_in(folder.path(), &["keys", "generate", "deep/down/key.pem", "--json"]).ok().json();
    let path = folder.path().join("deep/down/key.pem");
    assert_eq!(mode(&path), 0o600);
    let shown = sealift_in(folder.path(), &["keys", "show", "file:deep/down/key.pem", "--json"]).ok().json();
    assert_eq!(made["keys"][0]["key_id"], shown["keys"][0]["key_id"]);
    // Never overwritten.
    let before = fs::read(&path).unwrap();
    sealift_in(folder.path(), &["keys", "generate", "deep/down/key.pem"]).fails(3, &["never overwritten"]);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let project = Project::new();
    project.write("image.bin", "image");
    for wide in [0o640, 0o604, 0o644, 0o660] {
        fs::set_permissions(project.file("keys/release-1.pem"), Permissions::from_mode(wide)).unwrap();
        let arguments = ["--version", "1.0.0", "--security-counter", "1", "--image", "image.bin"];
        let before = project.repository();
        project
            .run(&[&["release", "create", "--product", "thermostat"][..], &arguments].concat())
            .fails(4, &["can be read by others", &format!("{wide:04o}"), "chmod 600"]);
        assert!(project.repository() == before);
    }
}

#[test]
fn openssl_reads_our_keys_and_we_read_its() {
    let folder = tempfile::tempdir().unwrap();
    let made = sealift_in(folder.path(), &["keys", "generate", "ours.pem", "--json"]).ok().json();
    let openssl = |arguments: &[&str]| {
        let output = std::process::Command::new("openssl").current_dir(folder.path()).args(arguments).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let der = openssl(&["pkey", "-in", "ours.pem", "-pubout", "-outform", "DER"]);
    let public = hex::encode(&der[der.len() - 32..]);
    assert_eq!(made["keys"][0]["tuf"]["key"]["keyval"]["public"], public);

    openssl(&["genpkey", "-algorithm", "ed25519", "-out", "theirs.pem"]);
    openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", "theirs.pem", "-outform", "DER", "-out", "theirs.der"]);
    for file in ["theirs.pem", "theirs.der"] {
        fs::set_permissions(folder.path().join(file), Permissions::from_mode(0o600)).unwrap();
        let uri = format!("file:{file}");
        let shown = sealift_in(folder.path(), &["keys", "show", &uri, "--json"]).ok().json();
        let der = openssl(&["pkey", "-in", "theirs.pem", "-pubout", "-outform", "DER"]);
        assert_eq!(shown["keys"][0]["tuf"]["key"]["keyval"]["public"], hex::encode(&der[der.len() - 32..]));
    }
}

#[test]
fn what_is_no_ed25519_private_key_is_refused_by_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let put = |bytes: &[u8]| {
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    };
    let show = || sealift_in(folder.path(), &["keys", "show", "file:key"]);
    show().fails(4, &["no key at this place", "keys generate"]);
    put(b"");
    show().fails(4, &["is empty"]);
    put(&[7; 20_000]);
    show().fails(4, &["larger than"]);
    put(b"\xff\xfe no key");
    show().fails(4, &["no Ed25519 private key"]);
    put(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    show().fails(4, &["encrypted"]);
    put(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    show().fails(4, &["public key"]);
    put(b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n");
    show().fails(4, &["no PKCS#8"]);
    sealift_in(folder.path(), &["keys", "generate", "whole"]).ok();
    let whole = fs::read(folder.path().join("whole")).unwrap();
    for length in [30, whole.len() / 2, whole.len() - 10] {
        put(&whole[..length]);
        show().fails(4, &["no Ed25519 private key"]);
    }
    let openssl = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let ec = std::process::Command::new("openssl").args(openssl).output().unwrap().stdout;
    put(&ec);
    show().fails(4, &["no Ed25519 private key"]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    show().fails(4, &["not a regular file"]);
}

/// A folder with a key under a passphrase, made by us.
fn encrypted() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    with_secret(folder.path(), "correct horse\n", &["keys", "generate", "--encrypt", "key.pem"]).ok();
    folder
}

/// Runs `sealift` with a secret on descriptor 3.
fn with_secret(folder: &Path, secret: &str, arguments: &[&str]) -> Outcome {
    fs::write(folder.join(".secret"), secret).unwrap();
    let mut shell = assert_cmd::Command::new("sh");
    shell.current_dir(folder).args(["-c", "exec \"$@\" 3<.secret", "sh"]);
    shell.arg(env!("CARGO_BIN_EXE_sealift")).args(arguments).args(["--passphrase-fd", "3"]).run()
}

#[test]
fn a_key_under_a_passphrase_is_opened_from_a_descriptor() {
    let folder = encrypted();
    let pem = fs::read_to_string(folder.path().join("key.pem")).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{pem}");
    assert_eq!(mode(&folder.path().join("key.pem")), 0o600);
    let shown = with_secret(folder.path(), "correct horse\n", &["keys", "show", "file:key.pem", "--json"]).ok().json();
    // OpenSSL opens it with the same passphrase, and sees the same key.
    let openssl = ["pkey", "-in", "key.pem", "-passin", "pass:correct horse", "-pubout", "-outform", "DER"];
    let openssl = std::process::Command::new("openssl").current_dir(folder.path()).args(openssl).output().unwrap();
    assert!(openssl.status.success(), "{}", String::from_utf8_lossy(&openssl.stderr));
    let public = hex::encode(&openssl.stdout[openssl.stdout.len() - 32..]);
    assert_eq!(shown["keys"][0]["tuf"]["key"]["keyval"]["public"], public);
    with_secret(folder.path(), "", &["keys", "show", "file:key.pem"]).fails(2, &["holds nothing"]);
    with_secret(folder.path(), "\n", &["keys", "generate", "--encrypt", "b.pem"]).fails(2, &["passphrase is empty"]);
}

#[test]
fn keys_that_openssl_encrypted_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |arguments: &[&str]| {
        let done = std::process::Command::new("openssl").current_dir(folder.path()).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", "plain.pem"]);
    let public = openssl(&["pkey", "-in", "plain.pem", "-pubout", "-outform", "DER"]);
    let public = hex::encode(&public[public.len() - 32..]);
    let convert = ["pkcs8", "-topk8", "-in", "plain.pem", "-passout", "pass:secret", "-out"];
    for (name, form) in [
        ("pbkdf2.pem", &["-v2", "aes-256-cbc"][..]),
        ("sha512.pem", &["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"]),
        ("scrypt.pem", &["-scrypt"]),
        ("pbkdf2.der", &["-v2", "aes-256-cbc", "-outform", "DER"]),
    ] {
        openssl(&[&convert[..], &[name], form].concat());
        fs::set_permissions(folder.path().join(name), Permissions::from_mode(0o600)).unwrap();
        let show = ["keys", "show", &format!("file:{name}"), "--json"];
        let shown = with_secret(folder.path(), "secret\n", &show).ok().json();
        assert_eq!(shown["keys"][0]["tuf"]["key"]["keyval"]["public"], public, "{name}");
        with_secret(folder.path(), "Secret\n", &show).fails(4, &["passphrase is wrong"]);
    }
}

#[test]
fn a_wrong_passphrase_is_told_and_changes_nothing() {
    let project = Project::new();
    project.release("1.0.0", b"image");
    fs::remove_file(project.file("keys/timestamp-1.pem")).unwrap();
    let make = ["keys", "generate", "--encrypt", "keys/timestamp-1.pem", "--json"];
    let made = with_secret(project.path(), "right\n", &make).ok().json();
    let text = fs::read_to_string(project.file("sealift.toml")).unwrap();
    let at = text.find("[keys.timestamp-1]").unwrap();
    let old = text[at..].lines().find(|line| line.starts_with("public")).unwrap();
    project.edit(old, &format!("public = {}", made["keys"][0]["cose_key"]));
    with_secret(project.path(), "right\n", &["root", "apply"]).ok();
    let before = project.repository();
    let refused = with_secret(project.path(), "wrong\n", &["renew"]);
    let refused = refused.fails(4, &["keys/timestamp-1.pem", "passphrase is wrong", "try again"]);
    assert!(!refused.stderr.contains("right") && !refused.stderr.contains("wrong\n"));
    assert!(project.repository() == before);
    with_secret(project.path(), "right\n", &["renew"]).ok();
}

#[test]
fn nobody_is_asked_where_there_is_no_terminal() {
    let folder = encrypted();
    let start = std::time::Instant::now();
    sealift_in(folder.path(), &["keys", "show", "file:key.pem"])
        .fails(2, &["there is no terminal to ask on", "--passphrase-fd"]);
    assert!(start.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn a_person_is_asked_on_the_terminal_and_nothing_typed_is_shown() {
    let folder = encrypted();
    let typed = |line: &str| {
        let sealift = env!("CARGO_BIN_EXE_sealift");
        let mut script = assert_cmd::Command::new("script");
        script.current_dir(folder.path()).args(["-qec", &format!("{sealift} keys show file:key.pem"), "/dev/null"]);
        script.write_stdin(line.to_owned()).run()
    };
    let right = typed("correct horse\n");
    assert_eq!(right.code, 0, "{right:?}");
    assert!(right.stdout.contains("passphrase of key.pem:") && right.stdout.contains("COSE_Key"), "{right:?}");
    let wrong = typed("incorrect\n");
    assert_eq!(wrong.code, 4, "{wrong:?}");
}

#[test]
fn key_uris_that_mean_nothing_are_refused_without_repeating_them() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "MC4CAQAwBQYDK2VwBCIEIHsecretsecretsecretsecret";
    let refused = sealift_in(folder.path(), &["keys", "show", "gopher:key"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("known are file:PATH, env:NAME"), "{}", refused.stderr);
    sealift_in(folder.path(), &["keys", "show", "env:SEALIFT_TEST_UNSET"]).fails(4, &["no key at this place"]);
    let wrong = command(folder.path(), &["keys", "show", "env:SEALIFT_TEST_KEY"]).env("SEALIFT_TEST_KEY", secret).run();
    let wrong = wrong.fails(4, &["env:SEALIFT_TEST_KEY"]);
    assert!(!wrong.stderr.contains(secret));
}

#[test]
fn another_key_at_the_place_is_noticed() {
    let project = Project::new();
    fs::remove_file(project.file("keys/timestamp-1.pem")).unwrap();
    project.run(&["keys", "generate", "keys/timestamp-1.pem"]).ok();
    project.run(&["renew"]).fails(4, &["keys.timestamp-1", "is another one"]);
}

#[test]
fn example_keys_are_refused_outside_development() {
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keys-example");
    let mut seen = 0;
    for entry in fs::read_dir(&examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        seen += 1;
        let copy = folder.path().join("key.pem");
        let _ = fs::remove_file(&copy);
        fs::copy(&path, &copy).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(0o600)).unwrap();
        sealift_in(folder.path(), &["keys", "show", "file:key.pem"]).fails(3, &["EXAMPLE-INSECURE"]);
        sealift_in(folder.path(), &["keys", "show", "file:key.pem", "--development"]).ok();
    }
    assert!(seen > 0, "{} has keys", examples.display());
}

#[test]
fn nothing_secret_is_printed() {
    let project = Project::new();
    project.write("image.bin", "image");
    let release = ["release", "create", "--product", "thermostat", "--security-counter", "1", "--image", "image.bin"];
    let release = [&release[..], &["--version", "1.0.0"]].concat();
    let mut said = Vec::new();
    let mut note = |outcome: Outcome| said.push(outcome.stdout + &outcome.stderr);
    for arguments in [&["keys", "show", "file:keys/root-1.pem"][..], &release, &release, &["renew", "--json"]] {
        note(project.run(arguments));
    }
    note(command(project.path(), &["keys", "show", "file:keys/root-1.pem"]).env("RUST_LOG", "trace").run());
    let said = said.concat();
    for entry in fs::read_dir(project.file("keys")).unwrap() {
        let pem = fs::read_to_string(entry.unwrap().path()).unwrap();
        let body = pem.lines().nth(1).unwrap();
        let der = base64(body);
        let seed = hex::encode(&der[der.len() - 32..]);
        assert!(!said.contains(body) && !said.contains(&seed) && !said.contains(&seed.to_uppercase()));
    }
    assert!(said.contains("COSE_Key"), "the commands said something");
}

fn base64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = text.bytes().filter_map(|byte| alphabet.iter().position(|known| *known == byte));
    let bits: Vec<u8> = bits.flat_map(|value| (0..6).rev().map(move |bit| (value >> bit & 1) as u8)).collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit)).collect()
}
