//! Real firmware through the whole path with the real binaries: signed, published, rolled out, taken as a delta, tried,
//! confirmed, reported. One test a pair, each with a server of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The folder of a pair, or `None` after saying that the test is left out; with SEALIFT_REQUIRE_FIRMWARE=1 that is a failure.
fn pair(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/firmware");
    let folder = std::env::var_os("SEALIFT_FIRMWARE").map_or(beside, PathBuf::from).join(name);
    if folder.join("old").is_file() && folder.join("new").is_file() {
        return Some(folder);
    }
    assert!(
        std::env::var("SEALIFT_REQUIRE_FIRMWARE").as_deref() != Ok("1"),
        "{} has no `old` and `new`, and SEALIFT_REQUIRE_FIRMWARE=1 asks for them",
        folder.display()
    );
    println!("LEFT OUT: no firmware pair at {}", folder.display());
    None
}

/// Cargo's folder of binaries, which are built first if they aren't there.
fn binaries() -> PathBuf {
    let own = std::env::current_exe().expect("this test's own path");
    // target/PROFILE/deps/TEST
    let folder = own.ancestors().nth(2).expect("a target folder").to_owned();
    let programs = ["sealift", "sealift-server", "sealift-device"];
    if !programs.iter().all(|program| folder.join(program).is_file()) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let packages = ["-p", "sealift-signer", "-p", "sealift-server", "-p", "sealift-device"];
        let built = Command::new(cargo).args(["build", "--locked"]).args(packages).status().expect("cargo");
        assert!(built.success(), "the programs don't build");
    }
    folder
}

