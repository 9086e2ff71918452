//! LocalStack's core, for what moto's S3 can't show: atomic conditional writes, checksums that are checked, parts that are
//! listed. It needs Python 3.12 or newer; without that its tests leave themselves out and say so.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sealift_server::aws::Session;

/// The version tried, with the bounds under which its dependencies still fit each other.
const PACKAGES: [&str; 6] = [
    "localstack-core[base-runtime]==2026.3.0",
    "cbor2<5.8",
    "pyopenssl<25.4",
    "cryptography<47",
    "service_identity<25",
    "moto-ext[s3]",
];

/// A running emulator; it ends with this value.
pub(crate) struct LocalStack {
    server: Child,
    endpoint: String,
    _home: tempfile::TempDir,
}

impl Drop for LocalStack {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn runs(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The Python of an environment with LocalStack in it, made once; `None` where it can't be made.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    let made = PYTHON.get_or_init(|| {
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("localstack-venv");
        let python = venv.join("bin/python");
        let ready = || runs(Command::new(&python).args(["-c", "import rolo, localstack.services.s3.provider"]));
        if ready() {
            return Some(python);
        }
        eprintln!("installing {} from PyPI into {}", PACKAGES[0], venv.display());
        // A python3.13 of pyenv's runs when it is asked for; elsewhere the name means nothing, and python3 may be that new.
        let made = ["python3.13", "python3"].iter().any(|name| {
            let is_new = "import sys; sys.exit(sys.version_info < (3, 12))";
            runs(Command::new(name).env("PYENV_VERSION", "3.13").args(["-c", is_new]))
                && runs(Command::new(name).env("PYENV_VERSION", "3.13").args(["-m", "venv"]).arg(&venv))
                && runs(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))
        });
        (made && ready()).then_some(python)
    });
    made.as_deref()
}

impl LocalStack {
    /// Starts it; says why not, where there is no way to.
    pub(crate) fn start() -> Option<Self> {
        let Some(python) = python() else {
            println!(
                "LEFT OUT: LocalStack can't be installed here (it needs Python 3.12 or newer with venv, and PyPI)"
            );
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let home = tempfile::tempdir().unwrap();
        let server = Command::new(python)
            .args(["-m", "localstack.runtime.main"])
            // Its usual server listens on all interfaces.
            .env("GATEWAY_SERVER", "hypercorn")
            .env("GATEWAY_LISTEN", format!("127.0.0.1:{port}"))
            .env("SERVICES", "s3,sts")
            .env("EAGER_SERVICE_LOADING", "1")
            .env("SKIP_SSL_CERT_DOWNLOAD", "1")
            .env("DISABLE_EVENTS", "1")
            .env("HOME", home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stack = LocalStack { server, endpoint: format!("http://127.0.0.1:{port}"), _home: home };
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(120), "LocalStack does not answer");
            std::thread::sleep(Duration::from_millis(200));
        }
        Some(stack)
    }

    pub(crate) async fn session(&self) -> Session {
        Session::with_credentials("us-east-1", &self.endpoint, ["test", "test"]).await
    }
}
