//! `cargo xtask mutants`: mutation testing of the two crates that devices carry.
//!
//! Every mutant is one small change of the code; a test has to fail for each. What survives is killed by a new test, or stands in
//! `.cargo/mutants.toml` with its reason. All mutants take a night; a sample is every n-th of them, the same ones each time.
//!
//! Two rounds: tests that take seconds judge every mutant, and what survives them is tried again with those that take a minute each
//! (power cuts; the schema's judge, and all cases of the property tests). It is found if either notices.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use crate::{
    error::{Error, Result},
    process, project,
};

/// Version of cargo-mutants that is installed when there is none.
const CARGO_MUTANTS: &str = "27.1.0";

/// A crate and the tests that judge its mutants, as arguments of `cargo test`.
struct Judged {
    name: &'static str,
    /// For every mutant.
    quick: &'static [&'static str],
    /// For what survived.
    wide: &'static [&'static str],
}

/// What no round asks: compilers, other builds and other languages' implementations, which take minutes or aren't there.
const CRATES: &[Judged] = &[
    Judged {
        name: "sealift-manifests",
        quick: &[
            "--lib",
            "--test",
            "wire",
            "--test",
            "delta_format",
            "--test",
            "install_file",
            "--",
            "--skip",
            "judge::",
            "--skip",
            "schema::",
            "--skip",
            "pycose",
        ],
        wide: &["--test", "wire", "--", "--skip", "pycose"],
    },
    Judged {
        name: "sealift-verifier",
        quick: &[
            "--lib",
            "--test",
            "attacks",
            "--test",
            "session",
            "--test",
            "error_codes",
            "--test",
            "ed25519",
            "--test",
            "install_and_boot",
            "--test",
            "models",
            "--test",
            "store",
            "--test",
            "payload_vectors",
            "--test",
            "delta_ram",
            "--test",
            "delta_rules",
            "--test",
            "delta_predict",
            "--test",
            "zstd_reference",
        ],
        wide: &["--test", "power_cut"],
    },
];

/// Cases of a property test in the quick round; its own number, or 256, in the wide one.
const QUICK_CASES: &str = "32";

/// Options of `cargo xtask mutants`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask mutants --sample 100\n  cargo xtask mutants --changed\n  cargo xtask mutants --changed=v1.2.0\n  \
    cargo xtask mutants --file verifier/src/cose.rs\n  cargo xtask mutants --list\n\n\
    It works on a copy of the tree, and installs cargo-mutants under target/tools when it is missing. Every mutant is tried with \
    tests that take seconds, and those that survive with slower ones. What came of each stands in \
    target/mutants/CRATE/{quick,wide}/mutants.out.\n\
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
    /// List the mutants and end
    #[arg(long)]
    list: bool,
}

/// What became of the mutants of a crate in one round, by name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    caught: Vec<String>,
    missed: Vec<String>,
    timeout: Vec<String>,
    unviable: Vec<String>,
}

impl Score {
    /// Those that compile: each had to be found.
    fn viable(&self) -> usize {
        self.caught.len() + self.missed.len() + self.timeout.len()
    }

    /// Those that something became of.
    fn tried(&self) -> usize {
        self.viable() + self.unviable.len()
    }

    /// Without any but these.
    fn only(mut self, names: &[String]) -> Score {
        for list in [&mut self.caught, &mut self.missed, &mut self.timeout, &mut self.unviable] {
            list.retain(|name| names.contains(name));
        }
        self
    }

    fn read(out: &Path) -> Score {
        let lines = |name: &str| -> Vec<String> {
            let text = fs::read_to_string(out.join(name)).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        };
        Score {
            caught: lines("caught.txt"),
            missed: lines("missed.txt"),
            timeout: lines("timeout.txt"),
            unviable: lines("unviable.txt"),
        }
    }
}

