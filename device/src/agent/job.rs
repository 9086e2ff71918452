//! One job execution: verify, install, activate; and telling the server how it stands.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sealift_jobs::{
    ErrorCode, ExecutionStatus, JobDocument, JobExecution, JobId, StatusDetails, UpdateJobExecutionRequest, details,
};
use sealift_manifests::{Digest, Payload};
use sealift_verifier::image::Choice;
use sealift_verifier::session::DeviceFacts;
use tracing::{debug, info, warn};

use super::boot::Running;
use super::events::Events;
use super::gate::{Gate, Stage, Subject, Verdict};
use super::install::{self, Installed, PayloadSource, Preferences, Progress};
use super::metadata::{self, Arena, Source};
use crate::error::{Error, Result};
use crate::net::Net;
use crate::net::jobs::Jobs;
use crate::net::payload::{Download, Floors};
use crate::state::State;
use crate::state::journal::{JournalEntry, Phase};

/// Time between two words on progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// What a job led to.
#[derive(Clone, Copy, Debug)]
pub enum Worked {
    /// The target runs already.
    Already,
    /// It is activated: the next boot tries it.
    Activated(Installed),
}

/// The execution at hand and how it is reported.
#[derive(Debug)]
pub struct Reporter<'a> {
    jobs: &'a Jobs,
    job: JobId,
    execution: u64,
    /// The version of the execution that the server had last, if it is known.
    version: Option<u64>,
}

/// How a report was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// As it was meant.
    Accepted,
    /// The execution has ended otherwise: cancelled, timed out, or reported before.
    Over,
}

impl<'a> Reporter<'a> {
    /// Reports on one execution.
    pub fn new(jobs: &'a Jobs, job: JobId, execution: u64, version: Option<u64>) -> Self {
        Reporter { jobs, job, execution, version }
    }

    /// The version of the execution that the server had last, if it is known.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// Sends a status under the version that the server should have; if it has another one, looks and tries again.
    pub async fn send(&mut self, status: ExecutionStatus, details: &StatusDetails) -> Result<Taken> {
        for _ in 0..3 {
            let mut request = UpdateJobExecutionRequest::new(status);
            request.status_details = Some(details.clone());
            request.execution_number = Some(self.execution);
            request.expected_version = self.version;
            request.include_job_execution_state = Some(true);
            match self.jobs.update(&self.job, &request).await {
                Ok(version) => {
                    self.version = version.or(self.version.map(|version| version + 1));
                    return Ok(Taken::Accepted);
                }
                Err(Error::Service { code: ErrorCode::VersionMismatch, .. }) => {
                    let Some(now) = self.jobs.describe(&self.job, self.execution).await? else {
                        return Ok(Taken::Over);
                    };
                    if now.status.is_terminal() {
                        return Ok(Taken::Over);
                    }
                    self.version = Some(now.version_number);
                }
                Err(Error::Service {
                    code:
                        code @ (ErrorCode::InvalidStateTransition
                        | ErrorCode::ResourceNotFound
                        | ErrorCode::TerminalStateReached
                        | ErrorCode::InvalidRequest),
                    message,
                    ..
                }) => {
                    info!(job = %self.job, %code, message, "the execution has ended otherwise");
                    return Ok(Taken::Over);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Answer { what: "report on the job".into(), problem: "another version every time".into() })
    }
}

/// Works on an execution up to the activation.
#[derive(Debug)]
pub struct Work<'a> {
    /// The device.
    pub state: &'a State,
    /// HTTPS.
    pub net: &'a Net,
    /// The data plane.
    pub jobs: &'a Jobs,
    /// What runs.
    pub running: &'a Running,
    /// What a download may not fall below.
    pub floors: Floors,
    /// What to take.
    pub preferences: Preferences,
    /// The owner's word.
    pub gate: &'a Gate,
    /// Where events go.
    pub events: Events,
}

/// Longest silence while the gate waits: in between the server may have cancelled the job.
const WAIT_MOST: Duration = Duration::from_secs(60);

impl Work<'_> {
    /// Does it. The journal says that this execution is at hand before anything else happens.
    pub async fn run(&self, execution: &JobExecution, reporter: &mut Reporter<'_>) -> Result<Worked> {
        let entry =
            |phase| JournalEntry { job: execution.job_id.clone(), execution: execution.execution_number, phase };
        self.state.journal().store(&entry(Phase::Working))?;
        let document = JobDocument::from_json(execution.job_document.as_deref().unwrap_or_default())?;
        let target = Digest(document.target.0);
        if self.running.runs(&target) {
            return Ok(Worked::Already);
        }
        self.say(reporter, "metadata", None).await?;
        let facts = DeviceFacts {
            security_counter: self.running.security_counter,
            installed: Some(self.running.target.version),
        };
        // The document's place first; the device's own server knows the latest, whatever the document says.
        let mut bases = vec![document.metadata.clone()];
        let own = self.net.own("/metadata/");
        if !bases.contains(&own) {
            bases.push(own);
        }
        let source = Source { net: self.net, bases };
        let arena = Arena::default();
        let bundle = document.bundle.as_deref();
        let approved = metadata::approve(self.state, &arena, bundle, &target, &facts, &source).await?;
        info!(version = %approved.target().version, %target, freshness = ?approved.freshness(), "the target is approved");
        let subject = Subject {
            job: execution.job_id.clone(),
            version: approved.target().version.to_string(),
            target: target.to_string(),
        };
        self.wait(Stage::Download, &subject, reporter).await?;
        self.say(reporter, "payload", None).await?;
        let mut source = Online::new(self, &document, execution);
        let mut progress = Told { reporter, last: Instant::now(), bar: bar() };
        let running = &self.running.target.image;
        // Either may hold back, neither can let loose.
        let delta_only = self.preferences.delta_only || document.delta_only;
        let preferences = Preferences { delta_only, ..self.preferences };
        let installed = install::install(self.state, approved, running, preferences, &mut source, &mut progress);
        let (verified, installed) = installed.await?;
        progress.bar.finish_and_clear();
        self.wait(Stage::Activate, &subject, reporter).await?;
        // Before the activation: a restart in between finds out by the boot state whether it happened.
        let boots = self.running.state.boots;
        self.state.journal().store(&entry(Phase::Activated { target: target.to_string(), boots }))?;
        install::activate(self.state, verified)?;
        Ok(Worked::Activated(installed))
    }

