//! `cargo xtask test`: every check and every test, each counted for what really ran.

mod checks;
mod fuzzing;
mod setup;
mod suites;
mod tally;

use std::{process::ExitCode, time::Instant};

use crate::error::Result;
use tally::{Outcome, Tally};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --only fmt,clippy\n  cargo xtask test --list\n\n\
    Exit code: 0 when nothing failed, 1 otherwise. SEALIFT_REQUIRE_FIRMWARE=1 makes tests on real firmware fail instead of \
    being left out when ../shared/firmware (or $SEALIFT_FIRMWARE) is missing."
)]
pub(crate) struct Options {
    /// Run only these checks (comma-separated names, see --list)
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(names()))]
    only: Vec<String>,
    /// List the checks and end
    #[arg(long)]
    list: bool,
    /// Install nothing; what is missing is counted as skipped
    #[arg(long)]
    no_install: bool,
}

/// One line of the summary: a check, or a whole suite of tests.
struct Check {
    name: &'static str,
    what: &'static str,
    run: fn(&setup::Setup) -> Result<Outcome>,
}

const CHECKS: &[Check] = &[
    Check { name: "fmt", what: "formatting", run: checks::fmt },
    Check { name: "clippy", what: "lints, warnings are errors", run: checks::clippy },
    Check { name: "features", what: "the crates alone and with each feature", run: checks::features },
    Check { name: "deny", what: "licences, bans, sources of dependencies", run: checks::deny },
    Check { name: "advisories", what: "known vulnerabilities of dependencies", run: checks::advisories },
    Check { name: "doc", what: "documentation, warnings are errors", run: checks::doc },
    Check { name: "tables", what: "generated tables in the documents", run: checks::tables },
    Check { name: "no_std", what: "manifests and verifier for thumbv7m-none-eabi", run: checks::no_std },
    Check { name: "boot", what: "the sample firmware in QEMU", run: checks::boot },
    Check { name: "fault_model", what: "each security-relevant branch negated in turn", run: suites::fault_model },
    Check { name: "bare_metal", what: "bootloader and application update themselves in QEMU", run: checks::bare_metal },
    Check { name: "tests", what: "unit and integration tests", run: suites::tests },
    Check { name: "aws", what: "the AWS adapters against the emulator moto", run: suites::aws },
    Check { name: "key_sources", what: "keys in KMS (emulator) and on tokens (SoftHSM)", run: suites::key_sources },
    Check { name: "fuzz", what: "every fuzz target on its named seeds", run: fuzzing::fuzz },
    Check { name: "doctests", what: "examples in the documentation", run: suites::doctests },
];

fn names() -> Vec<&'static str> {
    CHECKS.iter().map(|check| check.name).collect()
}

/// Runs the chosen checks, all of them even if one fails, and closes with the summary.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        for check in CHECKS {
            println!("{:<12}{}", check.name, check.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = |check: &&Check| options.only.is_empty() || options.only.iter().any(|name| name == check.name);
    let setup = setup::Setup::new(!options.no_install);
    let mut tally = Tally::default();
    for check in CHECKS.iter().filter(chosen) {
        println!("\n== {}: {}", check.name, check.what);
        let begun = Instant::now();
        let outcome = (check.run)(&setup).unwrap_or_else(|why| {
            println!("{why}");
            Outcome::failed(why.to_string().lines().next().unwrap_or_default())
        });
        tally.add(check.name, outcome, begun.elapsed());
    }
    tally.print();
    Ok(if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
