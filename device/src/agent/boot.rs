//! The boot stage: which slot runs, its trial, its confirmation or its revert.

use sealift_manifests::Digest;
use sealift_verifier::boot::{Booted, DeviceState, Outcome};
use sealift_verifier::image::Slot;
use sealift_verifier::session::slot_record::{BootTarget, SLOT_RECORD_MAX};
use serde::Serialize;
use tracing::{info, warn};

use super::hooks::Hooks;
use crate::error::{Error, Result};
use crate::state::State;

/// What runs after the boot stage.
#[derive(Clone, Debug)]
pub struct Running {
    /// The slot.
    pub slot: Slot,
    /// What it holds.
    pub target: BootTarget,
    /// The state as it is recorded.
    pub state: DeviceState,
    /// The security counter.
    pub security_counter: u64,
    /// Why a trial was ended in this stage, if one was.
    pub trial_failed: Option<String>,
}

/// The same for people and programs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningView {
    slot: &'static str,
    version: String,
    target: String,
    image: String,
    security_counter: u64,
    boots: u64,
    outcome: OutcomeView,
    #[serde(skip_serializing_if = "Option::is_none")]
    trial_failed: Option<String>,
}

/// How the last update ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum OutcomeView {
    /// There was none.
    None,
    /// Confirmed.
    Confirmed {
        /// SHA-256 of the target's entry.
        target: String,
    },
    /// Reverted.
    Reverted {
        /// SHA-256 of the target's entry.
        target: String,
        /// Why.
        code: String,
    },
    /// The active slot didn't check and the other took over.
    FellBack {
        /// Why.
        code: String,
    },
}

impl From<Outcome> for OutcomeView {
    fn from(outcome: Outcome) -> Self {
        let code = |code| format!("SL-{code:03}");
        match outcome {
            Outcome::None => OutcomeView::None,
            Outcome::Confirmed(target) => OutcomeView::Confirmed { target: target.to_string() },
            Outcome::Reverted(target, why) => OutcomeView::Reverted { target: target.to_string(), code: code(why) },
            Outcome::FellBack(why) => OutcomeView::FellBack { code: code(why) },
        }
    }
}

impl Running {
    /// For people and programs.
    pub fn view(&self) -> RunningView {
        RunningView {
            slot: self.slot.name(),
            version: self.target.version.to_string(),
            target: self.target.digest.to_string(),
            image: self.target.image.digest.to_string(),
            security_counter: self.security_counter,
            boots: self.state.boots,
            outcome: self.state.outcome.into(),
            trial_failed: self.trial_failed.clone(),
        }
    }

    /// One sentence.
    pub fn sentence(&self) -> String {
        let Running { slot, target, security_counter, .. } = self;
        let version = target.version;
        match self.state.outcome {
            Outcome::Reverted(_, code) => {
                format!("slot {slot} runs version {version} again: the update was reverted (SL-{code:03})")
            }
            Outcome::FellBack(code) => {
                format!("slot {slot} runs version {version}: the other slot doesn't check (SL-{code:03})")
            }
            _ => format!("slot {slot} runs version {version}, security counter {security_counter}"),
        }
    }

    /// Whether the target of this digest is what runs.
    pub fn runs(&self, target: &Digest) -> bool {
        self.target.digest == *target
    }
}

/// A boot into a trial that fails, the boot that reverts it, and one to spare.
const MOST_BOOTS: usize = 3;

/// Runs the boot stage: decides, records, starts, asks, confirms; reverts what isn't well. Whatever a killed process left is
/// put in order first.
pub fn boot_stage(state: &State, hooks: &Hooks) -> Result<Running> {
    let identity = state.config.identity();
    let mut control = state.control();
    let mut scratch = vec![0; SLOT_RECORD_MAX];
    let mut trial_failed = None;
    for _ in 0..MOST_BOOTS {
        let mut slots = state.slots(None)?;
        let booted = control.boot(&identity, &mut slots, &mut scratch).map_err(Error::refused("both slots"))?;
        if !booted.recorded {
            warn!("the state couldn't be recorded; the next boot tries again");
        }
        let path = state.slot_path(booted.slot);
        let well = match hooks.running_slot()?.filter(|runs| *runs != booted.slot) {
            None => start(hooks, &booted, &path),
            // The loader gave up on it, or never heard of it: nobody knows that it is well.
            Some(runs) if booted.trial => Err(Error::Elsewhere { runs, must: booted.slot }),
            Some(runs) => {
                hooks.select(booted.slot, false)?;
                return Err(Error::Elsewhere { runs, must: booted.slot });
            }
        };
        match (booted.trial, well) {
            (false, Ok(())) => return running(&mut control, booted.slot, booted.target, booted.state, trial_failed),
            (false, Err(error)) => return Err(error),
            (true, Ok(())) => {
                let confirmed = control
                    .confirm(booted.slot, &identity, &mut scratch)
                    .map_err(Error::refused("the confirmation"))?;
                info!(slot = %booted.slot, version = %booted.target.version, "the new image confirmed itself");
                // After the record: a loader that isn't told may go back to an image that still runs.
                hooks.select(booted.slot, false)?;
                return running(&mut control, booted.slot, booted.target, confirmed, trial_failed);
            }
            (true, Err(error)) => {
                warn!(slot = %booted.slot, version = %booted.target.version, %error, "the new image isn't well: reverting");
                trial_failed = Some(error.to_string());
            }
        }
    }
    Err(Error::Hook { hook: "boot stage", problem: "one trial followed another".into() })
}

fn start(hooks: &Hooks, booted: &Booted, path: &std::path::Path) -> Result<()> {
    hooks.boot(booted, path)?;
    if booted.trial { hooks.health(booted, path) } else { Ok(()) }
}

fn running(
    control: &mut crate::state::Control,
    slot: Slot,
    target: BootTarget,
    state: DeviceState,
    trial_failed: Option<String>,
) -> Result<Running> {
    let security_counter = control.security_counter().map_err(Error::refused("the security counter"))?;
    Ok(Running { slot, target, state, security_counter, trial_failed })
}
