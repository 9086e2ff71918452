//! The real binary: started, talked to, killed.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

pub const BINARY: &str = env!("CARGO_BIN_EXE_sealift-server");

/// Runs a command of the binary to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).env_remove("SEALIFT_STATE").output().unwrap()
}

/// Runs a command with `--json`; its answer, and its exit code.
pub fn json(arguments: &[&str]) -> (Value, i32) {
    let output = run(&[arguments, &["--json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap_or_default();
    let said = serde_json::from_str(last);
    let answer = said.unwrap_or_else(|_| panic!("{arguments:?}: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
    (answer, output.status.code().unwrap_or(-1))
}

/// The same, for a command that must succeed.
pub fn ok(arguments: &[&str]) -> Value {
    let (answer, exit) = json(arguments);
    assert_eq!(exit, 0, "{arguments:?}: {answer}");
    answer
}

/// A running server.
pub struct Server {
    child: Child,
    pub state: PathBuf,
    pub port: u16,
    pub mqtt: u16,
    /// The port of the control API, where it is on the network.
    pub control: u16,
    /// The port of the metrics, where they are served.
    pub metrics: u16,
    more: Vec<String>,
    pub ca: String,
    log: PathBuf,
}

impl Server {
    pub fn start(state: &Path) -> Self {
        Self::start_with(state, 0, &[])
    }

    pub fn start_with(state: &Path, port: u16, more: &[&str]) -> Self {
        let log = state.with_extension("log");
        let errors = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut child = Command::new(BINARY)
            .args(["serve", "--json", "--state"])
            .arg(state)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("no ready line: {line:?}\n{}", std::fs::read_to_string(&log).unwrap()));
        assert_eq!(ready["ready"], true);
        let ca = std::fs::read_to_string(ready["ca"].as_str().unwrap()).unwrap();
        let port_of = |name: &str| ready[name].as_u64().unwrap().try_into().unwrap();
        let at = |name: &str| ready[name].as_str().and_then(|at| at.rsplit(':').next()?.parse().ok()).unwrap_or(0);
        let (control, metrics) = (at("control"), at("metrics"));
        let more = more.iter().map(|one| (*one).to_owned()).collect();
        Self {
            child,
            state: state.into(),
            port: port_of("port"),
            mqtt: port_of("mqttPort"),
            control,
            metrics,
            more,
            ca,
            log,
        }
    }

    /// kill -9, and the same again on the same port.
    pub fn crash_and_restart(&mut self) {
        self.kill();
        let (state, port, mqtt, more) = (self.state.clone(), self.port, self.mqtt, self.more.clone());
        let again = format!("127.0.0.1:{mqtt}");
        let mut more: Vec<&str> = more.iter().map(String::as_str).collect();
        if !more.contains(&"--mqtt-listen") {
            more.extend(["--mqtt-listen", &again]);
        }
        *self = Self::start_with(&state, port, &more);
    }

    /// Resident memory, in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    /// Makes a job with any document.
    pub fn job(&self, id: &str, document: &Value, targets: &[&str]) -> Value {
        let path = self.state.with_extension("document.json");
        std::fs::write(&path, document.to_string()).unwrap();
        self.ok(&[&["jobs", "create", "--id", id, "--document", path.to_str().unwrap()], targets].concat())
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for the end, at most ten seconds; the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        for _ in 0..200 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the server doesn't end")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn state(&self) -> &str {
        self.state.to_str().unwrap()
    }

    pub fn ok(&self, arguments: &[&str]) -> Value {
        ok(&[arguments, &["--state", self.state()]].concat())
    }

    pub fn json(&self, arguments: &[&str]) -> (Value, i32) {
        json(&[arguments, &["--state", self.state()]].concat())
    }

    pub fn token(&self, group: &str) -> String {
        let issued = self.ok(&["devices", "token", "--group", group, "--product", "thermostat"]);
        issued["token"].as_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
