//! A crate with switches, and its tests, built once for all mutants.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;

use super::{
    Judged,
    branches::{MODULE, Numbers, Switched},
    list::Mutant,
    switches,
};
use crate::{
    error::{Error, Result},
    process, project,
};

/// What was built.
pub(super) struct Built {
    /// The programs of tests.
    pub(super) programs: Programs,
    /// Number and mutant of each that can be switched on.
    pub(super) numbers: Numbers,
    /// Those that don't compile.
    pub(super) unviable: BTreeSet<usize>,
    /// The crate's folder, where its tests run.
    pub(super) folder: PathBuf,
}

/// Programs of tests: name and file.
pub(super) type Programs = BTreeMap<String, PathBuf>;

/// What is built for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// All mutants: built once and run thousands of times.
    Switches,
    /// One mutant.
    Once,
}

/// Errors of the compiler that say of a branch that its types or names don't fit, whatever stands around it. Of a branch with another error
/// (borrows, inference) cargo-mutants has to say whether the mutant compiles.
const NOT_A_PROGRAM: &[&str] =
    &["E0277", "E0308", "E0369", "E0368", "E0433", "E0599", "E0600", "E0423", "E0425", "E0614"];

/// How often it is tried again without what doesn't compile: the compiler reports names, types and borrows one after the other.
const ATTEMPTS: usize = 24;

/// Puts the switches into a copy of the project and builds the crate's tests.
pub(super) fn build(judged: &Judged, mutants: &[Mutant]) -> Result<Built> {
    let place = project::target().join("mutants").join(judged.name);
    let tree = place.join("tree");
    copy(&tree)?;
    let crate_folder = tree.join(judged.folder);
    let library = crate_folder.join("src/lib.rs");
    let mut by_file: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, mutant) in mutants.iter().enumerate() {
        by_file.entry(&mutant.file).or_default().push(index);
    }
    let (mut unviable, mut apart, mut constant) = (BTreeSet::new(), BTreeSet::new(), HashSet::new());
    for _ in 0..ATTEMPTS {
        let mut numbers = Numbers::default();
        let mut switched = BTreeMap::new();
        for (file, indices) in &by_file {
            let wanted: Vec<(usize, &Mutant)> = indices
                .iter()
                .filter(|index| !unviable.contains(*index) && !apart.contains(*index))
                .map(|index| (*index, &mutants[*index]))
                .collect();
            let path = project::root().join(file);
            let text = project::read_text(&path)?;
            let done = switches::switch(&path, &text, &wanted, &constant, &mut numbers)?;
            write_if_changed(&tree.join(file), &done.text)?;
            switched.insert((*file).to_owned(), done);
        }
        let text = match switched.get(&format!("{}/src/lib.rs", judged.folder)) {
            Some(done) => done.text.clone(),
            None => project::read_text(&project::root().join(judged.folder).join("src/lib.rs"))?,
        };
        write_if_changed(&library, &(text + MODULE))?;
        let messages = messages(judged, &tree, &judged.programs(), Purpose::Switches)?;
        let errors: Vec<&Value> = messages
            .iter()
            .filter(|m| m["reason"] == "compiler-message" && m["message"]["level"] == "error")
            .map(|m| &m["message"])
            .filter(|message| message["spans"].as_array().is_some_and(|spans| !spans.is_empty()))
            .collect();
        if errors.is_empty() {
            let programs = built(&messages);
            if programs.is_empty() {
                return Err(Error::Story { what: format!("{}: with switches, nothing was built", judged.name) });
            }
            return Ok(Built { programs, numbers, unviable, folder: crate_folder });
        }
        let before = (unviable.len(), apart.len(), constant.len());
        // A mutant with an error of another kind too isn't judged by those of this one.
        for error in errors {
            let code = error["code"]["code"].as_str().unwrap_or_default();
            if code == "E0015" {
                let text = error["message"].as_str().unwrap_or_default();
                let called = text.split('`').nth(1).and_then(|path| path.rsplit("::").next());
                constant.extend(called.map(str::to_owned));
                continue;
            }
            let (blamed, exact) = blame(error, &switched);
            let no_macro = error["message"].as_str().is_some_and(|text| text.starts_with("cannot find macro"));
            for mutant in blamed {
                if exact && (no_macro || NOT_A_PROGRAM.contains(&code)) && !apart.contains(&mutant) {
                    unviable.insert(mutant);
                } else {
                    unviable.remove(&mutant);
                    apart.insert(mutant);
                }
            }
        }
        if before == (unviable.len(), apart.len(), constant.len()) {
            let what = format!("{}: doesn't compile with switches; see {}", judged.name, tree.display());
            return Err(Error::Story { what });
        }
    }
    Err(Error::Story { what: format!("{}: doesn't compile with switches after {ATTEMPTS} attempts", judged.name) })
}

