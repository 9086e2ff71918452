//! The reconciler: looks, asks the decision core what to do, does it, and looks again.
//!
//! Every act has its intent on record before the call and its effect after it. So whoever dies in between leaves what the
//! next one needs to know, and two at once do the same thing to the same names.

use sealift_jobs::GroupName;
use sealift_rollout::decide::{Action, decide};
use sealift_rollout::observed::{Outcome, Standing};

use super::record::Record;
use super::wish::no_target;
use super::{RolloutError, Rollouts, document};
use crate::intake::chain::{Catalog, Files};
use crate::service::{JobService, NewJob};
use crate::store::ArtifactStore;

/// Most looks of one call: each wave takes a handful of steps. What is left then is for the next call, so that a service
/// that says yes and does nothing keeps nobody busy for ever.
const LOOKS: usize = 256;

impl<S: ArtifactStore, J: JobService> Rollouts<'_, S, J> {
    /// Does what is to be done now, until nothing is left to do at once; true when the rollout is over.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn carry_on(&self, name: &str, now: u64) -> Result<bool, RolloutError> {
        let mut settled = false;
        for _ in 0..LOOKS {
            let (record, _) = self.load(name).await?;
            if record.settled {
                return Ok(true);
            }
            if self.finish_claims(&record, now).await? {
                continue;
            }
            let observed = self.observe(&record, now).await?;
            let mut acted = false;
            for action in decide(&record.plan, &observed, now) {
                acted |= self.act(&record, action, now).await?;
            }
            if !acted {
                settled = matches!(record.standing, Standing::Ended(_));
                break;
            }
        }
        self.audit(name, settled).await?;
        Ok(settled)
    }

    /// Carries one action out; says whether something was changed.
    async fn act(&self, record: &Record, action: Action, now: u64) -> Result<bool, RolloutError> {
        let (name, planned) = (&record.rollout, &record.plan.waves);
        let title = |wave: usize| planned.get(wave).map_or("?", |wave| wave.name.as_str()).to_owned();
        match action {
            Action::CreateJob { wave, attempt } => self.begin(record, wave, attempt, now).await?,
            Action::CancelJob { wave } => self.end_wave(record, wave, now).await?,
            Action::RecordGate { wave, since } => {
                let title = title(wave);
                self.change(name, |record| {
                    if record.wave(wave).gate_held_since.is_some() != since.is_some() {
                        record.change(wave, |state| state.gate_held_since = since);
                        let what = if since.is_some() { "holds" } else { "no longer holds" };
                        record.note(now, &self.actor, format!("the gate of wave {title} {what}"), Vec::new());
                    }
                    Ok(())
                })
                .await?;
            }
            Action::End(outcome) => {
                let why = reason(&outcome, &title);
                tracing::warn!(rollout = name, outcome = why, "a rollout is over");
                self.change(name, |record| {
                    if record.standing == Standing::Running {
                        record.standing = Standing::Ended(outcome.clone());
                        record.comment = (outcome != Outcome::Completed).then(|| why.clone());
                        record.note(now, &self.actor, why.clone(), Vec::new());
                    }
                    Ok(())
                })
                .await?;
            }
            Action::WaitUntil(_) | Action::AwaitApproval { .. } => return Ok(false),
        }
        Ok(true)
    }

    /// Begins a wave: claims it, makes its job, and puts that on record. A claim is refused to who looked before the
    /// rollout was paused or ended, so that no job begins behind a pause's back without anybody knowing of it.
    async fn begin(&self, record: &Record, wave: usize, attempt: u32, now: u64) -> Result<(), RolloutError> {
        let name = &record.rollout;
        let job = self.new_job(record, wave, attempt).await?;
        let empty = job.groups.is_empty() && job.things.is_empty();
        let kept = self
            .change(name, |record| {
                let state = record.wave(wave);
                let claimed = state.claimed || state.created;
                let behind = state.attempt < attempt || (state.attempt == attempt && !claimed);
                if record.standing == Standing::Running && behind {
                    record.change(wave, |state| {
                        (state.claimed, state.created, state.attempt) = (true, false, attempt);
                        (state.cancelling, state.cancelled, state.empty) = (false, false, empty);
                    });
                }
                Ok(())
            })
            .await?;
        let state = kept.wave(wave);
        if kept.standing != Standing::Running || state.attempt != attempt || state.created {
            return Ok(());
        }
        if !empty {
            let new = self.jobs.create(&job).await?;
            tracing::info!(rollout = name, job = %job.id, new, "a wave begins");
        }
        self.begun(record, wave, attempt, now).await
    }

    /// Puts on record that a wave's job is made.
    async fn begun(&self, record: &Record, wave: usize, attempt: u32, now: u64) -> Result<(), RolloutError> {
        let title = record.plan.waves.get(wave).map_or("?", |wave| wave.name.as_str());
        let job = record.job(wave, attempt)?;
        let named = record.plan.targets_of(wave);
        let mut targets = vec![format!("job {job}")];
        targets.extend(named.groups.iter().map(|group| format!("group {group}")));
        targets.extend(named.things.iter().map(|thing| format!("thing {thing}")));
        self.change(&record.rollout, |record| {
            let state = record.wave(wave);
            if state.created || state.attempt != attempt {
                return Ok(());
            }
            record.change(wave, |state| (state.created, state.began_at) = (true, now));
            if state.empty {
                record.note(now, &self.actor, format!("wave {title} has no devices"), Vec::new());
            } else {
                record.note(now, &self.actor, format!("wave {title} begins: job {job}"), targets.clone());
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Puts on record what somebody made and died before recording; true when there was such a thing.
    async fn finish_claims(&self, record: &Record, now: u64) -> Result<bool, RolloutError> {
        let mut finished = false;
        for (wave, kept) in record.waves.iter().enumerate().filter(|(_, kept)| kept.claimed && !kept.created) {
            let made = kept.empty || self.jobs.job(&record.job(wave, kept.attempt)?).await?.is_some();
            if made {
                self.begun(record, wave, kept.attempt, now).await?;
                finished = true;
            }
        }
        Ok(finished)
    }

    /// Takes out the devices of a wave that have not started.
    async fn end_wave(&self, record: &Record, wave: usize, now: u64) -> Result<(), RolloutError> {
        let name = &record.rollout;
        let attempt = record.wave(wave).attempt;
        let job = record.job(wave, attempt)?;
        self.change(name, |record| {
            if record.wave(wave).attempt == attempt {
                record.change(wave, |state| state.cancelling = true);
            }
            Ok(())
        })
        .await?;
        let comment = record.comment.as_deref().unwrap_or("the wave is held");
        self.jobs.cancel(&job, record.force, comment).await?;
        tracing::info!(rollout = name, %job, force = record.force, "a wave is cancelled");
        let title = record.plan.waves.get(wave).map_or("?", |wave| wave.name.as_str());
        self.change(name, |record| {
            let state = record.wave(wave);
            if !state.cancelled && state.attempt == attempt {
                record.change(wave, |state| state.cancelled = true);
                record.note(now, &self.actor, format!("wave {title} is cancelled"), vec![format!("job {job}")]);
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    async fn new_job(&self, record: &Record, wave: usize, attempt: u32) -> Result<NewJob, RolloutError> {
        let (catalog, files) = self.catalog().await?;
        let planned = record.plan.waves.get(wave).ok_or_else(|| RolloutError::Unknown(record.rollout.clone()))?;
        let targets = record.plan.targets_of(wave);
        let mut groups = std::collections::BTreeSet::new();
        for group in targets.groups {
            let group: GroupName = group.parse().map_err(RolloutError::Name)?;
            // Nobody may have joined a bucket yet; a group that a person named was looked at when the rollout was made.
            if self.jobs.group_size(&group, 1).await?.is_some_and(|size| size > 0) {
                groups.insert(group);
            }
        }
        Ok(NewJob {
            id: record.job(wave, attempt)?,
            document: self.document(record, wave, &catalog, &files)?,
            description: format!(
                "{} {} for {}: {}",
                record.target.product, record.target.version, record.rollout, planned.name
            ),
            groups,
            things: planned.things.iter().cloned().collect(),
            timeout_minutes: Some(planned.timeout.seconds / 60),
            retries: planned.retries,
            rate: planned.rate,
            presign_role: self.locations_of(record).presign_role.clone(),
        })
    }

    /// The job document of a wave, from what is published now.
    pub(super) fn document(
        &self,
        record: &Record,
        wave: usize,
        catalog: &Catalog,
        files: &Files,
    ) -> Result<String, RolloutError> {
        // Withdrawn since: devices would refuse it as superseded; better not to ask them.
        let wanted = record.target.digest;
        let listed = catalog.targets.iter().find(|target| target.digest == wanted);
        let target = listed.ok_or_else(|| no_target(catalog, wanted.to_string()))?;
        let deltas_alone = record.plan.is_delta_only(wave);
        Ok(document::write(catalog, files, target, self.locations_of(record), deltas_alone)?)
    }

    /// Where the devices of a rollout find files; rollouts of earlier versions had this service's own.
    fn locations_of<'r>(&'r self, record: &'r Record) -> &'r document::Locations {
        record.locations.as_ref().unwrap_or(&self.locations)
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
