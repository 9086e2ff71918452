//! `sealift-server rollout create`, `start` and `plan`.

use std::path::PathBuf;

use clap::Args;
use sealift_jobs::{Digest, GroupName, ThingName};

use super::simulate::read_plan;
use crate::cli::venue::{Places, Venue};
use crate::cli::{Failure, output};
use crate::rollout::{NewRollout, Preview};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server rollout create --state ./state --release 1.1.0 --group canary
  sealift-server rollout create --state ./state --product thermostat --release 1.1.0 --group eu --group us
  sealift-server rollout create --bucket fw --presign-role ARN --target 9f86d081... --thing dev-7

The same command again finds the rollout there (\"created\": false) and makes no second one.")]
pub(in crate::cli) struct Create {
    #[command(flatten)]
    pub(super) venue: Venue,
    #[command(flatten)]
    places: Places,
    /// The target, by the SHA-256 of its entry (`sealift-server releases` shows it).
    #[arg(long, value_name = "DIGEST", required_unless_present = "release", conflicts_with = "release")]
    target: Option<Digest>,
    /// The target, by version.
    #[arg(long, value_name = "VERSION")]
    release: Option<String>,
    /// The product, when several have that version.
    #[arg(long, value_name = "PRODUCT")]
    product: Option<String>,
    /// A group whose devices get it; may be repeated.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<GroupName>,
    /// A device that gets it; may be repeated.
    #[arg(long = "thing", value_name = "THING")]
    things: Vec<ThingName>,
    /// A name; without one it follows from product, version and targets.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Minutes a device may work on it.
    #[arg(long, value_name = "MINUTES")]
    timeout: Option<u64>,
    /// Further tries for a device that failed or ran out of time.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10))]
    retries: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server rollout start --state ./state plan.toml
  sealift-server rollout start --bucket acme-fw --prefix prod/ --presign-role arn:aws:iam::1:role/presign plan.toml

Example of a plan:
  product = \"thermostat\"
  version = \"1.1.0\"
  window = { from = \"22:00\", to = \"04:00\" }     # UTC; jobs are made in it. hold = true: and are held at its end
  metered-groups = [\"cellular\"]                # these get deltas alone, in a wave of their own

  [[wave]]
  name = \"canary\"
  groups = [\"lab\"]
  gate = { success-ratio = 1.0, min-finished = 3, soak = \"2h\", approval = true }

  [[wave]]
  name = \"early\"
  percent = 5                                   # of the product's devices, earlier waves included
  rate = { base = 10, factor = 1.5, succeeded = 50, max = 500 }
  gate = { success-ratio = 0.98, min-finished = 100, soak = \"24h\" }
  abort = [{ on = \"failed\", percent = 2.5, min-finished = 20 }]

  [[wave]]
  name = \"all\"
  percent = 100
  retries = 2
  timeout = \"2 days\"")]
pub(in crate::cli) struct Start {
    #[command(flatten)]
    pub(super) venue: Venue,
    #[command(flatten)]
    places: Places,
    /// The plan file.
    plan: PathBuf,
    /// A name; without one it follows from the plan.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server rollout plan --state ./state plan.toml
  sealift-server rollout plan --bucket acme-fw --prefix prod/ --presign-role arn:aws:iam::1:role/presign plan.toml --json

Checks all that `rollout start` would check, and writes nothing. Things are counted page by page.")]
pub(in crate::cli) struct Plan {
    #[command(flatten)]
    pub(super) venue: Venue,
    #[command(flatten)]
    places: Places,
    /// The plan file.
    plan: PathBuf,
}

impl Create {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let wish = NewRollout {
            target: self.target,
            plan: None,
            release: self.release,
            product: self.product,
            groups: self.groups.into_iter().collect(),
            things: self.things.into_iter().collect(),
            name: self.name,
            timeout_minutes: self.timeout,
            retries: self.retries,
        };
        create(self.venue, self.places, &wish).await
    }
}

impl Start {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let plan = read_plan(&self.plan)?;
        let wish = NewRollout { plan: Some(plan), name: self.name, ..NewRollout::default() };
        create(self.venue, self.places, &wish).await
    }
}

impl Plan {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let plan = read_plan(&self.plan)?;
        let wish = NewRollout { plan: Some(plan), ..NewRollout::default() };
        let json = self.venue.json;
        let preview = self.venue.open(Some(self.places)).await?.preview(&wish).await?;
        if json {
            output::json(&preview)
        } else {
            show(&preview)
        }
        Ok(())
    }
}

fn show(preview: &Preview) {
    let target = &preview.target;
    output::line(&format!("would be rollout {}: {} {}", preview.rollout, target.product, target.version));
    let rows: Vec<[String; 5]> = preview
        .waves
        .iter()
        .map(|wave| {
            let payloads = if wave.delta_only { "deltas alone" } else { "any" };
            [
                wave.name.clone(),
                wave.devices.to_string(),
                wave.groups.to_string(),
                payloads.into(),
                wave.job.to_string(),
            ]
        })
        .collect();
    output::table(["WAVE", "DEVICES", "GROUPS", "PAYLOADS", "JOB"], &rows);
}

async fn create(venue: Venue, places: Places, wish: &NewRollout) -> Result<(), Failure> {
    let json = venue.json;
    let made = venue.open(Some(places)).await?.create(wish).await?;
    if json {
        output::json(&made);
        return Ok(());
    }
    let overview = made.overview;
    let devices: u64 = overview.counts.values().sum();
    let verb = if made.created { "created" } else { "exists already:" };
    output::line(&format!(
        "{verb} rollout {}: {} {} to {devices} device(s)",
        overview.rollout, overview.target.product, overview.target.version
    ));
    Ok(())
}
