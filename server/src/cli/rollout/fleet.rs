//! `sealift-server rollout fleet`: a model of the fleet, learned from its former rollouts.

use std::collections::BTreeMap;

use clap::Args;
use sealift_rollout::simulate::{Fleet, Learned, Seen, learn};

use crate::cli::venue::Venue;
use crate::cli::{FAILED, Failure, USAGE, output};
use crate::engine::system_clock;
use crate::rollout::Overview;
use crate::rollout::proof::Proven;

/// Fewer executions than this are an anecdote.
const FEW: u64 = 30;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server rollout fleet --state ./state --product thermostat > fleet.toml
  sealift-server rollout fleet --bucket acme-fw --prefix prod/ thermostat-1-1-0 --devices 250000 > fleet.toml
  sealift-server rollout simulate plan.toml --fleet fleet.toml

How often updates failed, were refused or left devices silent, how long devices were offline and how long they took, is counted
over all executions (10,000 of each rollout at most). Link speeds and what a delta saves aren't reported by devices: those
fields are the model's own values, for you to set. What each value rests on is told on stderr.")]
pub(in crate::cli) struct FromHistory {
    #[command(flatten)]
    pub(super) venue: Venue,
    /// Rollouts to learn from; without a name, all of the product.
    names: Vec<String>,
    /// The product, where there are rollouts of several.
    #[arg(long, value_name = "PRODUCT")]
    product: Option<String>,
    /// Devices of the product; without it, as many as these rollouts reached.
    #[arg(long, value_name = "N")]
    devices: Option<u32>,
}

impl FromHistory {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let json = self.venue.json;
        let operator = self.venue.open(None).await?;
        let names = match self.names.is_empty() {
            false => self.names,
            true => chosen(&operator.list().await?, self.product.as_deref())?,
        };
        let (mut seen, mut groups, mut reached, mut given) = (Vec::new(), BTreeMap::new(), 0, Fleet::default());
        for name in &names {
            let status = operator.status(name).await?;
            let most = status.overview.counts.values().sum::<u64>();
            reached = most.max(reached);
            for wave in &status.overview.waves {
                // The size of a group is known where a wave was of it alone.
                if let (1, Some(job)) = (wave.groups.len(), &wave.progress)
                    && let Some(group) = wave.groups.first().filter(|_| wave.things.is_empty())
                    && !sealift_rollout::buckets::is_bucket_group(group.as_str())
                {
                    groups.insert(group.to_string(), u32::try_from(job.total()).unwrap_or(u32::MAX));
                }
            }
            lengths(&status.overview, &mut given);
            seen.extend(status.devices.iter().map(|device| Seen {
                status: device.status,
                proven: matches!(device.proven, Proven::Running { .. }),
                queued_at: device.queued_at,
                started_at: device.started_at,
                updated_at: device.updated_at,
            }));
        }
        if seen.is_empty() {
            return Err(Failure::new(
                FAILED,
                "no device was told of these rollouts yet: there is nothing to learn from",
            ));
        }
        given.groups = groups;
        given.devices = self.devices.or_else(|| u32::try_from(reached).ok()).unwrap_or(given.devices).max(1);
        show(&learn(&seen, given, (system_clock())()), &names, json)
    }
}

/// All rollouts of the one product.
fn chosen(all: &[Overview], product: Option<&str>) -> Result<Vec<String>, Failure> {
    let of = |overview: &&Overview| product.is_none_or(|product| overview.target.product == product);
    let names: Vec<String> = all.iter().filter(of).map(|overview| overview.rollout.clone()).collect();
    let mut products: Vec<&str> = all.iter().filter(of).map(|overview| overview.target.product.as_str()).collect();
    products.sort_unstable();
    products.dedup();
    match products.len() {
        0 => Err(Failure::new(USAGE, "there are no rollouts to learn from")),
        1 => Ok(names),
        _ => {
            Err(Failure::new(USAGE, format!("rollouts of {} are here: choose one with --product", products.join(", "))))
        }
    }
}

/// Lengths of the payloads that a rollout offered: its smallest whole image, its largest delta.
fn lengths(overview: &Overview, fleet: &mut Fleet) {
    let payloads = &overview.target.payloads;
    let full = payloads.iter().filter(|payload| payload.base.is_none()).map(|payload| payload.length).min();
    let delta = payloads.iter().filter(|payload| payload.base.is_some()).map(|payload| payload.length).max();
    fleet.full_bytes = full.unwrap_or(fleet.full_bytes);
    fleet.delta_bytes = delta.unwrap_or(fleet.full_bytes);
}

fn show(learned: &Learned, names: &[String], json: bool) -> Result<(), Failure> {
    if json {
        output::json(learned);
        return Ok(());
    }
    let text = toml::to_string(&learned.fleet)
        .map_err(|error| Failure::new(FAILED, format!("the model can't be written: {error}")))?;
    output::line(&format!("# As {} saw it.", names.join(", ")));
    output::line(text.trim_end());
    for (field, executions) in &learned.from {
        let doubt = if *executions < FEW { ": an anecdote more than a measure" } else { "" };
        eprintln!("{field} is from {executions} execution(s){doubt}");
    }
    Ok(())
}
