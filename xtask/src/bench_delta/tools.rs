//! The tools that are compared, each as two command lines.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    apt,
    error::{Error, Result},
    process, project,
};

/// Most runs of a command that are timed, and the seconds of processor time after which no further one is started.
const RUNS: usize = 60;
const ENOUGH: f64 = 0.5;
/// Packages of the peers that come from PyPI.
const PYTHON_PACKAGES: [&str; 2] = ["detools==0.53.0", "hdiffpatch==2.6.0"];

/// A tool: how it makes a patch and how it applies one. In the words, `{old}`, `{new}`, `{patch}` and `{out}` stand for files.
pub(super) struct Tool {
    /// Its name in tables.
    pub(super) name: String,
    /// Whether it is Sealift.
    pub(super) ours: bool,
    create: Vec<String>,
    apply: Vec<String>,
}

/// What a tool made of a pair.
pub(super) struct Run {
    /// Bytes of patch.
    pub(super) patch: u64,
    /// What it took to create and to apply.
    pub(super) create: Cost,
    pub(super) apply: Cost,
    /// Whether our tool found code in the images.
    pub(super) code: bool,
}

/// What a process takes.
#[derive(Clone, Copy)]
pub(super) struct Cost {
    /// Seconds from start to end.
    pub(super) elapsed_s: f64,
    /// Seconds of processor time, of all threads in user and system mode: other work on the machine hardly changes it.
    pub(super) processor_s: f64,
    /// Peak memory in KiB.
    pub(super) kib: u64,
}

fn tool(name: &str, ours: bool, create: &str, apply: &str) -> Tool {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    Tool { name: name.into(), ours, create: words(create), apply: words(apply) }
}

/// Our tool in every class and with less prediction, then the peers, installed when missing.
pub(super) fn all(ours_only: bool, sealift: Option<&Path>) -> Result<Vec<Tool>> {
    let sealift = match sealift {
        Some(built) => built.to_owned(),
        None => {
            eprintln!("building sealift");
            let build = ["build", "--release", "--quiet", "-p", "sealift-signer", "--bin", "sealift"];
            process::succeed(process::cargo().args(build))?;
            project::target().join("release/sealift")
        }
    };
    let sealift = sealift.display();
    let apply = format!("{sealift} delta apply --from {{old}} --patch {{patch}} --output {{out}} --force");
    let mut tools = Vec::new();
    for (name, class, predict) in [
        ("sealift 16KiB", "16KiB", "all"),
        ("sealift 24KiB", "24KiB", "all"),
        ("sealift 64KiB", "64KiB", "all"),
        ("sealift host", "host", "all"),
        ("sealift 24KiB, likeliest", "24KiB", "likeliest"),
        ("sealift 24KiB, plain", "24KiB", "off"),
    ] {
        let create = format!(
            "{sealift} delta create --from {{old}} --to {{new}} --output {{patch}} --ram {class} --predict {predict} --no-class-sizes --json --force"
        );
        tools.push(tool(name, true, &create, &apply));
    }
    if ours_only {
        return Ok(tools);
    }
    apt::install(&["bsdiff", "xdelta3", "zstd", "python3-venv"], "peers that deltas are compared with")?;
    tools.push(tool("bsdiff", false, "bsdiff {old} {new} {patch}", "bspatch {old} {out} {patch}"));
    tools.push(tool(
        "xdelta3 -9",
        false,
        "xdelta3 -D -e -9 -S lzma -f -s {old} {new} {patch}",
        "xdelta3 -D -R -d -f -s {old} {patch} {out}",
    ));
    tools.push(tool(
        "zstd -22 --patch-from",
        false,
        "zstd -q -f --ultra -22 --long=27 --patch-from={old} {new} -o {patch}",
        "zstd -q -f -d --long=27 --patch-from={old} {patch} -o {out}",
    ));
    let bin = python()?;
    let (detools, python) = (bin.join("detools"), bin.join("python"));
    let (detools, python) = (detools.display(), python.display());
    let apply = format!("{detools} apply_patch {{old}} {{patch}} {{out}}");
    for (name, how) in [
        ("detools lzma", "-c lzma"),
        ("detools heatshrink", "-c heatshrink"),
        ("detools hdiffpatch lzma", "-c lzma --algorithm hdiffpatch --patch-type hdiffpatch"),
    ] {
        tools.push(tool(name, false, &format!("{detools} create_patch {how} {{old}} {{new}} {{patch}}"), &apply));
    }
    let script = bin.join("hdiff.py");
    project::write(&script, HDIFF.as_bytes())?;
    let script = script.display();
    tools.push(tool(
        "HDiffPatch zstd",
        false,
        &format!("{python} {script} diff {{old}} {{new}} {{patch}}"),
        &format!("{python} {script} apply {{old}} {{patch}} {{out}}"),
    ));
    Ok(tools)
}

