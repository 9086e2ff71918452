//! Downloading targets (section 5.7).

use std::fs;

use serde_json::json;

use crate::bench::{Bench, code};
use crate::repo::{Repo, sha256};
use crate::server::Manner;

fn with_target(path: &str, bytes: &[u8]) -> Bench {
    let mut repo = Repo::new();
    repo.add_target("targets", path, bytes);
    repo.publish_all();
    Bench::new(repo)
}

fn image() -> Vec<u8> {
    (0..200_000u32).map(|at| (at * 7 % 251) as u8).collect()
}

/// The path that `image` is served at, as `fw/app.bin`.
fn served() -> String {
    format!("targets/fw/{}.app.bin", sha256(&image()))
}

fn ranges(bench: &Bench) -> Vec<String> {
    bench.server.requests().into_iter().filter(|path| path.starts_with("targets/")).collect()
}

#[test]
fn a_target_is_asked_for_by_its_hash_and_once() {
    let bench = with_target("fw/app.bin", &image());
    assert_eq!(bench.download("fw/app.bin").unwrap(), image());
    assert_eq!(ranges(&bench), [served()]);
    assert_eq!(bench.download("fw/app.bin").unwrap(), image());
    assert_eq!(ranges(&bench).len(), 0);
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(bench.out()).unwrap().count(), 1);
}

#[test]
fn a_target_that_was_altered_on_disk_is_fetched_anew() {
    let bench = with_target("app", b"right");
    bench.download("app").unwrap();
    fs::write(bench.out().join("app"), b"wrong").unwrap();
    assert_eq!(bench.download("app").unwrap(), b"right");
}

#[test]
fn other_bytes_than_were_signed_are_refused_and_nothing_stays() {
    let bench = with_target("app", b"signed");
    for wrong in [&b"forged"[..], b"sig", b""] {
        bench.repo.files.put(&format!("targets/{}.app", sha256(b"signed")), wrong);
        bench.download("app").unwrap_err();
        assert!(!bench.out().join("app").exists());
    }
    bench.repo.files.put(&format!("targets/{}.app", sha256(b"signed")), b"signed");
    assert_eq!(bench.download("app").unwrap(), b"signed");
}

#[test]
fn a_target_never_grows_beyond_its_signed_length() {
    let bench = with_target("fw/app.bin", &image());
    bench.server.misbehave(&served(), Manner::Endless);
    let error = bench.download("fw/app.bin").unwrap_err().to_string();
    assert!(error.contains("more than the 200000 bytes"), "{error}");
    bench.server.misbehave(&served(), Manner::Well);
    assert_eq!(bench.download("fw/app.bin").unwrap(), image());
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let bench = with_target("fw/app.bin", &image());
    bench.server.misbehave(&served(), Manner::CutAfter(50_000));
    assert_eq!(bench.download("fw/app.bin").unwrap(), image());
    assert_eq!(ranges(&bench), [served(), format!("{} 50000-", served())]);
}

#[test]
fn a_server_without_ranges_is_asked_for_the_whole_again() {
    let bench = with_target("fw/app.bin", &image());
    bench.server.misbehave(&served(), Manner::CutAfterNoRanges(50_000));
    assert_eq!(bench.download("fw/app.bin").unwrap(), image());
}

#[test]
fn a_download_goes_on_in_another_process_and_what_is_not_the_targets_is_dropped() {
    let bench = with_target("fw/app.bin", &image());
    let state = bench.out().join(".sealift");
    let partial = state.join(format!("{}.partial", sha256(&image())));
    fs::create_dir_all(&state).unwrap();

    fs::write(&partial, &image()[..120_000]).unwrap();
    assert_eq!(bench.download("fw/app.bin").unwrap(), image());
    assert_eq!(ranges(&bench), [format!("{} 120000-", served())]);

    let place = bench.out().join("fw%2Fapp.bin");
    let altered = [&b"altered"[..], &image()[7..90_000]].concat();
    for left in [altered, vec![0; 200_000], vec![0; 300_000]] {
        fs::remove_file(&place).unwrap();
        fs::create_dir_all(&state).unwrap();
        fs::write(&partial, left).unwrap();
        assert_eq!(bench.download("fw/app.bin").unwrap(), image());
        assert!(!partial.exists());
    }
}