/// Runs it, or lists.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let program = find()?;
    let difference = options.changed.as_deref().map(difference).transpose()?;
    let (mut good, mut ran) = (true, 0);
    for judged in CRATES {
        let name = judged.name;
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
        let mut command = prepared();
        command.args(["--shard", &format!("0/{step}"), "--sharding", "round-robin"]);
        command.env("PROPTEST_CASES", QUICK_CASES);
        let quick = attempt(name, "quick", command, judged.quick)?;
        let mut complete = quick.tried() == wanted;
        let mut wide = Score::default();
        if complete && !quick.missed.is_empty() {
            println!("{name}: {} survived the quick tests; now the others", quick.missed.len());
            let mut command = process::command(&program);
            command.args(["mutants", "--colors", "never", "-p", name]);
            for mutant in &quick.missed {
                command.args(["-f", mutant.split(':').next().unwrap_or_default(), "--re", &exactly(mutant)]);
            }
            // It chooses fields left out of a structure by their file alone (27.1.0): those that nobody asked for don't count.
            wide = attempt(name, "wide", command, judged.wide)?.only(&quick.missed);
            complete = wide.tried() == quick.missed.len();
        }
        let score = Rounds { quick, wide };
        print(name, &score);
        if !complete {
            println!("{name}: it ended before all {wanted} were tried: this is no score");
            good = false;
        }
        ran += score.viable();
        good &= score.survivors().is_empty() && score.viable() > 0;
    }
    if !options.list && ran == 0 && options.changed.is_none() {
        println!("no mutant was tried");
        good = false;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One round: runs what `command` chooses, judged by `tests`.
fn attempt(name: &str, round: &str, mut command: Command, tests: &[&str]) -> Result<Score> {
    let out = project::target().join("mutants").join(name).join(round);
    // What an earlier run left there would be counted for this one if this one wrote nothing.
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).map_err(|source| Error::File { act: "create", path: out.clone(), source })?;
    command.args(["--no-shuffle", "--profile", "mutants", "--cap-lints", "true", "--caught", "-o"]).arg(&out);
    command.arg("--").args(tests);
    command.env("CARGO_TARGET_DIR", project::target().join("mutants/build")).stdin(Stdio::null());
    println!("{}", process::line(&command));
    // Its own code says whether any survived; what is counted is what it wrote.
    process::shown(&mut command)?;
    Ok(Score::read(&out.join("mutants.out")))
}

/// The regular expression that this mutant's name alone matches.
fn exactly(mutant: &str) -> String {
    // `\<` would be the start of a word: what means nothing stays as it is.
    let special = |c: char| r"\.+*?()|[]{}^$".contains(c);
    let escaped = mutant.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c]));
    format!("^{}$", escaped.collect::<String>())
}

/// Both rounds of a crate: the second tried what survived the first.
#[derive(Debug, Default)]
struct Rounds {
    quick: Score,
    wide: Score,
}

impl Rounds {
    fn viable(&self) -> usize {
        self.quick.viable()
    }

    /// What neither round noticed; where there was no second one, what the first did not.
    fn survivors(&self) -> &[String] {
        if self.wide.tried() > 0 { &self.wide.missed } else { &self.quick.missed }
    }

    fn timeout(&self) -> usize {
        self.quick.timeout.len() + self.wide.timeout.len()
    }

    fn found(&self) -> usize {
        self.viable() - self.survivors().len() - self.timeout()
    }
}

fn print(name: &str, score: &Rounds) {
    let found = score.found();
    println!(
        "{name}: {found} of {} viable mutants found by a failing test: {} by the quick tests, {} by the others; {} hung the tests, \
         which is noticed too; {} did not compile",
        score.viable(),
        score.quick.caught.len(),
        found - score.quick.caught.len(),
        score.timeout(),
        score.quick.unviable.len()
    );
    score.survivors().iter().for_each(|mutant| println!("  survived: {mutant}"));
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

    fn scored(caught: &str, missed: &str, timeout: &str, unviable: &str) -> Score {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Score { caught: names(caught), missed: names(missed), timeout: names(timeout), unviable: names(unviable) }
    }

    #[test]
    fn what_hangs_is_counted_apart_and_what_does_not_compile_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        for (name, lines) in
            [("caught.txt", "a\nb\n"), ("missed.txt", "c\n"), ("timeout.txt", "d\n"), ("unviable.txt", "e\n")]
        {
            fs::write(dir.path().join(name), lines).unwrap();
        }
        let score = Score::read(dir.path());
        assert_eq!(score, scored("a b", "c", "d", "e"));
        assert_eq!(score.viable(), 4);
        assert_eq!(score.tried(), 5);
    }

    /// The second round only looks at what survived the first.
    #[test]
    fn a_mutant_that_either_round_notices_is_found() {
        let quick = || scored("1 2 3 4 5 6 7", "a b c", "d", "e f");
        let alone = Rounds { quick: quick(), wide: Score::default() };
        assert_eq!((alone.viable(), alone.found(), alone.survivors().len()), (11, 7, 3));
        // What was tried besides is not counted.
        let wide = scored("a b x y", "c z", "", "").only(&alone.quick.missed);
        let both = Rounds { quick: quick(), wide };
        assert_eq!((both.wide.tried(), both.viable(), both.found()), (3, 11, 9));
        assert_eq!(both.survivors(), &["c".to_owned()][..]);
    }

    #[test]
    fn a_survivor_is_named_exactly() {
        let name = "a/b.rs:1:2: replace | with == in A<'a>::f -> [u8; 2]";
        assert_eq!(exactly(name), r"^a/b\.rs:1:2: replace \| with == in A<'a>::f -> \[u8; 2\]$");
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
