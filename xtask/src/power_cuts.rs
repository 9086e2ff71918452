//! `cargo xtask power-cuts`: the simulator of `verifier/tests/power_cut`, with its counts shown.

use std::process::ExitCode;

use crate::{error::Result, process};

/// Options of `cargo xtask power-cuts`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask power-cuts\n  cargo xtask power-cuts --long\n\n\
    It shows that the state machine is right, not that a flash chip is. Exit code: 0 when every cut was survived, 1 otherwise.")]
pub(crate) struct Options {
    /// Cut at every write and erase of every scenario, and at pairs of them: at least 250,000 cuts, some minutes on two cores
    #[arg(long)]
    long: bool,
}

/// Runs the simulator, optimised.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut cargo = process::cargo();
    cargo.args(["test", "--release", "--locked", "-p", "sealift-verifier", "--test", "power_cut", "--", "--nocapture"]);
    if options.long {
        cargo.env("SEALIFT_POWER_CUTS", "long");
    }
    Ok(if process::shown(&mut cargo)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
