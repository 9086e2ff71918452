//! ministack, an AWS emulator, in a virtual environment below `target/`, installed when it is missing.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Its keys of spec ECC_NIST_EDWARDS25519 are Ed25519 keys of the Python package cryptography, and sign as such.
const PACKAGES: [&str; 2] = ["ministack==1.5.33", "cryptography==46.0.3"];

/// A running emulator; it ends with this value.
pub(crate) struct Ministack {
    server: Child,
    pub(crate) endpoint: String,
}

impl Drop for Ministack {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn python() -> PathBuf {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ministack-venv");
    let python = venv.join("bin/python");
    // Test processes run side by side; one of them makes it.
    let lock = File::create(venv.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let probe = "import ministack.app, cryptography, botocore";
    let ready = Command::new(&python).args(["-c", probe]).stderr(Stdio::null()).status();
    if !ready.is_ok_and(|status| status.success()) {
        eprintln!("installing {} with pip into {}", PACKAGES.join(" and "), venv.display());
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES));
    }
    python
}

fn run(command: &mut Command) {
    let status =
        command.status().unwrap_or_else(|error| panic!("{command:?}: {error}; install python3 and python3-venv"));
    assert!(status.success(), "{command:?} failed: {status}");
}

impl Ministack {
    pub(crate) fn start() -> Self {
        let python = python();
        // The port is free now; nobody else on this machine asks for it in the next second.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Command::new(python)
            .args(["-m", "ministack"])
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("SERVICES", "kms,sts")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let emulator = Ministack { server, endpoint: format!("http://127.0.0.1:{port}") };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "ministack does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        emulator
    }

    /// Makes a signing key and returns its ARN.
    pub(crate) fn key(&self, spec: &str) -> String {
        let script = "import sys, botocore.session\n\
            kms = botocore.session.Session().create_client('kms', region_name='eu-west-1', endpoint_url=sys.argv[1], \
            aws_access_key_id='emulator', aws_secret_access_key='emulator')\n\
            print(kms.create_key(KeyUsage='SIGN_VERIFY', KeySpec=sys.argv[2])['KeyMetadata']['Arn'])";
        let made = Command::new(python()).args(["-c", script, &self.endpoint, spec]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }
}
