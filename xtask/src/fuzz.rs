//! `cargo xtask fuzz`: runs the fuzz targets one after the other, keeps and minimises what crashes, and counts.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use crate::{
    error::{Error, Result},
    process, project,
};

/// Version of cargo-fuzz that is installed when there is none.
const CARGO_FUZZ: &str = "0.13.2";

/// Longest input in bytes, by target: what is longer than the format allows is refused by one comparison, and fuzzing with it
/// costs time.
fn max_len(target: &str) -> u32 {
    match target {
        "trust_machine" => 256,
        "journal_resume" => 512,
        "metadata" | "envelope" | "report" | "job_document" | "mqtt" => 4096,
        // A few envelopes, or a small image and its patch, or a repository.
        _ => 8192,
    }
}

/// AddressSanitizer while it searches: allocations are still checked, but where each came from isn't written down, which
/// would take as long as the code under test. A crash is reproduced with all of it.
const QUICK: &str = "malloc_context_size=0:detect_stack_use_after_return=0:quarantine_size_mb=8";

/// Seconds after which one input counts as hanging.
const TIMEOUT: &str = "10";

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask fuzz                          every target for a minute\n  \
    cargo xtask fuzz metadata --minutes 30\n  cargo xtask fuzz --seeds                  the named seeds alone, with AddressSanitizer\n  \
    cargo xtask fuzz trust_machine --reproduce fuzz/artifacts/trust_machine/crash-1234\n\n\
    It needs a nightly compiler (installed through rustup when missing) and cargo-fuzz (built under target/tools). What is found \
    stays: fuzz/corpus/TARGET grows, fuzz/artifacts/TARGET holds crashes.\n\
    Exit code: 0 when nothing crashed, 1 otherwise.")]
pub(crate) struct Options {
    /// Targets to run (default: all)
    targets: Vec<String>,
    /// Minutes for each target
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Run the targets on their named seeds alone
    #[arg(long, conflicts_with_all = ["minutes", "reproduce"])]
    seeds: bool,
    /// Run one target on this input alone, and show what happens
    #[arg(long, value_name = "FILE")]
    reproduce: Option<PathBuf>,
    /// List the targets and end
    #[arg(long)]
    list: bool,
}

/// What a run of one target came to.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    executions: u64,
    edges: u64,
    corpus: u64,
    seconds: f64,
    /// Of processor time, where it can be told: the rest is time that others had the core for.
    cpu: Option<f64>,
    crashes: Vec<PathBuf>,
    note: String,
}

/// Runs the chosen targets.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let all = targets()?;
    if options.list {
        all.iter().for_each(|(name, what)| println!("{name:<20}{what}"));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(unknown) = options.targets.iter().find(|name| !all.contains_key(*name)) {
        let known = all.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(Error::Missing { what: format!("fuzz target {unknown}"), remedy: format!("one of {known}") });
    }
    let chosen: Vec<&String> =
        all.keys().filter(|name| options.targets.is_empty() || options.targets.contains(name)).collect();
    let needs = needs()?;
    let fuzzer = Fuzzer::find(chosen.iter().all(|name| needs.get(*name).is_some_and(Vec::is_empty)))?;
    if let Some(input) = &options.reproduce {
        let [target] = chosen[..] else {
            return Err(Error::Missing { what: "the target".into(), remedy: "name the one to reproduce with".into() });
        };
        let path =
            std::path::absolute(input).map_err(|source| Error::File { act: "find", path: input.clone(), source })?;
        let good = process::shown(fuzzer.command("run").arg(target).arg(path))?;
        return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut outcomes = Vec::new();
    for target in chosen {
        let span = if options.seeds { "its seeds".into() } else { format!("{} minutes", options.minutes) };
        println!("\n== {target}: {} ({span})", all[target]);
        outcomes.push((target, fuzzer.fuzz(target, (!options.seeds).then_some(options.minutes))?));
    }
    print(&outcomes);
    let good = outcomes.iter().all(|(_, outcome)| outcome.crashes.is_empty() && outcome.note.is_empty());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The targets by name, each with the first sentence of its file.
pub(crate) fn targets() -> Result<BTreeMap<String, String>> {
    let folder = project::root().join("fuzz/fuzz_targets");
    let failed = |source| Error::File { act: "list", path: folder.clone(), source };
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = project::read_text(&path)?;
            let first = text.lines().next().unwrap_or_default().trim_start_matches("//! ").to_owned();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            all.insert(name, first);
        }
    }
    Ok(all)
}

