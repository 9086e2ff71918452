//! The conformance client's command line: its form, and exit codes 0 and 1 alone.

use std::process::{Command, Output};

use crate::bench::Bench;
use crate::repo::Repo;

fn client(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tuf-conformance-client")).args(args).output().unwrap()
}

fn repo() -> Repo {
    let mut repo = Repo::new();
    repo.add_target("targets", "a", b"one");
    repo.add_target("targets", "b", b"two");
    repo.publish_all();
    repo
}

#[test]
fn init_refresh_and_download_as_the_suite_calls_them() {
    let bench = Bench::new(repo());
    let dir = bench.dir.path().join("new");
    let (dir, out) = (dir.to_str().unwrap(), bench.out());
    let root = bench.dir.path().join("initial_root.json");
    std::fs::write(&root, bench.repo.first_root()).unwrap();

    assert_eq!(client(&["--metadata-dir", dir, "init", root.to_str().unwrap()]).status.code(), Some(0));
    assert_eq!(bench.server.requests().len(), 0);
    let url = bench.server.metadata();
    assert_eq!(client(&["--metadata-url", &url, "--metadata-dir", dir, "refresh"]).status.code(), Some(0));
    let download = |names: &[&str]| {
        let targets = bench.server.targets();
        let mut args = vec!["--metadata-url", &url, "--metadata-dir", dir];
        args.extend(names.iter().flat_map(|name| ["--target-name", name]));
        args.extend(["--target-dir", out.to_str().unwrap(), "--target-base-url", &targets, "download"]);
        client(&args)
    };
    // In order, and no further than the first that fails.
    let output = download(&["a", "missing", "b"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("missing"));
    assert!(out.join("a").exists() && !out.join("b").exists());
    assert_eq!(download(&["a", "b"]).status.code(), Some(0));
    assert_eq!(std::fs::read(out.join("b")).unwrap(), b"two");
}

#[test]
fn whatever_goes_wrong_the_exit_code_is_1_and_the_reason_is_said() {
    let bench = Bench::new(repo());
    let dir = bench.dir.path().to_str().unwrap();
    let empty = bench.dir.path().join("empty");
    std::fs::write(&empty, b"").unwrap();
    let cases: [&[&str]; 9] = [
        &[],
        &["frobnicate"],
        &["--metadata-dir"],
        &["--metadata-dir", dir],
        &["refresh"],
        &["--metadata-dir", dir, "refresh"],
        &["--metadata-dir", dir, "init", "/nonexistent"],
        &["--metadata-dir", dir, "init", empty.to_str().unwrap()],
        &["--metadata-dir", dir, "--metadata-url", "http://127.0.0.1:1/", "refresh"],
    ];
    for args in cases {
        let output = client(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    assert_eq!(client(&["--help"]).status.code(), Some(0));
}

#[test]
fn a_repository_that_follows_tap_12_is_accepted_when_it_is_said() {
    let mut bench = Bench::new(repo());
    let key = bench.repo.new_key().called("abc");
    bench.repo.set_keys("timestamp", &[key], 1);
    bench.repo.publish(&["root", "timestamp"]);
    let (dir, url) = (bench.trust(), bench.server.metadata());
    let refresh = ["--metadata-dir", dir.to_str().unwrap(), "--metadata-url", &url, "refresh"];
    let output = client(&refresh);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("opaque"));
    assert_eq!(client(&[&refresh[..], &["--opaque-key-ids"]].concat()).status.code(), Some(0));
}
