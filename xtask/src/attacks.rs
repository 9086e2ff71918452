//! `cargo xtask attacks`: every known attack, the test that carries it out, and what came of it when it ran here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
    process::ExitCode,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    process, project,
};

/// Where the list is kept.
const LIST: &str = "xtask/attacks.toml";

/// Folders of the crates whose tests carry the attacks out.
const CRATES: &[&str] = &["manifests", "verifier", "tuf", "jobs", "rollout", "signer", "server", "device", "xtask"];

/// Options of `cargo xtask attacks`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask attacks\n  cargo xtask attacks 22 47 --run\n  cargo xtask attacks --run --json\n\n\
    Exit code: 0 when every test that ran passed, 1 otherwise. Tests that need a build of their own (the fault model, the \
    AWS adapters) are said to be left out: `cargo xtask test` runs them."
)]
pub(crate) struct Options {
    /// Numbers of cases; all without one
    cases: Vec<u32>,
    /// Carry them out
    #[arg(long)]
    run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One known attack.
#[derive(Deserialize, Serialize)]
pub(crate) struct Case {
    /// Its number, which the tests written for it carry in their names.
    number: u32,
    /// What the attacker does.
    attack: String,
    /// Where it happened, or which text describes it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    known: String,
    /// What stands against it.
    defence: String,
    /// What it comes to: a refusal's code, or words.
    result: String,
    /// Names of the test functions.
    tests: Vec<String>,
}

#[derive(Deserialize)]
struct List {
    case: Vec<Case>,
}

/// The whole list, in order.
pub(crate) fn list() -> Result<Vec<Case>> {
    let path = project::root().join(LIST);
    let list: List = toml::from_str(&project::read_text(&path)?)
        .map_err(|why| Error::Content { path: path.clone(), what: why.to_string() })?;
    let gap = (1..).zip(&list.case).find(|(number, case)| *number != case.number);
    match gap {
        Some((number, _)) => Err(Error::Content { path, what: format!("case {number} is missing or out of order") }),
        None => Ok(list.case),
    }
}

/// The table in SECURITY.md.
pub(crate) fn table() -> Result<String> {
    let mut table = String::from("| # | attack | defence | result | tests |\n|---|---|---|---|---|\n");
    for case in list()? {
        let known = if case.known.is_empty() { String::new() } else { format!(" ({})", case.known) };
        let tests: Vec<String> = case.tests.iter().map(|name| format!("`{name}`")).collect();
        let Case { number, attack, defence, result, .. } = case;
        let _ = writeln!(table, "| {number} | {attack}{known} | {defence} | {result} | {} |", tests.join(", "));
    }
    Ok(table)
}

/// What became of a test.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    Passed,
    Failed,
    LeftOut,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::LeftOut => "left out (needs something that is not here, or a build of its own: cargo xtask test)",
        }
    }
}

/// Prints the list, and carries it out when asked to.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut cases = list()?;
    if let Some(unknown) = options.cases.iter().find(|number| !cases.iter().any(|case| case.number == **number)) {
        return Err(Error::Story { what: format!("there is no case {unknown}; the last is {}", cases.len()) });
    }
    cases.retain(|case| options.cases.is_empty() || options.cases.contains(&case.number));
    let names: BTreeSet<&str> = cases.iter().flat_map(|case| &case.tests).map(String::as_str).collect();
    let fates = if options.run { carry_out(&names)? } else { BTreeMap::new() };
    if options.json {
        let with_fates: Vec<_> = cases.iter().map(|case| json(case, &fates)).collect();
        println!("{}", serde_json::Value::from(with_fates));
    } else {
        cases.iter().for_each(|case| print(case, &fates));
    }
    let count = |fate| fates.values().filter(|one| **one == fate).count();
    if options.run && !options.json {
        let (passed, failed, left_out) = (count(Fate::Passed), count(Fate::Failed), count(Fate::LeftOut));
        println!("\n{} cases: {passed} tests passed, {failed} failed, {left_out} left out", cases.len());
    }
    Ok(if count(Fate::Failed) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(case: &Case, fates: &BTreeMap<String, Fate>) {
    let known = if case.known.is_empty() { String::new() } else { format!(" ({})", case.known) };
    println!("{:>3}  {}{known}\n     -> {}: {}", case.number, case.attack, case.result, case.defence);
    for name in &case.tests {
        println!("     {}{name}", fates.get(name).map_or(String::new(), |fate| format!("{}: ", fate.word())));
    }
}

fn json(case: &Case, fates: &BTreeMap<String, Fate>) -> serde_json::Value {
    let mut value = serde_json::json!(case);
    if !fates.is_empty() {
        let of_case = case.tests.iter().filter_map(|name| Some((name.clone(), serde_json::json!(fates.get(name)?))));
        value["ran"] = serde_json::Value::Object(of_case.collect());
    }
    value
}

/// Runs the tests of these names, in the crates that have them, and tells what became of each.
fn carry_out(names: &BTreeSet<&str>) -> Result<BTreeMap<String, Fate>> {
    let mut cargo = process::cargo();
    cargo.args(["test", "--locked", "--no-fail-fast", "--all-targets"]);
    for folder in CRATES {
        let mut text = String::new();
        sources(&project::root().join(folder), &mut text)?;
        if names.iter().any(|name| text.contains(&format!("fn {name}("))) {
            cargo.args(["-p", &package(folder)]);
        }
    }
    cargo.args(["--", "--show-output"]).args(names);
    eprintln!("{}", process::line(&cargo));
    let done = process::output(&mut cargo)?;
    let out = String::from_utf8_lossy(&done.stdout);
    let fates = fates(names, &out);
    if fates.values().all(|fate| *fate == Fate::LeftOut) {
        return Err(Error::Failed { line: process::line(&cargo), status: done.status, tail: process::tail(&done) });
    }
    if !done.status.success() {
        eprintln!("{out}");
    }
    Ok(fates)
}

/// A crate's name, from its folder's.
fn package(folder: &str) -> String {
    if folder == "xtask" { folder.to_owned() } else { format!("sealift-{folder}") }
}

/// The text of every Rust file under a folder, build output left out.
pub(crate) fn sources(folder: &Path, text: &mut String) -> Result<()> {
    let failed = |source| Error::File { act: "list", path: folder.into(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, text)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&project::read_text(&path)?);
        }
    }
    Ok(())
}

