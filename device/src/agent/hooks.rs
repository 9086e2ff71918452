//! Commands of the device's own: how a slot is started, whether what runs is well, how the machine is rebooted.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sealift_verifier::boot::Booted;
use sealift_verifier::image::Slot;

use super::loader::{Loader, RunningSlot};
use crate::error::{Error, Result};

/// The hooks, each a command line for `sh -c`.
#[derive(Clone, Debug)]
pub struct Hooks {
    /// Told which slot is to run; exit code 0 when that is so.
    pub boot_command: Option<String>,
    /// Says by exit code 0 that the image on trial is well.
    pub health_check: Option<String>,
    /// Reboots the machine after an activation.
    pub reboot_command: Option<String>,
    /// Time for each.
    pub timeout: Duration,
    /// How the boot loader is told which slot to start.
    pub loader: Loader,
    /// Who says which slot the machine runs. Without it, the slot that the boot stage chose runs.
    pub running_slot: Option<RunningSlot>,
}

impl Default for Hooks {
    fn default() -> Self {
        Hooks {
            boot_command: None,
            health_check: None,
            reboot_command: None,
            timeout: Duration::from_secs(300),
            loader: Loader::None,
            running_slot: None,
        }
    }
}

impl Hooks {
    /// Which slot the machine runs, when somebody can say it.
    pub fn running_slot(&self) -> Result<Option<Slot>> {
        self.running_slot.as_ref().map(RunningSlot::read).transpose()
    }

    /// Tells the boot loader which slot to start from now on.
    pub fn select(&self, slot: Slot, trial: bool) -> Result<()> {
        self.loader.select(slot, trial, self.timeout)
    }

    /// Tells boot loader and boot command what runs.
    pub fn boot(&self, booted: &Booted, path: &Path) -> Result<()> {
        self.select(booted.slot, booted.trial)?;
        self.call("boot command", self.boot_command.as_deref(), booted, path)
    }

    /// Asks whether what runs on trial is well. Without a health check, having come so far is the check.
    pub fn health(&self, booted: &Booted, path: &Path) -> Result<()> {
        self.call("health check", self.health_check.as_deref(), booted, path)
    }

    /// Reboots.
    pub fn reboot(&self) -> Result<()> {
        match &self.reboot_command {
            Some(line) => finish("reboot command", shell(line), self.timeout),
            None => Ok(()),
        }
    }

    fn call(&self, hook: &'static str, line: Option<&str>, booted: &Booted, path: &Path) -> Result<()> {
        let Some(line) = line else { return Ok(()) };
        let mut command = shell(line);
        command
            .env("SEALIFT_SLOT", booted.slot.name())
            .env("SEALIFT_SLOT_PATH", path)
            .env("SEALIFT_IMAGE_LENGTH", booted.target.image.length.to_string())
            .env("SEALIFT_IMAGE_SHA256", booted.target.image.digest.to_string())
            .env("SEALIFT_VERSION", booted.target.version.to_string())
            .env("SEALIFT_TRIAL", if booted.trial { "1" } else { "0" });
        finish(hook, command, self.timeout)
    }
}

/// Runs a hook that answers by its exit code; `None` when a signal ended it.
pub(super) fn answer(
    hook: &'static str,
    line: &str,
    environment: &[(&str, String)],
    limit: Duration,
) -> Result<Option<i32>> {
    let mut command = shell(line);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    end_of(hook, command, limit).map(|status| status.code())
}

/// What a program writes to its standard output, at most `most` bytes of it.
pub(super) fn read_output(hook: &'static str, mut command: Command, most: usize, limit: Duration) -> Result<Vec<u8>> {
    use std::io::{Read as _, Seek as _};
    let failed = |problem: std::io::Error| Error::Hook { hook, problem: problem.to_string() };
    // A file takes any amount without blocking the program.
    let mut file = tempfile::tempfile().map_err(failed)?;
    command.stdout(file.try_clone().map_err(failed)?);
    finish(hook, command, limit)?;
    file.rewind().map_err(failed)?;
    let mut said = Vec::new();
    file.take(most as u64).read_to_end(&mut said).map_err(failed)?;
    Ok(said)
}

fn shell(line: &str) -> Command {
    let mut command = program("sh");
    command.arg("-c").arg(line);
    command
}

/// A command of the device's own.
pub(super) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    // What hooks say belongs to people, not to whoever reads our JSON.
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    command.env_remove("SEALIFT_ENROL_TOKEN");
    // A group of its own, so that one that hangs can be ended with all it started.
    command.process_group(0);
    command
}

/// Runs a command that must succeed.
pub(super) fn finish(hook: &'static str, command: Command, limit: Duration) -> Result<()> {
    match end_of(hook, command, limit)? {
        status if status.success() => Ok(()),
        status => Err(Error::Hook { hook, problem: ended(status) }),
    }
}

fn end_of(hook: &'static str, mut command: Command, limit: Duration) -> Result<ExitStatus> {
    let failed = |problem: String| Error::Hook { hook, problem };
    let mut child = command.spawn().map_err(|error| failed(format!("it can't be started: {error}")))?;
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(2);
    loop {
        match child.try_wait().map_err(|error| failed(error.to_string()))? {
            Some(status) => return Ok(status),
            None if Instant::now() >= deadline => {
                let group = format!("-{}", child.id());
                let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(format!("it didn't end within {} s", limit.as_secs())));
            }
            None => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => format!("{status}"),
    }
}
