//! Rollouts: a published target, brought to groups of devices wave by wave.
//!
//! What is decided is `sealift-rollout`'s; here it is observed and carried out. A rollout's record lives in the artifact
//! store, changed by conditional writes alone, and its jobs in the job service under ids that follow from the record. So
//! any machine can take a rollout over, and two that carry it out at once do no harm: a job that exists is not made again,
//! and who loses the race for the record looks again.

pub mod document;
mod error;
mod name;
pub mod proof;
mod record;
mod view;
mod wish;

use std::collections::BTreeMap;

use sealift_jobs::{ExecutionStatus, GroupName, JobId, JobStatus, ThingName, details};
use sealift_rollout::decide::{Action, decide};
use sealift_rollout::explain::{Device, Explanation, explain};
use sealift_rollout::observed::{Counts, JobObserved, Observed, Outcome, Standing, WaveObserved};
use sealift_verifier::trust::Policy;

use crate::intake;
use crate::intake::chain::{Catalog, Files};
use crate::service::{JobProgress, JobService, NewJob};
use crate::store::{ArtifactStore, Key, KeyError, ROLLOUTS, StoreError, Tag};
use document::Locations;
use name::{check_name, derived_name};
use proof::{Proven, prove};
use record::Record;
use wish::no_target;

pub use document::ORIGIN_PLACEHOLDER;
pub use error::RolloutError;
pub use record::Entry;
pub use view::{DeviceStatus, Overview, State, Status, WaveOverview};
pub use wish::NewRollout;

/// Most bytes of a rollout's record.
const RECORD_MAX: u64 = 1 << 20;
/// Tries of a conditional write against others.
const TRIES: usize = 8;

/// Carries rollouts out, over any store and any job service.
pub struct Rollouts<'a, S, J> {
    /// Published files and rollout records.
    pub store: &'a S,
    /// Jobs.
    pub jobs: &'a J,
    /// Where devices find files.
    pub locations: Locations,
    /// What the verifier accepts when it reads what is published.
    pub policy: Policy,
}

