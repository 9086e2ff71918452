//! `cargo xtask bench endpoint`: connections, their memory, and durable job cycles of the local endpoint over mutual TLS.

use std::process::ExitCode;

use crate::{error::Result, process, project};

/// Options of `cargo xtask bench endpoint`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench endpoint --check\n  cargo xtask bench endpoint --things 1000\n\n\
    Builds the server with --release first. Client and server share the machine: close what else runs, or read the\n\
    processor time beside each figure. Exit code: 0, or 1 when --check finds a figure missed."
)]
pub(crate) struct Options {
    /// Things that connect and stay
    #[arg(long, default_value_t = 10_000)]
    things: usize,
    /// Things that work on jobs
    #[arg(long, default_value_t = 500)]
    workers: usize,
    /// Fail when a figure misses: 10,000 idle in 400 MB, 1,000 connects and 1,000 job cycles a second
    #[arg(long)]
    check: bool,
}

/// Builds both sides and lets them meet.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut build = process::cargo();
    build.args(["build", "--release", "--locked", "-p", "sealift-server", "--bin", "sealift-server"]);
    process::succeed(build.args(["--example", "endpoint_load"]))?;
    let release = project::target().join("release");
    let mut load = process::command(release.join("examples/endpoint_load"));
    load.arg("--server").arg(release.join("sealift-server"));
    load.args(["--things", &options.things.to_string(), "--workers", &options.workers.to_string()]);
    if options.check {
        load.arg("--check");
    }
    Ok(if process::shown(&mut load)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
