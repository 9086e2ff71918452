//! `cargo xtask mutants`: mutation testing of the two crates that devices carry.
//!
//! Every mutant is one small change of the code; a test has to fail for each. What survives is killed by a new test, or stands in
//! `.cargo/mutants.toml` with its reason.
//!
//! cargo-mutants says which mutants there are. Building a crate and its tests for each would take days, so the crate is built once with
//! all of them as switches ([`switches`]), and each is tried with the tests that come by it, the quickest first, until one fails
//! ([`judge`]). What can't be switched while a program runs (constants, lengths, fields left out) is then built, one by one ([`rebuilt`]).

mod branches;
mod build;
mod judge;
mod list;
mod rebuilt;
mod score;
mod switches;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{error::Result, process, project};
use judge::Fate;
use list::Mutant;
use score::{Journal, Score};

/// Version of cargo-mutants that is installed when there is none.
const CARGO_MUTANTS: &str = "27.1.0";

/// A crate and the tests that judge its mutants.
struct Judged {
    name: &'static str,
    folder: &'static str,
    /// Programs of tests, besides those in the crate itself.
    tests: &'static [&'static str],
    /// Where what has to be built is tried first: of a file whose path begins so, the program that asks most of it (`lib`: the tests in
    /// the crate itself). The longest beginning counts.
    near: &'static [(&'static str, &'static str)],
    /// Tests that aren't asked: compilers, other builds and other languages' implementations, which take minutes or aren't there.
    never: &'static [&'static str],
}

impl Judged {
    /// All its programs of tests.
    fn programs(&self) -> Vec<&'static str> {
        ["lib"].iter().chain(self.tests).copied().collect()
    }
}

const CRATES: &[Judged] = &[
    Judged {
        name: "sealift-manifests",
        folder: "manifests",
        tests: &["wire", "delta_format", "install_file"],
        near: &[("manifests/src", "wire"), ("manifests/src/delta_format", "delta_format")],
        never: &["pycose"],
    },
    Judged {
        name: "sealift-verifier",
        folder: "verifier",
        tests: &[
            "attacks",
            "session",
            "error_codes",
            "ed25519",
            "install_and_boot",
            "models",
            "store",
            "payload_vectors",
            "rules",
            "delta_ram",
            "delta_rules",
            "delta_predict",
            "zstd_reference",
            "power_cut",
        ],
        near: &[
            ("verifier/src", "attacks"),
            ("verifier/src/boot", "install_and_boot"),
            ("verifier/src/delta", "delta_rules"),
            ("verifier/src/delta/predict", "delta_predict"),
            ("verifier/src/delta/zstd", "zstd_reference"),
            ("verifier/src/image", "rules"),
            ("verifier/src/repository", "rules"),
            ("verifier/src/session", "session"),
            ("verifier/src/storage", "store"),
        ],
        never: &[],
    },
];

/// Cases of a property test.
const QUICK_CASES: &str = "32";

/// Options of `cargo xtask mutants`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask mutants --sample 100\n  cargo xtask mutants --changed\n  cargo xtask mutants --changed=v1.2.0\n  \
    cargo xtask mutants --file verifier/src/cose.rs\n  cargo xtask mutants --shard 0/8\n  cargo xtask mutants --list\n\n\
    It works on a copy of the tree, and installs cargo-mutants under target/tools when it is missing. Each crate is built once with all \
    its mutants as switches; those that can't be switched are built one by one. What came of each stands in \
    target/mutants/CRATE/fates.txt, of all runs since it was removed.\n\
    Exit code: 0 when no mutant survived, 1 otherwise."
)]
pub(crate) struct Options {
    /// About this many mutants of each crate, evenly spread over it
    #[arg(long, value_name = "N", conflicts_with = "changed")]
    sample: Option<usize>,
    /// Only what was changed since the branch left REF
    #[arg(long, value_name = "REF", num_args = 0..=1, require_equals = true, default_missing_value = "main")]
    changed: Option<String>,
    /// Only these files (globs)
    #[arg(long, value_name = "GLOB")]
    file: Vec<String>,
    /// Part K of N, from 0: every N-th mutant of each crate
    #[arg(long, value_name = "K/N", value_parser = shard, conflicts_with = "sample")]
    shard: Option<(usize, usize)>,
    /// Leave out what earlier runs found, in files that haven't changed since
    #[arg(long)]
    resume: bool,
    /// Only with tests that take seconds: more survive
    #[arg(long)]
    quick: bool,
    /// Only what can be switched: what has to be built each is not tried
    #[arg(long)]
    switched: bool,
    /// How many are tried at a time
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// List the mutants and end
    #[arg(long)]
    list: bool,
}

fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    parts.filter(|(k, n)| k < n).ok_or_else(|| "K/N, with K from 0 to N - 1".to_owned())
}

