//! python-tuf, TUF's reference implementation: its repositories are read here, and its client judges the same states.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sealift_tuf::{Config, verify_repository};
use serde_json::json;

use crate::python;
use crate::repo::{Key, Repo, sha256};

/// Python's own web server.
struct HttpServer {
    child: Child,
    url: String,
}

impl HttpServer {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(python::interpreter())
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"])
            .arg(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // `Serving HTTP on 127.0.0.1 port 40123 (http://127.0.0.1:40123/) ...`
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.split(' ').nth(5).unwrap().parse().unwrap();
        HttpServer { child, url: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sealift(url: &str, dir: &Path, args: &[&str]) -> bool {
    let (metadata, targets) = (format!("{url}/metadata"), format!("{url}/targets"));
    let output = Command::new(env!("CARGO_BIN_EXE_tuf-conformance-client"))
        .arg("--metadata-dir")
        .arg(dir.join("trust"))
        .args(["--metadata-url", &metadata, "--target-base-url", &targets, "--target-dir"])
        .arg(dir.join("out"))
        .args(args)
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

#[test]
fn a_repository_made_by_python_tuf_is_read_with_every_key_type_and_kind_of_delegation() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new(python::interpreter())
        .arg(python::script("make_repository.py"))
        .arg(dir.path().join("repo"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let server = HttpServer::start(&dir.path().join("repo"));
    let root = dir.path().join("repo/root.json");
    assert!(sealift(&server.url, dir.path(), &["init", root.to_str().unwrap()]));
    for target in ["top.txt", "app/v1/app.bin", "hashed/file", "bins/file-0", "bins/file-7", "bins/file-15"] {
        assert!(sealift(&server.url, dir.path(), &["--target-name", target, "download"]), "{target}");
        let file = dir.path().join("out").join(target.replace('/', "%2F"));
        assert_eq!(fs::read(file).unwrap(), format!("content of {target}").repeat(100).as_bytes());
    }
    // Not covered: one directory too deep, and a bin without it.
    for target in ["app/v1/deep/app.bin", "bins/file-99"] {
        assert!(!sealift(&server.url, dir.path(), &["--target-name", target, "download"]), "{target}");
    }
    let root = fs::read(root).unwrap();
    for location in [&server.url, dir.path().join("repo").to_str().unwrap()] {
        let report = verify_repository(location, &root, &Config::default()).unwrap();
        assert_eq!((report.roles.len(), report.targets.len()), (15, 19), "{location}");
    }
}

/// A change to the repository and whether a client may still have the target.
type State = (&'static str, bool, fn(&mut Repo));

#[test]
fn both_clients_decide_alike() {
    let states: &[State] = &[
        ("nothing changed", true, |_| {}),
        ("unknown fields everywhere", true, |repo| {
            for role in ["targets", "snapshot", "timestamp", "app"] {
                repo.role(role)["x-new"] = json!({"z": [true, null, -5], "\u{e9}\u{1f600}": "\"\\"});
            }
            repo.publish_all();
        }),
        ("rotated keys", true, |repo| {
            for role in ["targets", "snapshot", "timestamp"] {
                repo.rotate(role);
            }
            repo.publish(&["root"]);
            repo.publish_all();
        }),
        ("no hashes and lengths", true, |repo| {
            repo.pinned = false;
            repo.publish_all();
        }),
        ("expired delegated role", false, |repo| {
            repo.role("app")["expires"] = json!("2020-01-01T00:00:00Z");
            repo.publish_all();
        }),
        ("expired timestamp", false, |repo| {
            repo.role("timestamp")["expires"] = json!("2020-01-01T00:00:00Z");
            repo.publish(&["timestamp"]);
        }),
        ("wrong snapshot hash", false, |repo| {
            repo.publish(&["snapshot"]);
            repo.role("timestamp")["meta"]["snapshot.json"]["hashes"]["sha256"] = json!("00".repeat(32));
            repo.publish(&["timestamp"]);
        }),
        ("timestamp signed by nobody", false, |repo| {
            repo.signers.insert("timestamp".into(), vec![Key::new(250)]);
            repo.publish(&["timestamp"]);
        }),
        ("altered target", false, |repo| {
            repo.files.put(&format!("targets/app/{}.bin", sha256(b"image")), b"imago");
        }),
        ("another specification", false, |repo| {
            repo.role("snapshot")["spec_version"] = json!("2.0.0");
            repo.publish(&["snapshot", "timestamp"]);
        }),
        ("terminating delegation in front", false, |repo| {
            repo.delegate("targets", "front", json!({"paths": ["app/*"], "terminating": true}));
            let delegations = repo.role("targets")["delegations"]["roles"].as_array_mut().unwrap();
            delegations.reverse();
            repo.publish_all();
        }),
        ("delegated role that the snapshot does not list", false, |repo| {
            repo.role("snapshot")["meta"].as_object_mut().unwrap().remove("app.json");
            repo.publish(&["snapshot", "timestamp"]);
        }),
    ];
    for (what, fine, change) in states {
        let mut repo = Repo::new();
        repo.delegate("targets", "app", json!({"paths": ["app/*"]}));
        repo.add_target("app", "app/bin", b"image");
        repo.publish_all();
        change(&mut repo);
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in repo.files.all() {
            let path = dir.path().join("repo").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let root = dir.path().join("root.json");
        fs::write(&root, repo.first_root()).unwrap();
        let server = HttpServer::start(&dir.path().join("repo"));

        assert!(sealift(&server.url, dir.path(), &["init", root.to_str().unwrap()]));
        let ours = sealift(&server.url, dir.path(), &["--target-name", "app/bin", "download"]);
        let theirs = Command::new(python::interpreter())
            .arg(python::script("client.py"))
            .arg(&server.url)
            .arg(&root)
            .arg(dir.path().join("state"))
            .arg("app/bin")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&theirs.stderr);
        assert!(
            theirs.status.success() || said.contains("refused") || said.contains("no such target"),
            "{what}: {said}"
        );
        assert_eq!((ours, theirs.status.success()), (*fine, *fine), "{what}: {said}");
    }
}
