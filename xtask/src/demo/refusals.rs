//! Six attacks, each by someone who has the cloud account or a device's USB port, and each refused with a code.

use std::{path::PathBuf, time::Duration};

use super::{
    BOARD, FIELD, LAB, OTHER_BOARD, PRODUCT, attacker,
    fleet::Device,
    release, server,
    stage::Stage,
    summary::{Refusal, Summary},
    world::{Program, Said, World},
};
use crate::{
    error::{Error, Result},
    project,
};

/// An attack on the device in the lab, or on one in the field.
type Attack = fn(&Stage, &mut World, &Device, &Device) -> Result<Refusal>;

/// Runs them all, in the order in which one leaves the fleet fit for the next.
pub(super) fn all(stage: &mut Stage, world: &mut World, devices: &[Device], summary: &mut Summary) -> Result<()> {
    let find = |name: &str| {
        devices.iter().find(|device| device.name == name).ok_or_else(|| Error::Story { what: format!("no {name}") })
    };
    let (lab, field) = (find("station-1")?, find("station-2")?);
    let attacks: [Attack; 7] = [
        altered_payload,
        altered_manifest,
        older_firmware,
        older_metadata,
        wrong_hardware,
        revoked_key,
        frozen_metadata,
    ];
    for attack in attacks {
        let begun = std::time::Instant::now();
        let refusal = attack(stage, world, lab, field)?;
        let code = refusal.code.as_deref().unwrap_or("nothing");
        let what = format!("{}: refused with {code}. {}", refusal.attack, refusal.sentence);
        stage.record(&what, refusal.is_good(), begun.elapsed());
        summary.refusals.push(refusal);
    }
    Ok(())
}

/// The code of a refusal in the last thing that a program said; none when it succeeded.
fn code(said: &Said) -> Option<String> {
    if said.code == 0 {
        return None;
    }
    let code = said.json["code"].as_str().or_else(|| said.json["error"]["code"].as_str());
    Some(code.unwrap_or("no code").to_owned())
}

/// The code that the server holds for a device of a rollout; it must be the one that the device gave.
fn reported(stage: &Stage, world: &World, rollout: &str, device: &Device, said: &Said) -> Result<Option<String>> {
    let told = code(said);
    let status = server::status(stage, world, rollout)?;
    let entry = server::device_of(&status, device.name);
    let recorded = entry.and_then(|entry| entry["code"].as_str()).map(str::to_owned);
    if told == recorded { Ok(told) } else { Ok(Some(format!("{told:?} on the device but {recorded:?} at the server"))) }
}

/// Flips one bit in the middle of every payload of a file list in the bucket, for the time of an act.
fn with_altered<T>(files: &[PathBuf], act: impl FnOnce() -> Result<T>) -> Result<T> {
    let genuine = files.iter().map(|file| project::read(file)).collect::<Result<Vec<_>>>()?;
    for (file, bytes) in files.iter().zip(&genuine) {
        let mut altered = bytes.clone();
        if let Some(byte) = altered.get_mut(bytes.len() / 2) {
            *byte ^= 1;
        }
        project::write(file, &altered)?;
    }
    let outcome = act();
    files.iter().zip(&genuine).try_for_each(|(file, bytes)| project::write(file, bytes))?;
    outcome
}

fn altered_payload(stage: &Stage, world: &mut World, lab: &Device, _: &Device) -> Result<Refusal> {
    stage.say("Attack 1: the owner of the bucket alters one bit in each payload.");
    let rollout = server::roll_out(stage, world, "1.1.0", LAB, "lab-altered")?;
    let folder = world.path("server/artifacts/payloads");
    let listed =
        std::fs::read_dir(&folder).map_err(|source| Error::File { act: "list", path: folder.clone(), source })?;
    let files: Vec<PathBuf> = listed.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let said = with_altered(&files, || lab.work(stage, world))?;
    Ok(Refusal {
        attack: "altered payload",
        by: "device",
        expected: "SL-603",
        code: reported(stage, world, &rollout, lab, &said)?,
        sentence: "The bytes aren't those whose hash was signed; the slot they went to can't be booted.",
    })
}

fn altered_manifest(stage: &Stage, world: &mut World, lab: &Device, _: &Device) -> Result<Refusal> {
    stage.say("Attack 2: someone alters one letter in the manifest on a USB stick: the hardware it is for.");
    let export =
        ["bundle", "export", "--product", PRODUCT, "--version", "1.1.0", "--with-payload", "--out", "usb.sealift"];
    world.succeed(stage, world.command(Program::Sealift, export))?;
    let altered = attacker::flip_first(&world.read("usb.sealift")?, BOARD);
    let altered = altered.ok_or_else(|| Error::Story { what: format!("usb.sealift doesn't name {BOARD}") })?;
    project::write(&world.path("altered.sealift"), &altered)?;
    let said = lab.install(stage, world, "altered.sealift")?;
    Ok(Refusal {
        attack: "altered manifest",
        by: "device",
        expected: "SL-305",
        code: code(&said),
        sentence: "Snapshot pins the manifest's hash, so it is refused before it is even read.",
    })
}

fn older_firmware(stage: &Stage, world: &mut World, _: &Device, field: &Device) -> Result<Refusal> {
    stage.say("Attack 3: the owner of the job queue sends the field back to 1.0.0, which is signed and still listed.");
    let rollout = server::roll_out(stage, world, "1.0.0", FIELD, "field-back")?;
    let said = field.work(stage, world)?;
    let code = reported(stage, world, &rollout, field, &said)?;
    server::cancel(stage, world, &rollout)?;
    Ok(Refusal {
        attack: "rollback of the firmware",
        by: "device",
        expected: "SL-505",
        code,
        sentence: "1.1.0 raised the security counter when it confirmed itself; nothing below it runs again.",
    })
}

