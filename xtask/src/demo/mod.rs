//! `cargo xtask demo`: one release travels from a release engineer to devices and back, and six attacks on its way fail.
//!
//! Every program is the real one, in a process of its own, over real sockets and files. What the demo shows it checks: a step
//! or a refusal that doesn't come out as the story says ends it with a failure.

mod attacker;
mod binaries;
mod fleet;
mod refusals;
mod release;
mod server;
mod stage;
mod summary;
mod world;

use std::{path::PathBuf, process::ExitCode};

use crate::{
    error::{Error, Result},
    process, project,
};
use fleet::Device;
use stage::Stage;
use summary::Summary;
use world::World;

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask demo\n  cargo xtask demo --keep /tmp/sealift-demo   # and look around afterwards\n  \
    cargo xtask demo --json\n\nExit code: 0 when every step went as told and every attack was refused as it should be, 1 otherwise."
)]
pub(crate) struct Options {
    /// Keep everything in this folder, which must not exist yet or be empty: keys, repository, server, devices, transcript
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Show microcontrollers update themselves instead: bootloader and application in QEMU, in Rust and in C
    #[arg(long, conflicts_with_all = ["keep", "json"])]
    bare_metal: bool,
    /// Print one JSON object at the end instead of the story
    #[arg(long)]
    json: bool,
}

/// The product of the demo.
const PRODUCT: &str = "weather-station";
/// The board that its devices are.
const BOARD: &str = "mps2-an385";
/// Another board of the same product.
const OTHER_BOARD: &str = "mps2-an386";
/// The group that gets the update.
const FIELD: &str = "field";
/// The group that doesn't.
const LAB: &str = "lab";

/// Runs the demo.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.bare_metal {
        return crate::metal::run();
    }
    let mut stage = Stage::new(options.json);
    let temporary;
    let dir = match &options.keep {
        Some(dir) => {
            let used = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
            if used {
                return Err(Error::Content {
                    path: dir.clone(),
                    what: "it isn't empty; name another --keep folder".into(),
                });
            }
            std::path::absolute(dir).map_err(|source| Error::File { act: "find", path: dir.clone(), source })?
        }
        None => {
            temporary = tempfile::Builder::new().prefix("sealift-demo-").tempdir();
            temporary
                .as_ref()
                .map(|dir| dir.path().to_owned())
                .map_err(|why| Error::Story { what: format!("no temporary folder: {why}") })?
        }
    };
    let mut summary = Summary::default();
    let told = tell(&mut stage, &dir, &mut summary);
    if let Err(why) = &told {
        summary.failure = Some(why.to_string());
    }
    summary.finish(&stage);
    if options.json {
        println!("{:#}", summary.to_json(&stage));
    } else {
        summary.print(&stage);
        if let Some(dir) = &options.keep {
            println!("\n   kept in {} (transcript.txt has every command with its whole answer)", dir.display());
        }
    }
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The story.
fn tell(stage: &mut Stage, dir: &std::path::Path, summary: &mut Summary) -> Result<()> {
    stage.act("Build the three programs");
    let binaries = binaries::build(stage)?;
    let mut world = World::new(dir.to_owned(), binaries)?;
    stage.say(
        "Every command below runs in the demo's folder, with --json added, so that this story can check its answer.",
    );

    stage.act("Keys and the first root");
    release::firmware(&world)?;
    release::keys(stage, &world)?;
    stage.act("Release 1.0.0 of the weather station, the firmware in test-images");
    release::first(stage, &world, summary)?;

    stage.act("A server, and three devices in two groups");
    server::start(stage, &mut world)?;
    server::publish(stage, &world)?;
    let trial = trial_by_qemu(stage, &world)?;
    let [a, b, c] = [("station-1", LAB), ("station-2", FIELD), ("station-3", FIELD)].map(|(name, group)| Device {
        name,
        group,
        trial: trial.clone(),
    });
    let devices = [a, b, c];
    for device in &devices {
        device.make(stage, &world)?;
    }

    stage.act("Release 1.1.0, as an image and as a delta, for the group `field` alone");
    release::second(stage, &world, summary)?;
    server::publish(stage, &world)?;
    fleet::update(stage, &mut world, &devices, summary)?;

    stage.act("A release that is signed and not well, for the group `lab`");
    fleet::revert(stage, &mut world, &devices)?;

    stage.act("Six attacks");
    refusals::all(stage, &mut world, &devices, summary)?;

    stage.act("Who runs what");
    fleet::look(stage, &world, &devices, summary)?;
    Ok(())
}

/// The health check of a trial boot: the new firmware really runs, in QEMU, where that is installed.
fn trial_by_qemu(stage: &Stage, world: &World) -> Result<Option<String>> {
    if process::which("qemu-system-arm").is_none() {
        stage.say(
            "qemu-system-arm isn't installed: trial boots go without running the firmware (Debian: qemu-system-arm).",
        );
        return Ok(None);
    }
    stage.say("Trial boots run the new firmware in QEMU (selftest.sh); its self-test decides by its exit code.");
    let script = "#!/bin/sh\n# The device's slot on an mps2-an385 board, where a bootloader would have copied it to, and its vector table where the\n\
        # core looks for it; the firmware's verdict is the exit code.\n\
        image=\"file=$SEALIFT_SLOT_PATH,force-raw=on\"\n\
        exec qemu-system-arm -M mps2-an385 -cpu cortex-m3 -icount shift=0 -nographic -monitor none -serial null \\\n  \
        -semihosting-config enable=on,target=native -device loader,$image,addr=0 -device loader,$image,addr=0x100000\n";
    project::write(&world.path("selftest.sh"), script.as_bytes())?;
    Ok(Some("sh selftest.sh".into()))
}
