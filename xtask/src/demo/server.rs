//! The operator's part: the server, publications, rollouts.

use std::time::Duration;

use serde_json::Value;

use super::{
    PRODUCT,
    stage::Stage,
    world::{Program, World},
};
use crate::error::{Error, Result};

/// Starts the server on a free port and waits for its ready line.
pub(super) fn start(stage: &mut Stage, world: &mut World) -> Result<()> {
    stage.step("the server listens, with mutual TLS and a development CA of its own", |stage| {
        let serve = world.command(Program::Server, ["serve", "--state", "server", "--listen", "127.0.0.1:0", "--json"]);
        world.start(stage, "server", serve)?;
        world.wait("the server is ready", Duration::from_secs(30), |world| {
            if !world.is_running("server") {
                let log = String::from_utf8_lossy(&world.read("server.log")?).into_owned();
                return Err(Error::Story { what: format!("the server ended:\n{log}") });
            }
            Ok(ready(world)?.is_some().then_some(()))
        })
    })
}

/// The server's ready line, once it is there. It has the URL and the CA's certificate.
fn ready(world: &World) -> Result<Option<Value>> {
    let log = String::from_utf8_lossy(&world.read("server.log")?).into_owned();
    // The line may be printed over several lines: everything from its brace to the log lines that follow.
    let mut values = serde_json::Deserializer::from_str(&log).into_iter::<Value>();
    Ok(values.by_ref().filter_map(std::result::Result::ok).find(|value| value["ready"] == true))
}

/// The server's origin and the file with the certificate that devices trust.
pub(super) fn address(world: &World) -> Result<(String, String)> {
    let ready = ready(world)?.ok_or_else(|| Error::Story { what: "the server isn't ready".into() })?;
    let text = |name: &str| ready[name].as_str().map(str::to_owned);
    let missing = || Error::Story { what: format!("the server's ready line lacks its url or ca: {ready}") };
    text("url").zip(text("ca")).ok_or_else(missing)
}

/// Publishes what the signer has written.
pub(super) fn publish(stage: &mut Stage, world: &World) -> Result<()> {
    stage.step("the server checks the release with the device's own code, and publishes it", |stage| {
        let publish = ["publish", "--state", "server", "--release", "repository"];
        world.succeed(stage, world.command(Program::Server, publish)).map(drop)
    })
}

/// Rolls a release out to a group; returns the rollout's name.
pub(super) fn roll_out(stage: &Stage, world: &World, version: &str, group: &str, name: &str) -> Result<String> {
    let mut create = world.command(Program::Server, ["rollout", "create", "--state", "server", "--product", PRODUCT]);
    create.args(["--release", version, "--group", group, "--name", name]);
    world.succeed(stage, create).map(|_| name.to_owned())
}

/// The state of a rollout.
pub(super) fn status(stage: &Stage, world: &World, name: &str) -> Result<Value> {
    let status = ["rollout", "status", "--state", "server", name];
    world.succeed(stage, world.command(Program::Server, status))
}

/// Stops a rollout.
pub(super) fn cancel(stage: &Stage, world: &World, name: &str) -> Result<()> {
    let cancel = ["rollout", "cancel", "--state", "server", name];
    world.succeed(stage, world.command(Program::Server, cancel)).map(drop)
}

/// What a rollout says of one device: status, code and reason.
pub(super) fn device_of<'v>(status: &'v Value, device: &str) -> Option<&'v Value> {
    status["devices"].as_array()?.iter().find(|entry| entry["thing"] == device)
}
