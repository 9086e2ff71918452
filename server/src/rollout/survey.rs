//! What is told of a rollout: overview, status device by device, and why a device is where it is.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use sealift_jobs::{ExecutionStatus, ThingName};
use sealift_rollout::decide::{Action, decide};
use sealift_rollout::explain::{Device, explain};
use sealift_rollout::observed::Outcome;
use serde::{Deserialize, Serialize};

use super::observe::attempts;
use super::proof::{Proven, newest_proof};
use super::{Explained, Overview, RolloutError, Rollouts, State, Status, WaveOverview};
use crate::intake::chain::{ListedPayload, ListedTarget};
use crate::service::JobService;
use crate::store::ArtifactStore;

/// Most devices that a status lists one by one; it counts all of them. Keeps a status of a million devices in memory.
const LISTED_MAX: usize = 10_000;

/// What decides which payload a device would take, as far as whoever asks knows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PayloadFacts {
    /// SHA-256 of the image it runs; left out, the one that its newest signed report names.
    pub base: Option<sealift_jobs::Digest>,
    /// RAM that its decoder has, in bytes.
    pub decoder_ram: Option<u64>,
    /// Whether its link is metered: deltas alone.
    pub metered: bool,
}

impl<S: ArtifactStore, J: JobService> Rollouts<'_, S, J> {
    /// In which wave a device is and why, or what keeps it out; and which payload it would take and why.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn explain(
        &self,
        name: &str,
        thing: &ThingName,
        facts: &PayloadFacts,
    ) -> Result<Explained, RolloutError> {
        let (record, _) = self.load(name).await?;
        let missing = || RolloutError::Targets(format!("no device is called {thing}"));
        let known = self.jobs.thing(thing).await?.ok_or_else(missing)?;
        let groups: Vec<String> = known.groups.iter().map(ToString::to_string).collect();
        let device = Device { thing: thing.as_str(), product: &known.product, groups: &groups };
        let explanation = explain(&record.plan, &device);
        let (base, why_base) = match facts.base {
            Some(base) => (Some(base), "as you said"),
            None => match self.jobs.newest_success(thing).await? {
                Some(execution) => {
                    (newest_proof(&execution, known.report_key.as_ref()), "as its newest signed report says")
                }
                None => (None, "no signed report of it is known"),
            },
        };
        let delta_only = facts.metered || explanation.wave.is_some_and(|wave| record.plan.is_delta_only(wave));
        let ram = facts.decoder_ram.or(known.decoder_ram);
        let (payload, payload_why) = choose(&record.target, base, ram, delta_only);
        let payload_why = match base {
            Some(base) => format!("{payload_why}; it runs {base}, {why_base}"),
            None => format!("{payload_why}; what it runs isn't known: {why_base}"),
        };
        Ok(Explained { explanation, payload, payload_why })
    }

    /// One rollout.
    ///
    /// # Errors
    /// [`RolloutError`].
    pub async fn overview(&self, name: &str, now: u64) -> Result<Overview, RolloutError> {
        let (record, _) = self.load(name).await?;
        let observed = self.observe(&record, now).await?;
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
        let (mut devices, mut proven, mut differences, mut total) = (Vec::new(), 0, 0, 0);
        for (wave, kept) in record.waves.iter().enumerate() {
            for attempt in attempts(kept) {
                let mut all = std::pin::pin!(self.devices(&record, record.job(wave, attempt)?, None));
                while let Some(device) = all.try_next().await? {
                    proven += u64::from(matches!(device.proven, Proven::Running { .. }));
                    differences += u64::from(device.differs);
                    total += 1;
                    if devices.len() < LISTED_MAX {
                        devices.push(device);
                    }
                }
            }
        }
        let left_out = total - devices.len() as u64;
        Ok(Status { overview, proven, differences, devices, left_out })
    }
}

/// The device's own rule (`sealift_verifier::image::choose_payload`) over what the server knows of it: the first delta from
/// the image it runs whose decoder fits, else the first whole image that its decoder takes.
fn choose(
    target: &ListedTarget,
    base: Option<sealift_jobs::Digest>,
    ram: Option<u64>,
    delta_only: bool,
) -> (Option<ListedPayload>, String) {
    let decodable =
        |payload: &ListedPayload| payload.codec == "raw" || ram.is_none_or(|ram| payload.decoder_ram <= ram);
    let mut of_base =
        target.payloads.iter().filter(|payload| payload.base.is_some() && payload.base == base).peekable();
    let any_of_base = of_base.peek().is_some();
    if let Some(delta) = of_base.find(|payload| decodable(payload)) {
        return (Some(delta.clone()), format!("a delta of {} bytes from the image it runs", delta.length));
    }
    let no_delta = match (base, any_of_base, ram) {
        (None, ..) => "no delta can be told for it".to_owned(),
        (Some(_), false, _) => "there is no delta from the image it runs".to_owned(),
        (Some(_), true, ram) => {
            format!("no delta from the image it runs fits its decoder of {} bytes", ram.unwrap_or_default())
        }
    };
    if delta_only {
        return (None, format!("{no_delta}, and it may take deltas alone (a metered link)"));
    }
    match target.payloads.iter().find(|payload| payload.base.is_none() && decodable(payload)) {
        Some(full) => {
            (Some(full.clone()), format!("{no_delta}: the whole image, {} bytes as {}", full.length, full.codec))
        }
        None => (None, format!("{no_delta}, and no whole image fits its decoder")),
    }
}
