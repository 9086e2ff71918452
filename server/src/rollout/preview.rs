//! A plan looked at before anything is touched: which devices each wave would reach, and whether its targets are there.

use sealift_jobs::{GroupName, JobId};
use sealift_rollout::plan::Plan;
use serde::{Deserialize, Serialize};

use super::name::{check_name, derived_name};
use super::{NewRollout, RolloutError, Rollouts};
use crate::intake::chain::ListedTarget;
use crate::service::JobService;
use crate::store::ArtifactStore;

/// What a plan would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The name it would have.
    pub rollout: String,
    /// What it would bring.
    pub target: ListedTarget,
    /// Its waves.
    pub waves: Vec<WavePreview>,
    /// Memberships of all waves. A device that is in several of their groups is counted in each.
    pub devices: u64,
}

/// What a wave would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WavePreview {
    /// Its name.
    pub name: String,
    /// Its job.
    pub job: JobId,
    /// How many groups it targets; for a percentage, bucket groups.
    pub groups: usize,
    /// Things in these groups, and things named.
    pub devices: u64,
    /// Whether whole images are left out.
    pub delta_only: bool,
}

impl<S: ArtifactStore, J: JobService> Rollouts<'_, S, J> {
    /// What `wish` would do. Groups are counted page by page: memory doesn't grow with the fleet.
    ///
    /// # Errors
    /// [`RolloutError`], as [`Rollouts::create`] would give it.
    pub async fn preview(&self, wish: &NewRollout, now: u64) -> Result<Preview, RolloutError> {
        let (record, catalog, files) = self.wished(wish, now).await?;
        let mut waves = Vec::new();
        for (index, planned) in record.plan.waves.iter().enumerate() {
            self.document(&record, index, &catalog, &files)?;
            let targets = record.plan.targets_of(index);
            let (mut devices, groups) = (targets.things.len() as u64, targets.groups.len());
            for group in targets.groups {
                let group: GroupName = group.parse().map_err(RolloutError::Name)?;
                devices += self.jobs.group_size(&group, u64::MAX).await?.unwrap_or(0);
            }
            let (name, delta_only) = (planned.name.clone(), record.plan.is_delta_only(index));
            waves.push(WavePreview { name, job: record.job(index, 0)?, groups, devices, delta_only });
        }
        let devices = waves.iter().map(|wave| wave.devices).sum();
        Ok(Preview { rollout: record.rollout, target: record.target, waves, devices })
    }

    /// Whether the groups and things that a person named are there.
    pub(super) async fn check_targets(&self, plan: &Plan) -> Result<(), RolloutError> {
        for wave in &plan.waves {
            let of = |problem: String| RolloutError::Targets(format!("wave {}: {problem}", wave.name));
            for group in &wave.groups {
                match self.jobs.group_size(group, 1).await? {
                    None => return Err(of(format!("no group is called {group}"))),
                    Some(0) => return Err(of(format!("group {group} has no devices"))),
                    Some(_) => {}
                }
            }
            for thing in &wave.things {
                if self.jobs.thing(thing).await?.is_none() {
                    return Err(of(format!("no device is called {thing}")));
                }
            }
        }
        Ok(())
    }

    /// The name of a wished rollout.
    pub(super) fn name_of(
        wish: &NewRollout,
        repository: &str,
        target: &ListedTarget,
        plan: &Plan,
    ) -> Result<String, RolloutError> {
        let rollout = match &wish.name {
            Some(name) => name.clone(),
            None => derived_name(repository, target, plan),
        };
        check_name(&rollout)?;
        Ok(rollout)
    }
}
