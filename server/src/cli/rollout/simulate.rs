//! `sealift-server rollout simulate`.

use std::path::{Path, PathBuf};

use clap::Args;
use sealift_rollout::plan::Plan;
use sealift_rollout::simulate::{Fleet, Prices, Simulation, chart, simulate};
use serde::de::DeserializeOwned;

use crate::cli::{BAD_FILE, FAILED, Failure, USAGE, output};
use crate::engine::system_clock;

/// Play a plan through against a modelled fleet, with the very decisions the server would take.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server rollout simulate plan.toml --devices 100000
  sealift-server rollout simulate plan.toml --fleet fleet.toml --days 30 --chart rollout.svg
  sealift-server rollout simulate plan.toml --failure-share 0.08 --json
  sealift-server rollout fleet --state ./state > fleet.toml     # the fleet as former rollouts saw it

A fleet file sets what the flags don't; all of it may be left out (the values are the defaults):
  devices = 10000            dead-share = 0.02          bytes-per-second = 20000.0
  delta-share = 0.9          online-share = 0.8         full-bytes = 400000
  metered-share = 0.0        offline-minutes = 180.0    delta-bytes = 25000
  failure-share = 0.01       rejection-share = 0.0      install-minutes = 3.0
  lost-share = 0.0           unproven-share = 0.0       seed = 1
  groups = { lab = 20 }")]
pub(in crate::cli) struct Simulate {
    /// The plan file.
    plan: PathBuf,
    /// The fleet, as a TOML file.
    #[arg(long, value_name = "FILE")]
    fleet: Option<PathBuf>,
    /// A price list, as a TOML file.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Devices of the product.
    #[arg(long, value_name = "N")]
    devices: Option<u32>,
    /// Share of the attempts that fail, from 0 to 1.
    #[arg(long, value_name = "SHARE")]
    failure_share: Option<f64>,
    /// Days to simulate at most.
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=365))]
    days: u32,
    /// Write the timeline as an SVG picture.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Reads and checks a plan file.
pub(super) fn read_plan(path: &Path) -> Result<Plan, Failure> {
    Plan::from_toml(&read(path)?).map_err(|error| Failure::new(BAD_FILE, format!("{}: {error}", path.display())))
}

fn read(path: &Path) -> Result<String, Failure> {
    /// A plan of 64 waves takes a tenth of it.
    const MOST: u64 = 1 << 20;
    let failed = |what: String| Failure::new(BAD_FILE, format!("{}: {what}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| failed(format!("can't be read: {error}")))?.len();
    if length > MOST {
        return Err(failed(format!("{length} bytes are more than a plan can have ({MOST})")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(format!("can't be read: {error}")))
}

fn read_or_default<T: DeserializeOwned + Default>(path: Option<&Path>) -> Result<T, Failure> {
    let Some(path) = path else { return Ok(T::default()) };
    toml::from_str(&read(path)?).map_err(|error| Failure::new(BAD_FILE, format!("{}: {error}", path.display())))
}

impl Simulate {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plan = read_plan(&self.plan)?;
        let mut fleet: Fleet = read_or_default(self.fleet.as_deref())?;
        fleet.devices = self.devices.unwrap_or(fleet.devices);
        fleet.failure_share = self.failure_share.unwrap_or(fleet.failure_share);
        let prices: Prices = read_or_default(self.prices.as_deref())?;
        let start =
            plan.start.and_then(|start| u64::try_from(start.as_second()).ok()).unwrap_or_else(|| system_clock()());
        let story = simulate(&plan, &fleet, &prices, start, self.days).map_err(|error| Failure::new(USAGE, error))?;
        if let Some(path) = &self.chart {
            let title = format!("{} {} to {} devices", plan.product, plan.version, fleet.devices);
            std::fs::write(path, chart(&story, &title))
                .map_err(|error| Failure::new(FAILED, format!("{}: can't be written: {error}", path.display())))?;
        }
        if self.json {
            output::json(&story);
        } else {
            show(&story);
        }
        Ok(())
    }
}

fn show(story: &Simulation) {
    for event in &story.events {
        output::line(&format!("{:>10}  {}", span(event.minute), event.what));
    }
    let rows: Vec<[String; 5]> = story
        .waves
        .iter()
        .map(|wave| {
            let counts = &wave.counts;
            [
                wave.name.clone(),
                wave.devices.to_string(),
                wave.started.map_or("never".to_owned(), span),
                format!("{} proven, {} not", counts.proven, counts.unproven),
                format!(
                    "{} failed, {} open, {} spared",
                    counts.failed + counts.rejected + counts.timed_out,
                    counts.open(),
                    counts.cancelled
                ),
            ]
        })
        .collect();
    output::table(["WAVE", "DEVICES", "BEGINS AFTER", "UPDATED", "ELSE"], &rows);
    output::line(&format!(
        "after {}: {} devices updated, {} had started when it ended; {} MB sent ({} MB without deltas); ${:.2} for jobs, ${:.2} for traffic",
        span(story.minutes),
        story.updated,
        story.exposed,
        story.bytes / 1_000_000,
        story.bytes_without_deltas / 1_000_000,
        story.cost.jobs,
        story.cost.traffic,
    ));
}

fn span(minutes: u64) -> String {
    match (minutes / 1_440, minutes % 1_440 / 60, minutes % 60) {
        (0, 0, minutes) => format!("{minutes}min"),
        (0, hours, minutes) => format!("{hours}h {minutes:02}min"),
        (days, hours, _) => format!("{days}d {hours:02}h"),
    }
}