/// Features of the fuzz crate that each target needs. Those without any are built without the half of the crates that only
/// servers and signers use.
fn needs() -> Result<BTreeMap<String, Vec<String>>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Bin {
        name: String,
        #[serde(default)]
        required_features: Vec<String>,
    }
    #[derive(serde::Deserialize)]
    struct Manifest {
        bin: Vec<Bin>,
    }
    let path = project::root().join("fuzz/Cargo.toml");
    let manifest: Manifest =
        toml::from_str(&project::read_text(&path)?).map_err(|why| Error::Content { path, what: why.to_string() })?;
    Ok(manifest.bin.into_iter().map(|bin| (bin.name, bin.required_features)).collect())
}

/// The tools that fuzz.
struct Fuzzer {
    path: std::ffi::OsString,
    /// Only targets that need no feature.
    narrow: bool,
}

impl Fuzzer {
    /// A nightly compiler and cargo-fuzz, installed when they are missing.
    fn find(narrow: bool) -> Result<Fuzzer> {
        if !has_nightly() {
            println!("installing a nightly compiler with rustup: sanitizers and coverage need it");
            let mut install = process::without_cargo(Path::new("rustup"));
            process::succeed(install.args(["toolchain", "install", "nightly", "--profile", "minimal"])).map_err(
                |why| Error::Missing {
                    what: format!("a nightly compiler ({why})"),
                    remedy: "rustup toolchain install nightly".into(),
                },
            )?;
        }
        let tools = project::target().join("tools");
        if process::which("cargo-fuzz").is_none() && !tools.join("bin/cargo-fuzz").is_file() {
            println!("building cargo-fuzz {CARGO_FUZZ} under {} (about a minute)", tools.display());
            let mut install = process::cargo();
            // Without optimisation, which it has no use for: half of the time.
            install.args(["install", "cargo-fuzz", "--locked", "--debug", "--version", CARGO_FUZZ]);
            install.args(["--config", "profile.dev.debug=false", "--root"]).arg(&tools);
            install.arg("--target-dir").arg(tools.join("build"));
            process::succeed(&mut install)?;
            // The intermediate files only cost disk.
            let _ = fs::remove_dir_all(tools.join("build"));
        }
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(tools.join("bin")).chain(std::env::split_paths(&inherited)))
            .map_err(|why| Error::Missing { what: "a usable PATH".into(), remedy: why.to_string() })?;
        Ok(Fuzzer { path, narrow })
    }

    /// In `fuzz/`, whose configuration says which crates are watched for coverage.
    fn command(&self, act: &str) -> Command {
        let mut command = process::without_cargo(Path::new("rustup"));
        command.args(["run", "nightly", "cargo", "fuzz", act]).env("PATH", &self.path);
        if self.narrow {
            command.arg("--no-default-features");
        }
        command.current_dir(project::root().join("fuzz"));
        command
    }

    /// Runs one target for some minutes, or on its seeds alone.
    fn fuzz(&self, target: &str, minutes: Option<f64>) -> Result<Outcome> {
        let [corpus, seeds, artifacts] =
            ["corpus", "seeds", "artifacts"].map(|folder| project::root().join("fuzz").join(folder).join(target));
        for folder in [&corpus, &artifacts] {
            fs::create_dir_all(folder).map_err(|source| Error::File { act: "create", path: folder.clone(), source })?;
        }
        let before = files(&artifacts);
        if !process::shown(self.command("build").arg(target))? {
            return Ok(Outcome { note: "does not build".into(), ..Outcome::default() });
        }
        let mut run = self.command("run");
        run.arg(target);
        match minutes {
            Some(minutes) => {
                let seconds = (minutes * 60.0).max(1.0) as u64;
                run.args([&corpus, &seeds]).env("ASAN_OPTIONS", QUICK).arg("--");
                run.arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
            }
            // A folder is something to mutate: no run is for what is there alone.
            None => drop(run.args([&seeds]).args(["--", "-runs=0", "-print_final_stats=1"])),
        }
        run.arg(format!("-max_len={}", max_len(target))).arg(format!("-timeout={TIMEOUT}"));
        let dictionary = dictionary(target);
        if dictionary.is_file() {
            run.arg(format!("-dict={}", dictionary.display()));
        }
        println!("{}", process::line(&run));
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        let program = "cargo fuzz".to_owned();
        let started = run.stdout(Stdio::inherit()).stderr(Stdio::piped()).spawn();
        let mut child = started.map_err(|source| Error::Start { program: program.clone(), source })?;
        let mut outcome = Outcome::default();
        for line in BufReader::new(child.stderr.take().into_iter().next().ok_or_else(unpiped)?).lines() {
            let line = String::from_utf8_lossy(line.unwrap_or_default().as_bytes()).into_owned();
            outcome.read(&line);
            // libFuzzer reports every new input: too much to show, too much to hide when something breaks.
            if !["\tNEW ", "\tREDUCE ", "\tNEW_FUNC"].iter().any(|each| line.contains(each)) {
                println!("{line}");
            }
        }
        let status = child.wait().map_err(|source| Error::Start { program, source })?;
        outcome.seconds = begun.elapsed().as_secs_f64();
        outcome.cpu = cpu.zip(cpu_seconds()).map(|(before, after)| after - before);
        outcome.crashes = files(&artifacts).into_iter().filter(|file| !before.contains(file)).collect();
        for crash in outcome.crashes.clone() {
            println!("minimising {}", crash.display());
            // The crash is kept as it is whatever becomes of this.
            let _ = process::shown(self.command("tmin").arg(target).args(["--runs", "2000"]).arg(&crash));
        }
        if !status.success() && outcome.crashes.is_empty() {
            outcome.note = format!("ended with {status}");
        }
        Ok(outcome)
    }
}

