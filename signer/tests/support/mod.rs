//! A project in a temporary folder, driven through the real binary.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

/// A time for SOURCE_DATE_EPOCH: 2026-06-01.
pub const THEN: &str = "1780272000";

/// What a run of `sealift` came to.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The run succeeded.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// The run ended with `code`, and standard error says each of these.
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is missing in: {}", self.stderr);
        }
        assert!(self.stdout.is_empty(), "an error leaves standard output empty: {}", self.stdout);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }
}

/// Runs `sealift` in `folder`.
pub fn sealift_in(folder: &Path, arguments: &[&str]) -> Outcome {
    command(folder, arguments).run()
}

/// The command, to be changed before it runs.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("sealift").unwrap();
    command.current_dir(folder).env_remove("SOURCE_DATE_EPOCH").env_remove("SEALIFT_PROJECT").args(arguments);
    command
}

/// Runs to the end.
pub trait Run {
    fn run(&mut self) -> Outcome;
}

impl Run for Command {
    fn run(&mut self) -> Outcome {
        let output = self.output().unwrap();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A quick-start project for product `thermostat`.
pub struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    pub fn new() -> Self {
        let project = Project { folder: tempfile::tempdir().unwrap() };
        let hardware = ["--hardware", "board-a", "--hardware", "board-b"];
        project.run(&[&["init", "--quick-start", "--product", "thermostat"][..], &hardware].concat()).ok();
        project
    }

    /// A copy of the whole folder, keys and repository included.
    pub fn copy(&self) -> Self {
        let copy = Project { folder: tempfile::tempdir().unwrap() };
        copy_folder(self.path(), copy.path());
        copy
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        command(self.path(), arguments).env("SOURCE_DATE_EPOCH", THEN).run()
    }

    /// Releases `image` under `version`.
    pub fn release(&self, version: &str, image: &[u8]) -> Value {
        self.write("image.bin", image);
        let arguments = ["--version", version, "--security-counter", "1", "--image", "image.bin", "--json"];
        self.run(&[&["release", "create", "--product", "thermostat"][..], &arguments].concat()).ok().json()
    }

    /// Changes the project file.
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.file("sealift.toml")).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(self.file("sealift.toml"), text.replacen(from, to, 1)).unwrap();
    }

    /// Every file of the repository with its content, lock aside.
    pub fn repository(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        collect(&self.file("repository"), "", &mut files);
        files.retain(|(name, _)| name != "/.lock");
        files.sort();
        files
    }
}

fn collect(folder: &Path, prefix: &str, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap().is_dir() {
            true => collect(&entry.path(), &name, into),
            false => into.push((name, fs::read(entry.path()).unwrap())),
        }
    }
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Firmware-like bytes: compressible, and different for every seed.
pub fn firmware(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let words = (0..length / 4).flat_map(|index| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Every fourth word is a constant, as instruction streams have them.
        let word = if index % 4 == 3 { 0x4770_bf00 } else { state & 0xff0f_00ff };
        word.to_le_bytes()
    });
    words.collect()
}
