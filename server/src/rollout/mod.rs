//! Rollouts: a published target, brought to groups of devices wave by wave.
//!
//! A rollout's plan and state live in the artifact store, changed by conditional writes alone, and its jobs in the job
//! service under ids that follow from the plan. So any machine can take a rollout over, and two that carry it out at
//! once do no harm.

pub mod decide;
pub mod document;
pub mod plan;
pub mod proof;

use std::collections::{BTreeMap, BTreeSet};

use sealift_jobs::{Digest, ExecutionStatus, GroupName, JobId, StatusDetails, ThingName, details};
use sealift_verifier::trust::Policy;
use serde::{Deserialize, Serialize};

use crate::intake::chain::{Catalog, Files, ListedTarget};
use crate::intake::{self, IntakeError};
use crate::service::{JobProgress, JobService, NewJob, ServiceError};
use crate::store::{ArtifactStore, Key, KeyError, ROLLOUTS, StoreError, Tag};
use decide::{Action, Observed, State, decide};
use document::Locations;
use plan::{Gate, Plan, Wave, check_name, derived_name};
use proof::{Proven, prove};

pub use document::ORIGIN_PLACEHOLDER;

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
    Name(sealift_jobs::NameError),
    /// No target devices.
    #[error("{0}")]
    Targets(String),
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

/// A wish for a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRollout {
    /// The target by digest.
    #[serde(default)]
    pub target: Option<Digest>,
    /// Or by version,
    #[serde(default)]
    pub release: Option<String>,
    /// of this product, when several have that version.
    #[serde(default)]
    pub product: Option<String>,
    /// Groups.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// Things by name.
    #[serde(default)]
    pub things: BTreeSet<ThingName>,
    /// A name; without one it follows from the rest.
    #[serde(default)]
    pub name: Option<String>,
    /// Minutes an execution may be in progress.
    #[serde(default)]
    pub timeout_minutes: Option<u64>,
    /// Retries of failed and timed-out executions.
    #[serde(default)]
    pub retries: u32,
}

/// What is kept of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    plan: Plan,
    created_at: u64,
    cancelled: Option<Cancelled>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cancelled {
    at: u64,
    comment: String,
    force: bool,
}

/// A rollout and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Its name.
    pub rollout: String,
    /// Where it stands.
    pub state: State,
    /// What it brings.
    pub target: ListedTarget,
    /// Repository id.
    pub repository: String,
    /// When it was made, in seconds since the Unix epoch.
    pub created_at: u64,
    /// Why it was cancelled.
    pub comment: Option<String>,
    /// Its waves.
    pub waves: Vec<WaveOverview>,
    /// Executions of all waves by job state.
    pub counts: BTreeMap<ExecutionStatus, u64>,
}

/// A wave and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveOverview {
    /// Its job.
    pub job: JobId,
    /// Groups.
    pub groups: BTreeSet<GroupName>,
    /// Things.
    pub things: BTreeSet<ThingName>,
    /// The job, once it is made.
    pub progress: Option<JobProgress>,
}

/// A rollout with every device: what the job says, and what the device proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The rollout.
    #[serde(flatten)]
    pub overview: Overview,
    /// Devices that signed that they run the target's image.
    pub proven: u64,
    /// Devices whose job state and proven state disagree.
    pub differences: u64,
    /// Each device.
    pub devices: Vec<DeviceStatus>,
}

