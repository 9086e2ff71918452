//! Known attacks that bite where releases are signed: `attack_NN` is the number of the case in SECURITY.md's table.

mod support;

use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey, KeypairBytes, PublicKeyBytes};
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

/// Whether bytes stand anywhere in a process's memory that it can write to.
fn holds(pid: u32, needle: &[u8]) -> bool {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (start, end) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; (end - start) as usize];
        // What the kernel keeps there for itself can't be read.
        memory.read_exact_at(&mut bytes, start).is_ok() && bytes.windows(needle.len()).any(|window| window == needle)
    })
}

/// Holds a key, signs with it and drops it, each when it is told to.
fn hold_a_key(path: &Path) {
    let uri = format!("file:{}", path.display()).parse().unwrap();
    let mut orders = std::io::stdin().lines();
    let mut say = |what: &str| {
        println!("\n{what}");
        std::io::stdout().flush().unwrap();
        orders.next();
    };
    let key = sealift_signer::keys::open_existing(&uri, Path::new("/"), false).unwrap();
    key.sign(b"a message").unwrap();
    say("HOLDS");
    drop(key);
    say("DROPPED");
}

/// The memory of a process that had a key, read as whoever steals a dump of it would read it.
#[test]
fn attack_61_a_key_that_was_dropped_is_nowhere_in_memory() {
    if let Some(path) = std::env::var_os("SEALIFT_TEST_HOLDS_KEY") {
        return hold_a_key(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    sealift_in(folder.path(), &["keys", "generate", "key.pem"]).ok();
    let path = folder.path().join("key.pem");
    let pem = fs::read_to_string(&path).unwrap();
    let seed = SigningKey::from_pkcs8_pem(&pem).unwrap().to_bytes();
    let text = pem.lines().nth(1).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "attack_61_a_key_that_was_dropped_is_nowhere_in_memory", "--nocapture"])
        .env("SEALIFT_TEST_HOLDS_KEY", &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let mut orders = child.stdin.take().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut wait_for = |what: &str| while said.next().unwrap().unwrap() != what {};
    wait_for("HOLDS");
    assert!(holds(pid, &seed), "this way of looking finds nothing");
    assert!(!holds(pid, text.as_bytes()), "the file's text is left behind by reading it");
    orders.write_all(b"\n").unwrap();
    wait_for("DROPPED");
    assert!(!holds(pid, &seed), "the key is left behind");
    drop(orders);
    assert!(child.wait().unwrap().success());
}

/// A crash must not write keys to a disk, whatever the shell allows.
#[test]
fn attack_61_no_core_file_is_ever_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -c unlimited 2>/dev/null || ulimit -c \"$(ulimit -H -c)\"; exec \"$@\"", "sh"])
        .arg(assert_cmd::cargo::cargo_bin("sealift"))
        .args(["keys", "generate", "key.pem", "--encrypt", "--passphrase-fd", "0"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It waits for the passphrase, which doesn't come.
    let limits = || fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = |limits: String| limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
    let begun = std::time::Instant::now();
    let forbidden = |line: String| line.split_whitespace().skip(4).take(2).eq(["0", "0"]);
    while !forbidden(core(limits())) {
        assert!(begun.elapsed().as_secs() < 20, "{}", core(limits()));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(child.stdin.take());
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_ne!(child.wait().unwrap().code(), None, "{said}");
}
