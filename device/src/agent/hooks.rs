//! Commands of the device's own: how a slot is started, whether what runs is well, how the machine is rebooted.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sealift_verifier::boot::Booted;

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
}

impl Default for Hooks {
    fn default() -> Self {
        Hooks { boot_command: None, health_check: None, reboot_command: None, timeout: Duration::from_secs(300) }
    }
}

impl Hooks {
    /// Tells the boot command what runs.
    pub fn boot(&self, booted: &Booted, path: &Path) -> Result<()> {
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

fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    // What hooks say belongs to people, not to whoever reads our JSON.
    command.arg("-c").arg(line).stdin(Stdio::null()).stdout(std::io::stderr());
    command.env_remove("SEALIFT_ENROL_TOKEN");
    // A group of its own, so that one that hangs can be ended with all it started.
    command.process_group(0);
    command
}

fn finish(hook: &'static str, mut command: Command, limit: Duration) -> Result<()> {
    let failed = |problem: String| Error::Hook { hook, problem };
    let mut child = command.spawn().map_err(|error| failed(format!("it can't be started: {error}")))?;
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(2);
    loop {
        match child.try_wait().map_err(|error| failed(error.to_string()))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(failed(ended(status))),
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