struct Bench {
    folder: tempfile::TempDir,
    binaries: PathBuf,
    server: Option<Child>,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().expect("a folder"), binaries: binaries(), server: None }
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.binaries.join(program));
        command.current_dir(self.folder.path()).args(arguments).arg("--json").stdin(Stdio::null());
        command.output().unwrap_or_else(|why| panic!("{program}: {why}"))
    }

    /// Runs a command that must succeed; returns the last JSON that it printed.
    fn run(&self, program: &str, arguments: &[&str]) -> Value {
        let output = self.output(program, arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{program} {arguments:?}: {}\n{out}\n{err}", output.status);
        let whole = serde_json::from_str(&out).ok();
        let last = whole.or_else(|| out.lines().rev().find_map(|line| serde_json::from_str(line).ok()));
        last.unwrap_or_else(|| panic!("{program} {arguments:?}: no JSON in {out}"))
    }

    /// Starts the server; returns its origin and the CA's file.
    fn serve(&mut self) -> (String, String) {
        let log = self.folder.path().join("server.log");
        let mut command = Command::new(self.binaries.join("sealift-server"));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stderr(Stdio::null());
        command.args(["serve", "--state", "server", "--listen", "127.0.0.1:0", "--json"]);
        command.stdout(File::create(&log).expect("a log"));
        self.server = Some(command.spawn().expect("the server"));
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let text = fs::read_to_string(&log).expect("the log");
            if let Ok(ready) = serde_json::from_str::<Value>(&text) {
                return (ready["url"].as_str().unwrap().into(), ready["ca"].as_str().unwrap().into());
            }
            assert!(Instant::now() < deadline, "the server isn't ready");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn file_name(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// One bit of a target of the standard TUF repository is altered: nothing of the release is published. A targets file of the release
/// before is a target no longer, so that these are chosen by their names.
fn refuses_an_altered_host_encoding(bench: &Bench, publish: &[&str]) {
    let targets = bench.folder.path().join("repository/tuf/targets");
    for part in [".from-", "~2.gadget.targets", "~1.root"] {
        let mut entries = fs::read_dir(&targets).expect("the targets").map(|entry| entry.expect("a target").path());
        let target = entries.find(|path| file_name(path).contains(part)).unwrap_or_else(|| panic!("no target {part}"));
        let good = fs::read(&target).expect("the target");
        let mut bad = good.clone();
        bad[0] ^= 1;
        // A payload is one file under two names; the other one stays as it is.
        let replace = |bytes: &[u8]| {
            fs::remove_file(&target).expect("a target that can be removed");
            fs::write(&target, bytes).expect("the target in its place");
        };
        replace(&bad);
        let refused = bench.output("sealift-server", publish);
        let said = [refused.stdout, refused.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(refused.status.code(), Some(3), "{part}: {said}");
        assert!(said.contains("standard TUF repository"), "{part}: {said}");
        replace(&good);
    }
}

/// From CI to the device and back, and what travelled: the delta's bytes and the image's.
fn travels(name: &str, most: f64) {
    let Some(pair) = pair(name) else { return };
    let (old, new) = (pair.join("old"), pair.join("new"));
    let mut bench = Bench::new();
    let product = ["--product", "gadget"];
    bench.run(
        "sealift",
        &["init", "--quick-start", "--product", "gadget", "--hardware", "board-a", "--decoder-ram", "64KiB"],
    );
    bench.run("sealift", &["root", "export", "--format", "cbor", "--out", "root.cbor"]);
    let release = |version, image| {
        let create = [
            "release",
            "create",
            "--version",
            version,
            "--security-counter",
            "1",
            "--image-format",
            "raw",
            "--image",
            image,
        ];
        bench.run("sealift", &[&create[..], &product].concat())
    };
    release("1.0.0", file_name(&old));
    bench.run("sealift", &[&["bundle", "export", "--out", "first.bundle"][..], &product].concat());
    let made = release("2.0.0", file_name(&new));
    let payloads = made["release"]["payloads"].as_array().expect("payloads");
    let delta = payloads.iter().filter(|payload| !payload["base_sha256"].is_null());
    let delta = delta.filter_map(|payload| payload["length"].as_u64()).min().expect("a delta");
    let image = fs::read(&new).expect("the new image");
    println!("{name}: delta {delta} of {} bytes", image.len());
    assert!((delta as f64) < most * image.len() as f64, "{name}: the delta has {delta} of {} bytes", image.len());

    let (url, ca) = bench.serve();
    let publish = ["publish", "--state", "server", "--release", "repository"];
    refuses_an_altered_host_encoding(&bench, &publish);
    bench.run("sealift-server", &publish);
    let state = ["--state", "device"];
    let provision = [
        "provision",
        "--root",
        "root.cbor",
        "--hardware",
        "board-a",
        "--image",
        file_name(&old),
        "--bundle",
        "first.bundle",
    ];
    bench.run("sealift-device", &[&provision[..], &product, &state].concat());
    let token = ["devices", "token", "--state", "server", "--group", "field", "--thing", "gadget-1"];
    let token = bench.run("sealift-server", &[&token[..], &product].concat());
    fs::write(bench.folder.path().join("token"), token["token"].as_str().unwrap()).unwrap();
    let enrol = ["enrol", "--server", &url, "--ca", &ca, "--thing", "gadget-1", "--token-file", "token"];
    bench.run("sealift-device", &[&enrol[..], &state].concat());
    let rollout = ["rollout", "create", "--state", "server", "--release", "2.0.0", "--group", "field", "--name", "all"];
    bench.run("sealift-server", &[&rollout[..], &product].concat());

    // Only a delta may travel: the agent is told that its link is metered.
    let reported = bench.run("sealift-device", &[&["run", "--once", "--delta-only"][..], &state].concat());
    assert_eq!(reported["event"], "reported", "{reported}");
    let status = bench.run("sealift-device", &[&["status"][..], &state].concat());
    let active = status["active"].as_str().expect("an active slot");
    assert_eq!(status["slots"][active]["version"], "2.0.0", "{status}");

    // What stands in the slot is the vendor's image, byte for byte.
    let slot = fs::read(bench.folder.path().join("device/slots").join(active)).expect("the slot");
    let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    assert_eq!(digest(&slot[..image.len()]), digest(&image), "{name}");

    let rollout = bench.run("sealift-server", &["rollout", "status", "--state", "server", "all"]);
    assert_eq!((&rollout["proven"], &rollout["differences"]), (&1.into(), &0.into()), "{rollout}");
    assert_eq!(rollout["devices"][0]["status"], "SUCCEEDED", "{rollout}");
    assert_eq!(rollout["devices"][0]["proven"]["image"], digest(&image), "{rollout}");
}

#[test]
fn micropython_for_the_pyboard_travels_as_a_delta() {
    travels("stm32f4_upy", 0.15);
}

#[test]
fn trusted_firmware_for_the_imx8_travels_as_a_delta() {
    travels("atf_imx8mp", 0.25);
}

#[test]
fn opensbi_for_risc_v_travels_as_a_delta() {
    travels("opensbi_rv64", 0.35);
}
