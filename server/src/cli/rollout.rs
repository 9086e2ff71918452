//! `sealift-server rollout`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use sealift_jobs::{Digest, ExecutionStatus, GroupName, ThingName};

use super::simulate::Simulate;
use super::{Common, FAILED, Failure, REFUSED, output};
use crate::control::Client;
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
    /// Start a rollout of several waves from a plan file.
    Start(Start),
    /// Stop a rollout.
    Cancel(Cancel),
    /// Hold a rollout: no further wave begins, and who has not started is taken out of the present one.
    Pause(Pause),
    /// Go on with a paused rollout.
    Resume(Named),
    /// Approve the step from a wave to the next.
    Approve(Approve),
    /// Show what happened to a rollout, in order.
    History(Named),
    /// Tell in which wave a device is and why, or what keeps it out.
    Explain(Explain),
    /// Play a plan through against a modelled fleet, before any device is touched.
    Simulate(Simulate),
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
#[command(after_help = "\
Example of a plan:
  product = \"thermostat\"
  version = \"1.1.0\"
  window = { from = \"22:00\", to = \"04:00\" }     # UTC; jobs are made in it

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
pub(super) struct Start {
    #[command(flatten)]
    common: Common,
    /// The plan file.
    plan: PathBuf,
    /// A name; without one it follows from the plan.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    #[command(flatten)]
    common: Common,
    /// The rollout's name.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Pause {
    #[command(flatten)]
    common: Common,
    /// The rollout's name.
    name: String,
    /// Why.
    #[arg(long, default_value = "paused by an operator", value_name = "TEXT")]
    comment: String,
}

#[derive(Debug, Args)]
pub(super) struct Approve {
    #[command(flatten)]
    common: Common,
    /// The rollout's name.
    name: String,
    /// The wave that is done, by its name in the plan.
    #[arg(long, value_name = "WAVE")]
    wave: String,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    common: Common,
    /// The rollout's name.
    name: String,
    /// The device.
    thing: ThingName,
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
    /// Whether answers are wanted in JSON.
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Create(create) => create.common.json,
            Self::Start(start) => start.common.json,
            Self::Status(show) => show.common.json,
            Self::List(list) => list.common.json,
            Self::Cancel(cancel) => cancel.common.json,
            Self::Pause(pause) => pause.common.json,
            Self::Resume(named) | Self::History(named) => named.common.json,
            Self::Approve(approve) => approve.common.json,
            Self::Explain(explain) => explain.common.json,
            Self::Simulate(simulate) => simulate.json,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run().await,
            Self::Start(start) => start.run().await,
            Self::Status(show) => show.run().await,
            Self::List(list) => list.run().await,
            Self::Cancel(cancel) => {
                let body = serde_json::json!({ "force": cancel.force, "comment": cancel.comment });
                act(&cancel.common, &cancel.name, "cancel", &body, "cancelled").await
            }
            Self::Pause(pause) => {
                let body = serde_json::json!({ "comment": pause.comment });
                act(&pause.common, &pause.name, "pause", &body, "paused").await
            }
            Self::Resume(named) => act(&named.common, &named.name, "resume", &serde_json::json!({}), "resumed").await,
            Self::Approve(approve) => {
                let body = serde_json::json!({ "wave": approve.wave });
                act(&approve.common, &approve.name, "approve", &body, "approved a step of").await
            }
            Self::History(named) => history(&named).await,
            Self::Explain(explain) => explain.run().await,
            Self::Simulate(simulate) => simulate.run(),
        }
    }
}

/// Posts one act on a rollout and shows what became of it.
async fn act(common: &Common, name: &str, act: &str, body: &serde_json::Value, done: &str) -> Result<(), Failure> {
    let path = format!("/v1/rollouts/{}/{act}", path_part(name)?);
    let overview: Overview = Client::new(&common.state).post(&path, body).await?;
    if common.json {
        output::json(&overview);
    } else {
        output::line(&format!("{done} rollout {}", overview.rollout));
        let rows = [row(&overview)];
        output::table(["ROLLOUT", "STATE", "TARGET", "CREATED", "DEVICES"], &rows);
    }
    Ok(())
}

async fn history(named: &Named) -> Result<(), Failure> {
    let path = format!("/v1/rollouts/{}", path_part(&named.name)?);
    let status: Status = Client::new(&named.common.state).get(&path).await?;
    if named.common.json {
        output::json(&status.overview.history);
        return Ok(());
    }
    let rows: Vec<[String; 2]> =
        status.overview.history.into_iter().map(|entry| [output::time(entry.at), entry.what]).collect();
    output::table(["WHEN", "WHAT"], &rows);
    Ok(())
}

impl Explain {
    async fn run(self) -> Result<(), Failure> {
        let path = format!("/v1/rollouts/{}/explain/{}", path_part(&self.name)?, self.thing);
        let answer: serde_json::Value = Client::new(&self.common.state).get(&path).await?;
        if self.common.json {
            output::json(&answer);
        } else {
            let why = answer.get("why").and_then(serde_json::Value::as_str).unwrap_or_default();
            output::line(&format!("{}: {why}", self.thing));
        }
        Ok(())
    }
}

impl Start {
    async fn run(self) -> Result<(), Failure> {
        let plan = super::simulate::read_plan(&self.plan)?;
        let wish = NewRollout { plan: Some(plan), name: self.name, ..NewRollout::default() };
        create(&self.common, &wish).await
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
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
        create(&self.common, &wish).await
    }
}

async fn create(common: &Common, wish: &NewRollout) -> Result<(), Failure> {
    let made: serde_json::Value = Client::new(&common.state).post("/v1/rollouts", wish).await?;
    if common.json {
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

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let client = Client::new(&self.common.state);
        let path = format!("/v1/rollouts/{}", path_part(&self.name)?);
        let start = Instant::now();
        let status: Status = loop {
            let status: Status = client.get(&path).await?;
            if !self.wait || status.overview.state.is_over() {
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
    async fn run(self) -> Result<(), Failure> {
        let rollouts: Vec<Overview> = Client::new(&self.common.state).get("/v1/rollouts").await?;
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

/// A name that goes into a path as it is.
fn path_part(name: &str) -> Result<&str, Failure> {
    match name.parse::<sealift_jobs::JobId>() {
        Ok(_) => Ok(name),
        Err(_) => Err(Failure::new(super::USAGE, format!("no rollout is called {name:?}"))),
    }
}