/// The mutants that an error is about, and whether it stands in their own text. Where it stands beside them, all of that place.
fn blame(error: &Value, switched: &BTreeMap<String, Switched>) -> (BTreeSet<usize>, bool) {
    let mut spans = Vec::new();
    collect(error, &mut spans);
    let holds = |outer: &Range<usize>, inner: &Range<usize>| outer.start <= inner.start && inner.end <= outer.end;
    // The main spans first: they are what is wrong.
    spans.sort_by_key(|(_, _, main)| !main);
    for (file, span, _) in &spans {
        let Some(done) = switched.get(file) else { continue };
        let own = done.branches.iter().filter(|(_, range)| holds(range, span)).min_by_key(|(_, range)| range.len());
        if let Some((mutant, _)) = own {
            return (BTreeSet::from([*mutant]), true);
        }
    }
    for (file, span, _) in &spans {
        let Some(done) = switched.get(file) else { continue };
        let around = done.places.iter().filter(|(range, _)| holds(range, span)).min_by_key(|(range, _)| range.len());
        let within = || done.places.iter().filter(|(range, _)| holds(span, range));
        let mutants: BTreeSet<usize> = match around {
            Some((_, mutants)) => mutants.iter().copied().collect(),
            None => within().flat_map(|(_, mutants)| mutants.iter().copied()).collect(),
        };
        if !mutants.is_empty() {
            return (mutants, false);
        }
    }
    (BTreeSet::new(), false)
}

/// The places an error names: file, bytes, and whether it is the main one.
fn collect(message: &Value, spans: &mut Vec<(String, Range<usize>, bool)>) {
    for span in message["spans"].as_array().into_iter().flatten() {
        let byte = |name: &str| span[name].as_u64().unwrap_or_default() as usize;
        let file = span["file_name"].as_str().unwrap_or_default().to_owned();
        spans.push((file, byte("byte_start")..byte("byte_end"), span["is_primary"] == true));
    }
    for child in message["children"].as_array().into_iter().flatten() {
        let known = spans.len();
        collect(child, spans);
        spans[known..].iter_mut().for_each(|(_, _, main)| *main = false);
    }
}

/// Builds these programs of a crate's tests; nothing when they don't compile.
pub(super) fn compile(judged: &Judged, tree: &Path, programs: &[&str], purpose: Purpose) -> Result<Option<Programs>> {
    let messages = messages(judged, tree, programs, purpose)?;
    let failed = messages.iter().any(|m| m["reason"] == "build-finished" && m["success"] == false);
    Ok((!failed).then(|| built(&messages)))
}

