//! Rollouts: a published target, brought to groups of devices wave by wave.
//!
//! What is to be done next is decided by the pure core, `sealift_rollout::decide`; this module observes for it and
//! carries out what it says. A rollout's record lives in the artifact store, changed by conditional writes alone, and its
//! jobs in the job service under ids that follow from the record. So any machine can take a rollout over, one that was
//! killed anywhere is carried on by the next, and two that carry it out at once do no harm.

pub mod document;
pub mod overview;
pub mod proof;
mod reconcile;
pub mod record;
pub mod wish;

use sealift_rollout::observed::{Outcome, Standing};
use sealift_verifier::trust::Policy;

use crate::intake::chain::{Catalog, Files};
use crate::intake::{self, IntakeError};
use crate::service::{JobService, ServiceError};
use crate::store::{ArtifactStore, KeyError, ROLLOUTS, StoreError, Tag};
use document::Locations;
use overview::{DeviceStatus, Overview, State, Status, WaveOverview};
use proof::{Proven, prove};
use record::{Record, WaveRecord, check_name, derived_name, key};

pub use document::ORIGIN_PLACEHOLDER;
pub use wish::NewRollout;

/// Most bytes of a rollout's record.
const RECORD_MAX: u64 = 1 << 20;
/// Tries of a conditional write against others.
const TRIES: usize = 8;

