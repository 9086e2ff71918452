//! What somebody wishes to roll out, and the published target that is meant.

use std::collections::BTreeSet;

use sealift_jobs::{Digest, GroupName, ThingName};
use sealift_rollout::plan::{Plan, Span, Wave};
use serde::{Deserialize, Serialize};

use super::RolloutError;
use crate::intake::chain::{Catalog, ListedTarget};

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
    /// A whole plan, in place of release, product, groups, things, timeout and retries.
    #[serde(default)]
    pub plan: Option<Plan>,
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

impl NewRollout {
    /// The plan that is wished for; of groups and things it is one wave.
    ///
    /// # Errors
    /// [`RolloutError::Plan`], [`RolloutError::Targets`] when nobody is named.
    pub(super) fn plan(&self, target: &ListedTarget) -> Result<Plan, RolloutError> {
        if let Some(plan) = &self.plan {
            plan.check()?;
            return Ok(plan.clone());
        }
        if self.groups.is_empty() && self.things.is_empty() {
            return Err(RolloutError::Targets("name at least one --group or --thing".into()));
        }
        let (groups, things) = (self.groups.iter().cloned().collect(), self.things.iter().cloned().collect());
        let mut wave = Wave::of("all", groups, things);
        wave.retries = self.retries;
        if let Some(minutes) = self.timeout_minutes {
            wave.timeout = Span { seconds: minutes.saturating_mul(60) };
        }
        let (product, version) = (target.product.clone(), target.version.clone());
        let plan = Plan {
            product,
            version,
            seed: None,
            window: None,
            start: None,
            metered_groups: Vec::new(),
            waves: vec![wave],
        };
        plan.check()?;
        Ok(plan)
    }

    /// The published target that is meant.
    ///
    /// # Errors
    /// [`RolloutError::NoTarget`], [`RolloutError::Ambiguous`].
    pub(super) fn target(&self, catalog: &Catalog) -> Result<ListedTarget, RolloutError> {
        let of_plan = |field: fn(&Plan) -> &String| self.plan.as_ref().map(field).cloned();
        let release = self.release.clone().or_else(|| of_plan(|plan| &plan.version).filter(|_| self.target.is_none()));
        let product = self.product.clone().or_else(|| of_plan(|plan| &plan.product));
        find_target(catalog, self.target.as_ref(), release.as_ref(), product.as_ref())
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

fn find_target(
    catalog: &Catalog,
    target: Option<&Digest>,
    release: Option<&String>,
    product: Option<&String>,
) -> Result<ListedTarget, RolloutError> {
    let wanted = match (target, release) {
        (Some(digest), _) => digest.to_string(),
        (None, Some(version)) => match product {
            Some(product) => format!("{product} {version}"),
            None => version.clone(),
        },
        (None, None) => return Err(no_target(catalog, "named: give --target DIGEST or --release VERSION".into())),
    };
    let fits = |listed: &&ListedTarget| {
        target.is_none_or(|digest| *digest == listed.digest)
            && release.is_none_or(|version| same_version(version, &listed.version))
            && product.is_none_or(|product| *product == listed.product)
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