fn unpiped() -> Error {
    Error::Missing { what: "the output of cargo fuzz".into(), remedy: "try again".into() }
}

/// Processor time of all programs that were started here and have ended, in seconds; Linux tells.
fn cpu_seconds() -> Option<f64> {
    // Fields 16 and 17 of proc(5): in hundredths of a second, whatever the kernel's own clock.
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(13)? + ticks(14)?) / 100.0)
}

/// Whether rustup has a nightly compiler.
fn has_nightly() -> bool {
    let mut probe = process::without_cargo(Path::new("rustup"));
    process::output(probe.args(["run", "nightly", "rustc", "--version"])).is_ok_and(|done| done.status.success())
}

/// Whether line coverage could be drawn, with what rustup calls llvm-tools.
fn has_llvm_tools() -> bool {
    let mut probe = process::without_cargo(Path::new("rustup"));
    let sysroot = process::succeed(probe.args(["run", "nightly", "rustc", "--print", "sysroot"])).unwrap_or_default();
    let hosts = fs::read_dir(Path::new(sysroot.trim()).join("lib/rustlib"));
    hosts.into_iter().flatten().flatten().any(|host| host.path().join("bin/llvm-cov").is_file())
}

/// The dictionary for a target's input.
fn dictionary(target: &str) -> PathBuf {
    let name = match target {
        "trust_machine" => "script",
        "journal_resume" => "journal",
        "job_document" | "tuf_json" => "json",
        "project_file" => "toml",
        "mqtt" => "mqtt",
        _ if target.starts_with("delta") || target.starts_with("zstd") => "delta",
        _ => "cbor",
    };
    project::root().join("fuzz/dictionaries").join(format!("{name}.dict"))
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

impl Outcome {
    /// Takes the counts out of one line of libFuzzer's.
    fn read(&mut self, line: &str) {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = count.trim().parse().unwrap_or(self.executions);
        }
        let after = |name: &str| {
            let rest = line.split_once(name)?.1.trim_start();
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
        };
        if line.starts_with('#') {
            self.executions = after("#").unwrap_or(0).max(self.executions);
            self.edges = after(" cov: ").unwrap_or(self.edges);
            self.corpus = after(" corp: ").unwrap_or(self.corpus);
        }
    }
}

