//! The hooks' arguments, shared by the commands that boot.

use std::time::Duration;

use crate::agent::hooks::Hooks;
use crate::state::agent_config::Boot;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Hooks (command lines for sh -c)")]
pub(super) struct HookArguments {
    /// Told which slot is to run, whenever one is chosen: SEALIFT_SLOT, SEALIFT_SLOT_PATH, SEALIFT_VERSION,
    /// SEALIFT_IMAGE_LENGTH, SEALIFT_IMAGE_SHA256, SEALIFT_TRIAL in its environment.
    #[arg(long, value_name = "CMD")]
    boot_command: Option<String>,
    /// Says by exit code 0 that an image on trial is well; anything else reverts it. The same environment. Without it, an
    /// image whose boot command succeeded is confirmed.
    #[arg(long, value_name = "CMD")]
    health_check: Option<String>,
    /// Seconds that a hook may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    hook_timeout: u64,
}

impl HookArguments {
    pub(super) fn into_hooks(self, reboot_command: Option<String>, boot: &Boot) -> Hooks {
        Hooks {
            boot_command: self.boot_command,
            health_check: self.health_check,
            reboot_command,
            timeout: Duration::from_secs(self.hook_timeout),
            loader: boot.loader.clone(),
            running_slot: boot.running_slot.clone(),
        }
    }
}