#[test]
fn sha512_alone_is_enough_and_an_unknown_hash_alone_is_not() {
    let mut bench = with_target("app", b"x");
    let sha512 = hex::encode(<sha2::Sha512 as sha2::Digest>::digest(b"x"));
    bench.repo.role("targets")["targets"]["app"]["hashes"] = json!({"sha512": sha512, "blake9": "aa"});
    bench.repo.files.put(&format!("targets/{sha512}.app"), b"x");
    bench.repo.publish_all();
    assert_eq!(bench.download("app").unwrap(), b"x");

    fs::remove_file(bench.out().join("app")).unwrap();
    bench.repo.role("targets")["targets"]["app"]["hashes"] = json!({"blake9": "aa"});
    bench.repo.files.put("targets/aa.app", b"x");
    bench.repo.publish_all();
    bench.server.requests();
    assert!(bench.download("app").unwrap_err().to_string().contains("no hash that this client knows"));
    assert_eq!(ranges(&bench).len(), 0);
}

#[test]
fn every_known_hash_must_match() {
    let mut bench = with_target("app", b"x");
    bench.repo.role("targets")["targets"]["app"]["hashes"]["sha512"] = json!("00".repeat(64));
    bench.repo.publish_all();
    assert!(bench.download("app").unwrap_err().to_string().contains("signed hash"));
}

#[test]
fn a_hash_cannot_lead_a_request_elsewhere() {
    let mut bench = with_target("app", b"x");
    bench.repo.role("targets")["targets"]["app"]["hashes"] = json!({"sha256": sha256(b"x"), "other": "../../x"});
    bench.repo.publish_all();
    assert_eq!(bench.refusal() / 100, 1);
}

#[test]
fn target_paths_that_lead_out_of_a_directory_are_refused() {
    let mut repo = Repo::new();
    let names = ["../evil", "/etc/evil", "a/../../evil", "a//b", ".", "..", "", "a\\..\\b"];
    for name in names {
        repo.add_target("targets", name, b"x");
    }
    repo.publish_all();
    let bench = Bench::new(repo);
    for name in names {
        let error = bench.download(name).unwrap_err().to_string();
        assert!(error.contains("no safe target path"), "{name}: {error}");
    }
    assert_eq!(ranges(&bench).len(), 0);
}

#[test]
fn an_empty_target_and_odd_names_arrive() {
    let mut repo = Repo::new();
    let names = ["empty", "with space", "que?ry#frag", "per%20cent", "\u{e9}", ".hidden"];
    for name in names {
        let bytes: &[u8] = if name == "empty" { b"" } else { name.as_bytes() };
        repo.add_target("targets", name, bytes);
        let asked = match name {
            "with space" => "with%20space",
            "que?ry#frag" => "que%3Fry%23frag",
            "\u{e9}" => "%C3%A9",
            name => name,
        };
        repo.files.put(&format!("targets/{}.{asked}", sha256(bytes)), bytes);
    }
    repo.publish_all();
    let bench = Bench::new(repo);
    for name in names {
        let bytes: &[u8] = if name == "empty" { b"" } else { name.as_bytes() };
        assert_eq!(bench.download(name).unwrap(), bytes, "{name}");
    }
}

#[test]
fn custom_is_handed_to_the_application() {
    let mut bench = with_target("app", b"x");
    bench.repo.role("targets")["targets"]["app"]["custom"] = json!({"version": 7});
    bench.repo.publish_all();
    let target = bench.client().unwrap().target("app").unwrap().unwrap();
    assert_eq!(target.custom.unwrap().canonical(), br#"{"version":7}"#);
    assert_eq!((target.length, target.hashes.iter().count()), (1, 1));
}

#[test]
fn nothing_is_downloaded_on_metadata_that_was_refused() {
    let mut bench = with_target("app", b"x");
    bench.repo.signers.insert("timestamp".into(), vec![crate::repo::Key::new(99)]);
    bench.repo.publish(&["timestamp"]);
    assert_eq!(code(&bench.download("app").unwrap_err()), 201);
    assert_eq!(ranges(&bench).len(), 0);
}
