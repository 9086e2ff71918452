//! `sealift-server rollout`.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use sealift_jobs::{Digest, ExecutionStatus, GroupName, ThingName};

use super::{Common, FAILED, Failure, REFUSED, output};
use crate::control::Client;
use crate::rollout::decide::State;
use crate::rollout::proof::Proven;
use crate::rollout::{NewRollout, Overview, Status};

/// Pause between two looks while waiting.
const LOOK: Duration = Duration::from_millis(200);

/// Create, watch and cancel rollouts.
#[derive(Debug, Subcommand)]
pub(super) enum Rollout {
    /// Bring a published target to the devices of groups.
    Create(Create),
    /// Show a rollout device by device: what the job says, and what the device proved.
    Status(Show),
    /// List rollouts.
    List(List),
    /// Stop a rollout.
    Cancel(Cancel),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server rollout create --state ./state --release 1.1.0 --group canary
  sealift-server rollout create --state ./state --product thermostat --release 1.1.0 --group eu --group us
  sealift-server rollout create --state ./state --target 9f86d081... --thing dev-7

The same command again finds the rollout there (\"created\": false) and makes no second one.")]
pub(super) struct Create {
    #[command(flatten)]
    common: Common,
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
pub(super) struct Show {
    #[command(flatten)]
    common: Common,
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
pub(super) struct List {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Cancel {
    #[command(flatten)]
    common: Common,
    /// The rollout's name.
    name: String,
    /// Also tell devices that are at it already.
    #[arg(long)]
    force: bool,
    /// Why.
    #[arg(long, default_value = "cancelled by an operator", value_name = "TEXT")]
    comment: String,
}

impl Rollout {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Create(create) => &create.common,
            Self::Status(show) => &show.common,
            Self::List(list) => &list.common,
            Self::Cancel(cancel) => &cancel.common,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = Client::new(&self.common().state);
        match self {
            Self::Create(create) => create.run(&client).await,
            Self::Status(show) => show.run(&client).await,
            Self::List(list) => list.run(&client).await,
            Self::Cancel(cancel) => cancel.run(&client).await,
        }
    }
}

impl Create {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let wish = NewRollout {
            target: self.target,
            release: self.release,
            product: self.product,
            groups: self.groups.into_iter().collect(),
            things: self.things.into_iter().collect(),
            name: self.name,
            timeout_minutes: self.timeout,
            retries: self.retries,
        };
        let made: serde_json::Value = client.post("/v1/rollouts", &wish).await?;
        if self.common.json {
            output::json(&made);
            return Ok(());
        }
        let created = made.get("created").and_then(serde_json::Value::as_bool).unwrap_or(false);
        let overview: Overview = serde_json::from_value(made).map_err(|e| Failure::new(FAILED, e))?;
        let devices: u64 = overview.counts.values().sum();
        let verb = if created { "created" } else { "exists already:" };
        output::line(&format!(
            "{verb} rollout {}: {} {} to {devices} device(s)",
            overview.rollout, overview.target.product, overview.target.version
        ));
        Ok(())
    }
}

impl Show {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let path = format!("/v1/rollouts/{}", path_part(&self.name)?);
        let start = Instant::now();
        let status: Status = loop {
            let status: Status = client.get(&path).await?;
            if !self.wait || status.overview.state != State::Running {
                break status;
            }
            if start.elapsed() > Duration::from_secs(self.timeout) {
                self.print(&status);
                let message = format!("rollout {} isn't over after {} seconds", self.name, self.timeout);
                return Err(Failure::new(FAILED, message));
            }
            tokio::time::sleep(LOOK).await;
        };
        self.print(&status);
        let total: u64 = status.overview.counts.values().sum();
        let succeeded = status.overview.counts.get(&ExecutionStatus::Succeeded).copied().unwrap_or(0);
        if self.wait && (succeeded != total || status.proven != total) {
            let proven = status.proven;
            let message = format!("of {total} device(s) {succeeded} report success and {proven} proved it");
            return Err(Failure::new(REFUSED, message));
        }
        Ok(())
    }

    fn print(&self, status: &Status) {
        if self.common.json {
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
    }
}

impl List {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let rollouts: Vec<Overview> = client.get("/v1/rollouts").await?;
        if self.common.json {
            output::json(&rollouts);
            return Ok(());
        }
        let rows: Vec<[String; 5]> = rollouts.iter().map(row).collect();
        output::table(["ROLLOUT", "STATE", "TARGET", "CREATED", "DEVICES"], &rows);
        Ok(())
    }
}

fn row(overview: &Overview) -> [String; 5] {
    let counts: Vec<String> = overview.counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    [
        overview.rollout.clone(),
        format!("{:?}", overview.state),
        format!("{} {}", overview.target.product, overview.target.version),
        output::time(overview.created_at),
        counts.join(", "),
    ]
}

impl Cancel {
    async fn run(self, client: &Client) -> Result<(), Failure> {
        let body = serde_json::json!({ "force": self.force, "comment": self.comment });
        let path = format!("/v1/rollouts/{}/cancel", path_part(&self.name)?);
        let overview: Overview = client.post(&path, &body).await?;
        if self.common.json {
            output::json(&overview);
        } else {
            output::line(&format!("cancelled rollout {}", overview.rollout));
            let rows = [row(&overview)];
            output::table(["ROLLOUT", "STATE", "TARGET", "CREATED", "DEVICES"], &rows);
        }
        Ok(())
    }
}

/// A name that goes into a path as it is.
fn path_part(name: &str) -> Result<&str, Failure> {
    match name.parse::<sealift_jobs::JobId>() {
        Ok(_) => Ok(name),
        Err(_) => Err(Failure::new(super::USAGE, format!("no rollout is called {name:?}"))),
    }
}
