//! moto, the AWS emulator, in a virtual environment below `target/`, installed when it is missing.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sealift_server::aws::Session;

const MOTO: &str = "moto[server]==5.2.5";

/// A running emulator; it ends with this value.
pub(crate) struct Moto {
    server: Child,
    pub(crate) endpoint: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The environment's Python, made once per test run.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto-venv");
        let python = venv.join("bin/python");
        let ready = Command::new(&python).args(["-c", "import moto.server"]).stderr(Stdio::null()).status();
        if !ready.is_ok_and(|status| status.success()) {
            eprintln!("installing {MOTO} from PyPI into {}", venv.display());
            run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
            run(Command::new(&python).args(["-m", "pip", "install", "--quiet", MOTO]));
        }
        python
    })
}

pub(crate) fn run(command: &mut Command) {
    let status =
        command.status().unwrap_or_else(|error| panic!("{command:?}: {error}; install python3 and python3-venv"));
    assert!(status.success(), "{command:?} failed: {status}");
}

impl Moto {
    pub(crate) fn start() -> Self {
        Self::run(|port| vec!["-m".into(), "moto.server".into(), "-H".into(), "127.0.0.1".into(), "-p".into(), port])
    }

    /// moto with devices, and with what AWS IoT does and it doesn't (`tests/python/moto_fleet.py`).
    pub(crate) fn start_fleet() -> Self {
        Self::run(|port| vec![concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/moto_fleet.py").into(), port])
    }

    fn run(arguments: impl Fn(String) -> Vec<String>) -> Self {
        // The port is free now; nobody else on this machine asks for it in the next second.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Command::new(python())
            .args(arguments(port.to_string()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Moto { server, endpoint: format!("http://127.0.0.1:{port}") };
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "moto does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        moto
    }

    /// A session of the emulator's account. It checks no credentials, so these are none.
    pub(crate) async fn session(&self) -> Session {
        Session::with_credentials("eu-west-1", &self.endpoint, ["emulator", "emulator"]).await
    }
}