fn older_metadata(stage: &Stage, world: &mut World, _: &Device, field: &Device) -> Result<Refusal> {
    stage.say("And once more with everything that was signed back then, replayed from a file.");
    let said = field.install(stage, world, "1.0.0.sealift")?;
    Ok(Refusal {
        attack: "rollback of the metadata",
        by: "device",
        expected: "SL-401",
        code: code(&said),
        sentence: "The device remembers the version of each role that it accepted; older ones are no news.",
    })
}

fn wrong_hardware(stage: &Stage, world: &mut World, lab: &Device, _: &Device) -> Result<Refusal> {
    stage.say("Attack 4: a release for another board, properly signed, is sent to the wrong devices.");
    release::create(stage, world, "1.1.2", "2", OTHER_BOARD, "station-1.1.0-mps2-an386.bin")?;
    let publish = ["publish", "--state", "server", "--release", "repository"];
    world.succeed(stage, world.command(Program::Server, publish))?;
    let rollout = server::roll_out(stage, world, "1.1.2", LAB, "lab-wrong-board")?;
    let said = lab.work(stage, world)?;
    Ok(Refusal {
        attack: "wrong hardware",
        by: "device",
        expected: "SL-504",
        code: reported(stage, world, &rollout, lab, &said)?,
        sentence: "The signed manifest names the boards; it was refused before a byte of the image was fetched.",
    })
}

fn revoked_key(stage: &Stage, world: &mut World, lab: &Device, _: &Device) -> Result<Refusal> {
    stage.say(
        "Attack 5: CI's key is stolen, and so are the cloud's. The officers revoke CI's key; the thief signs with it.",
    );
    let failed = |act| move |source| Error::File { act, path: "thief".into(), source };
    std::fs::create_dir_all(world.path("thief")).map_err(failed("create"))?;
    for key in ["ci/release", "cloud/snapshot", "cloud/timestamp"] {
        let (from, to) = (format!("{key}.pem"), key.replace("ci/", "thief/").replace("cloud/", "thief/") + ".pem");
        std::fs::copy(world.path(from), world.path(to)).map_err(failed("steal to"))?;
    }
    replace_keys(stage, world, &["ci/release"])?;
    let image = world.read("firmware/station-1.1.0-mps2-an385-unhealthy.bin")?;
    project::write(&world.path("forged.sealift"), &attacker::forge(world, PRODUCT, BOARD, &image)?)?;
    let said = lab.install(stage, world, "forged.sealift")?;
    Ok(Refusal {
        attack: "revoked key",
        by: "device",
        expected: "SL-201",
        code: code(&said),
        sentence: "The delegation names another key now. Snapshot and timestamp were stolen too, and don't help.",
    })
}

fn frozen_metadata(stage: &Stage, world: &mut World, lab: &Device, _: &Device) -> Result<Refusal> {
    stage.say("The cloud's keys were stolen too, so two officers sign root 2 with new ones: what the thief signed falls with them.");
    replace_keys(stage, world, &["cloud/snapshot", "cloud/timestamp"])?;
    stage.say("Attack 6: the owner of the cloud stops the clock: he goes on showing what was signed last.");
    edit(world, &[("expires = \"2w\"", "expires = \"4 seconds\"")])?;
    world.succeed(stage, world.command(Program::Sealift, ["renew"]))?;
    let publish = ["publish", "--state", "server", "--release", "repository"];
    world.succeed(stage, world.command(Program::Server, publish))?;
    let rollout = server::roll_out(stage, world, "1.1.0", LAB, "lab-frozen")?;
    stage.say("(This timestamp is good for 4 seconds, so that you needn't wait two weeks.)");
    std::thread::sleep(Duration::from_secs(5));
    let said = lab.work(stage, world)?;
    Ok(Refusal {
        attack: "frozen metadata",
        by: "device",
        expected: "SL-403",
        code: reported(stage, world, &rollout, lab, &said)?,
        sentence: "The timestamp has expired: nothing is installed, what runs goes on, the job counts as to be retried.",
    })
}

/// Makes successors of keys, puts them into `sealift.toml`, and has the change signed and published.
fn replace_keys(stage: &Stage, world: &World, keys: &[&str]) -> Result<()> {
    let public = |facts: &serde_json::Value| facts["keys"][0]["cose_key"].as_str().unwrap_or_default().to_owned();
    for key in keys {
        let (old, new) = (format!("{key}.pem"), format!("{key}-2.pem"));
        let made = world.succeed(stage, world.command(Program::Sealift, ["keys", "generate", &new]))?;
        let (old_uri, new_uri) = (format!("file:{old}"), format!("file:{new}"));
        let was = world.succeed(stage, world.command(Program::Sealift, ["keys", "show", &old_uri]))?;
        edit(world, &[(&old_uri, &new_uri), (&public(&was), &public(&made))])?;
    }
    stage.command("$EDITOR sealift.toml   # the new keys in the place of the old ones");
    world.succeed(stage, world.command(Program::Sealift, ["root", "apply"]))?;
    let publish = ["publish", "--state", "server", "--release", "repository"];
    world.succeed(stage, world.command(Program::Server, publish)).map(drop)
}

/// Edits `sealift.toml`, as its owner would in an editor; every text must be there.
fn edit(world: &World, changes: &[(&str, &str)]) -> Result<()> {
    let path = world.path("sealift.toml");
    let mut text = project::read_text(&path)?;
    for (from, to) in changes {
        if !text.contains(from) {
            return Err(Error::Content { path, what: format!("`{from}` isn't in it") });
        }
        text = text.replace(from, to);
    }
    project::write(&path, text.as_bytes())
}
