//! What starts a slot: how the boot loader is told, and who says which slot it started.
//!
//! The device's own record (`verifier`'s boot state) decides; the loader is told after the record and asked after the boot. A
//! loader that starts another slot than the one on trial, because its boot counter ran out or because it never heard, ends the
//! trial.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use sealift_verifier::image::Slot;
use serde::Deserialize;
use tracing::info;

use super::hooks::{finish, read_output};
use crate::error::{Error, Result};
use crate::state::files::{self, Access};

/// Most bytes of what a loader says.
const SAID_MAX: usize = 64 * 1024;
/// The kernel's parameter that names the slot.
const PARAMETER: &str = "sealift.slot=";

/// How the boot loader is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Loader {
    /// It isn't: a boot command does it, or the slots are files that nobody boots.
    #[default]
    None,
    /// By a file of two lines, `slot=b` and `trial=1`, replaced as a whole.
    File(PathBuf),
    /// By U-Boot's environment: `sealift_slot`, and U-Boot's own `upgrade_available` and `bootcount` (its boot counter:
    /// <https://docs.u-boot.org/en/latest/api/bootcount.html>), in one write of the environment.
    UBoot {
        /// The `fw_env.config` to use instead of the system's.
        config: Option<PathBuf>,
    },
}

impl TryFrom<String> for Loader {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) if path.starts_with('/') => Ok(Loader::File(path.into())),
            Some(("uboot", path)) if path.starts_with('/') => Ok(Loader::UBoot { config: Some(path.into()) }),
            None if text == "uboot" => Ok(Loader::UBoot { config: None }),
            _ => Err(format!("{text:?} is none of file:/PATH, uboot, uboot:/PATH/fw_env.config")),
        }
    }
}

impl Loader {
    /// Has `slot` started from the next boot on; on trial, the loader may give up on it by itself.
    pub(super) fn select(&self, slot: Slot, trial: bool, timeout: Duration) -> Result<()> {
        match self {
            Loader::None => Ok(()),
            Loader::File(path) => {
                let text = format!("slot={}\ntrial={}\n", slot.name(), u8::from(trial));
                // A normal boot writes nothing.
                if files::read_if_any(path, SAID_MAX)?.is_some_and(|now| now == text.as_bytes()) {
                    return Ok(());
                }
                files::replace(path, text.as_bytes(), Access::Plain)
            }
            Loader::UBoot { config } => UBoot { config: config.as_deref(), timeout }.select(slot, trial),
        }
    }
}

/// U-Boot's environment, through the tools that know its layout.
struct UBoot<'a> {
    config: Option<&'a Path>,
    timeout: Duration,
}

impl UBoot<'_> {
    fn select(&self, slot: Slot, trial: bool) -> Result<()> {
        let trial = if trial { "1" } else { "0" };
        let wanted = [("sealift_slot", slot.name()), ("upgrade_available", trial), ("bootcount", "0")];
        // The count belongs to U-Boot: it is set back with another slot or another trial, never in the middle of one.
        if self.holds(wanted.get(..2).unwrap_or(&wanted))? {
            return Ok(());
        }
        // libubootenv's tool reads `name=value`, u-boot-tools' `name value`; each takes the other's for something else, without a
        // word. What counts is what can be read back.
        let mut outcome = Ok(());
        for between in ['=', ' '] {
            outcome = self.write(&wanted, between);
            if self.holds(&wanted)? {
                info!(slot = slot.name(), trial, "U-Boot's environment is written");
                return Ok(());
            }
        }
        outcome.and_then(|()| {
            Err(self.failed("fw_setenv reported success, but the environment doesn't hold what was set".into()))
        })
    }

    /// One script is one write of the environment: after a power cut the old or the new one is valid, where U-Boot keeps two.
    fn write(&self, wanted: &[(&str, &str)], between: char) -> Result<()> {
        let script: String = wanted.iter().map(|(name, value)| format!("{name}{between}{value}\n")).collect();
        let mut set = self.command("fw_setenv");
        set.args(["-s", "-"]).stdin(input(&script).map_err(|problem| self.failed(problem.to_string()))?);
        finish("boot loader", set, self.timeout)
    }

    /// Whether the environment says so already.
    fn holds(&self, wanted: &[(&str, &str)]) -> Result<bool> {
        let mut print = self.command("fw_printenv");
        print.stdin(Stdio::null());
        let said = read_output("boot loader", print, SAID_MAX, self.timeout)?;
        let said = String::from_utf8_lossy(&said);
        Ok(wanted.iter().all(|(name, value)| {
            said.lines().any(|line| line.split_once('=').is_some_and(|(n, v)| n == *name && v == *value))
        }))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = super::hooks::program(program);
        if let Some(config) = self.config {
            command.arg("-c").arg(config);
        }
        command
    }

    fn failed(&self, problem: String) -> Error {
        Error::Hook { hook: "boot loader", problem }
    }
}

/// A command's standard input from a nameless file: nothing to clean up, and no pipe to block on.
fn input(text: &str) -> std::io::Result<Stdio> {
    use std::io::{Seek as _, Write as _};
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(Stdio::from(file))
}

/// Who says which slot the machine runs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum RunningSlot {
    /// The kernel's command line: `sealift.slot=a`, as the boot loader wrote it.
    CommandLine(PathBuf),
    /// A file with the slot's name.
    File(PathBuf),
}

impl TryFrom<String> for RunningSlot {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        match text.split_once(':') {
            None if text == "cmdline" => Ok(RunningSlot::CommandLine("/proc/cmdline".into())),
            Some(("cmdline", path)) if path.starts_with('/') => Ok(RunningSlot::CommandLine(path.into())),
            Some(("file", path)) if path.starts_with('/') => Ok(RunningSlot::File(path.into())),
            _ => Err(format!("{text:?} is none of cmdline, cmdline:/PATH, file:/PATH")),
        }
    }
}

impl RunningSlot {
    /// The slot that runs.
    pub fn read(&self) -> Result<Slot> {
        let (RunningSlot::CommandLine(path) | RunningSlot::File(path)) = self;
        let bytes = files::read(path, SAID_MAX)?;
        let text = String::from_utf8_lossy(&bytes);
        let name = match self {
            RunningSlot::CommandLine(_) => text.split_whitespace().find_map(|word| word.strip_prefix(PARAMETER)),
            RunningSlot::File(_) => Some(text.trim()),
        };
        let problem = || format!("it doesn't say which slot runs ({PARAMETER}a or b); the boot loader has to");
        let slot = name.and_then(|name| Slot::ALL.into_iter().find(|slot| slot.name() == name));
        slot.ok_or_else(|| Error::Input { path: path.clone(), problem: problem() })
    }
}

impl FromStr for RunningSlot {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        text.to_owned().try_into()
    }
}
