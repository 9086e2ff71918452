//! The release engineer's part: keys, project, releases.

use serde_json::Value;

use super::{
    BOARD, OTHER_BOARD, PRODUCT,
    stage::Stage,
    summary::Summary,
    world::{Program, World},
};
use crate::{
    error::{Error, Result},
    project,
};

/// Makes the keys, each where its custody says it lives, and signs the first root with two officers of three.
pub(super) fn keys(stage: &mut Stage, world: &World) -> Result<()> {
    stage.step("seven keys, in three hands: officers (offline), CI, and the cloud account", |stage| {
        for folder in ["officers", "ci", "cloud"] {
            let path = world.path(folder);
            std::fs::create_dir_all(&path).map_err(|source| Error::File { act: "create", path, source })?;
        }
        let files = [
            "officers/root-1.pem",
            "officers/root-2.pem",
            "officers/root-3.pem",
            "officers/targets.pem",
            "ci/release.pem",
            "cloud/snapshot.pem",
            "cloud/timestamp.pem",
        ];
        let generate = world.command(Program::Sealift, ["keys", "generate"].into_iter().chain(files));
        world.succeed(stage, generate).map(drop)
    })?;
    stage.step("sealift.toml and root 1, which two of three officers must sign", |stage| {
        let mut init = world.command(Program::Sealift, ["init", "--product", PRODUCT, "--hardware", BOARD]);
        init.args(["--hardware", OTHER_BOARD]);
        for officer in ["root-1", "root-2", "root-3"] {
            init.args(["--root-key", &format!("file:officers/{officer}.pem")]);
        }
        init.args(["--root-threshold", "2", "--targets-key", "file:officers/targets.pem"]);
        init.args(["--release-key", "file:ci/release.pem"]);
        init.args(["--snapshot-key", "file:cloud/snapshot.pem", "--timestamp-key", "file:cloud/timestamp.pem"]);
        world.succeed(stage, init).map(drop)
    })?;
    stage.step("the root that the factory puts into devices", |stage| {
        let export = ["root", "export", "--format", "cbor", "--out", "root.cbor"];
        world.succeed(stage, world.command(Program::Sealift, export)).map(drop)
    })?;
    stage.say(
        "The server below never sees a private key. CI's key alone signs releases, of this product and nothing else.",
    );
    Ok(())
}

/// Puts the checked-in images where a build would leave them: into `firmware`.
pub(super) fn firmware(world: &World) -> Result<()> {
    let images = project::root().join("test-images/images");
    let listed =
        std::fs::read_dir(&images).map_err(|source| Error::File { act: "list", path: images.clone(), source })?;
    for entry in listed.flatten() {
        project::write(&world.path("firmware").join(entry.file_name()), &project::read(&entry.path())?)?;
    }
    Ok(())
}

/// Signs a release and returns what `sealift` says of it.
pub(super) fn create(
    stage: &Stage,
    world: &World,
    version: &str,
    counter: &str,
    board: &str,
    file: &str,
) -> Result<Value> {
    let mut create = world.command(Program::Sealift, ["release", "create", "--product", PRODUCT, "--version", version]);
    create.args(["--security-counter", counter, "--hardware", board, "--image", &format!("firmware/{file}")]);
    let facts = world.succeed(stage, create)?;
    Ok(facts["release"].clone())
}

/// Release 1.0.0, from the ELF file that the linker wrote.
pub(super) fn first(stage: &mut Stage, world: &World, summary: &mut Summary) -> Result<()> {
    stage.step("release 1.0.0 is signed by CI's key", |stage| {
        let release = create(stage, world, "1.0.0", "1", BOARD, "station-1.0.0-mps2-an385.elf")?;
        summary.release(&release);
        Ok(())
    })?;
    stage.step("its bundle for the factory, and an install file with the image for a USB stick", |stage| {
        for (out, with) in [("1.0.0.bundle", &[][..]), ("1.0.0.sealift", &["--with-payload"])] {
            let mut export = world.command(Program::Sealift, ["bundle", "export", "--product", PRODUCT, "--out", out]);
            export.args(with);
            world.succeed(stage, export)?;
        }
        Ok(())
    })
}

/// Release 1.1.0, from Intel HEX, with a delta from 1.0.0 and a higher security counter.
pub(super) fn second(stage: &mut Stage, world: &World, summary: &mut Summary) -> Result<()> {
    let release = stage.step("release 1.1.0 is signed, security counter 2", |stage| {
        let release = create(stage, world, "1.1.0", "2", BOARD, "station-1.1.0-mps2-an385.hex")?;
        summary.release(&release);
        Ok(release)
    })?;
    stage.step("the bundle of signed metadata that a job carries", |stage| {
        let export = ["bundle", "export", "--product", PRODUCT, "--out", "1.1.0.bundle"];
        let facts = world.succeed(stage, world.command(Program::Sealift, export))?;
        summary.bundle = facts["bundle_length"].as_u64();
        Ok(())
    })?;
    let (full, delta) = sizes(&release);
    let delta = delta.ok_or_else(|| Error::Story { what: "release 1.1.0 has no delta from 1.0.0".into() })?;
    summary.full = Some(full);
    summary.delta = Some(delta);
    let percent = delta as f64 * 100.0 / full as f64;
    stage.say(&format!("The image has {full} bytes, the delta from 1.0.0 has {delta}: {percent:.1} % of it."));
    Ok(())
}

/// Bytes of the image, and of the smallest delta to it.
fn sizes(release: &Value) -> (u64, Option<u64>) {
    let full = release["image"]["length"].as_u64().unwrap_or(0);
    let payloads = release["payloads"].as_array().into_iter().flatten();
    let deltas = payloads.filter(|payload| !payload["base_sha256"].is_null());
    (full, deltas.filter_map(|payload| payload["length"].as_u64()).min())
}