fn messages(judged: &Judged, tree: &Path, programs: &[&str], purpose: Purpose) -> Result<Vec<Value>> {
    let mut command = process::cargo();
    command.current_dir(tree).args(["test", "--no-run", "--message-format", "json", "--profile", "mutants"]);
    let level = if purpose == Purpose::Switches { 2 } else { 0 };
    command.args(["--config", &format!("profile.mutants.package.{}.opt-level={level}", judged.name)]);
    command.args(["-p", judged.name]);
    for program in programs {
        match *program {
            "lib" => command.arg("--lib"),
            test => command.args(["--test", test]),
        };
    }
    command.env("CARGO_TARGET_DIR", project::target().join("mutants/build")).env("RUSTFLAGS", "--cap-lints=warn");
    if purpose == Purpose::Switches {
        println!("{}", process::line(&command));
        command.stderr(Stdio::inherit());
    }
    let done = process::output(&mut command)?;
    let text = String::from_utf8_lossy(&done.stdout);
    let messages: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let failed = |m: &&Value| m["reason"] == "compiler-message" && m["message"]["level"] == "error";
    if !done.status.success() && !messages.iter().any(|m| failed(&m)) {
        return Err(Error::Failed { line: process::line(&command), status: done.status, tail: process::tail(&done) });
    }
    Ok(messages)
}

fn built(messages: &[Value]) -> Programs {
    let tests = messages.iter().filter(|m| m["reason"] == "compiler-artifact" && m["profile"]["test"] == true);
    tests
        .filter_map(|m| {
            let library = m["target"]["kind"][0] == "lib";
            let name = if library { "lib" } else { m["target"]["name"].as_str()? };
            Some((name.to_owned(), PathBuf::from(m["executable"].as_str()?)))
        })
        .collect()
}

/// Copies what git knows of, and what is new, to `tree`; what didn't change keeps its time, so that nothing is built for nothing.
pub(super) fn copy(tree: &Path) -> Result<()> {
    let listed = process::succeed(process::command("git").args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]))?;
    for file in listed.split('\0').filter(|file| !file.is_empty()) {
        let from = project::root().join(file);
        // Removed and not yet committed, or a folder of its own (a submodule).
        if from.is_file() {
            let bytes = project::read(&from)?;
            let to = tree.join(file);
            if fs::read(&to).ok().as_deref() != Some(&bytes) {
                project::write(&to, &bytes)?;
            }
        }
    }
    Ok(())
}

fn write_if_changed(path: &Path, text: &str) -> Result<()> {
    if fs::read(path).ok().as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    project::write(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(spans: &[(usize, usize, bool)]) -> Value {
        let span = |&(start, end, main): &(usize, usize, bool)| json!({"file_name": "a.rs", "byte_start": start, "byte_end": end, "is_primary": main});
        json!({"spans": spans.iter().map(span).collect::<Vec<_>>(), "children": []})
    }

    /// A mutant whose own text is wrong isn't a program; where the error stands beside it, cargo-mutants has to say.
    #[test]
    fn an_error_is_blamed_on_the_branch_that_it_stands_in_or_else_on_the_place() {
        let file = Switched {
            text: String::new(),
            branches: vec![(7, 20..30), (8, 40..50), (9, 22..24)],
            places: vec![(10..60, vec![7, 8]), (21..25, vec![9])],
        };
        let switched = BTreeMap::from([("a.rs".to_owned(), file)]);
        let blamed = |spans: &[(usize, usize, bool)]| {
            let (mutants, exact) = blame(&error(spans), &switched);
            (mutants.into_iter().collect::<Vec<_>>(), exact)
        };
        assert_eq!(blamed(&[(42, 44, true)]), (vec![8], true));
        // What the error is about counts for more than what it also names.
        assert_eq!(blamed(&[(42, 44, false), (26, 28, true)]), (vec![7], true));
        assert_eq!(blamed(&[(22, 23, true)]), (vec![9], true));
        assert_eq!(blamed(&[(12, 14, true)]), (vec![7, 8], false));
        assert_eq!(blamed(&[(0, 100, true)]), (vec![7, 8, 9], false));
        assert_eq!(blamed(&[(70, 80, true)]), (vec![], false));
    }
}
