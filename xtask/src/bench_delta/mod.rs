//! `cargo xtask bench delta`: the size, time and peak memory of our deltas beside those of the known tools, over pairs of real firmware.
//!
//! Every tool runs as a process of its own under GNU time, and every patch is applied and compared byte for byte before it counts.

mod chart;
mod tools;

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    apt,
    error::{Error, Result},
    process, project,
};
use tools::{Cost, Run, Tool};

/// What is measured, and where results go.
#[derive(Args)]
pub(crate) struct Options {
    /// Folder of pairs: a folder each, with the files `old` and `new`
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Folder for table, chart and figures
    #[arg(long, value_name = "DIR", default_value = "target/bench/delta")]
    results: PathBuf,
    /// A `sealift` that is built already; without it one is built in release mode
    #[arg(long, value_name = "FILE")]
    sealift: Option<PathBuf>,
    /// Only our own tool
    #[arg(long)]
    ours_only: bool,
    /// Each folder's `old` with the next folder's `new`: images that have nothing in common
    #[arg(long)]
    crossed: bool,
}

/// A pair's name and what every tool made of it, in the order of the tools.
struct Row {
    pair: String,
    image: u64,
    runs: Vec<Option<Run>>,
}

/// Measures, prints the table, writes `delta.md` and `delta.svg`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let corpus = options.corpus.clone().or_else(project::firmware).ok_or_else(|| Error::Missing {
        what: "a corpus of firmware pairs".into(),
        remedy: "name one with --corpus DIR, or set SEALIFT_FIRMWARE".into(),
    })?;
    if process::which("time").is_none() {
        apt::install(&["time"], "measures processes")?;
    }
    let tools = tools::all(options.ours_only, options.sealift.as_deref())?;
    let mut rows = Vec::new();
    let pairs = pairs(&corpus)?;
    for (pair, old, new) in if options.crossed { crossed(pairs) } else { pairs } {
        let image = project::read(&new)?.len() as u64;
        eprintln!("{pair} ({image} bytes)");
        let mut runs = Vec::new();
        for tool in &tools {
            let run = tool.measure(&old, &new);
            match &run {
                Ok(run) => eprintln!(
                    "  {:24} {:>9} bytes  {:>7.2} s  {:>6} MiB",
                    tool.name,
                    run.patch,
                    run.create.elapsed_s,
                    run.create.kib / 1024
                ),
                // A tool that can't do a pair is told, and the others go on.
                Err(why) => eprintln!("  {:24} failed: {why}", tool.name),
            }
            runs.push(run.ok());
        }
        rows.push(Row { pair, image, runs });
    }
    let table = table(&tools, &rows);
    println!("{table}");
    project::write(&options.results.join("delta.md"), table.as_bytes())?;
    project::write(&options.results.join("delta.svg"), chart::draw(&tools, &rows).as_bytes())?;
    println!("written: {0}/delta.md and {0}/delta.svg", options.results.display());
    // Our own tool must do every pair; the others may fail.
    let ours_failed = rows.iter().any(|row| tools.iter().zip(&row.runs).any(|(tool, run)| tool.ours && run.is_none()));
    Ok(if ours_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn pairs(corpus: &std::path::Path) -> Result<Vec<(String, PathBuf, PathBuf)>> {
    let failed = |source| Error::File { act: "list", path: corpus.into(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(corpus).map_err(failed)? {
        let dir = entry.map_err(failed)?.path();
        // Tools run in folders of their own, so that the paths must be whole.
        let files = [dir.join("old"), dir.join("new")].map(|file| file.canonicalize());
        if let [Ok(old), Ok(new)] = files {
            found.push((dir.file_name().unwrap_or_default().to_string_lossy().into_owned(), old, new));
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(Error::Content { path: corpus.into(), what: "no folder with the files `old` and `new`".into() });
    }
    Ok(found)
}

/// Each old image with the new one of the next pair.
fn crossed(pairs: Vec<(String, PathBuf, PathBuf)>) -> Vec<(String, PathBuf, PathBuf)> {
    let next: Vec<_> = pairs.iter().cycle().skip(1).take(pairs.len()).cloned().collect();
    pairs.into_iter().zip(next).map(|((from, old, _), (to, _, new))| (format!("{from} to {to}"), old, new)).collect()
}

/// The smallest patch of the tools that are not ours.
fn best_peer(tools: &[Tool], row: &Row) -> Option<u64> {
    let peers = tools.iter().zip(&row.runs).filter(|(tool, _)| !tool.ours);
    peers.filter_map(|(_, run)| Some(run.as_ref()?.patch)).min()
}

/// Geometric mean of some ratios; none for no ratio.
fn geometric(ratios: impl Iterator<Item = f64>) -> Option<f64> {
    let logs: Vec<f64> = ratios.map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

/// A figure of a tool against the best peer's (or one tool's) in the pairs that `counts` picks.
fn mean(
    tools: &[Tool],
    rows: &[Row],
    place: usize,
    counts: impl Fn(&Row) -> bool,
    against: impl Fn(&Row) -> Option<f64>,
    figure: impl Fn(&Run) -> f64,
) -> String {
    debug_assert!(place < tools.len());
    let picked = rows.iter().filter(|row| counts(row));
    // What the clock has not seen has no ratio.
    let ratios = picked.filter_map(|row| Some(figure(row.runs[place].as_ref()?) / against(row)?));
    let mean = geometric(ratios.filter(|ratio| ratio.is_normal()));
    mean.map_or(" - |".into(), |mean| format!(" {mean:.3} |"))
}

fn heading(text: &mut String, first: &str, tools: &[Tool]) {
    _ = write!(text, "| {first} |");
    tools.iter().for_each(|tool| _ = write!(text, " {} |", tool.name));
    text.push_str("\n|---|");
    tools.iter().for_each(|_| text.push_str("---|"));
    text.push('\n');
}

fn table(tools: &[Tool], rows: &[Row]) -> String {
    let peer = |row: &Row| best_peer(tools, row).map(|peer| peer as f64);
    let bsdiff = tools.iter().position(|tool| tool.name == "bsdiff");
    let of_bsdiff = |row: &Row, figure: fn(&Run) -> f64| row.runs[bsdiff?].as_ref().map(figure);
    // A pair is executable when our tool found an instruction set.
    let executable = |row: &Row| row.runs.iter().flatten().any(|run| run.code);
    let mut text = String::from("Bytes of patch, and (in brackets) against the best peer of the pair:\n\n");
    heading(&mut text, "pair (bytes of image)", tools);
    for row in rows {
        _ = write!(text, "| {} ({}) |", row.pair, row.image);
        for run in &row.runs {
            match (run, peer(row)) {
                (Some(run), Some(peer)) => _ = write!(text, " {} ({:.3}) |", run.patch, run.patch as f64 / peer),
                (Some(run), None) => _ = write!(text, " {} |", run.patch),
                (None, _) => text.push_str(" - |"),
            }
        }
        text.push('\n');
    }
    let patch = |run: &Run| run.patch as f64;
    let places = 0..tools.len();
    text.push_str("| geometric mean against the best peer |");
    places.clone().for_each(|place| text.push_str(&mean(tools, rows, place, |_| true, peer, patch)));
    text.push_str("\n| the same, executable pairs alone |");
    places.clone().for_each(|place| text.push_str(&mean(tools, rows, place, executable, peer, patch)));
    text.push_str("\n| against bsdiff, executable pairs alone |");
    let size = |row: &Row| of_bsdiff(row, |run| run.patch as f64);
    places.clone().for_each(|place| text.push_str(&mean(tools, rows, place, executable, size, patch)));
    text.push_str(
        "\n\nSeconds to create / to apply (the whole process; Python tools include Python), in brackets those of processor time, \
         and peak MiB of both:\n\n",
    );
    heading(&mut text, "pair", tools);
    for row in rows {
        _ = write!(text, "| {} |", row.pair);
        for run in &row.runs {
            match run {
                Some(run) => {
                    let seconds = |cost: &Cost| format!("{:.3} ({:.3})", cost.elapsed_s, cost.processor_s);
                    let mib = |cost: &Cost| format!("{:.0}", cost.kib as f64 / 1024.0);
                    let Run { create, apply, .. } = run;
                    _ = write!(text, " {} / {}, {} / {} |", seconds(create), seconds(apply), mib(create), mib(apply));
                }
                None => text.push_str(" - |"),
            }
        }
        text.push('\n');
    }
    let large = |row: &Row| row.image > 1_000_000;
    let mut ratios = |name: &str, counts: fn(&Row) -> bool, figure: fn(&Run) -> f64| {
        _ = write!(text, "| {name} |");
        let reference = |row: &Row| of_bsdiff(row, figure);
        places.clone().for_each(|place| text.push_str(&mean(tools, rows, place, counts, reference, figure)));
        text.push('\n');
    };
    ratios("create against bsdiff, images over 1 MB", large, |run| run.create.elapsed_s);
    ratios("the same, processor time", large, |run| run.create.processor_s);
    ratios("apply against bspatch", |_| true, |run| run.apply.elapsed_s);
    ratios("the same, processor time", |_| true, |run| run.apply.processor_s);
    ratios("apply against bspatch, images over 1 MB", large, |run| run.apply.elapsed_s);
    text
}
