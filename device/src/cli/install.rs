//! `sealift-device install`.

use std::path::PathBuf;

use sealift_manifests::Digest;
use sealift_verifier::Error as Refusal;
use sealift_verifier::boot::Outcome;
use sealift_verifier::image::Choice;
use sealift_verifier::session::{DeviceFacts, Session};
use serde_json::json;

use super::hooks::HookArguments;
use super::{StateArgument, block_on};
use crate::agent::boot::{Running, boot_stage};
use crate::agent::events::Events;
use crate::agent::hooks::Hooks;
use crate::agent::install::{self, Preferences, Progress};
use crate::agent::metadata::{Arena, take_bundle};
use crate::container::Container;
use crate::error::{Error, Result};
use crate::state::State;

const EXAMPLES: &str = "\
Examples:
  sealift bundle export --product thermostat --with-payload all --out update.sealift
  sealift-device install --state /var/lib/sealift /media/usb/update.sealift
  sealift-device install --state /var/lib/sealift update.bundle --payload firmware-1.1.bin --no-boot

The file is verified exactly as what comes over the network: an older one than the device has seen is refused (SL-401). \
Exit code 1 after an activation means that the new image wasn't well and was reverted.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    state: StateArgument,
    /// An install file, or an update bundle (then name its payloads with --payload).
    file: PathBuf,
    /// A file with one payload, when FILE is a bundle. May be given more than once.
    #[arg(long, value_name = "FILE")]
    payload: Vec<PathBuf>,
    /// The target to install, by the SHA-256 of its entry. [default: the newest version for this device]
    #[arg(long, value_name = "HEX")]
    target: Option<String>,
    /// Leave the trial to the next boot. So it is, too, where agent.toml names who says which slot runs.
    #[arg(long)]
    no_boot: bool,
    #[command(flatten)]
    hooks: HookArguments,
}

pub(super) fn run(arguments: Arguments, events: Events) -> Result<u8> {
    let wanted = arguments.target.as_deref().map(digest).transpose()?;
    let container = Container::open(&arguments.file)?;
    let state = State::open(&arguments.state.state)?;
    let hooks = arguments.hooks.into_hooks(None, &arguments.state.config()?.boot);
    // What a former process left is put in order first: an update never starts on top of a trial.
    let running = boot_stage(&state, &hooks)?;
    let target = install_target(&state, &container, &arguments.payload, wanted, &running, events)?;
    match target {
        // Where a boot loader says which slot runs, only a boot can try the image.
        Some(target) if !arguments.no_boot && hooks.running_slot.is_none() => finish(&state, &hooks, target, events),
        Some(_) => {
            let active = state.control().state().map_err(Error::refused("the boot record"))?.active;
            hooks.select(active.other(), true)?;
            Ok(0)
        }
        None => Ok(0),
    }
}

/// Verifies, writes and activates; `None` when the target runs already.
fn install_target(
    state: &State,
    container: &Container,
    extra: &[PathBuf],
    wanted: Option<Digest>,
    running: &Running,
    events: Events,
) -> Result<Option<Digest>> {
    let arena = Arena::default();
    let session = take_bundle(state, &arena, container.bundle())?;
    let target = wanted.map_or_else(|| newest(&session), Ok)?;
    if running.runs(&target) {
        let version = running.target.version;
        events.tell("already", json!({ "version": version.to_string() }), &format!("version {version} runs already"));
        return Ok(None);
    }
    let facts = DeviceFacts { security_counter: running.security_counter, installed: Some(running.target.version) };
    let approved = session.select(&target, &facts).map_err(Error::refused(format!("target {target}")))?;
    let mut source = container.source(approved.target(), extra)?;
    let mut unwatched = Unwatched;
    let work =
        install::install(state, approved, &running.target.image, Preferences::default(), &mut source, &mut unwatched);
    let (verified, installed) = block_on(work).map_err(|error| match error.refusal() {
        Some(Refusal::NoUsablePayload) => Error::Refused {
            refusal: Refusal::NoUsablePayload,
            context:
                "the file holds no payload that fits this device: export it with --with-payload, or name --payload"
                    .into(),
        },
        _ => error,
    })?;
    let payload = installed.choice.payload();
    let kind = if matches!(installed.choice, Choice::Delta(_)) { "delta" } else { "full" };
    let version = approved.target().version;
    install::activate(state, verified)?;
    events.tell(
        "activated",
        json!({
            "slot": installed.slot.name(), "payload": kind, "bytes": payload.length,
            "version": version.to_string(), "target": target.to_string(),
        }),
        &format!("slot {} holds version {version} ({kind} payload, {} bytes)", installed.slot, payload.length),
    );
    Ok(Some(target))
}

fn finish(state: &State, hooks: &Hooks, target: Digest, events: Events) -> Result<u8> {
    let running = boot_stage(state, hooks)?;
    events.tell_as("running", &running.view(), &running.sentence());
    Ok(match running.state.outcome {
        Outcome::Confirmed(confirmed) if confirmed == target => 0,
        _ => 1,
    })
}

/// The newest version that the bundle lists for this device.
fn newest(session: &Session<'_>) -> Result<Digest> {
    let found = session.candidates().max_by_key(|(_, target)| (target.version, target.security_counter));
    found.map(|(digest, _)| digest).ok_or_else(|| Error::Refused {
        refusal: Refusal::TargetNotListed,
        context: "the bundle lists nothing for this product, component and hardware".into(),
    })
}

fn digest(text: &str) -> Result<Digest> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest)
        .map_err(|_| Error::Usage(format!("--target {text:?} is not 64 hex characters")))?;
    Ok(Digest(digest))
}

struct Unwatched;

impl Progress for Unwatched {
    async fn at(&mut self, _: &Choice, _: u32) -> Result<()> {
        Ok(())
    }
}
