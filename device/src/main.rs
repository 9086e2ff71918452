//! `sealift-device`: the reference Linux agent.

use std::process::ExitCode;

fn main() -> ExitCode {
    sealift_device::cli::main()
}
