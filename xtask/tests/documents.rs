//! README's table of attacks names tests that exist.

use std::{fs, path::Path};

/// The text of every Rust file under a folder, build output left out.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("a source file"));
        }
    }
}

#[test]
fn every_test_that_readme_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut text = String::new();
    for folder in ["manifests", "verifier", "tuf", "jobs", "rollout", "signer", "server", "device", "xtask"] {
        sources(&root.join(folder), &mut text);
    }
    let readme = fs::read_to_string(root.join("README.md")).expect("README.md");
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
