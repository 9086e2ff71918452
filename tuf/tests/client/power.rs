//! The power goes between any two writes of the datastore; the process is killed at any request.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sealift_tuf::store::Record;
use sealift_tuf::{DirStore, Error, Store, Updater};
use serde_json::json;

use crate::bench::Bench;
use crate::repo::Repo;

/// A directory whose power goes with a write: before it is done, or right after.
struct Cut<'s> {
    store: DirStore,
    left: &'s mut usize,
    done_at_the_cut: bool,
}

impl Store for Cut<'_> {
    fn read(&self, record: Record<'_>) -> io::Result<Option<Vec<u8>>> {
        self.store.read(record)
    }
    fn write(&mut self, record: Record<'_>, bytes: &[u8]) -> io::Result<()> {
        if *self.left == 0 {
            if self.done_at_the_cut {
                self.store.write(record, bytes)?;
            }
            return Err(io::Error::other("the power is gone"));
        }
        *self.left -= 1;
        self.store.write(record, bytes)
    }
    fn location(&self, record: Record<'_>) -> PathBuf {
        self.store.location(record)
    }
}

/// Two states of a repository: keys of every role rotate on the way, and everything is published anew.
fn next_state(bench: &mut Bench) {
    let old = bench.repo.signers["root"].clone();
    bench.repo.rotate("root");
    let new = bench.repo.signers["root"].clone();
    bench.repo.signers.insert("root".into(), [old, new.clone()].concat());
    bench.repo.rotate("timestamp");
    bench.repo.publish(&["root"]);
    bench.repo.signers.insert("root".into(), new);
    bench.repo.rotate("snapshot");
    bench.repo.publish(&["root"]);
    bench.repo.add_target("app", "app", b"second");
    bench.repo.publish_all();
}

fn start() -> Bench {
    let mut repo = Repo::new();
    repo.delegate("targets", "app", json!({"paths": ["*"]}));
    repo.add_target("app", "app", b"first");
    repo.publish_all();
    Bench::new(repo)
}

#[test]
fn after_a_cut_between_any_two_writes_the_next_run_completes_the_update() {
    for done_at_the_cut in [false, true] {
        for cut in 0.. {
            let mut bench = start();
            assert_eq!(bench.download("app").unwrap(), b"first");
            next_state(&mut bench);
            bench.config.clock = sealift_tuf::Clock::At(crate::repo::NOW + 1);
            let old = bench.repo.files.file("metadata/timestamp.json").unwrap();

            let mut left = cut;
            let store = Cut { store: DirStore::open(bench.trust()).unwrap(), left: &mut left, done_at_the_cut };
            let ended = Updater::open(store, Bench::fetcher(), bench.locations(), bench.config)
                .and_then(|mut client| client.download("app", &bench.out()).map(drop));
            match ended {
                // Time, two roots, timestamp, snapshot, targets, delegated targets.
                Ok(()) => {
                    assert_eq!(cut, 7, "a write that no cut was tried at");
                    break;
                }
                Err(error) => assert!(matches!(error, Error::Storage { .. }), "{error}"),
            }
            // Whatever is there is whole and can be read.
            for entry in fs::read_dir(bench.trust()).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "json") {
                    serde_json::from_slice::<serde_json::Value>(&fs::read(path).unwrap()).unwrap();
                }
            }
            assert_eq!(bench.download("app").unwrap(), b"second", "cut at write {cut}");
            for role in ["root", "timestamp", "snapshot", "targets", "app"] {
                let published = bench.repo.roles[role]["version"].as_u64();
                assert_eq!(bench.kept(role), published, "{role} after a cut at write {cut}");
            }
            // And nothing is open to being taken back.
            let first = bench.repo.roles["timestamp"].clone();
            let mut older = first.clone();
            older["version"] = json!(1);
            *bench.repo.role("timestamp") = older;
            bench.repo.publish_as_it_is("timestamp");
            assert_eq!(bench.refusal(), 401);
            bench.repo.files.put("metadata/timestamp.json", &old);
        }
    }
}

#[test]
fn a_cut_never_lowers_a_floor() {
    // Between timestamp and snapshot: the new timestamp is kept, the old snapshot too. What either says binds.
    let mut bench = Bench::new(Repo::new());
    bench.repo.publish_all();
    bench.refresh().unwrap();
    bench.repo.publish_all();
    let mut left = 1;
    bench.config.clock = sealift_tuf::Clock::At(crate::repo::NOW + 1);
    let store = Cut { store: DirStore::open(bench.trust()).unwrap(), left: &mut left, done_at_the_cut: true };
    Updater::open(store, Bench::fetcher(), bench.locations(), bench.config).unwrap().refresh().unwrap_err();
    assert_eq!((bench.kept("timestamp"), bench.kept("snapshot")), (Some(3), Some(2)));
    // A later timestamp that names the snapshot from before the cut.
    bench.repo.role("snapshot")["version"] = json!(1);
    bench.repo.publish(&["snapshot", "timestamp"]);
    assert_eq!(bench.refusal(), 401);
    assert_eq!(bench.kept("timestamp"), Some(3));
}

#[test]
fn what_a_torn_write_left_is_swept_and_never_read() {
    let bench = start();
    bench.refresh().unwrap();
    let state = bench.trust().join(".sealift");
    fs::write(state.join("tmp-abc"), b"{\"signed\":{\"half").unwrap();
    bench.refresh().unwrap();
    assert!(!state.join("tmp-abc").exists());
}

#[test]
fn killed_at_any_request_the_client_completes_the_update_in_its_next_run() {
    let mut requests = 0;
    loop {
        let mut bench = start();
        // The real clock: the program has no other.
        bench.config.clock = sealift_tuf::Clock::System;
        bench.server.hang_at(Some(requests));
        let command = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_tuf-conformance-client"));
            command
                .arg("--metadata-dir")
                .arg(bench.trust())
                .args(["--metadata-url", &bench.server.metadata(), "--target-base-url", &bench.server.targets()])
                .arg("--target-dir")
                .arg(bench.out())
                .args(["--target-name", "app", "download"])
                .stdout(Stdio::null());
            command
        };
        let mut child = command().spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let ended = loop {
            if bench.server.requests_so_far() > requests {
                break false;
            }
            if child.try_wait().unwrap().is_some() {
                break true;
            }
            assert!(Instant::now() < deadline, "neither a request nor an end");
            thread::sleep(Duration::from_millis(5));
        };
        if ended {
            // Two roots asked for, timestamp, snapshot, targets, delegated targets, the target.
            assert_eq!(requests, 6, "a request that no kill was tried at");
            return;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        bench.server.hang_at(None);
        assert!(command().status().unwrap().success(), "killed at request {requests}");
        assert_eq!(fs::read(bench.out().join("app")).unwrap(), b"first");
        requests += 1;
    }
}

#[test]
fn two_processes_do_not_share_a_datastore() {
    let bench = start();
    let held = DirStore::open(bench.trust()).unwrap();
    let error = bench.refresh().unwrap_err().to_string();
    assert!(error.contains("another process"), "{error}");
    drop(held);
    bench.refresh().unwrap();
}