/// One device of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// The thing.
    pub thing: ThingName,
    /// Its job.
    pub job: JobId,
    /// Which execution.
    pub execution: u64,
    /// What the job says.
    pub status: ExecutionStatus,
    /// What the device proved.
    pub proven: Proven,
    /// True when the two disagree.
    pub differs: bool,
    /// Sealift's error code, when the device gave one.
    pub code: Option<String>,
    /// Its reason.
    pub reason: Option<String>,
    /// The step it is in.
    pub step: Option<String>,
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
        let target = find_target(&catalog, wish)?;
        if wish.groups.is_empty() && wish.things.is_empty() {
            return Err(RolloutError::Targets("name at least one --group or --thing".into()));
        }
        for group in &wish.groups {
            match self.jobs.group_size(group).await? {
                None => return Err(RolloutError::Targets(format!("no group is called {group}"))),
                Some(0) => return Err(RolloutError::Targets(format!("group {group} has no devices"))),
                Some(_) => {}
            }
        }
        for thing in &wish.things {
            let missing = || RolloutError::Targets(format!("no device is called {thing}"));
            self.jobs.thing(thing).await?.ok_or_else(missing)?;
        }
        let waves = vec![Wave { groups: wish.groups.clone(), things: wish.things.clone(), gate: Gate::default() }];
        let rollout = match &wish.name {
            Some(name) => name.clone(),
            None => derived_name(&catalog.repository, &target, &waves),
        };
        check_name(&rollout)?;
        let (timeout_minutes, retries) = (wish.timeout_minutes, wish.retries);
        let plan = Plan { rollout, repository: catalog.repository, target, waves, timeout_minutes, retries };
        let record = Record { plan, created_at: now, cancelled: None };
        let new = self.keep(&record).await?;
        self.carry_on(&record.plan.rollout, now).await?;
        Ok((self.overview(&record.plan.rollout).await?, new))
    }

    /// Writes a new record; false when this very plan is on record already.
    async fn keep(&self, record: &Record) -> Result<bool, RolloutError> {
        let name = &record.plan.rollout;
        match self.store.replace(&key(name)?, &encode(record), None).await {
            Ok(_) => Ok(true),
            Err(StoreError::Raced { .. }) => {
                let (known, _) = self.load(name).await?;
                let state = if known.plan != record.plan {
                    "about something else"
                } else if known.cancelled.is_some() {
                    "cancelled"
                } else {
                    return Ok(false);
                };
                Err(RolloutError::Exists { name: name.clone(), state: state.into() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Cancels a rollout: devices that wait for it no longer get it; with `force` those in progress are told too.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn cancel(&self, name: &str, force: bool, comment: &str, now: u64) -> Result<Overview, RolloutError> {
        for _ in 0..TRIES {
            let (mut record, tag) = self.load(name).await?;
            if record.cancelled.as_ref().is_none_or(|cancelled| force && !cancelled.force) {
                record.cancelled = Some(Cancelled { at: now, comment: comment.into(), force });
                match self.store.replace(&key(name)?, &encode(&record), Some(&tag)).await {
                    Err(StoreError::Raced { .. }) => continue,
                    written => written?,
                };
            }
            self.carry_on(name, now).await?;
            // What decide leaves alone: a wave cancelled before, whose devices in progress are to be told now.
            if force {
                for wave in 0..record.plan.waves.len() {
                    let job = record.plan.job(wave)?;
                    if self.jobs.job(&job).await?.is_some() {
                        self.jobs.cancel(&job, true, comment).await?;
                    }
                }
            }
            return self.overview(name).await;
        }
        Err(RolloutError::Contended(name.into()))
    }

    /// Does what is to be done now.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn carry_on(&self, name: &str, now: u64) -> Result<(), RolloutError> {
        let (record, _) = self.load(name).await?;
        let observed = self.observe(&record).await?;
        for action in decide(&record.plan, &observed, now) {
            match action {
                Action::Create(wave) => {
                    let job = self.new_job(&record.plan, wave).await?;
                    let new = self.jobs.create(&job).await?;
                    tracing::info!(rollout = name, job = %job.id, new, "a wave begins");
                }
                Action::Cancel(wave) => {
                    let cancelled = record.cancelled.as_ref();
                    let comment = cancelled.map_or("", |c| c.comment.as_str());
                    let force = cancelled.is_some_and(|c| c.force);
                    let job = record.plan.job(wave)?;
                    self.jobs.cancel(&job, force, comment).await?;
                    tracing::info!(rollout = name, %job, force, "a wave is cancelled");
                }
            }
        }
        Ok(())
    }

    async fn new_job(&self, plan: &Plan, wave: usize) -> Result<NewJob, RolloutError> {
        let (catalog, files) = self.catalog().await?;
        // Withdrawn since: devices would refuse it as superseded; better not to ask them.
        let wanted = plan.target.digest;
        let listed = catalog.targets.iter().find(|target| target.digest == wanted);
        let target = listed.ok_or_else(|| no_target(&catalog, wanted.to_string()))?;
        let (groups, things) =
            plan.waves.get(wave).map(|wave| (wave.groups.clone(), wave.things.clone())).unwrap_or_default();
        Ok(NewJob {
            id: plan.job(wave)?,
            document: document::write(&catalog, &files, target, &self.locations)?,
            description: format!("{} {} for {}", target.product, target.version, plan.rollout),
            groups,
            things,
            timeout_minutes: plan.timeout_minutes,
            retries: plan.retries,
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
    pub async fn overview(&self, name: &str) -> Result<Overview, RolloutError> {
        let (record, _) = self.load(name).await?;
        let observed = self.observe(&record).await?;
        let state = decide::state(&record.plan, &observed);
        let mut waves = Vec::new();
        let mut counts = BTreeMap::new();
        for (index, (wave, progress)) in record.plan.waves.iter().zip(observed.jobs).enumerate() {
            for (status, count) in progress.iter().flat_map(|job| &job.counts) {
                *counts.entry(*status).or_insert(0) += count;
            }
            let (groups, things) = (wave.groups.clone(), wave.things.clone());
            waves.push(WaveOverview { job: record.plan.job(index)?, groups, things, progress });
        }
        Ok(Overview {
            rollout: record.plan.rollout,
            state,
            target: record.plan.target,
            repository: record.plan.repository,
            created_at: record.created_at,
            comment: record.cancelled.map(|cancelled| cancelled.comment),
            waves,
            counts,
        })
    }

    /// One rollout with every device.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn status(&self, name: &str) -> Result<Status, RolloutError> {
        let (record, _) = self.load(name).await?;
        let overview = self.overview(name).await?;
        let mut devices = Vec::new();
        for wave in overview.waves.iter().filter(|wave| wave.progress.is_some()) {
            let mut after: Option<String> = None;
            loop {
                let page = self.jobs.executions(&wave.job, after.as_deref()).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.thing.to_string());
                for execution in page {
                    let needs_key = execution.details.value(details::REPORT).is_some();
                    let thing = if needs_key { self.jobs.thing(&execution.thing).await? } else { None };
                    let proven = prove(&record.plan, &execution, thing.and_then(|t| t.report_key).as_ref());
                    devices.push(device_status(
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
        let proven = devices.iter().filter(|d| matches!(d.proven, Proven::Running { .. })).count() as u64;
        let differences = devices.iter().filter(|d| d.differs).count() as u64;
        Ok(Status { overview, proven, differences, devices })
    }

    async fn observe(&self, record: &Record) -> Result<Observed, RolloutError> {
        let mut jobs = Vec::new();
        for wave in 0..record.plan.waves.len() {
            jobs.push(self.jobs.job(&record.plan.job(wave)?).await?);
        }
        Ok(Observed { cancelled: record.cancelled.is_some(), jobs })
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

fn device_status(
    thing: ThingName,
    job: JobId,
    execution: u64,
    status: ExecutionStatus,
    proven: Proven,
    said: &StatusDetails,
) -> DeviceStatus {
    let detail = |key| said.value(key).map(str::to_owned);
    DeviceStatus {
        thing,
        job,
        execution,
        status,
        differs: proven.differs(status),
        proven,
        code: detail(details::CODE),
        reason: detail(details::REASON),
        step: detail(details::STEP),
    }
}

fn key(name: &str) -> Result<Key, KeyError> {
    format!("{ROLLOUTS}/{name}.json").parse()
}

fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec_pretty(record).unwrap_or_else(|e| unreachable!("records are plain data with string keys: {e}"))
}

fn describe(target: &ListedTarget) -> String {
    format!("{} {} ({})", target.product, target.version, target.digest)
}

fn no_target(catalog: &Catalog, wanted: String) -> RolloutError {
    let listed: Vec<String> = catalog.targets.iter().map(describe).collect();
    let listed = if listed.is_empty() { "none".into() } else { listed.join(", ") };
    RolloutError::NoTarget { wanted, listed }
}

/// `1.1` means `1.1.0`, as everywhere in Sealift.
fn same_version(wanted: &str, listed: &str) -> bool {
    match wanted.parse::<sealift_manifests::Version>() {
        Ok(version) => version.to_string() == listed,
        Err(_) => false,
    }
}

fn find_target(catalog: &Catalog, wish: &NewRollout) -> Result<ListedTarget, RolloutError> {
    let wanted = match (&wish.target, &wish.release) {
        (Some(digest), _) => digest.to_string(),
        (None, Some(version)) => match &wish.product {
            Some(product) => format!("{product} {version}"),
            None => version.clone(),
        },
        (None, None) => return Err(no_target(catalog, "named: give --target DIGEST or --release VERSION".into())),
    };
    let fits = |target: &&ListedTarget| {
        wish.target.is_none_or(|digest| digest == target.digest)
            && wish.release.as_ref().is_none_or(|version| same_version(version, &target.version))
            && wish.product.as_ref().is_none_or(|product| *product == target.product)
    };
    let mut found = catalog.targets.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(target), None) => Ok(target.clone()),
        (None, _) => Err(no_target(catalog, wanted)),
        (Some(first), Some(second)) => {
            let listed = format!("{}, {}, ...", describe(first), describe(second));
            Err(RolloutError::Ambiguous { wanted, listed })
        }
    }
}
