//! `verify` accepts what a device accepts and refuses what was altered; `inspect` shows what files say; deltas apply.

mod support;

use std::fs;
use std::path::PathBuf;

use support::{Outcome, Project, firmware};

/// A project with two releases, a trusted root, a bundle and an install file with every payload.
fn project() -> Project {
    let project = Project::new();
    project.release("1.0.0", &firmware(20_000, 1));
    let mut next = firmware(20_000, 1);
    next[8_000..8_050].fill(1);
    project.release("1.1.0", &next);
    project.run(&["root", "export", "--format", "cbor", "--out", "root"]).ok();
    project.run(&["bundle", "export", "--product", "thermostat", "--out", "bundle"]).ok();
    project.run(&["bundle", "export", "--product", "thermostat", "--with-payload", "all", "--out", "stick"]).ok();
    project
}

fn verify(project: &Project, path: &str) -> Outcome {
    // SOURCE_DATE_EPOCH is the time of the signatures, so nothing is expired.
    project.run(&["verify", path, "--root", "root", "--json"])
}

#[test]
fn what_was_signed_is_verified() {
    let project = project();
    for (path, kind, payloads) in
        [("repository", "repository", 5), ("bundle", "update bundle", 0), ("stick", "install file", 3)]
    {
        let verified = verify(&project, path).ok().json();
        assert_eq!(verified["verified"], true);
        assert_eq!((&verified["kind"], &verified["payloads"]), (&kind.into(), &payloads.into()), "{path}");
        assert_eq!(verified["freshness"], "fresh");
    }
    for entry in fs::read_dir(project.file("repository/metadata")).unwrap() {
        let path = entry.unwrap().path();
        let outcome = verify(&project, path.to_str().unwrap());
        if outcome.code != 0 {
            outcome.fails(2, &["the targets file of `thermostat`", "directory or a bundle"]);
        }
    }
    let no_clock = project.run(&["verify", "bundle", "--root", "root", "--json", "--no-clock"]).ok().json();
    assert_eq!(no_clock["freshness"], "unknown");
}

#[test]
fn no_byte_of_a_repository_can_be_changed() {
    let project = project();
    let files: Vec<PathBuf> = ["metadata", "payloads"]
        .iter()
        .flat_map(|folder| fs::read_dir(project.file(&format!("repository/{folder}"))).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    let current: Vec<_> = project.run(&["release", "list"]).ok().stdout.lines().map(str::to_owned).collect();
    assert!(current.len() > 3);
    let mut refused = 0;
    for path in &files {
        let whole = fs::read(path).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(path, changed).unwrap();
            let outcome = verify(&project, "repository");
            assert!(matches!(outcome.code, 0 | 3 | 4), "{outcome:?}");
            refused += usize::from(outcome.code != 0);
        }
        fs::write(path, whole).unwrap();
    }
    // Two former snapshots and one former targets file are not looked at any more. Everything else is.
    assert_eq!(refused, 3 * (files.len() - 3), "of {} files", files.len());
    verify(&project, "repository").ok();
}

#[test]
fn every_truncated_or_altered_bundle_is_refused() {
    let project = project();
    for file in ["bundle", "stick"] {
        let whole = fs::read(project.file(file)).unwrap();
        let step = whole.len() / 40;
        for length in (0..whole.len()).step_by(step) {
            project.write("cut", &whole[..length]);
            let outcome = verify(&project, "cut");
            // A stick that is cut behind its bundle, or between payloads, is a smaller one.
            assert!(matches!(outcome.code, 2..=4), "{file} cut at {length}: {outcome:?}");
            assert!(!outcome.stderr.contains("panicked"));
        }
        // Each byte of the bundle: a changed name made its file one that nobody asks for, and it passed for verified once.
        let step = if file == "bundle" { 1 } else { step };
        for at in (0..whole.len()).step_by(step) {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            project.write("changed", changed);
            let outcome = verify(&project, "changed");
            assert!(matches!(outcome.code, 3 | 4), "{file} changed at {at}: {outcome:?}");
        }
    }
}

#[test]
fn a_file_beside_the_one_that_counts_is_refused_and_not_shown_as_verified() {
    let project = project();
    let bundle = fs::read(project.file("bundle")).unwrap();
    let files: Vec<&[u8]> = sealift_manifests::bundle::files(&bundle).map(Result::unwrap).collect();
    let delegated = files.last().unwrap();
    // The same file once more, and one of another name that nobody signed.
    project.write("twice", [&bundle[..], delegated].concat());
    verify(&project, "twice").fails(4, &["a second file of `thermostat`"]);
    let mut other = delegated.to_vec();
    let at = other.windows(10).position(|window| window == b"thermostat").unwrap();
    other[at + 9] = b's';
    project.write("other", [&bundle[..], &other].concat());
    verify(&project, "other").fails(3, &["SL-303", "thermostas"]);
}

