//! The agent's loop.

use std::time::Duration;

use sealift_jobs::{ExecutionStatus, JobDocument, JobExecution, Order, StatusDetails, details};
use sealift_verifier::Error as Refusal;
use sealift_verifier::boot::{Outcome, Trial};
use sealift_verifier::image::Choice;
use serde_json::json;
use tracing::{Instrument as _, info, info_span, warn};

use super::boot::{Running, boot_stage};
use super::events::Events;
use super::gate::Gate;
use super::hooks::Hooks;
use super::install::Preferences;
use super::job::{Reporter, Taken, Work, Worked};
use super::report::signed_report;
use crate::error::{Error, Result};
use crate::net::jobs::Jobs;
use crate::net::mqtt::Link;
use crate::net::payload::Floors;
use crate::net::{Net, tls};
use crate::rotate;
use crate::state::State;
use crate::state::config::Connection;
use crate::state::journal::{JournalEntry, Phase};
use crate::state::keys::ReportKey;

/// How the agent runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// One job at the most, then the end.
    pub once: bool,
    /// Time between two questions for a job.
    pub poll: Duration,
    /// Hooks.
    pub hooks: Hooks,
    /// What a download may not fall below.
    pub floors: Floors,
    /// What to take.
    pub preferences: Preferences,
    /// Another server than the one enrolled at.
    pub server: Option<String>,
    /// The owner's word on updates.
    pub gate: Gate,
    /// Talk over HTTPS alone.
    pub https_only: bool,
}

/// What one turn of the loop came to.
#[derive(Clone, Debug)]
pub enum Turn {
    /// No job.
    Idle,
    /// A job waits for the owner.
    Waiting,
    /// A job ended so.
    Reported(ExecutionStatus),
    /// The machine reboots.
    Rebooting,
}

/// Longest pause between two attempts to reach the server.
const MOST_PAUSE: Duration = Duration::from_secs(300);

/// A running agent.
#[derive(Debug)]
pub struct Agent<'a> {
    state: &'a State,
    options: &'a Options,
    events: Events,
    net: Net,
    jobs: Jobs,
    connection: Connection,
    key: ReportKey,
    running: Running,
    /// TLS for MQTT, until that is begun.
    for_mqtt: Option<rustls::ClientConfig>,
}

impl<'a> Agent<'a> {
    /// Boots the device and prepares its connection.
    pub fn start(state: &'a State, options: &'a Options, events: Events) -> Result<Self> {
        let mut connection = state.connection()?;
        rotate::settle(state)?;
        if let Some(server) = &options.server {
            connection.server = server.trim_end_matches('/').into();
        }
        let ca = state.key_path("ca.pem");
        let mutual = tls::mutual(&ca, &state.key_path("certificate.pem"), &state.key_path("tls.key"))?;
        let for_mqtt = (!options.https_only).then(|| mutual.clone());
        let net = Net::new(&connection.server, mutual, tls::anonymous(&ca)?)?;
        let jobs = Jobs::new(net.clone(), connection.thing.clone());
        let key = ReportKey::load(&state.key_path("report.key"))?;
        let running = boot(state, options, events)?;
        Ok(Agent { state, options, events, net, jobs, connection, key, running, for_mqtt })
    }

