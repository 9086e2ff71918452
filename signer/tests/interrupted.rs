//! `kill -9` in the middle of an act leaves the old state or the new one, and two acts at once both happen.

mod support;

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use support::{Project, firmware};

fn start(project: &Project, version: &str, image: &str) -> Child {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("sealift"));
    command.current_dir(project.path()).env("SOURCE_DATE_EPOCH", support::THEN);
    command.args(["release", "create", "--product", "thermostat", "--security-counter", "1", "--version", version]);
    command.args(["--image", image]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_killed_release_leaves_the_old_state_or_the_new_one() {
    let project = Project::new();
    project.release("1.0.0", &firmware(60_000, 1));
    project.run(&["root", "export", "--format", "cbor", "--out", "root"]).ok();
    project.write("next.bin", firmware(60_000, 2));
    // How long an undisturbed one takes, to spread the kills over it.
    let undisturbed = project.copy();
    let began = std::time::Instant::now();
    assert!(start(&undisturbed, "1.1.0", "next.bin").wait().unwrap().success());
    let whole = began.elapsed();
    let (mut old, mut new, mut mixed) = (0, 0, 0);
    for round in 0..40u32 {
        let project = project.copy();
        let mut child = start(&project, "1.1.0", "next.bin");
        // The first half is reading and making payloads; the writing is at the end.
        thread::sleep(whole / 2 + whole * round / 60);
        let _ = child.kill();
        child.wait().unwrap();
        // What devices see is whole.
        let seen = project.run(&["verify", "repository", "--root", "root", "--json"]).ok().json();
        match seen["releases"].as_array().unwrap().len() {
            1 => old += 1,
            2 => new += 1,
            _ => mixed += 1,
        }
        // The next act cleans up and goes on, and gives the same state as if nothing had happened.
        if seen["releases"].as_array().unwrap().len() == 1 {
            assert!(start(&project, "1.1.0", "next.bin").wait().unwrap().success());
        } else {
            project.run(&["release", "list"]).ok();
        }
        let names = |project: &Project| {
            let files = project.repository().into_iter().map(|(name, _)| name);
            files.filter(|name| !name.ends_with(".next")).collect::<Vec<_>>()
        };
        assert_eq!(names(&project), names(&undisturbed), "round {round}");
        // Both encodings are settled by the next act.
        project.run(&["renew"]).ok();
        let json = std::fs::read(project.file("repository/tuf/metadata/timestamp.json"));
        if let Ok(json) = json {
            let file: serde_json::Value = serde_json::from_slice(&json).unwrap();
            let listed = project.run(&["release", "list", "--json"]).ok().json();
            assert_eq!(file["signed"]["version"], listed["roles"]["timestamp"]["version"]);
        }
    }
    assert_eq!(mixed, 0);
    println!("{old} kills left the old state, {new} the new one");
    assert!(old > 0, "some kills came before the end");
}

#[test]
fn two_releases_at_once_are_both_listed() {
    let project = Project::new();
    project.edit("keep-releases = 4", "keep-releases = 8");
    let versions = ["1.0.0", "1.1.0", "1.2.0", "1.3.0"];
    let running: Vec<Child> = versions
        .iter()
        .enumerate()
        .map(|(seed, version)| {
            let image = format!("{version}.bin");
            project.write(&image, firmware(8_000, seed as u32));
            let child = start(&project, version, &image);
            thread::sleep(Duration::from_millis(2));
            child
        })
        .collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    let listed = project.run(&["release", "list", "--json"]).ok().json();
    assert_eq!(listed["releases"].as_array().unwrap().len(), 4);
    assert_eq!(listed["roles"]["thermostat"]["version"], 4);
    assert_eq!(listed["roles"]["timestamp"]["version"], 5);
}