impl<S: ArtifactStore, J: JobService> Rollouts<'_, S, J> {
    /// Makes a rollout and starts its first wave; true when it is new. The same wish again finds the rollout there.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn create(&self, wish: &NewRollout, now: u64) -> Result<(Overview, bool), RolloutError> {
        let (catalog, _) = self.catalog().await?;
        let target = wish.target(&catalog)?;
        let plan = wish.plan(&target)?;
        for group in plan.waves.iter().flat_map(|wave| &wave.groups) {
            match self.jobs.group_size(group).await? {
                None => return Err(RolloutError::Targets(format!("no group is called {group}"))),
                Some(0) => return Err(RolloutError::Targets(format!("group {group} has no devices"))),
                Some(_) => {}
            }
        }
        for thing in plan.waves.iter().flat_map(|wave| &wave.things) {
            let missing = || RolloutError::Targets(format!("no device is called {thing}"));
            self.jobs.thing(thing).await?.ok_or_else(missing)?;
        }
        let rollout = match &wish.name {
            Some(name) => name.clone(),
            None => derived_name(&catalog.repository, &target, &plan),
        };
        check_name(&rollout)?;
        let mut record = Record {
            rollout: rollout.clone(),
            repository: catalog.repository,
            target,
            plan,
            created_at: now,
            standing: Standing::Running,
            comment: None,
            force: false,
            waves: Vec::new(),
            history: Vec::new(),
        };
        record.note(now, "created");
        let new = self.keep(&record).await?;
        self.carry_on(&rollout, now).await?;
        Ok((self.overview(&rollout, now).await?, new))
    }

    /// Writes a new record; false when this very plan is on record already.
    async fn keep(&self, record: &Record) -> Result<bool, RolloutError> {
        let name = &record.rollout;
        match self.store.replace(&key(name)?, &encode(record), None).await {
            Ok(_) => Ok(true),
            Err(StoreError::Raced { .. }) => {
                let (known, _) = self.load(name).await?;
                let state = if (&known.plan, known.target.digest) != (&record.plan, record.target.digest) {
                    "about something else"
                } else if known.standing == Standing::Ended(Outcome::AbortedByHand) {
                    "cancelled"
                } else {
                    return Ok(false);
                };
                Err(RolloutError::Exists { name: name.clone(), state: state.into() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Changes a record by a conditional write, as often as others come between.
    async fn change(
        &self,
        name: &str,
        mut change: impl FnMut(&mut Record) -> Result<(), RolloutError>,
    ) -> Result<Record, RolloutError> {
        for _ in 0..TRIES {
            let (mut record, tag) = self.load(name).await?;
            let before = record.clone();
            change(&mut record)?;
            if record == before {
                return Ok(record);
            }
            match self.store.replace(&key(name)?, &encode(&record), Some(&tag)).await {
                Err(StoreError::Raced { .. }) => {}
                written => {
                    written?;
                    return Ok(record);
                }
            }
        }
        Err(RolloutError::Contended(name.into()))
    }

    /// Cancels a rollout: devices that wait for it no longer get it; with `force` those in progress are told too.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn cancel(&self, name: &str, force: bool, comment: &str, now: u64) -> Result<Overview, RolloutError> {
        let record = self
            .change(name, |record| {
                if matches!(record.standing, Standing::Running | Standing::Paused) {
                    record.standing = Standing::Ended(Outcome::AbortedByHand);
                    record.comment = Some(comment.to_owned());
                    record.note(now, format!("cancelled: {comment}"));
                }
                record.force |= force;
                Ok(())
            })
            .await?;
        self.carry_on(name, now).await?;
        // What decide leaves alone: a wave cancelled before, whose devices in progress are to be told now.
        if force {
            for (wave, state) in record.waves.iter().enumerate().filter(|(_, state)| state.created) {
                let job = record.job(wave, state.attempt)?;
                if self.jobs.job(&job).await?.is_some() {
                    self.jobs.cancel(&job, true, comment).await?;
                }
            }
        }
        self.overview(name, now).await
    }

    /// Pauses a rollout: no further wave begins, and devices that have not started are taken out of the present one. (AWS
    /// IoT Jobs can't pause: their job is cancelled, and a resume makes the next attempt.)
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn pause(&self, name: &str, comment: &str, now: u64) -> Result<Overview, RolloutError> {
        self.change(name, |record| match record.standing {
            Standing::Paused => Ok(()),
            Standing::Running => {
                record.standing = Standing::Paused;
                record.comment = Some(comment.to_owned());
                record.note(now, format!("paused: {comment}"));
                Ok(())
            }
            Standing::Ended(_) => {
                Err(RolloutError::Standing(format!("rollout {name} is over; there is nothing to pause")))
            }
        })
        .await?;
        self.carry_on(name, now).await?;
        self.overview(name, now).await
    }

    /// Goes on with a paused rollout.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn resume(&self, name: &str, now: u64) -> Result<Overview, RolloutError> {
        // Whatever the pause still had to cancel is cancelled and on record before the rollout runs again: a job found
        // cancelled later is then somebody else's doing.
        self.carry_on(name, now).await?;
        self.change(name, |record| match record.standing {
            Standing::Running => Ok(()),
            Standing::Paused => {
                record.standing = Standing::Running;
                record.comment = None;
                record.note(now, "resumed");
                Ok(())
            }
            Standing::Ended(_) => Err(RolloutError::Standing(format!("rollout {name} is over; start another one"))),
        })
        .await?;
        self.carry_on(name, now).await?;
        self.overview(name, now).await
    }

    /// Approves the step from a wave, by its name, to the next.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn approve(&self, name: &str, wave: &str, now: u64) -> Result<Overview, RolloutError> {
        self.change(name, |record| {
            let index = record.plan.waves.iter().position(|planned| planned.name == wave).ok_or_else(|| {
                let names: Vec<&str> = record.plan.waves.iter().map(|wave| wave.name.as_str()).collect();
                RolloutError::Standing(format!("no wave is called {wave}; there are {}", names.join(", ")))
            })?;
            if !record.wave(index).approved {
                record.change(index, |state| state.approved = true);
                record.note(now, format!("the step on from wave {wave} is approved"));
            }
            Ok(())
        })
        .await?;
        self.carry_on(name, now).await?;
        self.overview(name, now).await
    }

    /// In which wave a device is and why, or what keeps it out.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn explain(&self, name: &str, thing: &ThingName) -> Result<Explanation, RolloutError> {
        let (record, _) = self.load(name).await?;
        let missing = || RolloutError::Targets(format!("no device is called {thing}"));
        let facts = self.jobs.thing(thing).await?.ok_or_else(missing)?;
        let groups: Vec<String> = facts.groups.iter().map(ToString::to_string).collect();
        Ok(explain(&record.plan, &Device { thing: thing.as_str(), product: &facts.product, groups: &groups }))
    }

    /// Does what is to be done now, until nothing is left to do at once.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn carry_on(&self, name: &str, now: u64) -> Result<(), RolloutError> {
        // Each wave takes a handful of steps at the most.
        loop {
            let (record, _) = self.load(name).await?;
            let observed = self.observe(&record).await?;
            let mut acted = false;
            for action in decide(&record.plan, &observed, now) {
                acted |= self.act(&record, action, now).await?;
            }
            if !acted {
                return Ok(());
            }
        }
    }

    /// Carries one action out; says whether something was changed. What the action does comes first, its record second: a
    /// reconciler that dies in between does it again, and finds it done.
    async fn act(&self, record: &Record, action: Action, now: u64) -> Result<bool, RolloutError> {
        let (name, planned) = (&record.rollout, &record.plan.waves);
        let title = |wave: usize| planned.get(wave).map_or("?", |wave| wave.name.as_str()).to_owned();
        match action {
            Action::CreateJob { wave, attempt } => {
                let job = self.new_job(record, wave, attempt).await?;
                let empty = job.groups.is_empty() && job.things.is_empty();
                if !empty {
                    let new = self.jobs.create(&job).await?;
                    tracing::info!(rollout = name, job = %job.id, new, "a wave begins");
                }
                let title = title(wave);
                self.change(name, |record| {
                    let state = record.wave(wave);
                    if state.created && state.attempt >= attempt {
                        return Ok(());
                    }
                    record.change(wave, |state| {
                        (state.created, state.attempt, state.cancelled, state.empty) = (true, attempt, false, empty);
                    });
                    record.note(
                        now,
                        if empty {
                            format!("wave {title} has no devices")
                        } else {
                            format!("wave {title} begins: job {}", job.id)
                        },
                    );
                    Ok(())
                })
                .await?;
                Ok(true)
            }
            Action::CancelJob { wave } => {
                let attempt = record.wave(wave).attempt;
                let job = record.job(wave, attempt)?;
                self.jobs.cancel(&job, record.force, record.comment.as_deref().unwrap_or("the rollout ended")).await?;
                tracing::info!(rollout = name, %job, force = record.force, "a wave is cancelled");
                let title = title(wave);
                self.change(name, |record| {
                    if !record.wave(wave).cancelled {
                        record.change(wave, |state| state.cancelled = true);
                        record.note(now, format!("wave {title} is cancelled"));
                    }
                    Ok(())
                })
                .await?;
                Ok(true)
            }
            Action::RecordGate { wave, since } => {
                let title = title(wave);
                self.change(name, |record| {
                    if record.wave(wave).gate_held_since.is_some() != since.is_some() {
                        record.change(wave, |state| state.gate_held_since = since);
                        let what = if since.is_some() { "holds" } else { "no longer holds" };
                        record.note(now, format!("the gate of wave {title} {what}"));
                    }
                    Ok(())
                })
                .await?;
                Ok(true)
            }
            Action::End(outcome) => {
                let why = reason(&outcome, &title);
                tracing::warn!(rollout = name, outcome = why, "a rollout is over");
                self.change(name, |record| {
                    if record.standing == Standing::Running {
                        record.standing = Standing::Ended(outcome.clone());
                        record.comment = (outcome != Outcome::Completed).then(|| why.clone());
                        record.note(now, why.clone());
                    }
                    Ok(())
                })
                .await?;
                Ok(true)
            }
            Action::WaitUntil(_) | Action::AwaitApproval { .. } => Ok(false),
        }
    }

    async fn new_job(&self, record: &Record, wave: usize, attempt: u32) -> Result<NewJob, RolloutError> {
        let (catalog, files) = self.catalog().await?;
        // Withdrawn since: devices would refuse it as superseded; better not to ask them.
        let wanted = record.target.digest;
        let listed = catalog.targets.iter().find(|target| target.digest == wanted);
        let target = listed.ok_or_else(|| no_target(&catalog, wanted.to_string()))?;
        let planned = record.plan.waves.get(wave).ok_or_else(|| RolloutError::Unknown(record.rollout.clone()))?;
        let targets = record.plan.targets_of(wave);
        let mut groups = std::collections::BTreeSet::new();
        for group in targets.groups {
            let group: GroupName = group.parse().map_err(RolloutError::Name)?;
            // Nobody may have joined a bucket yet; a group that a person named was looked at when the rollout was made.
            if self.jobs.group_size(&group).await?.is_some_and(|size| size > 0) {
                groups.insert(group);
            }
        }
        Ok(NewJob {
            id: record.job(wave, attempt)?,
            document: document::write(&catalog, &files, target, &self.locations)?,
            description: format!("{} {} for {}: {}", target.product, target.version, record.rollout, planned.name),
            groups,
            things: planned.things.iter().cloned().collect(),
            timeout_minutes: Some(planned.timeout.seconds / 60),
            retries: planned.retries,
            rate: planned.rate,
        })
    }

    /// Names of all rollouts.
    ///
    /// # Errors
    /// [`RolloutError::Store`].
    pub async fn names(&self) -> Result<Vec<String>, RolloutError> {
        let keys = self.store.list(ROLLOUTS).await?;
        Ok(keys.iter().filter_map(|key| key.name().strip_suffix(".json")).map(str::to_owned).collect())
    }

    /// One rollout.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn overview(&self, name: &str, now: u64) -> Result<Overview, RolloutError> {
        let (record, _) = self.load(name).await?;
        let observed = self.observe(&record).await?;
        // What needs nothing but to be put on record is told already.
        let completed = decide(&record.plan, &observed, now).contains(&Action::End(Outcome::Completed));
        let state = if completed { State::Completed } else { State::from(&record.standing) };
        let mut waves = Vec::new();
        let mut counts = BTreeMap::new();
        for (index, planned) in record.plan.waves.iter().enumerate() {
            let kept = record.wave(index);
            let mut progress = None;
            for attempt in attempts(&kept) {
                progress = self.jobs.job(&record.job(index, attempt)?).await?;
                let last = attempt == kept.attempt;
                for (status, count) in progress.iter().flat_map(|job| &job.counts) {
                    // Who was taken out by a pause is in the next attempt.
                    if last || *status != ExecutionStatus::Canceled {
                        *counts.entry(*status).or_insert(0) += count;
                    }
                }
            }
            waves.push(WaveOverview {
                name: planned.name.clone(),
                job: record.job(index, kept.attempt)?,
                groups: planned.groups.iter().cloned().collect(),
                things: planned.things.iter().cloned().collect(),
                progress,
                gate_held_since: kept.gate_held_since,
                approved: kept.approved,
            });
        }
        Ok(Overview {
            rollout: record.rollout,
            state,
            target: record.target,
            repository: record.repository,
            created_at: record.created_at,
            comment: record.comment,
            waves,
            counts,
            history: record.history,
        })
    }

    /// One rollout with every device.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn status(&self, name: &str, now: u64) -> Result<Status, RolloutError> {
        let (record, _) = self.load(name).await?;
        let overview = self.overview(name, now).await?;
        let mut devices = Vec::new();
        for (wave, kept) in record.waves.iter().enumerate() {
            for attempt in attempts(kept) {
                devices.extend(self.devices(&record, &record.job(wave, attempt)?).await?);
            }
        }
        let proven = devices.iter().filter(|d| matches!(d.proven, Proven::Running { .. })).count() as u64;
        let differences = devices.iter().filter(|d| d.differs).count() as u64;
        Ok(Status { overview, proven, differences, devices })
    }

    /// Every device of a job: what the job says of it, and what it proved.
    async fn devices(&self, record: &Record, job: &JobId) -> Result<Vec<DeviceStatus>, RolloutError> {
        let mut devices = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.jobs.executions(job, after.as_deref()).await?;
            let Some(last) = page.last() else { return Ok(devices) };
            after = Some(last.thing.to_string());
            for execution in page {
                let needs_key = execution.details.value(details::REPORT).is_some();
                let thing = if needs_key { self.jobs.thing(&execution.thing).await? } else { None };
                let proven = prove(record, &execution, thing.and_then(|t| t.report_key).as_ref());
                devices.push(DeviceStatus::new(
                    execution.thing,
                    execution.job,
                    execution.number,
                    execution.status,
                    proven,
                    &execution.details,
                ));
            }
        }
    }

    async fn observe(&self, record: &Record) -> Result<Observed, RolloutError> {
        let mut waves = Vec::new();
        for wave in 0..record.plan.waves.len() {
            let kept = record.wave(wave);
            let mut seen = WaveObserved {
                attempt: kept.attempt,
                gate_held_since: kept.gate_held_since,
                approved: kept.approved,
                ..WaveObserved::default()
            };
            for attempt in attempts(&kept) {
                let job = self.jobs.job(&record.job(wave, attempt)?).await?;
                let mut counts = job.as_ref().map(counts).unwrap_or_default();
                if attempt == kept.attempt {
                    seen.job = standing_of(job.as_ref(), &kept, &record.standing);
                } else {
                    counts.cancelled = 0;
                }
                seen.counts = seen.counts.plus(counts);
            }
            if kept.empty {
                seen.job = JobObserved::Completed;
            }
            // Proofs decide at the gate alone: a report is read for each device, so not oftener than needed.
            let next_began = record.wave(wave + 1).created;
            let gated = wave + 1 < record.plan.waves.len() && !next_began;
            if gated && seen.counts.unproven > 0 {
                self.count_proofs(record, wave, &mut seen.counts).await?;
            }
            waves.push(seen);
        }
        Ok(Observed { standing: record.standing.clone(), waves })
    }

    /// Moves the successes that their devices proved from `unproven` to `proven`.
    async fn count_proofs(&self, record: &Record, wave: usize, counts: &mut Counts) -> Result<(), RolloutError> {
        for attempt in attempts(&record.wave(wave)) {
            let devices = self.devices(record, &record.job(wave, attempt)?).await?;
            let runs = |device: &&DeviceStatus| {
                device.status == ExecutionStatus::Succeeded && matches!(device.proven, Proven::Running { .. })
            };
            let proven = devices.iter().filter(runs).count() as u64;
            counts.unproven = counts.unproven.saturating_sub(proven);
            counts.proven += proven;
        }
        Ok(())
    }

    async fn load(&self, name: &str) -> Result<(Record, Tag), RolloutError> {
        let unknown = || RolloutError::Unknown(name.into());
        let key = key(name).map_err(|_| unknown())?;
        let (bytes, tag) = self.store.small(&key, RECORD_MAX).await?.ok_or_else(unknown)?;
        let record = serde_json::from_slice(&bytes);
        Ok((record.map_err(|source| RolloutError::Record { key: key.to_string(), source })?, tag))
    }

    async fn catalog(&self) -> Result<(Catalog, Files), RolloutError> {
        let published = intake::published(self.store, self.policy).await?;
        let catalog = published.catalog.ok_or(RolloutError::NothingPublished)?;
        Ok((catalog, published.files))
    }
}

