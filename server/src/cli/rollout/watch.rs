//! `sealift-server rollout watch` and `reconcile`.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use sealift_jobs::ExecutionStatus;

use super::show::row;
use crate::cli::venue::{Operator, Venue};
use crate::cli::{Failure, REFUSED, USAGE, output};
use crate::rollout::{Overview, State, WaveOverview};

/// Characters of a wave's bar.
const BAR: u64 = 30;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server rollout watch --state ./state thermostat-1-1-0-5d41402a
  sealift-server rollout watch --bucket acme-fw --prefix prod/ thermostat-1-1-0-5d41402a
  sealift-server rollout watch --state ./state NAME --json     (one line for each change)

With --bucket it carries the rollout on while it watches; --look-only leaves that to another process. Ends when the
rollout is over: exit 0 when it was completed, else 3.")]
pub(in crate::cli) struct Watch {
    #[command(flatten)]
    pub(super) venue: Venue,
    /// The rollout's name.
    name: String,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Only look.
    #[arg(long)]
    look_only: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server rollout reconcile --bucket acme-fw --prefix prod/               (one pass over all rollouts)
  sealift-server rollout reconcile --bucket acme-fw --prefix prod/ --every 30    (until none is open)

All state is in the bucket, changed by conditional writes: run it anywhere, twice at once if you like, and kill it whenever.")]
pub(in crate::cli) struct Reconcile {
    #[command(flatten)]
    pub(super) venue: Venue,
    /// Rollouts; without any, all of them.
    names: Vec<String>,
    /// Goes on with a pass each so many seconds, until all are over.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    every: Option<u64>,
}

impl Reconcile {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if self.venue.state.is_some() || self.venue.elsewhere.server.is_some() {
            return Err(Failure::new(USAGE, "a server carries its rollouts on by itself; reconcile is for --bucket"));
        }
        let json = self.venue.json;
        let operator = self.venue.open(None).await?;
        while operator.carry_on(&self.names).await? {
            let Some(seconds) = self.every else { break };
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        let mut rollouts = Vec::new();
        if self.names.is_empty() {
            rollouts = operator.list().await?;
        }
        // Those that were named alone: a bucket keeps every rollout there ever was, and each costs calls to look at.
        for name in &self.names {
            rollouts.push(operator.overview(name).await?);
        }
        super::show::list(&rollouts, json);
        Ok(())
    }
}

impl Watch {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Watch { venue, name, every, look_only } = self;
        let mut picture = Picture::new(venue.json);
        let operator = venue.open(None).await?;
        loop {
            if !look_only {
                carry_on(&operator, &name).await?;
            }
            let overview = operator.overview(&name).await?;
            picture.show(&overview);
            if overview.state.is_over() {
                let comment = overview.comment.as_deref().unwrap_or("it did not reach its end");
                return match overview.state {
                    State::Completed => Ok(()),
                    _ => Err(Failure::new(REFUSED, format!("rollout {name} is over: {comment}"))),
                };
            }
            tokio::time::sleep(Duration::from_secs(every)).await;
        }
    }
}

/// A fault that passes is told and waited out: who watches for a week isn't sent away by one busy minute.
async fn carry_on(operator: &Operator, name: &str) -> Result<(), Failure> {
    match operator.carry_on(&[name.to_owned()]).await {
        Err(failure) if failure.exit == crate::cli::FAILED => {
            eprintln!("sealift-server: {failure}");
            Ok(())
        }
        done => done.map(drop),
    }
}

/// What was shown last, and how: redrawn in place on a terminal, one line for each change elsewhere.
struct Picture {
    json: bool,
    terminal: bool,
    lines: usize,
    last: Option<Overview>,
}

impl Picture {
    fn new(json: bool) -> Self {
        Picture { json, terminal: !json && std::io::stdout().is_terminal(), lines: 0, last: None }
    }

    fn show(&mut self, overview: &Overview) {
        if self.last.as_ref() == Some(overview) {
            return;
        }
        if self.json {
            output::json(overview);
        } else if self.terminal {
            let lines = draw(overview);
            let mut out = std::io::stdout().lock();
            if self.lines > 0 {
                // Up to the first line of the picture before, and away with it.
                let _ = write!(out, "\x1b[{}A\x1b[J", self.lines);
            }
            for line in &lines {
                let _ = writeln!(out, "{line}");
            }
            let _ = out.flush();
            self.lines = lines.len();
        } else {
            output::line(&row(overview).join("  "));
        }
        self.last = Some(overview.clone());
    }
}

fn draw(overview: &Overview) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {:?}; {} {}{}",
        overview.rollout,
        overview.state,
        overview.target.product,
        overview.target.version,
        overview.comment.as_deref().map(|comment| format!(" ({comment})")).unwrap_or_default(),
    )];
    let width = overview.waves.iter().map(|wave| wave.name.chars().count()).max().unwrap_or(0);
    lines.extend(overview.waves.iter().map(|wave| draw_wave(wave, width)));
    lines.extend(overview.history.last().map(|entry| format!("{}  {}", output::time(entry.at), entry.what)));
    lines
}

fn draw_wave(wave: &WaveOverview, width: usize) -> String {
    let Some(progress) = &wave.progress else { return format!("  {:<width$}  not begun", wave.name) };
    let total = progress.total().max(1);
    let good = progress.count(ExecutionStatus::Succeeded);
    let bad = progress.ended() - good;
    let part = |count: u64| usize::try_from(count * BAR / total).unwrap_or(0);
    let rest = usize::try_from(BAR).unwrap_or(0).saturating_sub(part(good) + part(bad));
    let counts: Vec<String> = progress.counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let gate = match (wave.gate_held_since, wave.approved) {
        (Some(since), true) => format!("; gate holds since {}, approved", output::time(since)),
        (Some(since), false) => format!("; gate holds since {}", output::time(since)),
        (None, _) => String::new(),
    };
    let bar = format!("{}{}{}", "#".repeat(part(good)), "!".repeat(part(bad)), ".".repeat(rest));
    format!("  {:<width$}  [{bar}] {}{gate}", wave.name, counts.join(", "))
}
