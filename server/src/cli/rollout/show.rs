//! `sealift-server rollout status`, `list`, `history` and `explain`.

use std::time::{Duration, Instant};

use clap::Args;
use sealift_jobs::{Digest, ExecutionStatus, ThingName};

use crate::cli::venue::Venue;
use crate::cli::{FAILED, Failure, REFUSED, output};
use crate::rollout::proof::Proven;
use crate::rollout::{Entry, Overview, PayloadFacts, Status};

/// Pause between two looks at a server while waiting; a cloud is asked less often.
const LOOK: Duration = Duration::from_millis(200);
const CLOUD_LOOK: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    pub(super) venue: Venue,
    /// The rollout's name.
    name: String,
    /// Wait until the rollout is over; exit 3 unless every device succeeded and proved it.
    #[arg(long)]
    wait: bool,
    /// Seconds to wait at most.
    #[arg(long, default_value_t = 600, value_name = "SECONDS", requires = "wait")]
    timeout: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server rollout explain --state ./state thermostat-1-1-0-5d41402a dev-7
  sealift-server rollout explain --bucket acme-fw NAME dev-7 --decoder-ram 24576 --metered

What a device runs is read from its newest signed report; --base says it where there is none.")]
pub(in crate::cli) struct Explain {
    #[command(flatten)]
    pub(super) venue: Venue,
    /// The rollout's name.
    name: String,
    /// The device.
    thing: ThingName,
    /// SHA-256 of the image that it runs.
    #[arg(long, value_name = "DIGEST")]
    base: Option<Digest>,
    /// RAM that its decoder has, in bytes.
    #[arg(long, value_name = "BYTES")]
    decoder_ram: Option<u64>,
    /// Its link is metered: it takes deltas alone.
    #[arg(long)]
    metered: bool,
}

impl Explain {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let json = self.venue.json;
        let facts = PayloadFacts { base: self.base, decoder_ram: self.decoder_ram, metered: self.metered };
        let answer = self.venue.open(None).await?.explain(&self.name, &self.thing, &facts).await?;
        if json {
            output::json(&answer);
        } else {
            output::line(&format!("{}: {}", self.thing, answer.explanation.why));
            output::line(&format!("payload: {}", answer.payload_why));
        }
        Ok(())
    }
}

impl Show {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let pause = if self.venue.state.is_some() { LOOK } else { CLOUD_LOOK };
        let json = self.venue.json;
        let operator = self.venue.open(None).await?;
        let start = Instant::now();
        let status = loop {
            if self.wait {
                operator.carry_on(std::slice::from_ref(&self.name)).await?;
            }
            let status = operator.status(&self.name).await?;
            if !self.wait || status.overview.state.is_over() {
                break status;
            }
            if start.elapsed() > Duration::from_secs(self.timeout) {
                print(&status, json);
                let message = format!("rollout {} isn't over after {} seconds", self.name, self.timeout);
                return Err(Failure::new(FAILED, message));
            }
            tokio::time::sleep(pause).await;
        };
        print(&status, json);
        let total: u64 = status.overview.counts.values().sum();
        let succeeded = status.overview.counts.get(&ExecutionStatus::Succeeded).copied().unwrap_or(0);
        if self.wait && (succeeded != total || status.proven != total) {
            let proven = status.proven;
            let message = format!("of {total} device(s) {succeeded} report success and {proven} proved it");
            return Err(Failure::new(REFUSED, message));
        }
        Ok(())
    }
}

fn print(status: &Status, json: bool) {
    if json {
        output::json(status);
        return;
    }
    let overview = &status.overview;
    output::line(&format!(
        "{}: {:?}; {} {} (counter {}), image {}",
        overview.rollout,
        overview.state,
        overview.target.product,
        overview.target.version,
        overview.target.security_counter,
        overview.target.image
    ));
    let rows: Vec<[String; 5]> = status
        .devices
        .iter()
        .map(|device| {
            let proven = match &device.proven {
                Proven::Pending => "-".to_owned(),
                Proven::Running { boot_count, .. } => format!("runs it (boot {boot_count})"),
                Proven::Missing => "no report".to_owned(),
                Proven::Refused { problem } => problem.clone(),
            };
            let said = [&device.code, &device.step, &device.reason].into_iter().flatten().cloned();
            [
                device.thing.to_string(),
                device.status.to_string(),
                proven,
                if device.differs { "DIFFERS".into() } else { String::new() },
                said.collect::<Vec<_>>().join(": "),
            ]
        })
        .collect();
    output::table(["DEVICE", "JOB SAYS", "DEVICE PROVED", "", "DETAILS"], &rows);
    if status.left_out > 0 {
        output::line(&format!("... and {} more, counted and not listed", status.left_out));
    }
    output::line(&format!("{} proved it; {} where job and proof differ", status.proven, status.differences));
}

/// Shows rollouts, one a line.
pub(super) fn list(rollouts: &[Overview], json: bool) {
    if json {
        output::json(&rollouts);
        return;
    }
    let rows: Vec<[String; 5]> = rollouts.iter().map(row).collect();
    output::table(["ROLLOUT", "STATE", "TARGET", "CREATED", "DEVICES"], &rows);
}

/// Shows what happened.
pub(super) fn history(entries: Vec<Entry>, json: bool) {
    if json {
        output::json(&entries);
        return;
    }
    let rows: Vec<[String; 3]> =
        entries.into_iter().map(|entry| [output::time(entry.at), entry.what, entry.by]).collect();
    output::table(["WHEN", "WHAT", "BY"], &rows);
}

/// A rollout on one line.
pub(super) fn row(overview: &Overview) -> [String; 5] {
    let counts: Vec<String> = overview.counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    [
        overview.rollout.clone(),
        format!("{:?}", overview.state),
        format!("{} {}", overview.target.product, overview.target.version),
        output::time(overview.created_at),
        counts.join(", "),
    ]
}
