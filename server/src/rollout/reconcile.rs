//! Around the decision core: observing for it, and doing what it says.

use std::collections::BTreeSet;

use sealift_jobs::{ExecutionStatus, JobStatus};
use sealift_rollout::decide::{Action, decide};
use sealift_rollout::observed::{Counts, JobObserved, Observed, Standing, WaveObserved};

use super::proof::Proven;
use super::record::Record;
use super::{RolloutError, Rollouts, document, wish};
use crate::service::{JobProgress, JobService, NewJob};
use crate::store::ArtifactStore;

/// Begins the comment of every cancellation a rollout makes itself, so that one by somebody else is told from it.
const MARK: &str = "sealift: ";
/// Most rounds of observing, deciding and doing in one go; each wave needs a few.
const ROUNDS: usize = 256;

pub(super) fn marked(comment: &str) -> String {
    format!("{MARK}{comment}")
}

impl<S: ArtifactStore, J: JobService> Rollouts<'_, S, J> {
    /// Does what is to be done now, until there is nothing left but to wait.
    ///
    /// # Errors
    /// [`RolloutError`]; what was done stays done, and the next call goes on.
    pub async fn carry_on(&self, name: &str, now: u64) -> Result<(), RolloutError> {
        for _ in 0..ROUNDS {
            let (record, _) = self.load(name).await?;
            let observed = self.observe(&record).await?;
            let mut acted = false;
            for action in decide(&record.plan, &observed, now) {
                acted |= self.act(&record, action).await?;
            }
            if !acted {
                return Ok(());
            }
        }
        Err(RolloutError::Contended(name.into()))
    }

    /// Carries out one action; false when there was nothing to do.
    async fn act(&self, record: &Record, action: Action) -> Result<bool, RolloutError> {
        let name = &record.rollout;
        match action {
            Action::CreateJob { wave, attempt } => {
                let job = self.new_job(record, wave, attempt).await?;
                // The job first: recorded before it exists, an attempt would be looked for in vain.
                let new = self.jobs.create(&job).await?;
                self.edit(name, |record| match record.waves.get_mut(wave) {
                    Some(known) if known.attempt != attempt => {
                        known.attempt = attempt;
                        Ok(true)
                    }
                    _ => Ok(false),
                })
                .await?;
                tracing::info!(rollout = name, job = %job.id, new, "a wave begins");
                Ok(true)
            }
            Action::CancelJob { wave } => {
                let attempt = record.waves.get(wave).map_or(0, |known| known.attempt);
                let job = record.job(wave, attempt)?;
                let force = record.force && record.standing != Standing::Paused;
                let comment = marked(record.comment.as_deref().unwrap_or("a threshold was reached"));
                self.jobs.cancel(&job, force, &comment).await?;
                tracing::info!(rollout = name, %job, force, "a wave's job is cancelled");
                Ok(true)
            }
            Action::RecordGate { wave, since } => {
                self.edit(name, |record| match record.waves.get_mut(wave) {
                    Some(known) if known.gate_held_since.is_some() != since.is_some() => {
                        known.gate_held_since = since;
                        Ok(true)
                    }
                    _ => Ok(false),
                })
                .await?;
                Ok(true)
            }
            Action::End(outcome) => {
                self.edit(name, |record| {
                    // Whoever ended it first decides how it ended.
                    let open = !matches!(record.standing, Standing::Ended(_));
                    if open {
                        record.standing = Standing::Ended(outcome.clone());
                    }
                    Ok(open)
                })
                .await?;
                tracing::info!(rollout = name, ?outcome, "a rollout ended");
                Ok(true)
            }
            Action::WaitUntil(_) | Action::AwaitApproval { .. } => Ok(false),
        }
    }

    /// What is true of a rollout now.
    pub(super) async fn observe(&self, record: &Record) -> Result<Observed, RolloutError> {
        let mut waves = Vec::new();
        for (wave, known) in record.waves.iter().enumerate() {
            let mut seen = WaveObserved {
                attempt: known.attempt,
                gate_held_since: known.gate_held_since,
                approved: known.approved,
                ..WaveObserved::default()
            };
            for attempt in 0..=known.attempt {
                let id = record.job(wave, attempt)?;
                let progress = self.jobs.job(&id).await?;
                if let Some(progress) = &progress {
                    seen.counts = seen.counts.plus(self.counts(record, progress).await?);
                }
                seen.job = state(progress.as_ref());
            }
            if seen.job == JobObserved::Absent && self.targets(record, wave).await? == Targets::default() {
                // Nobody is in it: it is over before it begins.
                seen.job = JobObserved::Completed;
            }
            waves.push(seen);
        }
        Ok(Observed { standing: record.standing.clone(), waves })
    }

    async fn counts(&self, record: &Record, job: &JobProgress) -> Result<Counts, RolloutError> {
        let of = |status| job.count(status);
        let succeeded = of(ExecutionStatus::Succeeded);
        let mut proven = 0;
        if succeeded > 0 {
            self.judge(record, &job.id, |execution, judged| {
                let counts = execution.status == ExecutionStatus::Succeeded;
                proven += u64::from(counts && matches!(judged, Proven::Running { .. }));
            })
            .await?;
        }
        Ok(Counts {
            queued: of(ExecutionStatus::Queued),
            in_progress: of(ExecutionStatus::InProgress),
            proven,
            unproven: succeeded.saturating_sub(proven),
            failed: of(ExecutionStatus::Failed),
            rejected: of(ExecutionStatus::Rejected),
            timed_out: of(ExecutionStatus::TimedOut),
            cancelled: of(ExecutionStatus::Canceled) + of(ExecutionStatus::Removed),
        })
    }

    async fn new_job(&self, record: &Record, wave: usize, attempt: u32) -> Result<NewJob, RolloutError> {
        let (catalog, files) = self.catalog().await?;
        // Withdrawn since: devices would refuse it as superseded; better not to ask them.
        let wanted = record.target.digest;
        let listed = catalog.targets.iter().find(|target| target.digest == wanted);
        let target = listed.ok_or_else(|| wish::no_target(&catalog, wanted.to_string()))?;
        let Targets { groups, things } = self.targets(record, wave).await?;
        let planned = record.plan.waves.get(wave);
        Ok(NewJob {
            id: record.job(wave, attempt)?,
            document: document::write(&catalog, &files, target, &self.locations)?,
            description: format!("{} {} for {}", target.product, target.version, record.rollout),
            groups,
            things,
            timeout_minutes: planned.map(|wave| wave.timeout.seconds / 60),
            retries: planned.map_or(0, |wave| wave.retries),
        })
    }

    /// The groups and things of a wave; bucket groups that nobody is in are left out.
    async fn targets(&self, record: &Record, wave: usize) -> Result<Targets, RolloutError> {
        let named = record.plan.targets_of(wave);
        let mut targets = Targets::default();
        for thing in named.things {
            targets.things.insert(thing.parse()?);
        }
        for group in named.groups {
            let group = group.parse()?;
            if self.jobs.group_size(&group).await?.is_some_and(|size| size > 0) {
                targets.groups.insert(group);
            }
        }
        Ok(targets)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Targets {
    groups: BTreeSet<sealift_jobs::GroupName>,
    things: BTreeSet<sealift_jobs::ThingName>,
}

fn state(job: Option<&JobProgress>) -> JobObserved {
    match job {
        None => JobObserved::Absent,
        Some(job) => match job.status {
            JobStatus::InProgress => JobObserved::InProgress,
            JobStatus::Completed => JobObserved::Completed,
            JobStatus::Canceled if job.comment.as_deref().is_some_and(|comment| comment.starts_with(MARK)) => {
                JobObserved::Cancelled
            }
            JobStatus::Canceled => JobObserved::CancelledElsewhere,
        },
    }
}
