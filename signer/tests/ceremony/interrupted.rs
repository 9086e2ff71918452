//! A ceremony that is cut off, called off or tampered with, and the log that tells.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::THEN;
use crate::team::{Machine, Team, sign, verifies};

#[test]
fn the_log_shows_what_was_altered_removed_moved_or_cut_off() {
    let team = Team::new();
    let Team { engineer, .. } = &team;
    let audited = engineer.run(&["audit", "--json"]).ok().json();
    let head = audited["head"].as_str().unwrap().to_owned();
    let log = "sealift.ceremony.jsonl";
    let honest = engineer.text(log);
    let lines: Vec<&str> = honest.lines().collect();
    let with = |lines: &[&str]| fs::write(engineer.path(log), lines.join("\n") + "\n").unwrap();
    let refused = |words: &[&str]| drop(engineer.run(&["audit"]).fails(3, words));

    with(&[&lines[..2], &lines[3..]].concat());
    refused(&["line 3", "altered, removed, added or moved"]);
    with(&[&lines[..1], &[lines[2], lines[1]], &lines[3..]].concat());
    refused(&["line 2", "moved"]);
    with(&lines[1..]);
    refused(&["line 1", "does not start the log of this repository"]);
    let last = lines.last().unwrap().replace("\"root\":1", "\"root\":2");
    with(&[&lines[..lines.len() - 1], &[&last]].concat());
    refused(&["root 2, which was applied, is not in the repository"]);
    let first = lines[0].replace("\"time\":", "\"time\":1");
    with(&[&[first.as_str()], &lines[1..]].concat());
    refused(&["line 2"]);
    // Cut off behind the last root: the ceremony that made root 1 is gone.
    with(&lines[..lines.len() - 1]);
    engineer.run(&["audit", "--head", &head]).fails(3, &["cut off"]);
    fs::write(engineer.path(log), "").unwrap();
    refused(&["root 1", "the log does not tell of it"]);
    // Nothing goes on with a log that was altered.
    with(&[&lines[..2], &lines[3..]].concat());
    engineer.run(&["root", "stage", "renew"]).fails(3, &["line 3", "sealift audit"]);

    // After the last root the chain alone cannot tell that lines are missing; a head that was noted can.
    fs::write(engineer.path(log), &honest).unwrap();
    engineer.run(&["root", "stage", "renew"]).ok();
    engineer.run(&["root", "cancel", "--why", "not now"]).ok();
    let noted = engineer.run(&["audit", "--json"]).ok().json()["head"].as_str().unwrap().to_owned();
    engineer.run(&["audit", "--head", &noted]).ok();
    fs::write(engineer.path(log), &honest).unwrap();
    engineer.run(&["audit"]).ok();
    engineer.run(&["audit", "--head", &noted]).fails(3, &["that was noted is not in it"]);
    // A line that was never finished never happened.
    fs::write(engineer.path(log), honest.clone() + "{\"n\":").unwrap();
    assert!(engineer.run(&["audit"]).ok().stdout.contains("never finished"));
    engineer.run(&["root", "stage", "renew"]).ok();
    engineer.run(&["audit"]).ok();
}

#[test]
fn a_log_written_anew_does_not_fit_the_roots_that_officers_signed() {
    let team = Team::new();
    let Team { engineer, alice, bob } = &team;
    let log = "sealift.ceremony.jsonl";
    // A second ceremony: its root names, signed, the log before it.
    team.request();
    for officer in [alice, bob] {
        sign(engineer, officer, "root.pem").ok();
    }
    sign(engineer, alice, "targets.pem").ok();
    engineer.run(&["root", "apply"]).ok();
    engineer.run(&["audit"]).ok();
    // Somebody changes the first ceremony's line and computes every hash anew, as a patient forger does.
    let mut previous: Option<String> = None;
    let forged: Vec<String> = engineer
        .text(log)
        .lines()
        .map(|line| {
            let mut line = line.to_owned();
            if previous.is_none() {
                line = line.replacen("\"time\":1780272000", "\"time\":1780272001", 1);
            }
            if let Some(hash) = &previous {
                let at = line.find("\"previous\":\"").unwrap() + 12;
                line.replace_range(at..at + 64, hash);
            }
            previous = Some(sealift_manifests::sha256(line.as_bytes()).to_string());
            line
        })
        .collect();
    fs::write(engineer.path(log), forged.join("\n") + "\n").unwrap();
    engineer.run(&["audit"]).fails(3, &["root 2", "names, signed, another entry of the log"]);
}

