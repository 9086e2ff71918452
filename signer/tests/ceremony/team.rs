//! The people and their machines.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Outcome, Run, THEN, command};

/// A machine: a folder, with the real binary.
pub(crate) struct Machine(pub(crate) tempfile::TempDir);

impl Machine {
    pub(crate) fn new() -> Self {
        Machine(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.at(THEN, arguments)
    }

    /// With a clock that says `time`.
    pub(crate) fn at(&self, time: &str, arguments: &[&str]) -> Outcome {
        command(self.0.path(), arguments).env("SOURCE_DATE_EPOCH", time).run()
    }

    /// Makes a key and returns its public half.
    pub(crate) fn key(&self, file: &str) -> String {
        let made = self.run(&["keys", "generate", file, "--json"]).ok().json();
        made["keys"][0]["cose_key"].as_str().unwrap().to_owned()
    }

    /// Takes a file from another machine, as a USB stick carries it.
    pub(crate) fn take(&self, from: &Machine, file: &str) {
        fs::copy(from.path(file), self.path(file)).unwrap();
    }

    pub(crate) fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub(crate) fn repository(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.path("repository")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false if path.ends_with(".lock") => {}
                    false => files.push((path.display().to_string(), fs::read(&path).unwrap())),
                }
            }
        }
        files.sort();
        files
    }
}

/// A release engineer with the online keys, and two officers with a root and a targets key each on air-gapped machines.
pub(crate) struct Team {
    pub(crate) engineer: Machine,
    pub(crate) alice: Machine,
    pub(crate) bob: Machine,
}

/// Hands the request to an officer, who signs it with `key`, and the response back, and imports it.
pub(crate) fn sign(engineer: &Machine, officer: &Machine, key: &str) -> Outcome {
    let _ = fs::remove_file(officer.path("response.txt"));
    officer.take(engineer, "sign-request.json");
    let key = format!("file:{key}");
    let signed = ["root", "sign", "--request", "sign-request.json", "--key", &key, "--out", "response.txt", "--json"];
    officer.run(&signed).ok();
    engineer.take(officer, "response.txt");
    engineer.run(&["root", "import", "response.txt", "--json"])
}

impl Team {
    /// The team with its first root, which both officers signed without their keys ever meeting.
    pub(crate) fn new() -> Self {
        let (engineer, alice, bob) = (Machine::new(), Machine::new(), Machine::new());
        for online in ["snapshot.pem", "timestamp.pem", "release.pem"] {
            engineer.key(online);
        }
        let offline = |name: &str, public: &str| format!("offline:{name}:{public}");
        let keys = [
            ("--root-key", offline("alice", &alice.key("root.pem"))),
            ("--root-key", offline("bob", &bob.key("root.pem"))),
            ("--targets-key", offline("alice-targets", &alice.key("targets.pem"))),
            ("--targets-key", offline("bob-targets", &bob.key("targets.pem"))),
            ("--snapshot-key", "file:snapshot.pem".into()),
            ("--timestamp-key", "file:timestamp.pem".into()),
            ("--release-key", "file:release.pem".into()),
        ];
        let mut arguments = vec!["init", "--product", "thermostat", "--hardware", "board-a", "--root-threshold", "2"];
        arguments.extend(keys.iter().flat_map(|(option, uri)| [*option, uri.as_str()]));
        // Offline keys have to sign: nothing is written but the project, the log and the request.
        engineer.run(&arguments).fails(3, &["SL-201", "offline keys have to sign", "sign-request.json"]);
        assert!(!engineer.path("repository/metadata").exists());
        let team = Team { engineer, alice, bob };
        team.engineer.run(&["root", "apply"]).fails(3, &["SL-201", "root: 0 of 2 signatures", "root-1, root-2"]);
        sign(&team.engineer, &team.alice, "root.pem").ok();
        team.engineer.run(&["root", "apply"]).fails(3, &["root: 1 of 2", "not yet: root-2"]);
        sign(&team.engineer, &team.bob, "root.pem").ok();
        team.engineer.run(&["root", "apply"]).fails(3, &["targets: 0 of 1"]);
        sign(&team.engineer, &team.alice, "targets.pem").ok();
        team.engineer.run(&["root", "apply"]).ok();
        team
    }

    pub(crate) fn trusted(&self, file: &str) -> PathBuf {
        self.engineer.run(&["root", "export", "--format", "cbor", "--out", file, "--force"]).ok();
        self.engineer.path(file)
    }

    /// A request for new expiries of root and targets.
    pub(crate) fn request(&self) -> Value {
        self.engineer.run(&["root", "stage", "renew"]).ok();
        self.engineer.run(&["root", "request", "--json"]).ok().json()
    }
}

pub(crate) fn verifies(machine: &Machine, root: &str) {
    machine.run(&["verify", "repository", "--root", root, "--no-clock"]).ok();
}

pub(crate) fn log_of(folder: &Path) -> PathBuf {
    folder.join("sealift.ceremony.jsonl")
}
