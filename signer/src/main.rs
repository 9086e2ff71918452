//! The `sealift` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sealift_signer::commands::main()
}