    /// Waits until the gate opens, and says for what. Each word is also the question whether the job still stands.
    async fn wait(&self, stage: Stage, subject: &Subject, reporter: &mut Reporter<'_>) -> Result<()> {
        let mut told = None;
        loop {
            let Verdict::Wait { why, pause } = self.gate.ask(stage, subject)? else { return Ok(()) };
            say(reporter, "waiting", Some(("waitingFor", why.clone()))).await?;
            if told.as_ref() != Some(&why) {
                let fields = serde_json::json!({
                    "job": subject.job, "version": subject.version, "waitingFor": why, "seconds": pause.as_secs(),
                });
                let sentence = format!("job {}: version {} waits for {why}", subject.job, subject.version);
                self.events.tell("waiting", fields, &sentence);
            }
            if self.gate.once {
                return Err(Error::Waiting { why });
            }
            told = Some(why);
            tokio::time::sleep(pause.min(WAIT_MOST)).await;
        }
    }

    /// Tells a step. The server's having ended the execution ends the work; its not answering doesn't.
    async fn say(&self, reporter: &mut Reporter<'_>, step: &str, progress: Option<String>) -> Result<()> {
        say(reporter, step, progress.map(|progress| ("progress", progress))).await
    }
}

async fn say(reporter: &mut Reporter<'_>, step: &str, more: Option<(&str, String)>) -> Result<()> {
    let mut said = StatusDetails::new();
    let _ = said.insert_text(details::STEP, step);
    if let Some((key, value)) = more {
        let _ = said.insert_text(key, &value);
    }
    match reporter.send(ExecutionStatus::InProgress, &said).await {
        Ok(Taken::Accepted) => Ok(()),
        Ok(Taken::Over) => Err(Error::Service {
            what: "go on with the job".into(),
            code: ErrorCode::TerminalStateReached,
            message: "it was cancelled or timed out".into(),
        }),
        Err(error) => {
            debug!(%error, "the progress couldn't be told");
            Ok(())
        }
    }
}

/// A bar on a terminal; nothing elsewhere.
fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}") {
        bar.set_style(style);
    }
    bar
}

/// Tells the server and the terminal how far a payload is.
struct Told<'r, 'a> {
    reporter: &'r mut Reporter<'a>,
    last: Instant,
    bar: ProgressBar,
}

impl Progress for Told<'_, '_> {
    async fn at(&mut self, choice: &Choice, done: u32) -> Result<()> {
        let length = choice.payload().length;
        self.bar.set_length(length.into());
        self.bar.set_message(if matches!(choice, Choice::Delta(_)) { "delta" } else { "image" });
        self.bar.set_position(done.into());
        if self.last.elapsed() < PROGRESS_EVERY {
            return Ok(());
        }
        self.last = Instant::now();
        say(self.reporter, "payload", Some(("progress", format!("{done}/{length}")))).await
    }
}

/// A payload over HTTPS: by the document's URL, by a fresh one of the same job, by the server's own name for it.
struct Online<'w> {
    work: &'w Work<'w>,
    job: JobId,
    execution: u64,
    urls: std::collections::BTreeMap<sealift_jobs::Digest, String>,
    deadline: Instant,
    /// Where the last attempt went.
    tried: Option<String>,
    download: Option<Download>,
}

impl<'w> Online<'w> {
    fn new(work: &'w Work<'w>, document: &JobDocument, execution: &JobExecution) -> Self {
        Online {
            work,
            job: execution.job_id.clone(),
            execution: execution.execution_number,
            urls: document.payloads.clone(),
            deadline: Instant::now() + work.floors.deadline,
            tried: None,
            download: None,
        }
    }

    /// A presigned URL lasts minutes to an hour: the job gives a fresh one.
    async fn refresh(&mut self) {
        match self.work.jobs.describe(&self.job, self.execution).await {
            Ok(Some(now)) => match JobDocument::from_json(now.job_document.as_deref().unwrap_or_default()) {
                Ok(document) => self.urls = document.payloads,
                Err(error) => warn!(%error, "the job's document changed"),
            },
            Ok(None) => {}
            Err(error) => warn!(%error, "the job gives no fresh URL"),
        }
    }
}

impl PayloadSource for Online<'_> {
    async fn start(&mut self, payload: &Payload, offset: u32, attempt: u32) -> Result<()> {
        self.download = None;
        if attempt == 0 {
            // The last attempt brought something: its place is as good as before.
            self.tried = None;
        } else {
            self.refresh().await;
        }
        let named = self.urls.get(&sealift_jobs::Digest(payload.digest.0)).cloned();
        let own = || self.work.net.own(&format!("/payloads/{}", payload.digest));
        // The job's URL, and a fresh one as soon as there is one; between two failures the other place.
        let url = match named {
            Some(url) if self.tried.as_ref() != Some(&url) => url,
            _ => own(),
        };
        self.tried = Some(url.clone());
        let Work { net, floors, .. } = self.work;
        self.download = Some(Download::start(net, &url, offset, payload.length, *floors, self.deadline).await?);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        match &mut self.download {
            Some(download) => download.next().await,
            None => Ok(None),
        }
    }
}