/// The attempts of a wave that have a job.
fn attempts(kept: &record::WaveRecord) -> std::ops::Range<u32> {
    if kept.created && !kept.empty { 0..kept.attempt + 1 } else { 0..0 }
}

fn standing_of(job: Option<&JobProgress>, kept: &record::WaveRecord, standing: &Standing) -> JobObserved {
    match job.map(|job| job.status) {
        Some(JobStatus::InProgress) => JobObserved::InProgress,
        Some(JobStatus::Completed) => JobObserved::Completed,
        // Ours, or ours that was not put on record before the reconciler died.
        Some(JobStatus::Canceled) if kept.cancelled || *standing != Standing::Running => JobObserved::Cancelled,
        Some(JobStatus::Canceled) | None => JobObserved::CancelledElsewhere,
    }
}

fn counts(job: &JobProgress) -> Counts {
    Counts {
        queued: job.count(ExecutionStatus::Queued),
        in_progress: job.count(ExecutionStatus::InProgress),
        proven: 0,
        unproven: job.count(ExecutionStatus::Succeeded),
        failed: job.count(ExecutionStatus::Failed),
        rejected: job.count(ExecutionStatus::Rejected),
        timed_out: job.count(ExecutionStatus::TimedOut),
        cancelled: job.count(ExecutionStatus::Canceled),
    }
}

fn reason(outcome: &Outcome, title: &dyn Fn(usize) -> String) -> String {
    match outcome {
        Outcome::Completed => "every wave is over".to_owned(),
        Outcome::Aborted { wave, reason } => format!("stopped in wave {}: {reason}", title(*wave)),
        Outcome::AbortedByHand => "cancelled".to_owned(),
        Outcome::CancelledElsewhere { wave } => {
            format!("stopped: the job of wave {} was cancelled or deleted by somebody else", title(*wave))
        }
    }
}

fn key(name: &str) -> Result<Key, KeyError> {
    format!("{ROLLOUTS}/{name}.json").parse()
}

fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec_pretty(record).unwrap_or_else(|e| unreachable!("records are plain data with string keys: {e}"))
}
