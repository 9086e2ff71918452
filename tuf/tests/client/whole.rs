//! `verify_repository`: the whole of a repository, from a directory and over HTTP.

use std::fs;
use std::path::Path;

use sealift_tuf::{Clock, Config, Report, verify_repository};
use serde_json::json;

use crate::bench::code;
use crate::repo::{NOW, Repo};
use crate::server::{Manner, Server};

fn config() -> Config {
    Config { clock: Clock::At(NOW), ..Config::default() }
}

fn repo() -> Repo {
    let mut repo = Repo::new();
    repo.delegate("targets", "a", json!({"paths": ["a/*", "shared/*"]}));
    repo.delegate("targets", "b", json!({"paths": ["b/*"]}));
    repo.delegate("a", "shared", json!({"paths": ["shared/*"]}));
    repo.delegate("b", "shared", json!({"paths": ["b/shared"]}));
    repo.add_target("targets", "top", b"top");
    repo.add_target("a", "a/app", b"a");
    repo.add_target("a", "not-a's", b"x");
    repo.add_target("shared", "shared/app", b"s");
    repo.add_target("shared", "b/shared", b"bs");
    repo.publish_all();
    repo
}

fn write(repo: &Repo, dir: &Path) {
    for (path, bytes) in repo.files.all() {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn check(report: &Report) {
    let mut roles: Vec<_> = report.roles.iter().map(|role| role.name.as_str()).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["a", "b", "root", "shared", "snapshot", "targets", "timestamp"]);
    let targets: Vec<_> = report.targets.iter().map(|target| (target.path.as_str(), target.role.as_str())).collect();
    assert_eq!(targets, [("a/app", "a"), ("b/shared", "shared"), ("shared/app", "shared"), ("top", "targets")]);
    assert_eq!(report.unreachable, ["not-a's"]);
}

#[test]
fn a_whole_repository_is_verified_from_a_directory_and_over_http() {
    let repo = repo();
    let dir = tempfile::tempdir().unwrap();
    write(&repo, dir.path());
    check(&verify_repository(dir.path().to_str().unwrap(), &repo.first_root(), &config()).unwrap());
    let server = Server::start(&repo.files);
    check(&verify_repository(&server.url, &repo.first_root(), &config()).unwrap());
    check(&verify_repository(&format!("{}/", server.url), &repo.first_root(), &config()).unwrap());
}

#[test]
fn any_altered_missing_or_longer_file_is_found() {
    let repo = repo();
    let dir = tempfile::tempdir().unwrap();
    let location = dir.path().to_str().unwrap();
    for (path, bytes) in repo.files.all() {
        // Published over by the second state.
        if ["metadata/1.snapshot.json", "metadata/1.targets.json"].contains(&path.as_str()) || path.contains("not-a") {
            continue;
        }
        for change in ["altered", "longer", "missing"] {
            write(&repo, dir.path());
            let file = dir.path().join(&path);
            match change {
                // The last byte but one is in a signature, a hash or a target.
                "altered" => {
                    let mut bytes = bytes.clone();
                    let at = bytes.iter().position(|byte| byte.is_ascii_digit()).unwrap_or(0);
                    bytes[at] ^= 1;
                    fs::write(file, bytes).unwrap();
                }
                "longer" => fs::write(file, [&bytes[..], b"x"].concat()).unwrap(),
                _ => fs::remove_file(file).unwrap(),
            }
            // The root that trust starts from is given, and not read from there.
            let fine = path == "metadata/1.root.json";
            let result = verify_repository(location, &repo.first_root(), &config());
            assert_eq!(result.is_ok(), fine, "{path} {change}: {result:?}");
        }
    }
}

#[test]
fn a_role_that_one_of_its_delegators_does_not_vouch_for_is_found() {
    let mut repo = repo();
    let first = repo.signers["shared"][0].clone();
    repo.signers.insert("shared".into(), vec![first]);
    repo.publish_all();
    let server = Server::start(&repo.files);
    assert_eq!(code(&verify_repository(&server.url, &repo.first_root(), &config()).unwrap_err()), 201);
}

#[test]
fn hash_bins_are_verified_all_of_them() {
    let mut repo = Repo::new();
    let key = repo.new_key();
    for bin in 0..4 {
        let name = format!("bin-{bin}");
        repo.add_targets_role(&name);
        repo.signers.insert(name, vec![key.clone()]);
    }
    repo.role("targets")["delegations"] = json!({
        "keys": { key.id(): key.json() },
        "succinct_roles": {"keyids": [key.id()], "threshold": 1, "bit_length": 2, "name_prefix": "bin"},
    });
    repo.publish_all();
    let server = Server::start(&repo.files);
    let report = verify_repository(&server.url, &repo.first_root(), &config()).unwrap();
    assert_eq!(report.roles.len(), 8);
    repo.signers.insert("bin-3".into(), vec![crate::repo::Key::new(77)]);
    repo.publish_all();
    assert_eq!(code(&verify_repository(&server.url, &repo.first_root(), &config()).unwrap_err()), 201);
}

#[test]
fn a_repository_that_is_not_there_or_breaks_off_is_no_verified_one() {
    let repo = repo();
    assert!(verify_repository("/nonexistent", &repo.first_root(), &config()).is_err());
    let server = Server::start(&repo.files);
    server.misbehave(&format!("targets/{}.top", crate::repo::sha256(b"top")), Manner::CutAfter(1));
    assert!(verify_repository(&server.url, &repo.first_root(), &config()).is_err());
}
