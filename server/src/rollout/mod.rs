//! Rollouts: a published target, brought to groups of devices wave by wave.
//!
//! What is decided is `sealift-rollout`'s; here it is observed and carried out. A rollout's record lives in the artifact
//! store, changed by conditional writes alone, and its jobs in the job service under ids that follow from the record. So
//! any machine can take a rollout over, and two that carry it out at once do no harm: a job that exists is not made again,
//! and who loses the race for the record looks again.

mod acts;
mod carry;
pub mod document;
mod error;
mod name;
mod observe;
mod preview;
pub mod proof;
mod record;
mod survey;
mod view;
mod wish;

use sealift_rollout::observed::{Outcome, Standing};
use sealift_verifier::trust::Policy;

use crate::audit;
use crate::intake;
use crate::intake::chain::{Catalog, Files};
use crate::service::JobService;
use crate::store::{ArtifactStore, Key, KeyError, ROLLOUTS, StoreError, Tag};
use document::Locations;
use record::Record;

pub use document::ORIGIN_PLACEHOLDER;
pub use error::RolloutError;
pub use preview::{Preview, WavePreview};
pub use record::Entry;
pub use survey::PayloadFacts;
pub use view::{DeviceStatus, Explained, Overview, State, Status, WaveOverview};
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
    /// Where devices of rollouts that are made now find files; it is kept in their records.
    pub locations: Locations,
    /// What the verifier accepts when it reads what is published.
    pub policy: Policy,
    /// Who acts, for history and audit log.
    pub actor: String,
}

impl<S: ArtifactStore, J: JobService> Rollouts<'_, S, J> {
    /// Makes a rollout and starts its first wave; true when it is new. The same wish again finds the rollout there.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn create(&self, wish: &NewRollout, now: u64) -> Result<(Overview, bool), RolloutError> {
        let (mut record, catalog, files) = self.wished(wish, now).await?;
        // What can't be written for some device is better said before the first one is touched.
        for wave in 0..record.plan.waves.len() {
            self.document(&record, wave, &catalog, &files)?;
        }
        record.audit_position = audit::Log::new(self.store).end().await?;
        let new = self.keep(&record).await?;
        self.carry_on(&record.rollout, now).await?;
        Ok((self.overview(&record.rollout, now).await?, new))
    }

    /// The record that a wish would make, and what is published for it. Nothing is written.
    async fn wished(&self, wish: &NewRollout, now: u64) -> Result<(Record, Catalog, Files), RolloutError> {
        let (catalog, files) = self.catalog().await?;
        let target = wish.target(&catalog)?;
        let plan = wish.plan(&target)?;
        self.check_targets(&plan).await?;
        let mut record = Record {
            rollout: Self::name_of(wish, &catalog.repository, &target, &plan)?,
            repository: catalog.repository.clone(),
            target,
            plan,
            created_at: now,
            standing: Standing::Running,
            comment: None,
            force: false,
            waves: Vec::new(),
            history: Vec::new(),
            settled: false,
            audited: 0,
            audit_position: 0,
            locations: Some(self.locations.clone()),
        };
        let targets = record.plan.waves.iter().map(|wave| format!("wave {}", wave.name)).collect();
        let what = format!("created for {} {}", record.target.product, record.target.version);
        record.note(now, &self.actor, what, targets);
        Ok((record, catalog, files))
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

    /// Names of all rollouts.
    ///
    /// # Errors
    /// [`RolloutError::Store`].
    pub async fn names(&self) -> Result<Vec<String>, RolloutError> {
        let keys = self.store.list(ROLLOUTS).await?;
        Ok(keys.iter().filter_map(|key| key.name().strip_suffix(".json")).map(str::to_owned).collect())
    }

    async fn load(&self, name: &str) -> Result<(Record, Tag), RolloutError> {
        let unknown = || RolloutError::Unknown(name.into());
        let key = key(name).map_err(|_| unknown())?;
        let (bytes, tag) = self.store.small(&key, RECORD_MAX).await?.ok_or_else(unknown)?;
        let record = serde_json::from_slice(&bytes);
        Ok((record.map_err(|source| RolloutError::Record { key: key.to_string(), source })?, tag))
    }

    /// Brings what is in the history, and not yet in the audit log, there: each entry once, whoever does it and however
    /// often it is begun.
    ///
    /// `settled`: nothing else is left to do.
    async fn audit(&self, name: &str, settled: bool) -> Result<(), RolloutError> {
        let (record, _) = self.load(name).await?;
        if record.audited >= record.history.len() && record.settled == settled {
            return Ok(());
        }
        let log = audit::Log::new(self.store);
        let mut position = record.audit_position;
        for (index, entry) in record.history.iter().enumerate().skip(record.audited) {
            let act = audit::Act {
                key: format!("rollout/{name}/{index}"),
                at: entry.at,
                by: entry.by.clone(),
                what: format!("rollout {name}: {}", entry.what),
                release: Some(record.target.digest.to_string()),
                targets: entry.targets.clone(),
            };
            position = log.append_once(&act, position).await?;
        }
        let audited = record.history.len();
        self.change(name, |record| {
            if record.audited < audited {
                (record.audited, record.audit_position) = (audited, position);
            }
            record.settled |= settled && record.audited == record.history.len();
            Ok(())
        })
        .await?;
        Ok(())
    }

    async fn catalog(&self) -> Result<(Catalog, Files), RolloutError> {
        let published = intake::published(self.store, self.policy).await?;
        let catalog = published.catalog.ok_or(RolloutError::NothingPublished)?;
        Ok((catalog, published.files))
    }
}

fn key(name: &str) -> Result<Key, KeyError> {
    format!("{ROLLOUTS}/{name}.json").parse()
}

fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec_pretty(record).unwrap_or_else(|e| unreachable!("records are plain data with string keys: {e}"))
}