/// What the test harness said of each name; a name of two tests fails when one does. A test that left itself out did not pass.
fn fates(names: &BTreeSet<&str>, out: &str) -> BTreeMap<String, Fate> {
    let mut fates: BTreeMap<String, Fate> = names.iter().map(|name| ((*name).to_owned(), Fate::LeftOut)).collect();
    let mut printing = None;
    for line in out.lines() {
        if let Some(path) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            printing = path.rsplit("::").next();
        }
        if line.starts_with("LEFT OUT:")
            && let Some(fate) = printing.and_then(|name| fates.get_mut(name))
        {
            *fate = Fate::LeftOut;
        }
        let Some((path, verdict)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... ")) else {
            continue;
        };
        let name = path.rsplit("::").next().unwrap_or(path);
        let Some(fate) = fates.get_mut(name) else { continue };
        match verdict {
            "ok" if *fate == Fate::LeftOut => *fate = Fate::Passed,
            "FAILED" => *fate = Fate::Failed,
            _ => {}
        }
    }
    fates
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every Rust file of every crate.
    fn every_source() -> String {
        let mut text = String::new();
        CRATES.iter().for_each(|folder| sources(&project::root().join(folder), &mut text).unwrap());
        text
    }

    #[test]
    fn every_test_that_readme_names_exists() {
        let text = every_source();
        let readme = project::read_text(&project::root().join("README.md")).unwrap();
        let table = readme.split("| attack | defence |").nth(1).expect("the table of attacks");
        let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
        assert!(rows.len() >= 20, "only {} rows", rows.len());
        for row in rows {
            let tests = row.trim_end_matches('|').rsplit('|').next().expect("a last cell");
            let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
            assert!(!names.is_empty(), "no test in: {row}");
            for name in names {
                assert!(text.contains(&format!("fn {name}(")), "README names the test `{name}`, which doesn't exist");
            }
        }
    }

    #[test]
    fn each_case_has_a_test_that_exists() {
        let text = every_source();
        let cases = list().unwrap();
        assert!(cases.len() >= 73, "{} cases", cases.len());
        for Case { number, tests, .. } in cases {
            assert!(!tests.is_empty(), "case {number} has no test");
            for name in tests {
                let at = text.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("case {number}: no test `{name}`"));
                let before = &text[..at];
                let attributes = &before[before.rfind("\n\n").unwrap_or(0)..];
                assert!(attributes.contains("test]") || attributes.contains("test("), "`{name}` is no test");
            }
        }
    }

    #[test]
    fn a_test_that_did_not_run_is_never_said_to_have_passed() {
        let names = BTreeSet::from(["a", "b", "c"]);
        let fates = fates(&names, "test x::a ... ok\ntest y::b ... ok\ntest z::b ... FAILED\ntest aa ... ok\n");
        assert!(fates["a"] == Fate::Passed && fates["b"] == Fate::Failed && fates["c"] == Fate::LeftOut);
        let out =
            "test x::a ... ok\ntest y::b ... ok\n\nsuccesses:\n\n---- x::a stdout ----\nLEFT OUT: no firmware\n\n";
        let fates = super::fates(&names, out);
        assert!(fates["a"] == Fate::LeftOut && fates["b"] == Fate::Passed);
    }
}
