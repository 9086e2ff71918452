//! `agent.toml`: what the device's owner wants of the agent. The file is optional, and never changed by an update.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::files;
use crate::agent::loader::{Loader, RunningSlot};
use crate::agent::window::Window;
use crate::error::{Error, Result};

/// Most bytes of the file.
const CONFIG_MAX: usize = 64 * 1024;
/// A week: long enough for an owner on holiday, short enough for a hole that is being used.
const DEFER_MOST: u64 = 7 * 24 * 3600;
/// Seconds between two questions.
const ASK_EVERY: u64 = 300;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// When the device may be disturbed.
    #[serde(default)]
    pub maintenance: Maintenance,
    /// Who is asked.
    #[serde(default)]
    pub consent: Consent,
    /// How the boot loader is told which slot to start.
    #[serde(default)]
    pub boot: Boot,
}

/// `[maintenance]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// The windows; none: at any time.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// The calendar they are on: a name of the IANA database, or a rule as POSIX writes it in `TZ`. [default: UTC]
    #[serde(default = "utc")]
    pub zone: String,
    /// Whether payloads are fetched inside the windows alone. Otherwise they come when the job comes, and only the activation
    /// waits.
    #[serde(default)]
    pub download_inside: bool,
    /// Whether windows count as open while the device doesn't know the time. Otherwise they count as closed.
    #[serde(default)]
    pub open_without_clock: bool,
}

/// `[consent]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// A command line for `sh -c`: 0 go on, 75 not now, 77 never (the job ends REJECTED). Anything else is a fault of the
    /// command, and means not now.
    #[serde(default)]
    pub command: Option<String>,
    /// Seconds for which it may put a job off. After that a "not now" is overruled.
    #[serde(default = "defer_most")]
    pub defer_most: u64,
    /// Seconds between two questions.
    #[serde(default = "ask_every")]
    pub ask_every: u64,
}

/// `[boot]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// `file:PATH`, `uboot`, or `uboot:CONFIG`.
    #[serde(default)]
    pub loader: Loader,
    /// Who says which slot the machine runs: `cmdline` (the kernel's `sealift.slot=a`), or `file:PATH` (the slot's name).
    #[serde(default)]
    pub running_slot: Option<RunningSlot>,
}

impl Default for Maintenance {
    fn default() -> Self {
        Maintenance { windows: Vec::new(), zone: utc(), download_inside: false, open_without_clock: false }
    }
}

impl Default for Consent {
    fn default() -> Self {
        Consent { command: None, defer_most: DEFER_MOST, ask_every: ASK_EVERY }
    }
}

impl Maintenance {
    /// The calendar. It was checked when the file was read.
    pub fn time_zone(&self) -> TimeZone {
        zone(&self.zone).unwrap_or(TimeZone::UTC)
    }
}

impl AgentConfig {
    /// Where it is in a state directory.
    pub fn path(state: &Path) -> PathBuf {
        state.join("agent.toml")
    }

    /// Reads the file; without one everything is as if it were empty.
    pub fn load(path: &Path) -> Result<Self> {
        let Some(bytes) = files::read_if_any(path, CONFIG_MAX)? else { return Ok(AgentConfig::default()) };
        let problem = |problem: String| Error::Input { path: path.into(), problem };
        let text = String::from_utf8(bytes).map_err(|_| problem("it isn't UTF-8 text".into()))?;
        let config: AgentConfig = toml::from_str(&text).map_err(|error| problem(error.to_string()))?;
        if let Err(error) = zone(&config.maintenance.zone) {
            return Err(problem(format!(
                "maintenance.zone: {error}; name one like \"Europe/Berlin\" or \"UTC\", or write its rule (\"CET-1CEST,M3.5.0,M10.5.0/3\") where there is no time zone database"
            )));
        }
        if config.consent.ask_every == 0 {
            return Err(problem("consent.ask_every is 0; the least is 1 second".into()));
        }
        Ok(config)
    }
}

/// By name; by rule where the name is none.
fn zone(text: &str) -> std::result::Result<TimeZone, jiff::Error> {
    TimeZone::get(text).or_else(|error| TimeZone::posix(text).map_err(|_| error))
}

fn utc() -> String {
    "UTC".into()
}

fn defer_most() -> u64 {
    DEFER_MOST
}

fn ask_every() -> u64 {
    ASK_EVERY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AgentConfig> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        AgentConfig::load(&path)
    }

    #[test]
    fn the_example_of_the_documentation_is_read() {
        let page = include_str!("../../AGENT.md");
        let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let config = read(example).unwrap();
        assert_eq!(config.maintenance.windows.len(), 2);
        assert!(config.consent.command.is_some());
        assert!(matches!(config.boot.loader, Loader::UBoot { .. }));
    }

    #[test]
    fn what_the_file_gets_wrong_is_told_with_the_place() {
        for (text, word) in [
            ("[maintenance]\nwindow = []\n", "window"),
            ("[maintenance]\nwindows = [\"noon\"]\n", "Mon-Fri"),
            ("[maintenance]\nzone = \"Mars/Olympus\"\n", "Europe/Berlin"),
            ("[consent]\nask_every = 0\n", "ask_every"),
            ("[boot]\nloader = \"grub\"\n", "uboot"),
            ("[boot]\nrunning_slot = \"guess\"\n", "cmdline"),
        ] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, Error::Input { .. }) && error.to_string().contains(word), "{error}");
        }
        assert!(AgentConfig::load(Path::new("/nonexistent/agent.toml")).unwrap().maintenance.windows.is_empty());
    }
}
