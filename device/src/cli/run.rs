//! `sealift-device run`.

use std::time::Duration;

use sealift_jobs::ExecutionStatus;
use serde_json::json;

use super::hooks::HookArguments;
use super::{StateArgument, block_on};
use crate::agent::events::Events;
use crate::agent::gate::Gate;
use crate::agent::install::Preferences;
use crate::agent::run::{Agent, Options, Turn};
use crate::error::Result;
use crate::net::payload::Floors;
use crate::state::State;

const EXAMPLES: &str = "\
Examples:
  sealift-device run --state /var/lib/sealift --health-check /usr/lib/thermostat/selftest
  sealift-device run --state /var/lib/sealift --once --json
  sealift-device run --state /var/lib/sealift --boot-command 'fw_setenv slot $SEALIFT_SLOT' \\
      --reboot-command reboot

What counts as a reboot: without --reboot-command the agent runs the boot stage inside itself, at its start and after each \
activation: the boot command is told the slot, the health check decides. So a restart of the process is a reboot, and a trial \
that a kill interrupts is reverted and reported as FAILED with SL-706. With --reboot-command the machine reboots, `sealift-device \
boot` decides early in that boot, and the agent reports when it runs again.

Slots are checked whole before they run. Between that check and the moment the boot command reads the slot, whoever may write the \
slot may change it: give no other program that right.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    state: StateArgument,
    /// Do one job at the most, then end: 0 when there was none, it succeeded, or it waits for a maintenance window or consent; 1
    /// when it failed, 3 when it was refused.
    #[arg(long)]
    once: bool,
    /// Another origin than the one enrolled at.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Talk over HTTPS alone. Else MQTT comes first, on port 8883 beside 8443 or by ALPN on the same port, and HTTPS is used
    /// while there is none.
    #[arg(long)]
    https_only: bool,
    /// Seconds between two questions for a job, give or take a quarter; over MQTT the agent is told of a job at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    poll: u64,
    /// Take deltas alone: a metered link. A job without a fitting one fails (SL-808) and may be tried again on another link.
    #[arg(long)]
    delta_only: bool,
    /// Least bytes per second of a payload.
    #[arg(long, value_name = "BYTES", default_value_t = Floors::default().rate)]
    min_rate: u64,
    /// Seconds over which that is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = Floors::default().window.as_secs())]
    rate_window: u64,
    /// Seconds that a payload may take as a whole.
    #[arg(long, value_name = "SECONDS", default_value_t = Floors::default().deadline.as_secs())]
    deadline: u64,
    /// Times a payload's source may fail in a row, without a new byte, before the job fails.
    #[arg(long, value_name = "N", default_value_t = Preferences::default().attempts)]
    attempts: u32,
    #[command(flatten)]
    hooks: HookArguments,
    /// Reboots the machine after an activation. Then `sealift-device boot` must run early in every boot, before this agent.
    /// Without it the agent runs the boot stage itself.
    #[arg(long, value_name = "CMD", help_heading = "Hooks (command lines for sh -c)")]
    reboot_command: Option<String>,
}

pub(super) fn run(arguments: Arguments, events: Events) -> Result<u8> {
    let state = State::open(&arguments.state.state)?;
    let config = arguments.state.config()?;
    let hooks = arguments.hooks.into_hooks(arguments.reboot_command, &config.boot);
    let options = Options {
        gate: Gate::new(&state, config, hooks.timeout, arguments.once),
        once: arguments.once,
        poll: Duration::from_secs(arguments.poll.max(1)),
        hooks,
        floors: Floors {
            rate: arguments.min_rate,
            window: Duration::from_secs(arguments.rate_window.max(1)),
            deadline: Duration::from_secs(arguments.deadline),
        },
        preferences: Preferences { delta_only: arguments.delta_only, attempts: arguments.attempts },
        server: arguments.server,
        https_only: arguments.https_only,
    };
    let turn = {
        let mut agent = Agent::start(&state, &options, events)?;
        block_on(agent.run())?
    };
    match turn {
        Turn::Idle => {
            events.tell("idle", json!({}), "there is no job");
            Ok(0)
        }
        Turn::Rebooting | Turn::Waiting => Ok(0),
        Turn::Reported(ExecutionStatus::Succeeded) => Ok(0),
        Turn::Reported(ExecutionStatus::Rejected) => Ok(3),
        Turn::Reported(_) => Ok(1),
    }
}
