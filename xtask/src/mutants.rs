//! `cargo xtask mutants`: mutation testing of the two crates that devices carry.
//!
//! Every mutant is one small change of the code; a test has to fail for each. What survives is killed by a new test, or stands in
//! `.cargo/mutants.toml` with its reason. All mutants take a night; a sample is every n-th of them, the same ones each time.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use crate::{
    error::{Error, Result},
    process, project,
};

/// Version of cargo-mutants that is installed when there is none.
const CARGO_MUTANTS: &str = "27.1.0";

/// The crates, each with the tests that judge its mutants: those that need no power cuts, compilers, other builds or other
/// languages' implementations, which would take minutes for each mutant.
const CRATES: &[(&str, &[&str])] = &[
    (
        "sealift-manifests",
        &["--lib", "--test", "wire", "--test", "install_file", "--", "--skip", "judge::", "--skip", "pycose"],
    ),
    (
        "sealift-verifier",
        &["--lib", "--test", "attacks", "--test", "session", "--test", "ed25519", "--test", "install_and_boot"],
    ),
];

/// Options of `cargo xtask mutants`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask mutants --sample 100\n  cargo xtask mutants --changed\n  \
    cargo xtask mutants --file verifier/src/cose.rs\n  cargo xtask mutants --list\n\n\
    It works on a copy of the tree, and installs cargo-mutants under target/tools when it is missing. What came of each mutant \
    stands in target/mutants/CRATE/mutants.out.\n\
    Exit code: 0 when no mutant survived, 1 otherwise.")]
pub(crate) struct Options {
    /// About this many mutants of each crate, evenly spread over it
    #[arg(long, value_name = "N", conflicts_with = "changed")]
    sample: Option<usize>,
    /// Only what differs from main
    #[arg(long)]
    changed: bool,
    /// Only these files (globs)
    #[arg(long, value_name = "GLOB")]
    file: Vec<String>,
    /// List the mutants and end
    #[arg(long)]
    list: bool,
}

/// What became of the mutants of a crate.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    caught: usize,
    missed: Vec<String>,
    timeout: usize,
    unviable: usize,
}

impl Score {
    /// Those that compile: each had to be found.
    fn viable(&self) -> usize {
        self.caught + self.missed.len() + self.timeout
    }

    /// Those that something became of.
    fn tried(&self) -> usize {
        self.viable() + self.unviable
    }

    fn read(out: &Path) -> Score {
        let lines = |name: &str| -> Vec<String> {
            let text = fs::read_to_string(out.join(name)).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        };
        Score {
            caught: lines("caught.txt").len(),
            missed: lines("missed.txt"),
            timeout: lines("timeout.txt").len(),
            unviable: lines("unviable.txt").len(),
        }
    }
}

/// Runs it, or lists.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let program = find()?;
    let difference = if options.changed { Some(difference()?) } else { None };
    let (mut good, mut ran) = (true, 0);
    for (name, tests) in CRATES {
        let prepared = || {
            let mut command = process::command(&program);
            command.args(["mutants", "--colors", "never", "-p", name]);
            for glob in &options.file {
                command.args(["-f", glob]);
            }
            if let Some(file) = &difference {
                command.arg("--in-diff").arg(file);
            }
            command
        };
        let listed = process::succeed(prepared().arg("--list"))?;
        let count = listed.lines().count();
        if options.list {
            print!("{listed}");
            continue;
        }
        if count == 0 {
            println!("{name}: nothing to change");
            continue;
        }
        // Every n-th: the same sample each time, until the code changes.
        let step = options.sample.map_or(1, |sample| count.div_ceil(sample.max(1)));
        let wanted = count.div_ceil(step);
        println!("\n{name}: {wanted} of {count} mutants");
        let out = project::target().join("mutants").join(name);
        fs::create_dir_all(&out).map_err(|source| Error::File { act: "create", path: out.clone(), source })?;
        let mut command = prepared();
        command.args(["--no-shuffle", "--profile", "mutants", "--cap-lints", "true", "--caught"]);
        command.args(["--shard", &format!("0/{step}"), "--sharding", "round-robin"]).arg("-o").arg(&out);
        command.arg("--").args(*tests);
        command.env("CARGO_TARGET_DIR", project::target().join("mutants/build")).stdin(Stdio::null());
        println!("{}", process::line(&command));
        // Its own code says whether any survived; what is counted is what it wrote.
        process::shown(&mut command)?;
        let score = Score::read(&out.join("mutants.out"));
        print(name, &score);
        if score.tried() < wanted {
            println!("{name}: {} of {wanted} were tried before it ended: this is no score", score.tried());
            good = false;
        }
        ran += score.viable();
        good &= score.missed.is_empty() && score.viable() > 0;
    }
    if !options.list && ran == 0 && !options.changed {
        println!("no mutant was tried");
        good = false;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(name: &str, score: &Score) {
    // A mutant whose tests took too long either hangs, which is a find, or met a machine that was too busy: said apart.
    println!(
        "{name}: {} of {} viable mutants found by a failing test, {} ran out of time; {} did not compile",
        score.caught,
        score.viable(),
        score.timeout,
        score.unviable
    );
    score.missed.iter().for_each(|mutant| println!("  survived: {mutant}"));
}

/// cargo-mutants, installed when it is missing.
fn find() -> Result<PathBuf> {
    let tools = project::target().join("tools");
    let own = tools.join("bin/cargo-mutants");
    if let Some(found) = process::which("cargo-mutants") {
        return Ok(found);
    }
    if !own.is_file() {
        println!("building cargo-mutants {CARGO_MUTANTS} under {} (a minute or two)", tools.display());
        let mut install = process::cargo();
        install.args(["install", "cargo-mutants", "--locked", "--debug", "--version", CARGO_MUTANTS]);
        install.args(["--config", "profile.dev.debug=false", "--root"]).arg(&tools);
        install.arg("--target-dir").arg(tools.join("build"));
        process::succeed(&mut install)?;
        let _ = fs::remove_dir_all(tools.join("build"));
    }
    Ok(own)
}

/// What differs from main, in a file.
fn difference() -> Result<PathBuf> {
    let place = project::target().join("mutants/changed.diff");
    let text = process::succeed(process::command("git").args(["diff", "main", "--", "manifests/src", "verifier/src"]))?;
    project::write(&place, text.as_bytes())?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_counted_apart_and_what_does_not_compile_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        for (name, lines) in
            [("caught.txt", "a\nb\n"), ("missed.txt", "c\n"), ("timeout.txt", "d\n"), ("unviable.txt", "e\n")]
        {
            fs::write(dir.path().join(name), lines).unwrap();
        }
        let score = Score::read(dir.path());
        assert_eq!(score, Score { caught: 2, missed: vec!["c".into()], timeout: 1, unviable: 1 });
        assert_eq!(score.viable(), 4);
        assert_eq!(score.tried(), 5);
    }

    /// A mutant is left alone for a reason that stands above it.
    #[test]
    fn every_exclusion_has_a_reason() {
        let text = project::read_text(&project::root().join(".cargo/mutants.toml")).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with('"')) {
            let reason = lines[..at].iter().rev().find(|line| !line.starts_with('"'));
            assert!(reason.is_some_and(|reason| reason.starts_with('#')), "{line} has no reason");
        }
        let _: toml::Table = toml::from_str(&text).unwrap();
    }
}
