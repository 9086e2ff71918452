//! The devices: made in the factory, enrolled, updated, asked.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    BOARD, FIELD, LAB, PRODUCT, release, server,
    stage::Stage,
    summary::{Runs, Summary},
    world::{Program, Said, World},
};
use crate::{
    error::{Error, Result},
    project,
};

/// One device of the fleet.
pub(super) struct Device {
    /// Its name.
    pub(super) name: &'static str,
    /// Its group.
    pub(super) group: &'static str,
    /// The health check of its trial boots, if there is one.
    pub(super) trial: Option<String>,
}

impl Device {
    /// Its state folder, relative to the demo's.
    pub(super) fn state(&self) -> String {
        format!("devices/{}", self.name)
    }

    /// Provisions it with 1.0.0 and enrols it.
    pub(super) fn make(&self, stage: &mut Stage, world: &World) -> Result<()> {
        let what = format!("{} leaves the factory with 1.0.0 and enrols in group `{}`", self.name, self.group);
        stage.step(&what, |stage| {
            let mut provision = world.command(Program::Device, ["provision", "--state", &self.state()]);
            provision.args(["--root", "root.cbor", "--product", PRODUCT, "--hardware", BOARD]);
            provision.args([
                "--image",
                "firmware/station-1.0.0-mps2-an385.bin",
                "--bundle",
                "1.0.0.bundle",
                "--slot-size",
                "262144",
            ]);
            world.succeed(stage, provision)?;
            let mut token = world.command(Program::Server, ["devices", "token", "--state", "server"]);
            token.args(["--group", self.group, "--product", PRODUCT, "--thing", self.name]);
            let issued = world.succeed(stage, token)?;
            let secret = issued["token"].as_str().unwrap_or_default().to_owned();
            let file = world.path(format!("{}.token", self.name));
            project::write(&file, secret.as_bytes())?;
            let (url, ca) = server::address(world)?;
            let mut enrol = world.command(Program::Device, ["enrol", "--state", &self.state()]);
            enrol.args(["--server", &url, "--ca", &ca, "--thing", self.name]);
            enrol.arg("--token-file").arg(format!("{}.token", self.name));
            world.succeed(stage, enrol).map(drop)
        })
    }

    /// Lets it look for a job and carry it out.
    pub(super) fn work(&self, stage: &Stage, world: &World) -> Result<Said> {
        let mut run = world.command(Program::Device, ["run", "--state", &self.state(), "--once"]);
        if let Some(trial) = &self.trial {
            run.args(["--health-check", trial]);
        }
        world.run(stage, run)
    }

    /// Hands it an install file, as from a USB stick.
    pub(super) fn install(&self, stage: &Stage, world: &World, file: &str) -> Result<Said> {
        world.run(stage, world.command(Program::Device, ["install", "--state", &self.state(), file]))
    }

    /// What it says of itself.
    pub(super) fn status(&self, stage: &Stage, world: &World) -> Result<Value> {
        world.succeed(stage, world.command(Program::Device, ["status", "--state", &self.state()]))
    }
}

/// The update of one group.
pub(super) fn update(stage: &mut Stage, world: &mut World, devices: &[Device], summary: &mut Summary) -> Result<()> {
    let begun = Instant::now();
    let name =
        stage.step("the rollout is created", |stage| server::roll_out(stage, world, "1.1.0", FIELD, "field-1-1-0"))?;
    let field: Vec<&Device> = devices.iter().filter(|device| device.group == FIELD).collect();
    let bar = stage.bar("devices updated", field.len() as u64);
    for device in &field {
        let what = format!("{}: job, verified, delta applied, trial boot, confirmed, reported", device.name);
        stage.step(&what, |stage| {
            let said = device.work(stage, world)?;
            if said.code == 0 {
                Ok(())
            } else {
                Err(Error::Story { what: format!("{what}: exit code {}\n{}", said.code, said.text) })
            }
        })?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let status = stage.step("the server has a signed report from each of them", |stage| {
        world.wait("the rollout succeeds", Duration::from_secs(20), |world| {
            let status = server::status(stage, world, &name)?;
            Ok((status["proven"].as_u64() == Some(field.len() as u64)).then_some(status))
        })
    })?;
    summary.rollout_seconds = Some(begun.elapsed().as_secs_f64());
    if status["differences"].as_u64() != Some(0) {
        return Err(Error::Story { what: format!("job state and proven state differ: {status}") });
    }
    Ok(())
}

/// A release that CI signed and that isn't well: its trial boot ends in a revert, and the job says so.
pub(super) fn revert(stage: &mut Stage, world: &mut World, devices: &[Device]) -> Result<()> {
    let Some(lab) = devices.iter().find(|device| device.group == LAB && device.trial.is_some()) else {
        stage.say("Left out: without QEMU no firmware runs whose self-test could fail.");
        return Ok(());
    };
    stage.step("release 1.1.1 is signed, published, and rolled out to `lab`", |stage| {
        release::create(stage, world, "1.1.1", "2", BOARD, "station-1.1.0-mps2-an385-unhealthy.bin")?;
        let publish = ["publish", "--state", "server", "--release", "repository"];
        world.succeed(stage, world.command(Program::Server, publish))?;
        server::roll_out(stage, world, "1.1.1", LAB, "lab-1-1-1").map(drop)
    })?;
    stage.step("its self-test fails in the trial boot: reverted, the old firmware runs, the job is FAILED", |stage| {
        let said = lab.work(stage, world)?;
        let status = server::status(stage, world, "lab-1-1-1")?;
        let entry = server::device_of(&status, lab.name);
        let recorded = entry.and_then(|entry| Some((entry["status"].as_str()?, entry["code"].as_str()?)));
        let device = lab.status(stage, world)?;
        let active = device["active"].as_str().unwrap_or_default();
        let runs = device["slots"][active]["version"].as_str();
        if said.code == 1 && recorded == Some(("FAILED", "SL-706")) && runs == Some("1.0.0") {
            return Ok(());
        }
        Err(Error::Story { what: format!("exit code {}, {recorded:?}, runs {runs:?}\n{}", said.code, said.text) })
    })
}

/// Who runs what at the end.
pub(super) fn look(stage: &mut Stage, world: &World, devices: &[Device], summary: &mut Summary) -> Result<()> {
    let rollout = server::status(stage, world, "field-1-1-0")?;
    for device in devices {
        let status = device.status(stage, world)?;
        let active = status["active"].as_str().unwrap_or_default();
        let version = status["slots"][active]["version"].as_str().unwrap_or("?").to_owned();
        let proven = server::device_of(&rollout, device.name)
            .map_or("not in the rollout".into(), |entry| entry["proven"]["state"].as_str().unwrap_or("?").to_owned());
        let expected = if device.group == FIELD { "1.1.0" } else { "1.0.0" };
        stage.record(&format!("{} runs {version}", device.name), version == expected, Duration::ZERO);
        let counter = status["securityCounter"].as_u64().unwrap_or(0);
        summary.fleet.push(Runs { thing: device.name.into(), group: device.group.into(), version, counter, proven });
    }
    Ok(())
}
