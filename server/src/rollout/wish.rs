//! What people ask for, and which published target they mean.

use sealift_jobs::{Digest, GroupName, ThingName};
use sealift_rollout::plan::{Gate, Plan, Rate, Span, Wave};
use serde::{Deserialize, Serialize};

use super::RolloutError;
use crate::intake::chain::{Catalog, ListedTarget};

/// Seconds an execution may take when nobody says otherwise: a day, as in plan files.
const TIMEOUT: u64 = 24 * 3_600;

/// A wish for a rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// A group,
    #[serde(default)]
    pub group: Option<GroupName>,
    /// or things by name,
    #[serde(default)]
    pub things: Vec<ThingName>,
    /// or a whole plan, which names product and release itself.
    #[serde(default)]
    pub plan: Option<Plan>,
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

impl NewRollout {
    /// The target that is meant, and the plan: the one given, or a single wave.
    ///
    /// # Errors
    /// [`RolloutError`] when no target fits, or several do, or the plan can't be carried out here.
    pub fn resolve(&self, catalog: &Catalog) -> Result<(ListedTarget, Plan), RolloutError> {
        if let Some(plan) = &self.plan {
            let meant = Self {
                release: Some(plan.version.clone()),
                product: Some(plan.product.clone()),
                target: self.target,
                ..Self::default()
            };
            if !plan.delta_only_groups.is_empty() {
                let what = "`delta-only-groups`: not carried out yet; leave it out, or give those groups a wave and a release of their own";
                return Err(RolloutError::Plan(what.into()));
            }
            return Ok((find_target(catalog, &meant)?, plan.clone()));
        }
        let target = find_target(catalog, self)?;
        if self.group.is_some() != self.things.is_empty() {
            return Err(RolloutError::Targets(
                "name one --group, or one --thing or more; a plan file takes waves".into(),
            ));
        }
        let wave = Wave {
            name: "all".into(),
            percent: None,
            group: self.group.clone(),
            things: self.things.clone(),
            rate: Rate::default(),
            timeout: Span { seconds: self.timeout_minutes.map_or(TIMEOUT, |minutes| minutes.saturating_mul(60)) },
            retries: self.retries,
            gate: Gate::default(),
            // Who asks for one group at once watches it himself.
            abort: Vec::new(),
        };
        let plan = Plan {
            product: target.product.clone(),
            version: target.version.clone(),
            seed: None,
            delta_only_groups: Vec::new(),
            window: None,
            start: None,
            waves: vec![wave],
        };
        plan.check().map_err(|e| RolloutError::Plan(e.to_string()))?;
        Ok((target, plan))
    }
}

fn describe(target: &ListedTarget) -> String {
    format!("{} {} ({})", target.product, target.version, target.digest)
}

pub(super) fn no_target(catalog: &Catalog, wanted: String) -> RolloutError {
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