#[test]
fn kill_9_at_any_moment_leaves_a_ceremony_that_goes_on() {
    let team = Team::new();
    let Team { engineer, alice, bob } = &team;
    team.trusted("one");
    let start = |machine: &Machine, arguments: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("sealift"));
        command.current_dir(machine.0.path()).env("SOURCE_DATE_EPOCH", THEN).args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let steps: &[&[&str]] =
        &[&["root", "stage", "ceiling", "2000"], &["root", "stage", "renew"], &["root", "request"], &["root", "apply"]];
    let mut killed = 0;
    for round in 0..24u32 {
        let machine = Machine::new();
        crate::support::copy_folder(engineer.0.path(), machine.0.path());
        for (number, step) in steps.iter().enumerate() {
            if number == 3 {
                for officer in [alice, bob] {
                    sign(&machine, officer, "root.pem").ok();
                }
                sign(&machine, alice, "targets.pem").ok();
            }
            let mut child = start(&machine, step);
            if number as u32 == round % 4 {
                thread::sleep(Duration::from_micros(1_500 * u64::from(round / 4) * if number == 3 { 5 } else { 1 }));
                let _ = child.kill();
                killed += u32::from(!child.wait().unwrap().success());
                // Whatever devices see is whole, and the log is.
                machine.run(&["audit"]).ok();
                // The step once more; what was done already is no error that matters.
                let again = machine.run(step);
                let applied = number == 3 && again.stdout.contains("nothing to do");
                assert!(again.code == 0 || applied, "round {round}: {again:?}");
            } else {
                assert!(child.wait().unwrap().success(), "round {round}, step {number}");
            }
        }
        verifies(&machine, "one");
        machine.run(&["renew"]).ok();
        let state = machine.run(&["release", "list", "--json"]).ok().json();
        assert_eq!(state["roles"]["root"]["version"], 2, "round {round}");
        assert!(machine.text("sealift.toml").contains("counter-ceiling = 2000"));
        machine.run(&["audit"]).ok();
        machine.run(&["root", "show"]).ok().stdout.contains("no ceremony");
    }
    assert!(killed > 4, "{killed} acts were killed");
}

#[test]
fn applying_that_was_interrupted_between_two_files_is_finished() {
    let team = Team::new();
    let Team { engineer, alice, bob } = &team;
    team.trusted("one");
    engineer.run(&["root", "stage", "ceiling", "2000"]).ok();
    engineer.run(&["root", "request"]).ok();
    for officer in [alice, bob] {
        sign(engineer, officer, "root.pem").ok();
    }
    let done = Machine::new();
    crate::support::copy_folder(engineer.0.path(), done.0.path());
    done.run(&["root", "apply"]).ok();
    let log = done.text("sealift.ceremony.jsonl");
    let without_last: String = log.lines().take(log.lines().count() - 1).map(|line| format!("{line}\n")).collect();
    let fresh = |parts: &[&str]| {
        let machine = Machine::new();
        crate::support::copy_folder(engineer.0.path(), machine.0.path());
        // It said that it applies; then these parts of it reached the disk.
        fs::write(machine.path("sealift.ceremony.jsonl"), &without_last).unwrap();
        for part in parts {
            match *part {
                "repository" => {
                    fs::remove_dir_all(machine.path("repository")).unwrap();
                    crate::support::copy_folder(&done.path("repository"), &machine.path("repository"));
                }
                part => drop(fs::copy(done.path(part), machine.path(part)).unwrap()),
            }
        }
        machine
    };
    let cases: [&[&str]; 4] = [&[], &["repository/metadata/2.root"], &["repository"], &["repository", "sealift.toml"]];
    for parts in cases {
        let machine = fresh(parts);
        machine.run(&["root", "stage", "renew"]).fails(3, &["being applied", "sealift root apply"]);
        if parts.is_empty() {
            machine.run(&["root", "show"]).ok();
        } else {
            machine.run(&["root", "cancel"]).fails(3, &["root 2 is out already"]);
        }
        machine.run(&["audit"]).ok();
        machine.run(&["root", "apply"]).ok();
        verifies(&machine, "one");
        machine.run(&["renew"]).ok();
        assert_eq!(machine.text("sealift.toml"), done.text("sealift.toml"), "{parts:?}");
        machine.run(&["audit"]).ok();
        assert_eq!(machine.run(&["root", "show", "--json"]).ok().json()["open"], false);
    }
}

#[test]
fn a_ceremony_that_is_called_off_changes_nothing() {
    let team = Team::new();
    let Team { engineer, alice, .. } = &team;
    let (before, text) = (engineer.repository(), engineer.text("sealift.toml"));
    team.request();
    sign(engineer, alice, "root.pem").ok();
    engineer.run(&["root", "apply", "--renew"]).fails(3, &["a ceremony is under way"]);
    engineer.run(&["root", "cancel"]).ok();
    assert!(engineer.repository() == before && engineer.text("sealift.toml") == text);
    engineer.run(&["root", "import", "response.txt"]).fails(3, &["no ceremony is under way"]);
    engineer.run(&["root", "cancel"]).fails(3, &["no ceremony is under way"]);
    engineer.run(&["root", "sign"]).fails(3, &["no ceremony is under way"]);
    engineer.run(&["audit"]).ok();
}
