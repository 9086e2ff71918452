//! The fuzz targets on their seeds: so that they build, and so that what was once mended stays so.
//!
//! With the compiler at hand and without sanitizers, which want a nightly compiler and minutes to build: `cargo xtask fuzz
//! --seeds` is the same with them.

use std::process::Command;

use super::tally::Outcome;
use crate::{error::Result, fuzz, process, project};

/// The harness's own tests, which say what each named seed must come to, and every seed through its target.
pub(super) fn fuzz(_: &super::setup::Setup) -> Result<Outcome> {
    println!("{}", process::line(stable("test").arg("--lib")));
    if !process::shown(stable("test").arg("--lib"))? {
        return Ok(Outcome::failed("the harness's own tests"));
    }
    if !process::shown(stable("build").arg("--bins"))? {
        return Ok(Outcome::failed("the targets don't build"));
    }
    let mut sum = Outcome::default();
    for target in fuzz::targets()?.keys() {
        let seeds = fuzz::files(&project::root().join("fuzz/seeds").join(target));
        // A folder is something to mutate; files are run once each and that's it.
        let done = process::output(Command::new(project::target().join("debug").join(target)).args(&seeds))?;
        println!("{target}: {} seeds, {}", seeds.len(), done.status);
        if done.status.success() && !seeds.is_empty() {
            sum.passed += 1;
        } else {
            println!("{}", process::tail(&done));
            sum.failed += 1;
            sum.note.push_str(&format!("{target} "));
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
