//! The owner's word on an update: maintenance windows, and a command that may say "not now" or "never".
//!
//! A gate delays or refuses; it never lets anything through that the verifier refused. While it waits the job stays IN_PROGRESS
//! and its details say what it waits for, and until when.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use sealift_jobs::JobId;
use sealift_verifier::trust::Time;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::hooks;
use super::window::{Opening, opening};
use crate::error::{Error, Result};
use crate::state::State;
use crate::state::agent_config::AgentConfig;
use crate::state::files::{self, Access};

/// Exit code for "not now": `EX_TEMPFAIL` of sysexits(3).
const NOT_NOW: i32 = 75;
/// Exit code for "never": `EX_NOPERM`.
const NEVER: i32 = 77;
/// Most bytes of the record.
const RECORD_MAX: usize = 4096;

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The payload is fetched.
    Download,
    /// The image is started.
    Activate,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Download => "download",
            Stage::Activate => "activate",
        }
    }
}

/// The update that is asked about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its job.
    pub job: JobId,
    /// Version of the image.
    pub version: String,
    /// SHA-256 of the target's entry, hex.
    pub target: String,
}

/// What a gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Go,
    /// Not before so many seconds have passed.
    Wait {
        /// For what, in words.
        why: String,
        /// Look again after this time.
        pause: Duration,
    },
}

/// The gate of one device.
#[derive(Clone, Debug)]
pub struct Gate {
    config: AgentConfig,
    record: PathBuf,
    timeout: Duration,
    /// Whether to end instead of waiting.
    pub once: bool,
}

/// How often a job was put off: survives restarts, so that killing the agent doesn't begin the time anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deferred {
    job: JobId,
    first: i64,
    last: i64,
    /// Times it said "not now".
    times: u64,
}

impl Gate {
    /// The gate that `agent.toml` describes.
    pub fn new(state: &State, config: AgentConfig, timeout: Duration, once: bool) -> Self {
        Gate { config, record: state.directory().join("deferred.json"), timeout, once }
    }

    /// Asks. The consent command is asked before the download and again before the activation, since the owner's mind and the
    /// hour may have changed.
    pub fn ask(&self, stage: Stage, subject: &Subject) -> Result<Verdict> {
        let maintenance = &self.config.maintenance;
        if stage == Stage::Activate || maintenance.download_inside {
            let closed = match super::clock() {
                Time::AtLeast(_) => match opening(&maintenance.windows, &maintenance.time_zone(), Timestamp::now()) {
                    Opening::Open => None,
                    Opening::Closed(until) => {
                        Some((format!("the maintenance window that opens at {until}"), seconds_until(until)))
                    }
                },
                Time::Unknown if maintenance.windows.is_empty() || maintenance.open_without_clock => None,
                Time::Unknown => {
                    let why = "the time: without it, maintenance windows can't be told (open_without_clock = false)";
                    Some((why.into(), 60))
                }
            };
            if let Some((why, seconds)) = closed {
                return Ok(Verdict::Wait { why, pause: Duration::from_secs(seconds) });
            }
        }
        self.consent(stage, subject)
    }

    fn consent(&self, stage: Stage, subject: &Subject) -> Result<Verdict> {
        let consent = &self.config.consent;
        let Some(command) = &consent.command else { return Ok(Verdict::Go) };
        let now = Timestamp::now().as_second();
        let before = self.deferred()?.filter(|record| record.job == subject.job);
        let used = before.as_ref().map_or(0, |record| put_off(record, now, consent.ask_every));
        let first = before.as_ref().map_or(now, |record| record.first);
        let latest = i64::try_from(consent.defer_most)
            .ok()
            .and_then(|most| Timestamp::from_second(first.saturating_add(most)).ok());
        let wait = |seconds: u64| Verdict::Wait {
            why: match latest {
                Some(latest) => format!("the owner's consent, until {latest} at the latest"),
                None => "the owner's consent".into(),
            },
            pause: Duration::from_secs(seconds.max(1)),
        };
        // Another process, or this one before a restart, asked just now.
        if let Some(record) = &before {
            let since = now - record.last;
            if used < consent.defer_most
                && let Ok(since @ 0..) = u64::try_from(since)
                && since < consent.ask_every
            {
                return Ok(wait(consent.ask_every - since));
            }
        }
        let environment = [
            ("SEALIFT_STAGE", stage.name().to_owned()),
            ("SEALIFT_JOB", subject.job.to_string()),
            ("SEALIFT_VERSION", subject.version.clone()),
            ("SEALIFT_TARGET", subject.target.clone()),
            ("SEALIFT_DEFERRED", used.to_string()),
            ("SEALIFT_DEFER_LEFT", consent.defer_most.saturating_sub(used).to_string()),
        ];
        match hooks::answer("consent command", command, &environment, self.timeout) {
            Ok(Some(0)) => return Ok(Verdict::Go),
            Ok(Some(NEVER)) => {
                files::remove(&self.record)?;
                return Err(Error::OptedOut { stage: stage.name() });
            }
            Ok(Some(NOT_NOW)) => {}
            Ok(code) => {
                warn!(?code, "the consent command failed: that counts as `not now` (0 yes, 75 not now, 77 never)")
            }
            Err(error) => warn!(%error, "the consent command failed: that counts as `not now`"),
        }
        if used >= consent.defer_most {
            info!(job = %subject.job, seconds = used, "put off for as long as it may be: going on");
            return Ok(Verdict::Go);
        }
        let record = match before {
            Some(record) => Deferred { last: now, times: record.times + 1, ..record },
            None => Deferred { job: subject.job.clone(), first: now, last: now, times: 1 },
        };
        let json = serde_json::to_vec(&record)
            .map_err(|problem| Error::Input { path: self.record.clone(), problem: problem.to_string() })?;
        files::replace(&self.record, &json, Access::Plain)?;
        Ok(wait(consent.ask_every.min(consent.defer_most.saturating_sub(used))))
    }

    /// A damaged record is as good as none: it only bounds a delay.
    fn deferred(&self) -> Result<Option<Deferred>> {
        let bytes = files::read_if_any(&self.record, RECORD_MAX)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// The job is over.
    pub fn forget(&self) -> Result<()> {
        files::remove(&self.record)
    }
}

/// Seconds that a job has been put off: by the clock, or by the questions where the clock went back.
fn put_off(record: &Deferred, now: i64, ask_every: u64) -> u64 {
    let by_clock = u64::try_from(now - record.first).unwrap_or(0);
    by_clock.max((record.times - record.times.min(1)).saturating_mul(ask_every))
}

fn seconds_until(then: Timestamp) -> u64 {
    u64::try_from(then.as_second() - Timestamp::now().as_second()).unwrap_or(0).max(1)
}
