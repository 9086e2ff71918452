//! `sealift-device boot`.

use super::StateArgument;
use super::hooks::HookArguments;
use crate::agent::boot::boot_stage;
use crate::agent::events::Events;
use crate::error::{Error, Result};
use crate::state::State;

const EXAMPLES: &str = "\
Examples:
  sealift-device boot --state /var/lib/sealift --boot-command 'start-slot $SEALIFT_SLOT_PATH' \\
      --health-check selftest
  sealift-device boot --state /var/lib/sealift --json

Exit code 3 with SL-703 means that neither slot holds an image that may run.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    state: StateArgument,
    #[command(flatten)]
    hooks: HookArguments,
    /// Reboots the machine when it runs another slot than it must: after a reverted trial, say.
    #[arg(long, value_name = "CMD", help_heading = "Hooks (command lines for sh -c)")]
    reboot_command: Option<String>,
}

/// Exit code 0 when a verified image runs, whichever it is; the outcome says whether a trial was reverted.
pub(super) fn run(arguments: Arguments, events: Events) -> Result<u8> {
    let state = State::open(&arguments.state.state)?;
    let config = arguments.state.config()?;
    let hooks = arguments.hooks.into_hooks(arguments.reboot_command, &config.boot);
    let running = match boot_stage(&state, &hooks) {
        Err(elsewhere @ Error::Elsewhere { .. }) => {
            hooks.reboot()?;
            return Err(elsewhere);
        }
        running => running?,
    };
    events.tell_as("running", &running.view(), &running.sentence());
    Ok(0)
}
