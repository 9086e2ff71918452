//! A provisioned and enrolled device, the fleet that signs for it, and the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealift_manifests::sha256;
use serde_json::{Value, json};

use crate::fleet::{Files, Fleet, Release};
use crate::server::{Job, Reply, Server};

/// Later than any test runs; earlier than any expiry of [`fleet`].
const FAR: u64 = 4_000_000_000;

pub(crate) struct World {
    pub directory: tempfile::TempDir,
    pub server: Server,
    pub fleet: Fleet,
}

/// An image that looks like none other.
pub(crate) fn image(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// A fleet whose files are valid whenever the tests run, with one release: version 1.1.0, counter 5.
pub(crate) fn fleet(image: &[u8]) -> Fleet {
    let mut fleet = Fleet::default();
    (fleet.root_expires, fleet.timestamp_expires, fleet.snapshot_expires) = (FAR, FAR, FAR);
    (fleet.targets_expires, fleet.product_expires, fleet.issued) = (FAR, FAR, 1);
    let mut release = Release::new([1, 1, 0]);
    release.image = image.to_vec();
    release.payloads = vec![Release::raw(image)];
    release.security_counter = 5;
    fleet.targets = vec![release];
    fleet
}

impl World {
    /// A device that runs version 1.0.0 with counter 3, and a server with a release of version 1.1.0.
    pub(crate) fn new() -> World {
        World::with(fleet(&image(2, 700_000)))
    }

    pub(crate) fn with(fleet: Fleet) -> World {
        let world = World { directory: tempfile::tempdir().unwrap(), server: Server::start(), fleet };
        std::fs::write(world.path("root"), world.fleet.root()).unwrap();
        std::fs::write(world.path("v1"), image(1, 50_000)).unwrap();
        std::fs::write(world.path("ca.pem"), &world.server.ca).unwrap();
        std::fs::write(world.path("token"), "one-time").unwrap();
        let done = world.run(&[
            "provision",
            "--root",
            &world.text("root"),
            "--product",
            "thermostat",
            "--hardware",
            "board-a",
            "--image",
            &world.text("v1"),
            "--image-version",
            "1.0.0",
            "--security-counter",
            "3",
            "--slot-size",
            "2000000",
        ]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let done = world.run(&[
            "enrol",
            "--server",
            &world.server.origin,
            "--ca",
            &world.text("ca.pem"),
            "--thing",
            "thing-1",
            "--token-file",
            &world.text("token"),
        ]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        world.serve_payloads();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The device's binary, on this device.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealift-device"));
        command.args(arguments).arg("--json").arg("--state").arg(self.state());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments).output().unwrap())
    }

    /// `run --once`, quick to give up.
    pub(crate) fn once(&self, more: &[&str]) -> Done {
        let attempts: &[&str] = if more.contains(&"--attempts") { &[] } else { &["--attempts", "2"] };
        self.run(&[&["run", "--once"], attempts, more].concat())
    }

    pub(crate) fn payload_path(&self) -> String {
        format!("/payloads/{}", sha256(&self.fleet.targets[0].image))
    }

    fn serve_payloads(&self) {
        self.server.put(self.payload_path(), Reply::File(self.fleet.targets[0].image.clone()));
    }

    /// Publishes the fleet's metadata as it is now, under its stable names.
    pub(crate) fn publish(&self) -> Files {
        let files = self.fleet.files();
        let named = [(&files.snapshot, "snapshot"), (&files.targets, "targets"), (&files.product, "targets")];
        for (file, role) in named {
            self.server.put(format!("/metadata/{}.{role}", sha256(file)), Reply::File(file.clone()));
        }
        self.server.put("/metadata/timestamp", Reply::File(files.timestamp.clone()));
        files
    }

    /// Queues a job for the fleet's first release, with a bundle if one is given.
    pub(crate) fn queue(&self, bundle: Option<&[u8]>) {
        self.queue_document(self.document(bundle).to_string());
    }

    pub(crate) fn document(&self, bundle: Option<&[u8]>) -> Value {
        let payload = sha256(&self.fleet.targets[0].image).to_string();
        let mut document = json!({
            "sealift": 1, "repository": self.fleet.repository.to_string(), "product": "thermostat",
            "target": self.fleet.targets[0].digest().to_string(),
            "metadata": format!("{}/metadata/", self.server.origin),
            "payloads": { payload: format!("{}{}", self.server.origin, self.payload_path()) },
        });
        if let Some(bundle) = bundle {
            document["bundle"] = STANDARD.encode(bundle).into();
        }
        document
    }

    pub(crate) fn queue_document(&self, document: String) {
        let mut shared = self.server.lock();
        shared.updates.clear();
        shared.job =
            Some(Job { id: "job-1".into(), execution: 1, version: 1, status: "QUEUED".into(), document, retries: 0 });
    }

    /// Version that runs, asked of the device itself, which checks what it runs.
    pub(crate) fn version(&self) -> String {
        let booted = self.run(&["boot"]);
        assert_eq!(booted.code, 0, "{}", booted.stderr);
        booted.last()["version"].as_str().unwrap().to_owned()
    }

    /// The whole of what happened to a job: it ended so, and this runs.
    pub(crate) fn assert_outcome(&self, status: &str, code: Option<&str>, version: &str) {
        let (found, details) = self.server.outcome();
        assert_eq!((found.as_str(), details["code"].as_str()), (status, code), "{details}");
        if status != "SUCCEEDED" {
            assert!(details["reason"].as_str().is_some_and(|reason| reason.len() > 20), "{details}");
        }
        assert_eq!(self.version(), version);
    }

    pub(crate) fn counter(&self) -> u64 {
        std::fs::read_to_string(self.state().join("counter")).unwrap().trim().parse().unwrap()
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.text(name)
    }
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Done {
    pub code: i32,
    pub events: Vec<Value>,
    pub stderr: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Done {
        let text = String::from_utf8(output.stdout).unwrap();
        let events = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Done {
            code: output.status.code().unwrap_or(-1),
            events,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn last(&self) -> &Value {
        self.events.last().unwrap_or(&Value::Null)
    }

    pub(crate) fn event(&self, name: &str) -> Option<&Value> {
        self.events.iter().find(|event| event["event"] == name)
    }
}

/// Whether a path is there.
pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}