fn print(outcomes: &[(&String, Outcome)]) {
    println!(
        "\n{:<20}{:>14}{:>10}{:>14}{:>8}{:>8}{:>9}  found",
        "target", "executions", "a second", "a CPU second", "edges", "corpus", "seconds"
    );
    for (target, outcome) in outcomes {
        let rate = outcome.executions as f64 / outcome.seconds.max(1.0);
        let cpu = outcome.cpu.filter(|seconds| *seconds > 0.0);
        let cpu = cpu.map_or("?".into(), |seconds| format!("{:.0}", outcome.executions as f64 / seconds));
        let found = match (outcome.crashes.len(), outcome.note.as_str()) {
            (0, "") => "nothing".to_owned(),
            (0, note) => note.to_owned(),
            (count, _) => format!("{count} in fuzz/artifacts/{target}"),
        };
        println!(
            "{target:<20}{:>14}{rate:>10.0}{cpu:>14}{:>8}{:>8}{:>9.0}  {found}",
            outcome.executions, outcome.edges, outcome.corpus, outcome.seconds
        );
    }
    let total: u64 = outcomes.iter().map(|(_, outcome)| outcome.executions).sum();
    println!("{:<20}{total:>14}", "total");
    println!("edges are libFuzzer's own count of the code that is fuzzed; what judges it is not counted");
    if has_llvm_tools() {
        println!("lines: in fuzz/, `cargo +nightly fuzz coverage TARGET` and llvm-cov over what it writes");
    } else {
        println!("lines are NOT counted: llvm-tools are missing (rustup component add llvm-tools --toolchain nightly)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_what_libfuzzer_prints() {
        let mut outcome = Outcome::default();
        outcome.read("#524288\tpulse  cov: 1203 ft: 4410 corp: 311/24Kb lim: 652 exec/s: 26214 rss: 87Mb");
        assert_eq!((outcome.executions, outcome.edges, outcome.corpus), (524_288, 1203, 311));
        outcome.read("stat::number_of_executed_units: 600123");
        outcome.read("INFO: seed corpus: files: 11");
        assert_eq!((outcome.executions, outcome.edges, outcome.corpus), (600_123, 1203, 311));
    }

    /// What the five minutes of SECURITY.md are measured with.
    #[test]
    fn the_targets_of_what_devices_run_are_built_without_the_rest() {
        let needs = needs().unwrap();
        for name in ["metadata", "envelope", "trust_machine", "delta_apply"] {
            assert!(needs[name].is_empty(), "{name}");
        }
        assert_eq!(needs["journal_resume"], ["host"]);
    }

    #[test]
    fn every_target_says_what_it_does_and_is_known_to_cargo_fuzz() {
        let needs = needs().unwrap();
        let readme = project::read_text(&project::root().join("fuzz/README.md")).unwrap();
        let all = targets().unwrap();
        assert!(all.len() >= 14, "{all:?}");
        for (name, what) in all {
            assert!(what.len() > 20, "{name}: {what}");
            assert!(needs.contains_key(&name), "{name} is not in fuzz/Cargo.toml");
            assert!(dictionary(&name).is_file(), "{name} has no dictionary");
            let seeds = project::root().join("fuzz/seeds").join(&name);
            assert!(!files(&seeds).is_empty(), "{name} has no seed");
            assert!(readme.contains(&format!("| `{name}` |")), "{name} is not in fuzz/README.md");
        }
    }
}
