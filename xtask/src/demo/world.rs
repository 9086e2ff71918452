//! The folder, the binaries and the processes of one demo.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::stage::Stage;
use crate::{
    error::{Error, Result},
    process, project,
};

/// The three programs that users run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Program {
    /// The signer.
    Sealift,
    /// The server.
    Server,
    /// The reference agent.
    Device,
}

impl Program {
    /// Name of the binary.
    pub(super) fn name(self) -> &'static str {
        match self {
            Program::Sealift => "sealift",
            Program::Server => "sealift-server",
            Program::Device => "sealift-device",
        }
    }
}

/// What a finished command said.
pub(super) struct Said {
    /// Exit code; -1 for a signal.
    pub(super) code: i32,
    /// The JSON on standard output; null when there was none.
    pub(super) json: Value,
    /// Everything it printed, for the transcript and for errors.
    pub(super) text: String,
}

/// Everything that the demo makes; processes end with it.
pub(super) struct World {
    /// The demo's folder.
    pub(super) dir: PathBuf,
    binaries: PathBuf,
    children: Vec<(String, Child)>,
    transcript: File,
}

impl World {
    /// An empty world in `dir`, with binaries from cargo's folder `binaries`.
    pub(super) fn new(dir: PathBuf, binaries: PathBuf) -> Result<World> {
        let failed = |act, path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { act, path, source }
        };
        fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
        let path = dir.join("transcript.txt");
        let transcript = OpenOptions::new().create(true).append(true).open(&path).map_err(failed("create", &path))?;
        Ok(World { dir, binaries, children: Vec::new(), transcript })
    }

    /// A path inside the demo's folder.
    pub(super) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.dir.join(relative)
    }

    /// A program of ours, run inside the demo's folder.
    pub(super) fn command<S: AsRef<OsStr>>(&self, program: Program, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(self.binaries.join(program.name()));
        command.current_dir(&self.dir).args(arguments).stdin(Stdio::null());
        // The demo answers for what it shows, not for what the caller's shell happens to set.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SEALIFT_")) {
            command.env_remove(name);
        }
        command
    }

    /// The command as a person would type it inside the demo's folder.
    pub(super) fn typed(command: &Command) -> String {
        let program = Path::new(command.get_program()).file_name().unwrap_or_default();
        let words = std::iter::once(program).chain(command.get_args());
        let quoted = words.map(|word| {
            let word = word.to_string_lossy();
            let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=,@".contains(c));
            if plain { word.into_owned() } else { format!("'{word}'") }
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    /// Runs a command of ours to its end, showing it, and keeps everything in the transcript. `--json` is added.
    pub(super) fn run(&self, stage: &Stage, mut command: Command) -> Result<Said> {
        let typed = World::typed(&command);
        stage.command(&typed);
        command.arg("--json");
        let output = process::output(&mut command)?;
        let said = said(&output);
        // The transcript is a help for people: a demo doesn't fail for want of it.
        let _ = writeln!(&self.transcript, "$ {typed}\n{}[exit code {}]\n", said.text, said.code);
        Ok(said)
    }

    /// Runs a command that must succeed; returns its JSON.
    pub(super) fn succeed(&self, stage: &Stage, command: Command) -> Result<Value> {
        let typed = World::typed(&command);
        let said = self.run(stage, command)?;
        if said.code == 0 { Ok(said.json) } else { Err(unexpected(&typed, &format!("exit code {}", said.code), &said)) }
    }

    /// Starts a program that stays, its output in `<name>.log`.
    pub(super) fn start(&mut self, stage: &Stage, name: &str, mut command: Command) -> Result<()> {
        let typed = World::typed(&command);
        stage.command(&format!("{typed} &"));
        let path = self.path(format!("{name}.log"));
        let failed = |source| Error::File { act: "create", path: path.clone(), source };
        let log = File::create(&path).map_err(failed)?;
        command.stdout(log.try_clone().map_err(failed)?).stderr(log);
        let child = command.spawn().map_err(|source| Error::Start { program: typed, source })?;
        self.children.push((name.to_owned(), child));
        Ok(())
    }

    /// True while a program that was started still runs.
    pub(super) fn is_running(&mut self, name: &str) -> bool {
        self.children.iter_mut().any(|(known, child)| known == name && matches!(child.try_wait(), Ok(None)))
    }

    /// Asks again until there is an answer, for as long as `patience`.
    pub(super) fn wait<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut ask: impl FnMut(&mut World) -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(answer) = ask(self)? {
                return Ok(answer);
            }
            if Instant::now() > deadline {
                return Err(Error::Content {
                    path: self.dir.clone(),
                    what: format!("{what}: not within {} seconds", patience.as_secs()),
                });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Reads a file of the demo.
    pub(super) fn read(&self, relative: impl AsRef<Path>) -> Result<Vec<u8>> {
        project::read(&self.path(relative))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (_, child) in self.children.drain(..) {
            end(child);
        }
    }
}

/// Ends a process: SIGTERM, so that it can tidy up, and SIGKILL for one that doesn't heed it.
fn end(mut child: Child) {
    let terminated =
        process::output(Command::new("kill").arg(child.id().to_string())).is_ok_and(|done| done.status.success());
    let deadline = Instant::now() + Duration::from_secs(if terminated { 5 } else { 0 });
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            // It may have ended in between, which is what was wanted.
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn said(output: &Output) -> Said {
    let out = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&out).ok();
    // An agent that reports as it goes prints a JSON object a line; the last one is the outcome.
    let json = json.or_else(|| out.lines().rev().find_map(|line| serde_json::from_str(line).ok()));
    let text = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
    Said { code: output.status.code().unwrap_or(-1), json: json.unwrap_or(Value::Null), text }
}

/// The failure of a command that didn't do what the story says.
pub(super) fn unexpected(typed: &str, what: &str, said: &Said) -> Error {
    Error::Story { what: format!("{typed}: {what}\n{}", said.text) }
}
