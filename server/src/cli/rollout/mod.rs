//! `sealift-server rollout`.

mod fleet;
mod show;
mod simulate;
mod start;
mod watch;

use clap::{Args, Subcommand};

use super::venue::Venue;
use super::{Failure, output};
use crate::rollout::Overview;
use fleet::FromHistory;
use show::{Explain, Show, row};
use simulate::Simulate;
use start::{Create, Plan, Start};
use watch::{Reconcile, Watch};

/// Create, watch and stop rollouts.
#[derive(Debug, Subcommand)]
pub(super) enum Rollout {
    /// Bring a published target to the devices of groups.
    Create(Create),
    /// Start a rollout of several waves from a plan file.
    Start(Box<Start>),
    /// Look at a plan before anything is touched: which devices each wave would reach.
    Plan(Box<Plan>),
    /// Show a rollout device by device: what the job says, and what the device proved.
    Status(Show),
    /// Show a rollout's progress live, until it is over; with --bucket also carry it on.
    Watch(Watch),
    /// Carry rollouts on in a cloud account: for cron, CI or a service. A server does that by itself.
    Reconcile(Reconcile),
    /// List rollouts.
    List(List),
    /// Stop a rollout for good.
    #[command(visible_alias = "abort")]
    Cancel(Cancel),
    /// Hold a rollout: no further wave begins, and who has not started is taken out of the present one.
    Pause(Pause),
    /// Go on with a paused rollout.
    Resume(Named),
    /// Approve the step from a wave to the next.
    Approve(Approve),
    /// Show what happened to a rollout, in order.
    History(Named),
    /// Tell in which wave a device is and which payload it would take, and why, or what keeps it out.
    Explain(Explain),
    /// Learn the model of a fleet from former rollouts, for `rollout simulate --fleet`.
    Fleet(FromHistory),
    /// Play a plan through against a modelled fleet, before any device is touched.
    Simulate(Simulate),
}

#[derive(Debug, Args)]
pub(super) struct Named {
    #[command(flatten)]
    venue: Venue,
    /// The rollout's name.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Pause {
    #[command(flatten)]
    venue: Venue,
    /// The rollout's name.
    name: String,
    /// Why.
    #[arg(long, default_value = "paused by an operator", value_name = "TEXT")]
    comment: String,
}

#[derive(Debug, Args)]
pub(super) struct Approve {
    #[command(flatten)]
    venue: Venue,
    /// The rollout's name.
    name: String,
    /// The wave that is done, by its name in the plan.
    #[arg(long, value_name = "WAVE")]
    wave: String,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    venue: Venue,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server rollout cancel --state ./state thermostat-1-1-0-5d41402a --comment \"bad release\"
  sealift-server rollout abort --bucket acme-fw --prefix prod/ thermostat-1-1-0-5d41402a --force")]
pub(super) struct Cancel {
    #[command(flatten)]
    venue: Venue,
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
            Self::Create(create) => create.venue.json,
            Self::Start(start) => start.venue.json,
            Self::Plan(plan) => plan.venue.json,
            Self::Status(show) => show.venue.json,
            Self::Watch(watch) => watch.venue.json,
            Self::Reconcile(reconcile) => reconcile.venue.json,
            Self::List(list) => list.venue.json,
            Self::Cancel(cancel) => cancel.venue.json,
            Self::Pause(pause) => pause.venue.json,
            Self::Resume(named) | Self::History(named) => named.venue.json,
            Self::Approve(approve) => approve.venue.json,
            Self::Explain(explain) => explain.venue.json,
            Self::Fleet(fleet) => fleet.venue.json,
            Self::Simulate(simulate) => simulate.json,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let json = self.json();
        match self {
            Self::Create(create) => create.run().await,
            Self::Start(start) => start.run().await,
            Self::Plan(plan) => plan.run().await,
            Self::Status(show) => show.run().await,
            Self::Watch(watch) => watch.run().await,
            Self::Reconcile(reconcile) => reconcile.run().await,
            Self::List(list) => {
                show::list(&list.venue.open(None).await?.list().await?, json);
                Ok(())
            }
            Self::Cancel(Cancel { venue, name, force, comment }) => {
                acted(&venue.open(None).await?.cancel(&name, force, &comment).await?, "cancelled", json);
                Ok(())
            }
            Self::Pause(Pause { venue, name, comment }) => {
                acted(&venue.open(None).await?.pause(&name, &comment).await?, "paused", json);
                Ok(())
            }
            Self::Resume(Named { venue, name }) => {
                acted(&venue.open(None).await?.resume(&name).await?, "resumed", json);
                Ok(())
            }
            Self::Approve(Approve { venue, name, wave }) => {
                acted(&venue.open(None).await?.approve(&name, &wave).await?, "approved a step of", json);
                Ok(())
            }
            Self::History(Named { venue, name }) => {
                show::history(venue.open(None).await?.overview(&name).await?.history, json);
                Ok(())
            }
            Self::Explain(explain) => explain.run().await,
            Self::Fleet(fleet) => fleet.run().await,
            Self::Simulate(simulate) => simulate.run(),
        }
    }
}

/// Shows what became of a rollout by one act.
fn acted(overview: &Overview, done: &str, json: bool) {
    if json {
        output::json(overview);
        return;
    }
    output::line(&format!("{done} rollout {}", overview.rollout));
    output::table(["ROLLOUT", "STATE", "TARGET", "CREATED", "DEVICES"], &[row(overview)]);
}