#[test]
fn another_repository_and_expired_files_are_refused_with_their_codes() {
    let project = project();
    let other = Project::new();
    other.run(&["root", "export", "--format", "cbor", "--out", "root"]).ok();
    let root = other.file("root");
    let stranger = project.run(&["verify", "bundle", "--root", root.to_str().unwrap()]);
    stranger.fails(3, &["SL-201", "timestamp"]);
    let mut later = support::command(project.path(), &["verify", "bundle", "--root", "root", "--json"]);
    later.env("SOURCE_DATE_EPOCH", "1790000000");
    let expired = support::Run::run(&mut later);
    assert_eq!(expired.code, 3);
    let error: serde_json::Value = serde_json::from_str(&expired.stderr).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["class"]), (&"SL-403".into(), &"refused".into()));
    assert!(error["error"]["remedy"].as_str().unwrap().contains("sealift renew"));
}

#[test]
fn inspect_shows_every_file_we_write() {
    let project = project();
    let inspect = |path: &str| project.run(&["inspect", path, "--json"]).ok().json();
    assert_eq!(inspect("bundle")["kind"], "update bundle");
    assert_eq!(inspect("bundle")["files"][3]["targets"][1]["version"], "1.1.0");
    assert_eq!(inspect("stick")["payloads"].as_array().unwrap().len(), 3);
    assert_eq!(inspect("root")["files"][0]["role"], "root");
    let mut kinds = Vec::new();
    for folder in ["metadata", "tuf/metadata", "payloads"] {
        for entry in fs::read_dir(project.file(&format!("repository/{folder}"))).unwrap() {
            let path = entry.unwrap().path();
            let outcome = project.run(&["inspect", path.to_str().unwrap()]);
            match outcome.code {
                0 => {
                    assert!(outcome.stdout.contains("not verified"), "{outcome:?}");
                    kinds.push(outcome.stdout.lines().next().unwrap().split(": ").nth(1).unwrap().to_owned());
                }
                // Images and compressed images have no format of ours.
                4 => assert_eq!(folder, "payloads", "{outcome:?}"),
                _ => panic!("{outcome:?}"),
            }
        }
    }
    for kind in ["role file", "delta", "timestamp version", "root version"] {
        assert!(kinds.iter().any(|found| found.starts_with(kind)), "{kind} in {kinds:?}");
    }
    project.write("junk", b"junk");
    project.run(&["inspect", "junk"]).fails(4, &["no file that sealift writes"]);
    project.run(&["inspect", "nothing"]).fails(4, &["No such file"]);
}

#[test]
fn deltas_are_made_applied_and_looked_at() {
    let project = Project::new();
    let (old, mut new) = (firmware(40_000, 1), firmware(40_000, 1));
    new.splice(10_000..10_000, *b"inserted");
    project.write("old", &old);
    project.write("new", &new);
    for class in ["16KiB", "24KiB", "64KiB", "host"] {
        let arguments = ["delta", "create", "--from", "old", "--to", "new", "--out", "delta", "--force", "--json"];
        let made = project.run(&[&arguments[..], &["--decoder-ram", class]].concat()).ok().json();
        assert!(made["length"].as_u64().unwrap() < 2_000, "{made}");
        let seen = project.run(&["delta", "inspect", "delta", "--json"]).ok().json();
        assert_eq!(seen["target"], made["target"]);
        project.run(&["delta", "apply", "--base", "old", "--delta", "delta", "--out", "result", "--force"]).ok();
        assert!(fs::read(project.file("result")).unwrap() == new);
    }
    project.run(&["delta", "apply", "--base", "new", "--delta", "delta", "--out", "no"]).fails(3, &["not the base"]);
    let whole = fs::read(project.file("delta")).unwrap();
    for (name, bytes) in [("empty", &b""[..]), ("cut", &whole[..whole.len() - 5]), ("text", b"no delta at all")] {
        project.write(name, bytes);
        let outcome = project.run(&["delta", "apply", "--base", "old", "--delta", name, "--out", "no"]);
        assert!(matches!(outcome.code, 3 | 4), "{name}: {outcome:?}");
    }
    assert!(!project.file("no").exists(), "nothing is written when it fails");
    project.run(&["delta", "create", "--from", "old", "--to", "new", "--out", "delta"]).fails(3, &["delta exists"]);
}
