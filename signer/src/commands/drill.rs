//! `sealift drill …`.

use std::fmt::Write;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Global;
use crate::clock;
use crate::drill::{Drill, key_compromise};
use crate::error::{Error, Result};
use crate::output::Report;

/// Subcommands of `drill`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Rehearse the theft of a role's keys, on a copy: revoke, rotate, sign anew, and see that devices recover
    KeyCompromise(Options),
}

/// Options of `drill key-compromise`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sealift drill key-compromise --role targets\n  sealift drill key-compromise --role thermostat --json\n\n\
    The copy has the project's roles, thresholds, delegations and releases, with stand-in keys and a repository id of its own: no \
    real key is used, and the project is not touched. Devices are simulated around sealift-verifier itself. With the keys of a \
    role, those of snapshot and timestamp are taken where the role alone would reach no device. SECURITY.md has the runbook."
)]
pub(super) struct Options {
    /// Whose keys are stolen: targets, snapshot, timestamp, root (one short of the threshold), or a delegation
    #[arg(long, value_name = "ROLE")]
    role: String,
}

/// Runs one of them.
pub(super) fn run(global: &Global, command: Command) -> Result<Report> {
    let Command::KeyCompromise(options) = command;
    let project = global.load()?;
    let drill = key_compromise(&project, &options.role, global.development, clock::signing_time()?)?;
    let text = words(&drill);
    if !drill.passed() {
        let failed: Vec<_> =
            drill.steps.iter().filter(|step| !step.ok).map(|step| format!("{}: {}", step.what, step.outcome)).collect();
        eprintln!("{text}");
        return Err(Error::refused(format!("the drill failed: {}", failed.join("; ")), "please report this"));
    }
    let steps: Vec<_> = drill
        .steps
        .iter()
        .map(|step| {
            json!({
                "what": step.what, "outcome": step.outcome, "code": step.code.map(|code| format!("SL-{code:03}")),
                "ok": step.ok, "millis": step.millis as u64,
            })
        })
        .collect();
    let facts = json!({
        "drill": "key-compromise", "role": drill.role, "stolen": drill.stolen, "passed": drill.passed(), "steps": steps,
        "recovery_millis": drill.recovery_millis as u64, "millis": drill.millis as u64,
    });
    Ok(Report::new(text, facts))
}

fn words(drill: &Drill) -> String {
    let mut text = format!("the keys of {} are stolen: {}\n", drill.role, drill.stolen.join(", "));
    for step in &drill.steps {
        let sign = if step.ok { "ok" } else { "NO" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {sign}  {:>6} ms  {}\n                 -> {}", step.millis, step.what, step.outcome);
    }
    let ok = drill.steps.iter().filter(|step| step.ok).count();
    let _ = write!(
        text,
        "{ok} of {} steps as they have to be; from the discovery to the last device {} ms of computing, {} ms in all.\nIn earnest \
         add the time until officers are together and devices are online: SECURITY.md has the runbook.",
        drill.steps.len(),
        drill.recovery_millis,
        drill.millis
    );
    text
}