    /// Runs until there is nothing more to do (`once`), or for ever.
    pub async fn run(&mut self) -> Result<Turn> {
        let mut failures = 0;
        if let Some(tls) = self.for_mqtt.take() {
            let link = Link::open(self.net.origin(), self.connection.thing.clone(), tls);
            link.settled().await;
            self.jobs.prefer(link);
        }
        loop {
            let turn = self.turn().await;
            match turn {
                Ok(turn) if self.options.once || matches!(turn, Turn::Rebooting) => return Ok(turn),
                Err(error) if self.options.once => return Err(error),
                Ok(Turn::Idle | Turn::Waiting) => {
                    failures = 0;
                    // Told of a job, or it is time to ask again: a message may be lost.
                    tokio::select! {
                        () = tokio::time::sleep(jittered(self.options.poll)) => {}
                        () = self.jobs.news() => {}
                    }
                }
                // Retried by the service at once, maybe: not by every device of a fleet at the same time.
                Ok(Turn::Reported(ExecutionStatus::Failed)) => {
                    failures += 1;
                    tokio::time::sleep(backoff(failures, MOST_PAUSE)).await;
                }
                Ok(_) => failures = 0,
                Err(error) => {
                    failures += 1;
                    let pause = backoff(failures, MOST_PAUSE);
                    warn!(%error, seconds = pause.as_secs_f32(), "trying again after a pause");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Settles what is open, else asks for a job and does it.
    async fn turn(&mut self) -> Result<Turn> {
        if let Some(entry) = self.state.journal().load()?
            && let Some(turn) = self.settle(entry).await?
        {
            return Ok(turn);
        }
        let Some(execution) = self.jobs.start_next().await? else {
            self.state.journal().clear()?;
            return Ok(Turn::Idle);
        };
        if let Ok(Order::RotateIdentity) = Order::from_json(execution.job_document.as_deref().unwrap_or_default()) {
            return self.rotate(&execution).await;
        }
        let document = execution.job_document.as_deref().and_then(|text| JobDocument::from_json(text).ok());
        let trace = document.map_or_else(String::new, |document| document.trace());
        let span = info_span!("job", trace, job = %execution.job_id, execution = execution.execution_number);
        async {
            info!("the job is taken up");
            self.work(&execution).await
        }
        .instrument(span)
        .await
    }

    /// A new identity, as a job asked for: what is reported afterwards is reported under it.
    async fn rotate(&mut self, execution: &JobExecution) -> Result<Turn> {
        let (job, number) = (&execution.job_id, execution.execution_number);
        let entry = |phase| JournalEntry { job: job.clone(), execution: number, phase };
        self.state.journal().store(&entry(Phase::Working))?;
        let Connection { server, thing } = &self.connection;
        let phase = match rotate::rotate(self.state, &self.net, server, thing, &self.key).await {
            Ok((net, tls)) => {
                self.jobs = Jobs::new(net.clone(), thing.clone());
                self.net = net;
                if !self.options.https_only {
                    let link = Link::open(self.net.origin(), thing.clone(), tls);
                    link.settled().await;
                    self.jobs.prefer(link);
                }
                self.events.tell("rotated", json!({ "job": job }), "the device has a new TLS key and certificate");
                let mut said = StatusDetails::new();
                let _ = said.insert_text(details::STEP, "rotated");
                Phase::Reporting { status: ExecutionStatus::Succeeded, details: said }
            }
            Err(error) => {
                warn!(%job, %error, "the device keeps its identity");
                failed(&error)
            }
        };
        self.finish(entry(phase), Some(Some(execution.version_number))).await
    }

    async fn work(&mut self, execution: &JobExecution) -> Result<Turn> {
        let (job, number) = (&execution.job_id, execution.execution_number);
        self.events.tell(
            "job",
            json!({ "job": job, "execution": number }),
            &format!("job {job}, execution {number}: verifying"),
        );
        let mut reporter = Reporter::new(&self.jobs, job.clone(), number, Some(execution.version_number));
        let work = Work {
            state: self.state,
            net: &self.net,
            jobs: &self.jobs,
            running: &self.running,
            floors: self.options.floors,
            preferences: self.options.preferences,
            gate: &self.options.gate,
            events: self.events,
        };
        let entry = |phase| JournalEntry { job: job.clone(), execution: number, phase };
        match work.run(execution, &mut reporter).await {
            Ok(Worked::Already) => self.finish(entry(self.succeeded(job, number)), Some(reporter.version())).await,
            Ok(Worked::Activated(installed)) => {
                let payload = installed.choice.payload();
                let kind = if matches!(installed.choice, Choice::Delta(_)) { "delta" } else { "full" };
                self.events.tell(
                    "activated",
                    json!({ "slot": installed.slot.name(), "payload": kind, "bytes": payload.length }),
                    &format!(
                        "slot {} holds the new image ({kind} payload, {} bytes): trying it",
                        installed.slot, payload.length
                    ),
                );
                if self.options.hooks.reboot_command.is_some() {
                    self.options.hooks.select(installed.slot, true)?;
                    self.options.hooks.reboot()?;
                    return Ok(Turn::Rebooting);
                }
                self.running = boot(self.state, self.options, self.events)?;
                match self.state.journal().load()? {
                    Some(entry) => Ok(self.settle(entry).await?.unwrap_or(Turn::Idle)),
                    None => Ok(Turn::Idle),
                }
            }
            // The server ended it: nothing to report.
            Err(Error::Service { code: sealift_jobs::ErrorCode::TerminalStateReached, message, .. }) => {
                self.state.journal().clear()?;
                self.events.tell("over", json!({ "job": job }), &format!("job {job} is over: {message}"));
                Ok(Turn::Idle)
            }
            // Not an outcome: the next run finds the job in progress, and asks again.
            Err(Error::Waiting { .. }) => Ok(Turn::Waiting),
            Err(error) => {
                warn!(%job, %error, "the job ends here");
                self.finish(entry(failed(&error)), Some(reporter.version())).await
            }
        }
    }

    /// What a former process, or this one before its boot stage, left open. `None`: the job is to be worked on again.
    async fn settle(&mut self, entry: JournalEntry) -> Result<Option<Turn>> {
        let phase = match &entry.phase {
            Phase::Working => return Ok(None),
            Phase::Reporting { .. } => entry.phase.clone(),
            Phase::Activated { target, boots } => {
                let state = &self.running.state;
                match state.outcome {
                    Outcome::Confirmed(confirmed) if confirmed.to_string() == *target => {
                        self.succeeded(&entry.job, entry.execution)
                    }
                    Outcome::Reverted(reverted, code) if reverted.to_string() == *target && state.boots > *boots => {
                        self.reverted(code)
                    }
                    // Killed before it was activated.
                    _ => return Ok(None),
                }
            }
        };
        let entry = JournalEntry { phase, ..entry };
        self.finish(entry, None).await.map(Some)
    }

    /// Persists the outcome, tells it, and forgets the job once the server has it.
    async fn finish(&self, entry: JournalEntry, version: Option<Option<u64>>) -> Result<Turn> {
        let Phase::Reporting { status, details: said } = &entry.phase else { return Ok(Turn::Idle) };
        self.state.journal().store(&entry)?;
        let version = match version {
            Some(version) => version,
            None => self.jobs.describe(&entry.job, entry.execution).await?.map(|now| now.version_number),
        };
        let mut reporter = Reporter::new(&self.jobs, entry.job.clone(), entry.execution, version);
        let taken = reporter.send(*status, said).await?;
        self.options.gate.forget()?;
        self.state.journal().clear()?;
        let (code, reason) = (said.value(details::CODE), said.value(details::REASON));
        let mut sentence = format!("job {}, execution {}: {status}", entry.job, entry.execution);
        if let Some(reason) = reason {
            sentence = format!("{sentence}: {reason}");
        }
        if taken == Taken::Over {
            sentence.push_str(" (the server had an outcome of its own already)");
        }
        info!(job = %entry.job, execution = entry.execution, %status, code, "reported");
        let fields = json!({
            "job": entry.job, "execution": entry.execution, "status": status.as_str(), "code": code, "reason": reason,
            "accepted": taken == Taken::Accepted, "running": self.running.view(),
        });
        self.events.tell("reported", fields, &sentence);
        Ok(Turn::Reported(*status))
    }

    fn succeeded(&self, job: &sealift_jobs::JobId, execution: u64) -> Phase {
        let identity = self.state.config.identity();
        let thing = &self.connection.thing;
        let report = signed_report(&self.key, identity.repository, thing, job, execution, &self.running);
        let mut said = StatusDetails::new();
        let mut add = |key: &str, value: String| {
            if let Err(error) = said.insert(key, value) {
                warn!(%error, key, "a detail can't be told");
            }
        };
        add(details::REPORT, report);
        add("version", self.running.target.version.to_string());
        add(
            "freshness",
            if super::clock() == sealift_verifier::trust::Time::Unknown { "unknown" } else { "known" }.into(),
        );
        Phase::Reporting { status: ExecutionStatus::Succeeded, details: said }
    }

    fn reverted(&self, code: u16) -> Phase {
        let why = self.running.trial_failed.clone();
        let reason = match (why, code == Refusal::Reverted.code()) {
            (Some(why), _) => format!("the new image was reverted: {why}"),
            (None, true) => "the new image didn't confirm itself before the device restarted, and was reverted".into(),
            (None, false) => "the new image didn't check at boot, and was reverted".into(),
        };
        let mut said = StatusDetails::new();
        let _ = said.insert(details::CODE, format!("SL-{code:03}"));
        let _ = said.insert_text(details::REASON, &reason);
        Phase::Reporting { status: ExecutionStatus::Failed, details: said }
    }
}

/// How an error is reported: REJECTED when it is for good, FAILED when another attempt may go better.
fn failed(error: &Error) -> Phase {
    let status = if error.is_permanent() { ExecutionStatus::Rejected } else { ExecutionStatus::Failed };
    let mut said = StatusDetails::new();
    let _ = said.insert(details::CODE, error.code());
    let _ = said.insert_text(details::REASON, &error.to_string());
    Phase::Reporting { status, details: said }
}

/// The boot stage, told. With a reboot command the machine's own boot has done it; a trial that is still pending or running
/// means that it hasn't.
fn boot(state: &State, options: &Options, events: Events) -> Result<Running> {
    if options.hooks.reboot_command.is_some()
        && let Ok(recorded) = state.control().state()
        && recorded.trial != Trial::None
    {
        info!("a trial is open: rebooting into the boot stage");
        // A cut may have come between the record and the boot loader.
        if let Trial::Pending(_) = recorded.trial {
            options.hooks.select(recorded.active.other(), true)?;
        }
        options.hooks.reboot()?;
        return Err(Error::Hook { hook: "reboot command", problem: "the machine still runs".into() });
    }
    let running = match boot_stage(state, &options.hooks) {
        Err(elsewhere @ Error::Elsewhere { .. }) if options.hooks.reboot_command.is_some() => {
            warn!(error = %elsewhere, "rebooting");
            options.hooks.reboot()?;
            return Err(elsewhere);
        }
        running => running?,
    };
    events.tell_as("running", &running.view(), &running.sentence());
    Ok(running)
}

/// Between three quarters and five quarters of a time: a fleet that was cut off together doesn't come back together.
fn jittered(time: Duration) -> Duration {
    time.mul_f32(0.75 + random_share() / 2.0)
}

/// Full jitter over an exponentially growing pause: 1 s, 2 s, 4 s and so on up to `most`.
pub(crate) fn backoff(failures: u32, most: Duration) -> Duration {
    let longest = Duration::from_secs(1).saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most);
    longest.mul_f32(0.25 + random_share() * 0.75)
}

fn random_share() -> f32 {
    // Without randomness half is as good as anything.
    getrandom::u32().map_or(0.5, |number| (number >> 8) as f32 / (1 << 24) as f32)
}
