//! Project automation: everything that is done to the project rather than by it, one module a command.

mod apt;
mod attacks;
mod bare_metal;
mod bench_delta;
mod bench_device;
mod bench_endpoint;
mod demo;
mod dependencies;
mod docs;
mod error;
mod figures;
mod fuzz;
mod images;
mod marked;
mod metal;
mod mutants;
mod panics;
mod power_cuts;
mod process;
mod project;
mod sbom;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, tests and shows Sealift.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show one release travel to devices, and six attacks fail
    Demo(demo::Options),
    /// Run every check and every test, installing what they need
    Test(test::Options),
    /// Write the generated tables of the documents
    Docs(docs::Options),
    /// Count lines and dependencies
    Figures,
    /// List every known attack with the tests that carry it out, and run them
    Attacks(attacks::Options),
    /// Attack the verifier: run the fuzz targets
    Fuzz(fuzz::Options),
    /// Change the code in small ways and see whether a test notices
    Mutants(mutants::Options),
    /// Write what Sealift is built from (CycloneDX)
    Sbom(sbom::Options),
    /// Measure, and hold what was measured to its budget
    #[command(subcommand)]
    Bench(Bench),
    /// Cut the power of a simulated device at every write and erase
    PowerCuts(power_cuts::Options),
    /// Build the sample firmware in test-images again
    Images(images::Options),
}

/// What is measured.
#[derive(Subcommand)]
enum Bench {
    /// Flash, RAM and instructions of the verifier on a Cortex-M3
    Device(bench_device::Options),
    /// Size, time and memory of deltas beside other tools, over pairs of real firmware
    Delta(bench_delta::Options),
    /// Connections, their memory, and durable job cycles of the local endpoint
    Endpoint(bench_endpoint::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Docs(options) => docs::run(&options),
        Command::Figures => figures::run(),
        Command::Attacks(options) => attacks::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Mutants(options) => mutants::run(&options),
        Command::Sbom(options) => sbom::run(&options),
        Command::Bench(Bench::Device(options)) => bench_device::run(&options),
        Command::Bench(Bench::Delta(options)) => bench_delta::run(&options),
        Command::PowerCuts(options) => power_cuts::run(&options),
        Command::Bench(Bench::Endpoint(options)) => bench_endpoint::run(&options),
        Command::Images(options) => images::run(&options),
    };
    match outcome {
        Ok(code) => code,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