/// HDiffPatch has a Python binding and no program of its own there.
const HDIFF: &str = "\
import sys, hdiffpatch
act, first, second, out = sys.argv[1:]
first, second = open(first, 'rb').read(), open(second, 'rb').read()
if act == 'diff':
    result = hdiffpatch.diff(first, second, compression=hdiffpatch.ZStdConfig(level=22))
else:
    result = hdiffpatch.apply(first, second)
open(out, 'wb').write(result)
";

/// The folder of programs of a Python environment with the peers in it.
fn python() -> Result<PathBuf> {
    let dir = project::target().join("bench/python");
    let bin = dir.join("bin");
    if !bin.join("detools").is_file() {
        println!("installing {} from PyPI: peers that deltas are compared with", PYTHON_PACKAGES.join(", "));
        process::succeed(process::command("python3").args(["-m", "venv"]).arg(&dir))?;
        process::succeed(process::command(bin.join("pip")).args(["install", "--quiet"]).args(PYTHON_PACKAGES))?;
    }
    Ok(bin)
}

impl Tool {
    /// Makes a patch, applies it and compares the result.
    pub(super) fn measure(&self, old: &Path, new: &Path) -> Result<Run> {
        let dir = tempfile::tempdir().map_err(|source| Error::File {
            act: "create",
            path: "a temporary folder".into(),
            source,
        })?;
        let (patch, out) = (dir.path().join("patch"), dir.path().join("out"));
        let files = [("{old}", old), ("{new}", new), ("{patch}", &patch), ("{out}", &out)];
        let (create, said) = timed(&self.create, &files, dir.path())?;
        let (apply, _) = timed(&self.apply, &files, dir.path())?;
        if project::read(&out)? != project::read(new)? {
            return Err(Error::Content { path: patch, what: format!("{} does not give the target back", self.name) });
        }
        let failed = |source| Error::File { act: "measure", path: patch.clone(), source };
        let patch_len = fs::metadata(&patch).map_err(failed)?.len();
        let facts: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        let code = facts["architecture"].as_str().is_some_and(|set| set != "none");
        Ok(Run { patch: patch_len, create, apply, code })
    }
}

/// Runs a command line as often as it takes for clocks that tick a hundred times a second: what it costs (the median of the time
/// elapsed), and what it printed.
fn timed(words: &[String], files: &[(&str, &Path)], dir: &Path) -> Result<(Cost, String)> {
    let figures = dir.join("time");
    let fill = |word: &String| {
        files.iter().fold(word.clone(), |word, (name, file)| word.replace(name, &file.to_string_lossy()))
    };
    let words: Vec<String> = words.iter().map(fill).collect();
    let (start, clock) = (children_s()?, Instant::now());
    let said = process::succeed(process::command("time").args(["-f", "%M", "-o"]).arg(&figures).args(&words))?;
    let mut elapsed = vec![clock.elapsed().as_secs_f64()];
    let text = project::read_text(&figures)?;
    let wrong = || Error::Content { path: figures.clone(), what: format!("not what GNU time writes: {text}") };
    let kib = text.trim().parse().map_err(|_| wrong())?;
    let mut taken = children_s()? - start;
    while taken < ENOUGH && elapsed.len() < RUNS {
        let clock = Instant::now();
        process::succeed(process::command(&words[0]).args(&words[1..]))?;
        elapsed.push(clock.elapsed().as_secs_f64());
        taken = children_s()? - start;
    }
    let runs = elapsed.len();
    elapsed.sort_by(f64::total_cmp);
    Ok((Cost { elapsed_s: elapsed[runs / 2], processor_s: taken / runs as f64, kib }, said))
}

/// Processor time of all children that have ended, in user and system mode.
fn children_s() -> Result<f64> {
    let path = Path::new("/proc/self/stat");
    let text = project::read_text(path)?;
    // Fields are counted from behind the program's name, which is in brackets and may hold blanks.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks(13)
        .zip(ticks(14))
        .ok_or_else(|| Error::Content { path: path.into(), what: "not the fields that proc(5) tells of".into() })?;
    Ok((user + system) / 100.0)
}
