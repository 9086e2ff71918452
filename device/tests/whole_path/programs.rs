//! The three programs, and a folder to run them in.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// A program's file. Those of other crates are built first, with what this test was built with, unless `SEALIFT_BINARIES`
/// names a folder that has them.
fn binary(program: &str) -> PathBuf {
    static OTHERS: OnceLock<PathBuf> = OnceLock::new();
    if program == "sealift-device" {
        return env!("CARGO_BIN_EXE_sealift-device").into();
    }
    let others = OTHERS.get_or_init(|| {
        if let Some(folder) = std::env::var_os("SEALIFT_BINARIES") {
            return folder.into();
        }
        let device = PathBuf::from(env!("CARGO_BIN_EXE_sealift-device"));
        let folder = device.parent().unwrap().to_owned();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--package", "sealift-signer", "--package", "sealift-server"]);
        build.arg("--target-dir").arg(folder.parent().unwrap());
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "{build:?}");
        folder
    });
    others.join(program)
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    /// One JSON object a line, or one in all.
    pub(crate) events: Vec<Value>,
    #[expect(dead_code, reason = "shown when a test fails")]
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn last(&self) -> &Value {
        self.events.last().unwrap_or(&Value::Null)
    }
    pub(crate) fn event(&self, name: &str) -> &Value {
        self.events.iter().find(|event| event["event"] == name).unwrap_or(&Value::Null)
    }
}

/// One repository, one server, any number of devices.
pub(crate) struct House {
    pub(crate) directory: tempfile::TempDir,
    server: Option<Child>,
    pub(crate) url: String,
}

impl House {
    /// A quick-start project for the product `thing`.
    pub(crate) fn new() -> House {
        let house = House { directory: tempfile::tempdir().unwrap(), server: None, url: String::new() };
        std::fs::create_dir(house.path("project")).unwrap();
        house.sealift(&["init", "--quick-start", "--product", "thing"]);
        house.sealift(&["root", "export", "--format", "cbor", "--out", "root.cbor"]);
        house
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary(program));
        command.current_dir(self.directory.path()).args(arguments).arg("--json");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(mut command: Command) -> Said {
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let whole = serde_json::from_str(&text).map(|value| vec![value]);
        let lines = || text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Said {
            code: output.status.code().unwrap_or(-1),
            events: whole.unwrap_or_else(|_| lines()),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs the signer in the project's folder; it must succeed.
    pub(crate) fn sealift(&self, arguments: &[&str]) -> Said {
        let mut command = self.command("sealift", arguments);
        command.current_dir(self.path("project"));
        let said = Self::run(command);
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said
    }

    /// Signs an image as a release.
    pub(crate) fn release(&self, version: &str, counter: &str, image: &Path, more: &[&str]) {
        let image = image.to_str().unwrap();
        let what = ["release", "create", "--product", "thing", "--version", version, "--security-counter", counter];
        self.sealift(&[&what[..], &["--image", image, "--image-format", "raw"], more].concat());
    }

    pub(crate) fn server(&self, arguments: &[&str]) -> Said {
        let said = Self::run(self.command("sealift-server", &[arguments, &["--state", "server"]].concat()));
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said
    }

    /// Starts the server, on the port it had before if it had one.
    pub(crate) fn serve(&mut self) {
        let port = self.url.rsplit(':').next().filter(|port| !port.is_empty()).unwrap_or("0");
        let listen = format!("127.0.0.1:{port}");
        let mut command = self.command("sealift-server", &["serve", "--state", "server", "--listen", &listen]);
        command.stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        self.url = ready["url"].as_str().unwrap().to_owned();
        self.server = Some(child);
    }

    /// kill -9 of the server.
    pub(crate) fn kill_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    pub(crate) fn publish(&self) {
        self.server(&["publish", "--release", "project/repository"]);
    }

    /// A device that left the factory with this image, enrolled in `group`.
    pub(crate) fn device(&self, name: &str, group: &str, image: &Path, bundle: Option<&str>) {
        let root = self.text("project/root.cbor");
        let image = image.to_str().unwrap();
        let facts: &[&str] = match bundle {
            Some(bundle) => &["--bundle", bundle],
            None => &["--image-version", "0.9.0", "--security-counter", "1"],
        };
        let what = ["provision", "--root", &root, "--product", "thing", "--hardware", "thing", "--image", image];
        let said = self.agent(name, &[&what, facts, &["--slot-size", "4000000"]].concat());
        assert_eq!(said.code, 0, "{said:?}");
        let token = self.server(&["devices", "token", "--group", group, "--product", "thing"]);
        std::fs::write(self.path("token"), token.last()["token"].as_str().unwrap()).unwrap();
        let ca = ["--ca", "server/ca/ca.pem", "--thing", name, "--token-file", "token"];
        let said = self.agent(name, &[&["enrol", "--server", &self.url], &ca[..]].concat());
        assert_eq!(said.code, 0, "{said:?}");
    }

    pub(crate) fn agent_command(&self, name: &str, arguments: &[&str]) -> Command {
        self.command("sealift-device", &[arguments, &["--state", name]].concat())
    }

    /// Runs the agent of one device.
    pub(crate) fn agent(&self, name: &str, arguments: &[&str]) -> Said {
        Self::run(self.agent_command(name, arguments))
    }

    /// Rolls a release out to a group; returns the rollout's name.
    pub(crate) fn roll_out(&self, version: &str, group: &str, more: &[&str]) -> String {
        let what = ["rollout", "create", "--release", version, "--group", group];
        let said = self.server(&[&what[..], more].concat());
        let name = said.last()["rollout"].as_str().or(said.last()["name"].as_str());
        name.unwrap_or_else(|| panic!("{said:?}")).to_owned()
    }

    /// What the device runs, checked by itself.
    pub(crate) fn version(&self, name: &str) -> String {
        let said = self.agent(name, &["boot"]);
        assert_eq!(said.code, 0, "{said:?}");
        said.last()["version"].as_str().unwrap().to_owned()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.kill_server();
    }
}
