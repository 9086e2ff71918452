//! What is known of the crates below us: `attack_NN` is the number of the case in SECURITY.md's table.

#[path = "../../manifests/tests/wire/python.rs"]
mod python;

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Version of every package of that name in a lock file.
fn versions(lock: &str, name: &str) -> Vec<[u32; 3]> {
    let packages = lock.split("[[package]]").filter(|package| package.contains(&format!("\nname = \"{name}\"\n")));
    let version = |package: &str| -> [u32; 3] {
        let text = package
            .split("\nversion = \"")
            .nth(1)
            .and_then(|rest| rest.split(['"', '-', '+']).next())
            .expect("a version");
        let parts: Vec<u32> = text.split('.').map(|part| part.parse().expect("a number")).collect();
        parts.try_into().expect("three numbers")
    };
    packages.map(version).collect()
}

/// Timing of scalar subtraction depended on the secret before curve25519-dalek 4.1.3 (RUSTSEC-2024-0344).
#[test]
fn attack_40_every_locked_curve_crate_is_patched() {
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let text = fs::read_to_string(root().join(lock)).expect("a lock file");
        let found = versions(&text, "curve25519-dalek");
        assert!(!found.is_empty(), "{lock} names no curve25519-dalek");
        assert!(found.iter().all(|version| *version >= [4, 1, 3]), "{lock}: {found:?}");
    }
}

/// Every function that signs takes the private key alone and derives the public one (RUSTSEC-2022-0093): dalek's two that don't are
/// not called.
#[test]
fn attack_39_no_shipped_code_signs_with_a_public_key_from_outside() {
    let mut looked_at = 0;
    let mut waiting: Vec<_> =
        ["manifests", "verifier", "tuf", "signer", "server", "device"].map(|name| root().join(name)).into();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default();
            if name != "tests" && name != "target" {
                waiting.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            looked_at += 1;
            let text = fs::read_to_string(&path).expect("a source file");
            for name in ["raw_sign", "ExpandedSecretKey", "from_keypair_bytes"] {
                assert!(!text.contains(name), "{} uses {name}", path.display());
            }
        }
    }
    assert!(looked_at > 100, "only {looked_at} files");
}

/// CycloneDX's own library, with its own schema, takes our SBOM; and it refuses one that is spoilt, so that it says something.
#[test]
fn the_sbom_is_one_by_the_schema_of_cyclonedx() {
    let made = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("sbom").current_dir(root()).output().expect("xtask runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let sbom = String::from_utf8(made.stdout).expect("text");
    let judge = |text: &str| {
        let mut child = Command::new(python::interpreter())
            .arg(python::script("cyclonedx_check.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
        let done = child.wait_with_output().expect("it ends");
        (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let (valid, why) = judge(&sbom);
    assert!(valid, "{why}");
    let (valid, why) = judge(&sbom.replace("\"required\"", "\"needed\""));
    assert!(!valid && why.contains("needed"), "{why}");
}