/// Runs it, or lists.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let program = find()?;
    let difference = options.changed.as_deref().map(difference).transpose()?;
    let (mut good, mut ran) = (true, 0);
    for judged in CRATES {
        let mut command = process::command(&program);
        command.args(["mutants", "--colors", "never", "-p", judged.name, "--list", "--json"]);
        for glob in &options.file {
            command.args(["-f", glob]);
        }
        if let Some(file) = &difference {
            command.arg("--in-diff").arg(file);
        }
        let listed = process::succeed(&mut command)?;
        // Without any, cargo-mutants prints no list.
        let mut mutants = if listed.trim().is_empty() { Vec::new() } else { list::parse(&listed)? };
        if options.list {
            mutants.iter().for_each(|mutant| println!("{}", mutant.name));
            continue;
        }
        if mutants.is_empty() {
            println!("{}: nothing to change", judged.name);
            continue;
        }
        let all = mutants.len();
        // Every n-th: the same each time, until the code changes.
        let (part, parts) = match (options.sample, options.shard) {
            (Some(sample), _) => (0, all.div_ceil(sample.max(1))),
            (None, Some(shard)) => shard,
            (None, None) => (0, 1),
        };
        mutants = mutants.into_iter().skip(part).step_by(parts).collect();
        println!("\n{}: {} of {all} mutants", judged.name, mutants.len());
        let begun = Instant::now();
        let score = attempt(judged, &mutants, options)?;
        score.print(judged.name, begun.elapsed());
        if !score.untried.is_empty() {
            println!("{}: not all were tried: this is no score", judged.name);
            good = false;
        }
        ran += score.viable();
        good &= score.missed.is_empty() && score.viable() > 0;
    }
    if !options.list && ran == 0 && options.changed.is_none() {
        println!("no mutant was tried");
        good = false;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tries a crate's mutants: with switches, and what that leaves, built anew.
fn attempt(judged: &Judged, mutants: &[Mutant], options: &Options) -> Result<Score> {
    let jobs = options.jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let begun = Instant::now();
    let journal = Journal::open(judged.name, mutants)?;
    let mut score = if options.resume { journal.known(mutants)? } else { Score::default() };
    let known = score.all();
    let mutants: Vec<Mutant> = mutants.iter().filter(|mutant| !known.contains(&mutant.name)).cloned().collect();
    if !known.is_empty() {
        println!("{}: of {} it is known what became of them", judged.name, known.len());
    }
    if mutants.is_empty() {
        return Ok(score);
    }
    let built = build::build(judged, &mutants)?;
    println!("{}: built in {} seconds", judged.name, begun.elapsed().as_secs());
    let tests = judge::trace(judged, &built, jobs, options.quick)?;
    println!(
        "{}: after {} seconds, {} are switched on one by one, {jobs} at a time",
        judged.name,
        begun.elapsed().as_secs(),
        built.numbers.all().count()
    );
    let fates = judge::judge(&built, &tests, jobs, &|mutant, fate, took| {
        let (name, (word, tests)) = (&mutants[mutant].name, described(fate));
        if word == "missed" {
            println!("  survived {tests} that come by it: {name}");
        }
        journal.note(word, name, &tests, took);
    });
    for (index, mutant) in mutants.iter().enumerate() {
        let list = match fates.get(&index) {
            Some(Fate::Caught(_)) => &mut score.caught,
            Some(Fate::Hung(_)) => &mut score.hung,
            Some(Fate::Missed(_)) => &mut score.missed,
            None if built.unviable.contains(&index) => {
                journal.note("unviable", &mutant.name, "", Duration::ZERO);
                &mut score.unviable
            }
            None => &mut score.untried,
        };
        list.insert(mutant.name.clone());
    }
    println!("{}: with switches, in {} seconds", judged.name, begun.elapsed().as_secs());
    let left: Vec<&Mutant> = mutants.iter().filter(|mutant| score.untried.contains(&mutant.name)).collect();
    if !options.switched && !left.is_empty() {
        println!("{}: {} can't be switched: each is built", judged.name, left.len());
        rebuilt::run(judged, &left, &tests, |mutant, outcome, took| {
            let (word, test) = outcome.as_ref().map_or(("unviable", String::new()), described);
            journal.note(word, &mutant.name, &test, took);
            println!("{word}: {}, in {:.0} seconds", mutant.name, took.as_secs_f32());
            score.untried.remove(&mutant.name);
            score.of(word).insert(mutant.name.clone());
            score.rebuilt += 1;
        })?;
    }
    Ok(score)
}

/// A fate's word in the journal, and the test that decided it.
fn described(fate: &Fate) -> (&'static str, String) {
    match fate {
        Fate::Caught(test) => ("caught", test.clone()),
        Fate::Hung(test) => ("hung", test.clone()),
        Fate::Missed(tests) => ("missed", format!("{tests} tests")),
    }
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

/// What was changed since the branch left `reference`, in a file.
fn difference(reference: &str) -> Result<PathBuf> {
    let place = project::target().join("mutants/changed.diff");
    let mut command = process::command("git");
    command.args(["diff", "--merge-base", reference, "--", "manifests/src", "verifier/src"]);
    project::write(&place, process::succeed(&mut command)?.as_bytes())?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

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
