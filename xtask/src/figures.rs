//! `cargo xtask figures`: lines and dependencies of each crate, and the verifier's whole tree.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::Value;

use crate::{
    error::{Error, Result},
    process, project,
};

/// Counts and prints.
pub(crate) fn run() -> Result<ExitCode> {
    let metadata =
        process::succeed(process::cargo().args(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata)
        .map_err(|why| Error::Content { path: "cargo metadata".into(), what: why.to_string() })?;
    println!(
        "{:<20}{:>10}{:>10}{:>10}{:>8}{:>14}",
        "crate", "src lines", "of code", "of tests", "direct", "whole tree"
    );
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let folder = Path::new(package["manifest_path"].as_str().unwrap_or_default())
            .parent()
            .unwrap_or(Path::new("."))
            .to_owned();
        let (mut lines, mut code, mut tests) = (0, 0, 0);
        for file in sources(&folder)? {
            let text = project::read_text(&file)?;
            if file.starts_with(folder.join("tests")) {
                tests += text.lines().count();
                continue;
            }
            lines += text.lines().count();
            code += code_lines(&text);
        }
        let normal = |dependency: &&Value| dependency["kind"].is_null() && dependency["optional"] != true;
        let direct = package["dependencies"].as_array().map_or(0, |all| all.iter().filter(normal).count());
        println!("{name:<20}{lines:>10}{code:>10}{tests:>10}{direct:>8}{:>14}", tree(name)?.len());
    }
    let verifier = tree("sealift-verifier")?;
    println!("\nthe verifier's whole tree as a device carries it ({} crates, itself included):", verifier.len());
    verifier.iter().for_each(|name| println!("  {name}"));
    println!(
        "\nlines: whole files; of code: without blank lines, comments and unit tests; direct: without development ones"
    );
    Ok(ExitCode::SUCCESS)
}

/// Lines of code: neither blank nor comment, up to the file's unit tests.
fn code_lines(text: &str) -> usize {
    let until_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    until_tests.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

/// Rust files under a crate's folder, without nested crates and build output.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut waiting = vec![folder.join("src"), folder.join("tests")];
    while let Some(dir) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.map_err(|source| Error::File { act: "list", path: dir.clone(), source })?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Names and versions of everything that a crate without its default features is built from, procedural macros included.
pub(crate) fn tree(name: &str) -> Result<BTreeSet<String>> {
    let mut cargo = process::cargo();
    cargo.args(["tree", "--locked", "-p", name, "-e", "normal", "--prefix", "none", "--format", "{p}"]);
    if name == "sealift-verifier" {
        cargo.args(["--no-default-features", "--target", "thumbv7m-none-eabi"]);
    }
    let listed = process::succeed(&mut cargo)?;
    let names = listed.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?))
    });
    Ok(names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blanks_and_unit_tests_are_not_code() {
        assert_eq!(
            code_lines("//! doc\n\nfn a() {}\n    // why\nfn b() {}\n#[cfg(test)]\nmod tests {\n    fn c() {}\n}\n"),
            2
        );
    }
}