/// Why a rollout can't be made or carried on.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// Nothing is published.
    #[error("nothing is published yet; run `sealift-server publish` first")]
    NothingPublished,
    /// No target fits.
    #[error("no published target is {wanted}; published are: {listed}")]
    NoTarget {
        /// What was asked for.
        wanted: String,
        /// What there is.
        listed: String,
    },
    /// Several targets fit.
    #[error("{wanted} fits several targets ({listed}); name one with --target")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// What fits.
        listed: String,
    },
    /// A name that AWS wouldn't take.
    #[error("{0}")]
    Name(#[from] sealift_jobs::NameError),
    /// No target devices.
    #[error("{0}")]
    Targets(String),
    /// A plan that can't be carried out.
    #[error("the plan: {0}")]
    Plan(String),
    /// No such rollout.
    #[error("no rollout is called {0}; `sealift-server rollout list` shows them")]
    Unknown(String),
    /// A rollout of this name exists and is another one, or is over.
    #[error("a rollout called {name} exists already and is {state}; give this one another name with --name")]
    Exists {
        /// Its name.
        name: String,
        /// What about it.
        state: String,
    },
    /// The rollout isn't in a state for this.
    #[error("rollout {name} is {state}: {problem}")]
    State {
        /// Its name.
        name: String,
        /// Where it stands.
        state: String,
        /// Why that doesn't go.
        problem: &'static str,
    },
    /// Its record can't be read.
    #[error("{key}: not a rollout record: {source}")]
    Record {
        /// The object.
        key: String,
        /// What serde said.
        source: serde_json::Error,
    },
    /// Too many others write at the same time.
    #[error("rollout {0}: others keep changing it; try again")]
    Contended(String),
    /// The job document can't be written.
    #[error("the job document can't be written: {0}")]
    Document(#[from] sealift_jobs::DocumentError),
    /// What is published doesn't verify.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The job service failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<KeyError> for RolloutError {
    fn from(error: KeyError) -> Self {
        Self::Unknown(error.to_string())
    }
}

/// What people ask of a rollout that exists.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "verb", rename_all = "camelCase", deny_unknown_fields)]
pub enum Change {
    /// Start no further wave, and take out devices that haven't started.
    Pause {
        /// Why.
        comment: String,
    },
    /// Go on.
    Resume,
    /// Let the step after a wave be taken; waves count from 1.
    Approve {
        /// The wave.
        wave: usize,
    },
    /// End it: waiting devices no longer get it; with `force` those in progress are told too.
    Cancel {
        /// Why.
        comment: String,
        /// Also those in progress.
        force: bool,
    },
}

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
        let (target, plan) = wish.resolve(&catalog)?;
        self.check_targets(&plan).await?;
        let rollout = match &wish.name {
            Some(name) => name.clone(),
            None => derived_name(&catalog.repository, &target, &plan),
        };
        check_name(&rollout)?;
        let record = Record {
            waves: vec![WaveRecord::default(); plan.waves.len()],
            repository: catalog.repository,
            standing: Standing::Running,
            created_at: now,
            comment: None,
            force: false,
            rollout,
            target,
            plan,
        };
        let new = self.keep(&record).await?;
        self.carry_on(&record.rollout, now).await?;
        Ok((self.overview(&record.rollout, now).await?, new))
    }

    /// Every group and thing that a plan names exists, and no group is empty.
    async fn check_targets(&self, plan: &sealift_rollout::plan::Plan) -> Result<(), RolloutError> {
        for wave in &plan.waves {
            if let Some(group) = &wave.group {
                match self.jobs.group_size(group).await? {
                    None => return Err(RolloutError::Targets(format!("no group is called {group}"))),
                    Some(0) => return Err(RolloutError::Targets(format!("group {group} has no devices"))),
                    Some(_) => {}
                }
            }
            for thing in &wave.things {
                let missing = || RolloutError::Targets(format!("no device is called {thing}"));
                self.jobs.thing(thing).await?.ok_or_else(missing)?;
            }
        }
        Ok(())
    }

    /// Writes a new record; false when this very wish is on record already.
    async fn keep(&self, record: &Record) -> Result<bool, RolloutError> {
        match self.store.replace(&key(&record.rollout)?, &encode(record), None).await {
            Ok(_) => Ok(true),
            Err(StoreError::Raced { .. }) => {
                let (known, _) = self.load(&record.rollout).await?;
                let state = match State::of(&known.standing) {
                    _ if !known.same_wish(record) => "about something else",
                    State::Canceled => "cancelled",
                    State::Stopped => "stopped",
                    State::Running | State::Paused | State::Completed => return Ok(false),
                };
                Err(RolloutError::Exists { name: record.rollout.clone(), state: state.into() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Changes a rollout as somebody asked, and carries it on.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn change(&self, name: &str, change: &Change, now: u64) -> Result<Overview, RolloutError> {
        self.edit(name, |record| apply(record, change)).await?;
        self.carry_on(name, now).await?;
        // What decide leaves alone: devices in progress of waves that were cancelled without force before.
        if let Change::Cancel { force: true, comment } = change {
            let (record, _) = self.load(name).await?;
            for (wave, known) in record.waves.iter().enumerate() {
                let job = record.job(wave, known.attempt)?;
                if self.jobs.job(&job).await?.is_some() {
                    self.jobs.cancel(&job, true, &reconcile::marked(comment)).await?;
                }
            }
        }
        self.overview(name, now).await
    }

    /// Reads, changes and writes a record; again when somebody else was faster. False from `change` writes nothing.
    async fn edit(
        &self,
        name: &str,
        change: impl Fn(&mut Record) -> Result<bool, RolloutError>,
    ) -> Result<(), RolloutError> {
        for _ in 0..TRIES {
            let (mut record, tag) = self.load(name).await?;
            if !change(&mut record)? {
                return Ok(());
            }
            match self.store.replace(&key(name)?, &encode(&record), Some(&tag)).await {
                Err(StoreError::Raced { .. }) => {}
                written => return Ok(written.map(drop)?),
            }
        }
        Err(RolloutError::Contended(name.into()))
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
        let next = sealift_rollout::decide::decide(&record.plan, &observed, now);
        let mut waves = Vec::new();
        let mut counts = std::collections::BTreeMap::new();
        for (index, ((wave, known), seen)) in
            record.plan.waves.iter().zip(&record.waves).zip(&observed.waves).enumerate()
        {
            let job = record.job(index, known.attempt)?;
            let progress = self.jobs.job(&job).await?;
            for (status, count) in progress.iter().flat_map(|job| &job.counts) {
                *counts.entry(*status).or_insert(0) += count;
            }
            waves.push(WaveOverview {
                name: wave.name.clone(),
                job,
                progress,
                counts: seen.counts,
                gate_held_since: known.gate_held_since,
                approved: known.approved,
            });
        }
        let names: Vec<String> = waves.iter().map(|wave| wave.name.clone()).collect();
        Ok(Overview {
            state: State::of(&record.standing),
            reason: overview::reason(&record.standing, &names, &next),
            rollout: record.rollout,
            target: record.target,
            repository: record.repository,
            created_at: record.created_at,
            comment: record.comment,
            waves,
            counts,
        })
    }

    /// One rollout with every device.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn status(&self, name: &str, now: u64) -> Result<Status, RolloutError> {
        let overview = self.overview(name, now).await?;
        let (record, _) = self.load(name).await?;
        let mut devices = Vec::new();
        for wave in overview.waves.iter().filter(|wave| wave.progress.is_some()) {
            self.judge(&record, &wave.job, |execution, proven| devices.push(DeviceStatus::new(execution, proven)))
                .await?;
        }
        let proven = devices.iter().filter(|d| matches!(d.proven, Proven::Running { .. })).count() as u64;
        let differences = devices.iter().filter(|d| d.differs).count() as u64;
        Ok(Status { overview, proven, differences, devices })
    }

    /// Goes through a job's executions with what each device proved.
    async fn judge(
        &self,
        record: &Record,
        job: &sealift_jobs::JobId,
        mut each: impl FnMut(crate::service::ExecutionView, Proven),
    ) -> Result<(), RolloutError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.jobs.executions(job, after.as_deref()).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.thing.to_string());
            for execution in page {
                let needs_key = execution.details.value(sealift_jobs::details::REPORT).is_some();
                let thing = if needs_key { self.jobs.thing(&execution.thing).await? } else { None };
                let key = thing.and_then(|thing| thing.report_key);
                let proven = prove(&record.repository, &record.target, &execution, key.as_ref());
                each(execution, proven);
            }
        }
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

/// Changes a record as somebody asked; false when it is so already.
fn apply(record: &mut Record, change: &Change) -> Result<bool, RolloutError> {
    let state = State::of(&record.standing);
    let refuse = |problem| {
        Err(RolloutError::State { name: record.rollout.clone(), state: format!("{state:?}").to_uppercase(), problem })
    };
    match change {
        Change::Pause { .. } | Change::Resume if state.is_over() => refuse("it is over"),
        Change::Pause { comment } => {
            let changed = record.standing != Standing::Paused;
            record.standing = Standing::Paused;
            record.comment = Some(comment.clone());
            Ok(changed)
        }
        Change::Resume => {
            let changed = record.standing != Standing::Running;
            record.standing = Standing::Running;
            Ok(changed)
        }
        Change::Approve { wave } => match wave.checked_sub(1).and_then(|index| record.waves.get_mut(index)) {
            Some(wave) => Ok(!std::mem::replace(&mut wave.approved, true)),
            None => refuse("it has no such wave"),
        },
        Change::Cancel { .. } if state == State::Completed => refuse("nothing is left to cancel"),
        Change::Cancel { comment, force } => {
            let changed = !state.is_over() || (*force && !record.force);
            if !state.is_over() {
                record.standing = Standing::Ended(Outcome::AbortedByHand);
                record.comment = Some(comment.clone());
            }
            record.force |= *force;
            Ok(changed)
        }
    }
}

fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec_pretty(record).unwrap_or_else(|e| unreachable!("records are plain data with string keys: {e}"))
}

/// A time for people.
fn time(seconds: u64) -> String {
    let stamp = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    stamp.map_or_else(|| seconds.to_string(), |t| t.to_string())
}
