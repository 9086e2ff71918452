//! The fuzz targets on their seeds: so that they build, and so that what was once mended stays so.

use std::{path::Path, process::Command};

use super::tally::Outcome;
use crate::{
    error::Result,
    fuzz::{self, Fuzzer},
    process, project,
};

/// Seconds that each target goes on for after its seeds.
const SECONDS: u32 = 3;

/// With nightly and cargo-fuzz, a few seconds of each target under AddressSanitizer. Always, with the compiler at hand: the
/// harness's own tests, which say what each named seed must come to, and every seed through its target.
pub(super) fn fuzz(_: &super::setup::Setup) -> Result<Outcome> {
    let mut sum = replay()?;
    if sum.failed > 0 {
        return Ok(sum);
    }
    match Fuzzer::present() {
        Some(fuzzer) => {
            println!("nightly and cargo-fuzz are here: {SECONDS} seconds of each target with AddressSanitizer");
            let outcome = sanitized(&fuzzer)?;
            sum.passed += outcome.passed;
            sum.failed += outcome.failed;
            sum.note = outcome.note;
        }
        None => {
            let missing = if fuzz::has_nightly() { "cargo-fuzz" } else { "a nightly compiler" };
            sum.note =
                format!("seeds replayed without sanitizers: {missing} is missing (cargo xtask fuzz installs it)");
            println!("{}", sum.note);
            sum.skipped += 1;
        }
    }
    Ok(sum)
}

/// In the workspace's own target folder, so that what both depend on is built once.
fn stable(act: &str) -> Command {
    let mut cargo = process::cargo();
    cargo.args([act, "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"]).arg(project::target());
    cargo
}

fn replay() -> Result<Outcome> {
    println!("{}", process::line(stable("test").arg("--lib")));
    if !process::shown(stable("test").arg("--lib"))? {
        return Ok(Outcome::failed("the harness's own tests"));
    }
    if !process::shown(stable("build").arg("--bins"))? {
        return Ok(Outcome::failed("the targets don't build"));
    }
    let program = |target: &str| Command::new(project::target().join("debug").join(target));
    each(program, |command, seeds| {
        // A folder is something to mutate; files are run once each and that's it.
        command.args(fuzz::files(seeds));
    })
}

fn sanitized(fuzzer: &Fuzzer) -> Result<Outcome> {
    if !process::shown(&mut fuzzer.command("build"))? {
        return Ok(Outcome::failed("the targets don't build with sanitizers"));
    }
    let scratch = tempfile::tempdir().map_err(|source| crate::error::Error::File {
        act: "create",
        path: std::env::temp_dir(),
        source,
    })?;
    let program = |target: &str| {
        let mut command = fuzzer.command("run");
        command.arg(target).arg(scratch.path());
        command
    };
    each(program, |command, seeds| {
        command.arg(seeds).args(["--", "-verbosity=0"]).arg(format!("-max_total_time={SECONDS}"));
    })
}

/// Runs every target on its seeds; what one printed is shown when it fails.
fn each(program: impl Fn(&str) -> Command, arguments: impl Fn(&mut Command, &Path)) -> Result<Outcome> {
    let mut sum = Outcome::default();
    for target in fuzz::targets()?.keys() {
        let seeds = project::root().join("fuzz/seeds").join(target);
        let mut command = program(target);
        arguments(&mut command, &seeds);
        let done = process::output(&mut command)?;
        println!("{target}: {} seeds, {}", fuzz::files(&seeds).len(), done.status);
        if done.status.success() {
            sum.passed += 1;
        } else {
            println!("{}", process::tail(&done));
            sum.failed += 1;
            sum.note.push_str(&format!("{target} "));
        }
    }
    Ok(sum)
}
