//! The `sealift-server` command: publish, rollouts and the local AWS-compatible endpoint.

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    sealift_server::cli::Cli::parse().run()
}
