//! `sealift-device provision`.

use std::path::PathBuf;

use sealift_manifests::bounds::{MAX_BUNDLE, MAX_ENVELOPE, MAX_IMAGE};
use sealift_manifests::{RepositoryId, Version};
use serde_json::json;

use super::StateArgument;
use crate::agent::events::Events;
use crate::error::{Error, Result};
use crate::provision::{ImageFacts, Provision, SlotPlaces, provision};
use crate::state::files;

const EXAMPLES: &str = "\
Examples:
  sealift root export --format cbor --out root.cbor
  sealift bundle export --product thermostat --out 1.0.0.bundle
  sealift-device provision --state ./device --root root.cbor --product thermostat \\
      --hardware board-a --image firmware-1.0.bin --bundle 1.0.0.bundle
  sealift-device provision --state ./device --root root.cbor --product thermostat \\
      --hardware board-a --image firmware-1.0.bin --image-version 1.0.0 --security-counter 1 \\
      --slot-a /dev/mmcblk0p2 --slot-b /dev/mmcblk0p3 --slot-size 67108864

The state directory is made as a whole or not at all. Slots outside of it are overwritten.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    state: StateArgument,
    /// The root file that the device trusts (`sealift root export`).
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// The repository id, 32 hex characters: the root must be of it. [default: the root's]
    #[arg(long, value_name = "HEX")]
    repository: Option<String>,
    /// Product id.
    #[arg(long)]
    product: String,
    /// The component that is updated.
    #[arg(long, default_value = "main")]
    component: String,
    /// Hardware id.
    #[arg(long)]
    hardware: String,
    /// The image that the device leaves the factory with, as it stands in the slot.
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// The update bundle that lists the image: it is verified, and every boot checks the image by its signatures.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image_version", "security_counter"])]
    bundle: Option<PathBuf>,
    /// The image's version, on the factory's word.
    #[arg(long, value_name = "VERSION", required_unless_present = "bundle")]
    image_version: Option<String>,
    /// The image's security counter, on the factory's word.
    #[arg(long, value_name = "N", required_unless_present = "bundle")]
    security_counter: Option<u64>,
    /// Bytes of each slot. [default: twice the image, at least 1 MiB]
    #[arg(long, value_name = "BYTES")]
    slot_size: Option<u64>,
    /// Slot A: a file or block device outside of the state directory.
    #[arg(long, value_name = "PATH", requires = "slot_b", requires = "slot_size")]
    slot_a: Option<PathBuf>,
    /// Slot B.
    #[arg(long, value_name = "PATH", requires = "slot_a")]
    slot_b: Option<PathBuf>,
    /// Refuse to install while no time is known.
    #[arg(long)]
    require_clock: bool,
    /// For a workbench: accept the published example keys, which everybody has.
    #[arg(long)]
    allow_example_keys: bool,
}

const MIB: u64 = 1024 * 1024;

pub(super) fn run(arguments: &Arguments, events: Events) -> Result<u8> {
    let image = files::read(&arguments.image, usize::try_from(MAX_IMAGE).unwrap_or(usize::MAX - 1))?;
    let facts = match &arguments.bundle {
        Some(path) => ImageFacts::Bundle(files::read(path, MAX_BUNDLE)?),
        None => {
            let version = arguments.image_version.as_deref().unwrap_or_default();
            let version: Version = version
                .parse()
                .map_err(|_| Error::Usage(format!("--image-version {version:?} is no version: write it like 1.2.3")))?;
            ImageFacts::Stated(version, arguments.security_counter.unwrap_or(0))
        }
    };
    for (flag, name) in
        [("--product", &arguments.product), ("--component", &arguments.component), ("--hardware", &arguments.hardware)]
    {
        if !sealift_manifests::is_name(name) {
            return Err(Error::Usage(format!(
                "{flag} {name:?} is no name: 1 to 64 of [a-z0-9._-], beginning with [a-z0-9]"
            )));
        }
    }
    let size = arguments.slot_size.unwrap_or_else(|| (2 * image.len() as u64).max(MIB));
    if size == 0 || size > MAX_IMAGE {
        return Err(Error::Usage(format!("--slot-size {size} is not between 1 and {MAX_IMAGE}")));
    }
    let slots = match (&arguments.slot_a, &arguments.slot_b) {
        (Some(a), Some(b)) => SlotPlaces::Outside(a.clone(), b.clone(), size),
        _ => SlotPlaces::Inside(size),
    };
    let what = Provision {
        root: files::read(&arguments.root, MAX_ENVELOPE)?,
        repository: arguments.repository.as_deref().map(repository).transpose()?,
        product: arguments.product.clone(),
        component: arguments.component.clone(),
        hardware: arguments.hardware.clone(),
        image,
        facts,
        slots,
        require_clock: arguments.require_clock,
        allow_example_keys: arguments.allow_example_keys,
    };
    let state = &arguments.state.state;
    let target = provision(state, &what)?;
    let signed = arguments.bundle.is_some();
    if what.allow_example_keys {
        eprintln!("sealift-device: warning: this device accepts the published example keys; never ship it");
    }
    let fields = json!({
        "state": state, "version": target.version.to_string(), "image": target.image.digest.to_string(),
        "securityCounter": target.security_counter, "signed": signed,
    });
    let word = if signed { "signed" } else { "on the factory's word" };
    let sentence = format!(
        "{} is provisioned: version {} ({word}), security counter {}; next: sealift-device enrol",
        state.display(),
        target.version,
        target.security_counter
    );
    events.tell("provisioned", fields, &sentence);
    Ok(0)
}

fn repository(text: &str) -> Result<RepositoryId> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id)
        .map_err(|_| Error::Usage(format!("--repository {text:?} is not 32 hex characters")))?;
    Ok(RepositoryId(id))
}
