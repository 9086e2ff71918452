//! Keys on PKCS#11 tokens: SoftHSM, from Debian's package `softhsm2`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Outcome, Run, THEN, command, firmware};

/// Where Debian and others put it.
const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
];
const PIN: &str = "81723";

/// A folder with two tokens in it.
struct Tokens {
    folder: tempfile::TempDir,
}

impl Tokens {
    fn new() -> Self {
        let tokens = Tokens { folder: tempfile::tempdir().unwrap() };
        let store = tokens.path().join("tokens");
        fs::create_dir(&store).unwrap();
        let config = format!("directories.tokendir = {}\nobjectstore.backend = file\n", store.display());
        fs::write(tokens.path().join("softhsm2.conf"), config).unwrap();
        for label in ["officer-1", "officer-2"] {
            let made = Command::new("softhsm2-util")
                .args(["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "12345"])
                .env("SOFTHSM2_CONF", tokens.path().join("softhsm2.conf"))
                .output()
                .expect("softhsm2-util is missing: `apt-get install softhsm2`, or run `cargo xtask test`");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        fs::write(tokens.path().join("pin"), format!("{PIN}\n")).unwrap();
        fs::set_permissions(tokens.path().join("pin"), Permissions::from_mode(0o600)).unwrap();
        tokens
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let mut sealift = command(self.path(), arguments);
        sealift.env("SOFTHSM2_CONF", self.path().join("softhsm2.conf")).env("SEALIFT_PKCS11_MODULE", module());
        sealift.env("SOURCE_DATE_EPOCH", THEN).run()
    }

    /// Runs with these lines on descriptor 3.
    fn with_pins(&self, pins: &str, arguments: &[&str]) -> Outcome {
        fs::write(self.path().join("pins"), pins).unwrap();
        let mut shell = assert_cmd::Command::new("sh");
        shell.current_dir(self.path()).args(["-c", "exec \"$@\" 3<pins", "sh", env!("CARGO_BIN_EXE_sealift")]);
        shell.args(arguments).env("SEALIFT_PASSPHRASE_FD", "3").env("SEALIFT_PKCS11_MODULE", module());
        shell.env("SOFTHSM2_CONF", self.path().join("softhsm2.conf")).env("SOURCE_DATE_EPOCH", THEN).run()
    }
}

fn module() -> PathBuf {
    let found = MODULES.into_iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("libsofthsm2.so is missing: `apt-get install softhsm2`, or run `cargo xtask test`")
}

#[test]
fn officers_sign_the_root_with_keys_on_their_tokens() {
    let tokens = Tokens::new();
    let [one, two] = [1, 2].map(|officer| format!("pkcs11:token=officer-{officer};object=root"));
    let pins = format!("{PIN}\n");
    for key in [&one, &two] {
        tokens.with_pins(&pins, &["keys", "generate", key]).ok();
        tokens.with_pins(&pins, &["keys", "generate", key]).fails(3, &["never overwritten"]);
    }
    tokens.run(&["keys", "generate", "online.pem", "release.pem"]).ok();
    let roots = ["--root-key", &one, "--root-key", &two, "--root-threshold", "2", "--targets-key", &one];
    let rest = ["--snapshot-key", "file:online.pem", "--timestamp-key", "file:online.pem", "--release-key"];
    let init = [&["init", "--product", "thermostat"][..], &roots, &rest, &["file:release.pem"]].concat();
    tokens.with_pins(&pins, &init).ok();
    fs::write(tokens.path().join("image.bin"), firmware(4_000, 1)).unwrap();
    let release = ["release", "create", "--product", "thermostat", "--version", "1.0.0", "--security-counter", "1"];
    tokens.run(&[&release[..], &["--image", "image.bin"]].concat()).ok();
    tokens.run(&["root", "export", "--format", "cbor", "--out", "root.cbor"]).ok();
    tokens.run(&["verify", "repository", "--root", "root.cbor"]).ok();
    tokens.with_pins(&pins, &["root", "apply", "--renew"]).ok();
    tokens.run(&["verify", "repository", "--root", "root.cbor"]).ok();
    // A token that is in the safe is a key that is not here.
    let store = tokens.path().join("tokens");
    fs::rename(&store, tokens.path().join("safe")).unwrap();
    fs::create_dir(&store).unwrap();
    tokens.with_pins(&pins, &["root", "apply", "--renew"]).fails(4, &["0 of the 2 keys", "token=officer-1"]);
}

#[test]
fn a_pin_comes_from_a_descriptor_or_a_file_that_is_ones_own() {
    let tokens = Tokens::new();
    let key = "pkcs11:token=officer-1;object=root";
    tokens.with_pins(&format!("{PIN}\n"), &["keys", "generate", key]).ok();
    let shown = tokens.with_pins(&format!("{PIN}\n"), &["keys", "show", key, "--json"]).ok().json();
    let by_file = format!("{key}?pin-source=file:pin");
    let again = tokens.run(&["keys", "show", &by_file, "--json"]).ok().json();
    assert_eq!(shown["keys"][0]["key_id"], again["keys"][0]["key_id"]);
    fs::set_permissions(tokens.path().join("pin"), Permissions::from_mode(0o644)).unwrap();
    tokens.run(&["keys", "show", &by_file]).fails(4, &["PIN can be read by others"]);
    tokens.run(&["keys", "show", key]).fails(2, &["token `officer-1`", "no terminal to ask on"]);
    let refused = tokens.with_pins("00000\n", &["keys", "show", key]).fails(4, &["refuses this PIN", "locks itself"]);
    assert!(!refused.stderr.contains("00000"));
    tokens.run(&["keys", "show", &format!("{key}?pin-value={PIN}")]);
    let told = tokens.run(&["keys", "show", &format!("{key}?pin-value={PIN}")]);
    assert_eq!(told.code, 2, "a PIN in a URI is a usage error");
    assert!(told.stderr.contains("PIN in a URI"), "{told:?}");
}

#[test]
fn keys_and_modules_that_are_not_what_they_should_be_are_told_apart() {
    let tokens = Tokens::new();
    let pins = format!("{PIN}\n");
    let show = |uri: &str| tokens.with_pins(&pins, &["keys", "show", uri]);
    show("pkcs11:token=officer-1;object=none").fails(4, &["the token has no such key"]);
    show("pkcs11:token=nobody;object=root").fails(4, &["no key at this place"]);
    show("pkcs11:object=root").fails(4, &["2 tokens fit", "token=LABEL"]);
    show("pkcs11:token=officer-1;object=root?module-path=/nonexistent.so").fails(4, &["no PKCS#11 module"]);
    // A key of another kind under the name.
    let openssl = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.pem"];
    assert!(Command::new("openssl").current_dir(tokens.path()).args(openssl).output().unwrap().status.success());
    let import = ["--import", "rsa.pem", "--token", "officer-1", "--label", "rsa", "--id", "07", "--pin", PIN];
    let mut util = Command::new("softhsm2-util");
    util.current_dir(tokens.path()).args(import).env("SOFTHSM2_CONF", tokens.path().join("softhsm2.conf"));
    let done = util.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    show("pkcs11:token=officer-1;object=rsa").fails(4, &["not Ed25519"]);
    show("pkcs11:token=officer-1;id=%07").fails(4, &["not Ed25519"]);
}
