//! Root ceremonies as people hold them: a release engineer and officers, each with a folder of their own for a machine, who
//! hand each other files and nothing else.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::{Outcome, Run, THEN, command};

/// A machine: a folder, with the real binary.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        Machine(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.at(THEN, arguments)
    }

    /// With a clock that says `time`.
    fn at(&self, time: &str, arguments: &[&str]) -> Outcome {
        command(self.0.path(), arguments).env("SOURCE_DATE_EPOCH", time).run()
    }

    /// Makes a key and returns its public half.
    fn key(&self, file: &str) -> String {
        let made = self.run(&["keys", "generate", file, "--json"]).ok().json();
        made["keys"][0]["cose_key"].as_str().unwrap().to_owned()
    }

    /// Takes a file from another machine, as a USB stick carries it.
    fn take(&self, from: &Machine, file: &str) {
        fs::copy(from.path(file), self.path(file)).unwrap();
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    fn repository(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.path("repository")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false if path.ends_with(".lock") => {}
                    false => files.push((path.display().to_string(), fs::read(&path).unwrap())),
                }
            }
        }
        files.sort();
        files
    }
}

/// A release engineer with the online keys, and two officers with a root and a targets key each on air-gapped machines.
struct Team {
    engineer: Machine,
    alice: Machine,
    bob: Machine,
}

/// Hands the request to an officer, who signs it with `key`, and the response back, and imports it.
fn sign(engineer: &Machine, officer: &Machine, key: &str) -> Outcome {
    let _ = fs::remove_file(officer.path("response.txt"));
    officer.take(engineer, "sign-request.json");
    let key = format!("file:{key}");
    let signed = ["root", "sign", "--request", "sign-request.json", "--key", &key, "--out", "response.txt", "--json"];
    officer.run(&signed).ok();
    engineer.take(officer, "response.txt");
    engineer.run(&["root", "import", "response.txt", "--json"])
}

impl Team {
    /// The team with its first root, which both officers signed without their keys ever meeting.
    fn new() -> Self {
        let (engineer, alice, bob) = (Machine::new(), Machine::new(), Machine::new());
        for online in ["snapshot.pem", "timestamp.pem", "release.pem"] {
            engineer.key(online);
        }
        let offline = |name: &str, public: &str| format!("offline:{name}:{public}");
        let keys = [
            ("--root-key", offline("alice", &alice.key("root.pem"))),
            ("--root-key", offline("bob", &bob.key("root.pem"))),
            ("--targets-key", offline("alice-targets", &alice.key("targets.pem"))),
            ("--targets-key", offline("bob-targets", &bob.key("targets.pem"))),
            ("--snapshot-key", "file:snapshot.pem".into()),
            ("--timestamp-key", "file:timestamp.pem".into()),
            ("--release-key", "file:release.pem".into()),
        ];
        let mut arguments = vec!["init", "--product", "thermostat", "--hardware", "board-a", "--root-threshold", "2"];
        arguments.extend(keys.iter().flat_map(|(option, uri)| [*option, uri.as_str()]));
        // Offline keys have to sign: nothing is written but the project, the log and the request.
        engineer.run(&arguments).fails(3, &["SL-201", "offline keys have to sign", "sign-request.json"]);
        assert!(!engineer.path("repository/metadata").exists());
        let team = Team { engineer, alice, bob };
        team.engineer.run(&["root", "apply"]).fails(3, &["SL-201", "root: 0 of 2 signatures", "root-1, root-2"]);
        sign(&team.engineer, &team.alice, "root.pem").ok();
        team.engineer.run(&["root", "apply"]).fails(3, &["root: 1 of 2", "not yet: root-2"]);
        sign(&team.engineer, &team.bob, "root.pem").ok();
        team.engineer.run(&["root", "apply"]).fails(3, &["targets: 0 of 1"]);
        sign(&team.engineer, &team.alice, "targets.pem").ok();
        team.engineer.run(&["root", "apply"]).ok();
        team
    }

    fn trusted(&self, file: &str) -> PathBuf {
        self.engineer.run(&["root", "export", "--format", "cbor", "--out", file, "--force"]).ok();
        self.engineer.path(file)
    }

    /// A request for new expiries of root and targets.
    fn request(&self) -> Value {
        self.engineer.run(&["root", "stage", "renew"]).ok();
        self.engineer.run(&["root", "request", "--json"]).ok().json()
    }
}

fn verifies(machine: &Machine, root: &str) {
    machine.run(&["verify", "repository", "--root", root, "--no-clock"]).ok();
}

#[test]
fn three_people_on_three_machines_replace_an_officers_key() {
    let team = Team::new();
    let Team { engineer, alice, bob } = &team;
    team.trusted("one");
    // Bob lost his token, and has a new one. His old key still has to agree: it is one of the two of root 1.
    let public = bob.key("root-2.pem");
    let new = ["--new", "bob-2", "--uri", "offline:bob", "--public", &public];
    engineer.run(&[&["root", "stage", "replace-key", "--old", "root-2"][..], &new].concat()).ok();
    // Releases and renewals go on while the ceremony is under way.
    engineer.run(&["renew"]).ok();
    fs::write(engineer.path("image.bin"), support::firmware(4_000, 1)).unwrap();
    let release = ["--version", "1.0.0", "--security-counter", "1", "--image", "image.bin"];
    engineer.run(&[&["release", "create", "--product", "thermostat"][..], &release].concat()).ok();
    let shown = engineer.run(&["root", "show", "--diff", "--json"]).ok().json();
    let changes: Vec<_> = shown["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["changed"] == true)
        .map(|it| it["words"].as_str().unwrap())
        .collect();
    assert!(
        changes.iter().any(|it| it.starts_with("+ key")) && changes.iter().any(|it| it.starts_with("- key")),
        "{changes:?}"
    );

    let requested = engineer.run(&["root", "request", "--json"]).ok().json();
    assert_eq!(requested["signatures"].as_array().unwrap().len(), 2, "the old root's threshold and the new one's");
    let before = engineer.repository();
    let first = sign(engineer, alice, "root.pem").ok().json();
    assert_eq!(first["ready"], false);
    // The old and the new threshold are counted apart: with Alice and the new Bob only the new one is reached.
    sign(engineer, bob, "root-2.pem").ok();
    engineer
        .run(&["root", "apply"])
        .fails(3, &["SL-201", "root: 1 of 2 signatures by the keys of root 1", "not yet: root-2"]);
    assert!(engineer.repository() == before, "nothing changes before both thresholds are reached");
    let last = sign(engineer, bob, "root.pem").ok().json();
    assert_eq!(last["ready"], true);
    let applied = engineer.run(&["root", "apply", "--json"]).ok().json();
    assert_eq!((&applied["root"], &applied["targets"]), (&true.into(), &false.into()));
    assert_eq!(applied["roles"]["root"]["version"], 2);
    assert_eq!(applied["signed_by"].as_array().unwrap().len(), 3);
    assert_eq!(applied["releases"][0]["version"], "1.0.0", "what was released in the meantime stays");
    let text = engineer.text("sealift.toml");
    assert!(text.contains("[keys.bob-2]") && !text.contains("[keys.root-2]") && text.contains("# Custody"), "{text}");
    verifies(engineer, "one");
    let audited = engineer.run(&["audit", "--json"]).ok().json();
    assert_eq!(audited["roots"], serde_json::json!([1, 2]));
    // Any TUF client can follow, too.
    engineer.run(&["verify", "repository", "--root", "repository/tuf/metadata/1.root.json", "--no-clock"]).ok();
}

#[test]
fn an_officer_reads_what_is_signed_and_not_what_the_request_says_of_it() {
    let team = Team::new();
    let Team { engineer, alice, .. } = &team;
    engineer.run(&["root", "stage", "threshold", "--role", "root", "1"]).ok();
    engineer.run(&["root", "request"]).ok();
    alice.take(engineer, "sign-request.json");
    let honest = alice.text("sign-request.json");
    let tamper = |from: &str, to: &str, words: &[&str]| {
        assert!(honest.contains(from), "{from} is not in {honest}");
        fs::write(alice.path("sign-request.json"), honest.replacen(from, to, 1)).unwrap();
        let arguments =
            ["root", "sign", "--request", "sign-request.json", "--key", "file:root.pem", "--out", "never.txt"];
        alice.run(&arguments).fails(3, words);
        assert!(!alice.path("never.txt").exists());
    };
    // A summary that plays the change down.
    tamper(
        "1 of 2 keys (before: 2 of 2 keys)",
        "as before, 2 of 2 keys",
        &["summary differs from what is to be signed", "1 of 2 keys"],
    );
    // One that leaves the change out.
    let line = honest.lines().find(|line| line.contains("(before: 2 of 2 keys)")).unwrap();
    tamper(&format!("{line}\n"), "", &["summary differs"]);
    // The repository's name, and its dates.
    tamper("valid until 2027", "valid until 2026", &["summary differs"]);
}

#[test]
fn a_request_whose_two_encodings_differ_is_refused() {
    let team = Team::new();
    team.request();
    let Team { engineer, alice, .. } = &team;
    alice.take(engineer, "sign-request.json");
    let mut request: Value = serde_json::from_str(&alice.text("sign-request.json")).unwrap();
    let json = request["items"][0]["json"].as_str().expect("a repository with both encodings").to_owned();
    let other = json.replacen("\"threshold\":2", "\"threshold\":1", 1);
    assert_ne!(json, other);
    request["items"][0]["json"] = other.into();
    fs::write(alice.path("sign-request.json"), serde_json::to_string_pretty(&request).unwrap()).unwrap();
    let arguments = ["root", "sign", "--request", "sign-request.json", "--key", "file:root.pem"];
    alice.run(&arguments).fails(3, &["JSON of the new root does not say what its device encoding says"]);
}

#[test]
fn an_officers_own_root_shows_a_request_for_other_devices() {
    let team = Team::new();
    let other = Team::new();
    team.request();
    let Team { engineer, alice, .. } = &team;
    alice.take(engineer, "sign-request.json");
    let arguments = ["root", "sign", "--request", "sign-request.json", "--key", "file:root.pem", "--root"];
    fs::copy(other.trusted("root"), alice.path("others")).unwrap();
    alice.run(&[&arguments[..], &["others"]].concat()).fails(3, &["do not lead from your root 1", "other devices"]);
    fs::copy(team.trusted("root"), alice.path("mine")).unwrap();
    alice.run(&[&arguments[..], &["mine"]].concat()).ok();
}

#[test]
fn a_key_of_another_role_signs_nothing_of_a_request() {
    let team = Team::new();
    let Team { engineer, alice, .. } = &team;
    engineer.run(&["root", "stage", "expires", "--role", "root", "26w"]).ok();
    engineer.run(&["root", "stage", "threshold", "--role", "snapshot", "1"]).ok();
    engineer.run(&["root", "stage", "ceiling", "2000"]).ok();
    engineer.run(&["root", "request"]).ok();
    alice.take(engineer, "sign-request.json");
    // The request is for root alone; Alice's other key is a targets key.
    let arguments = ["root", "sign", "--request", "sign-request.json", "--key", "file:targets.pem"];
    alice
        .run(&arguments)
        .fails(3, &["signs nothing of this request", "key for another role", "use one of the keys of root 1"]);
    engineer.run(&["root", "sign", "--key", "file:release.pem"]).fails(3, &["signs nothing of this request"]);
}

#[test]
fn two_officers_with_the_same_key_count_once() {
    let team = Team::new();
    let Team { engineer, alice, bob } = &team;
    team.request();
    sign(engineer, alice, "root.pem").ok();
    // Bob signs with a copy of Alice's key.
    fs::copy(alice.path("root.pem"), bob.path("copy.pem")).unwrap();
    sign(engineer, bob, "copy.pem").fails(3, &["has signed this request already", "the two hold the same key"]);
    engineer.run(&["root", "apply"]).fails(3, &["root: 1 of 2"]);
    // And one key cannot be listed as two officers'.
    let shown = alice.run(&["keys", "show", "file:root.pem", "--json"]).ok().json();
    let public = shown["keys"][0]["cose_key"].as_str().unwrap();
    let twice =
        ["root", "stage", "add-key", "--role", "root", "--name", "carol", "--uri", "offline:carol", "--public", public];
    engineer.run(&twice).fails(4, &["keys.root-1", "is the same key as keys.carol"]);
}

#[test]
fn a_response_to_another_request_or_to_a_stale_one_is_refused() {
    let team = Team::new();
    let other = Team::new();
    let Team { engineer, alice, bob } = &team;
    team.request();
    sign(engineer, alice, "root.pem").ok();
    fs::copy(engineer.path("response.txt"), engineer.path("early.txt")).unwrap();
    // Staging after the request makes it void, with what was signed.
    engineer.run(&["root", "stage", "ceiling", "2000"]).ok();
    engineer
        .run(&["root", "import", "early.txt"])
        .fails(3, &["nothing was asked of the officers yet", "sealift root request"]);
    engineer.run(&["root", "request"]).ok();
    engineer
        .run(&["root", "import", "early.txt"])
        .fails(3, &["request that is stale", "send the officer the present request"]);
    engineer.run(&["root", "apply"]).fails(3, &["root: 0 of 2"]);
    // A response from another repository's ceremony.
    other.request();
    sign(&other.engineer, &other.bob, "root.pem").ok();
    fs::copy(other.engineer.path("response.txt"), engineer.path("others.txt")).unwrap();
    engineer.run(&["root", "import", "others.txt"]).fails(3, &["response to another request"]);
    // Things that are no response at all.
    fs::write(engineer.path("empty.txt"), "").unwrap();
    engineer.run(&["root", "import", "empty.txt"]).fails(4, &["is empty"]);
    fs::write(engineer.path("wrong.txt"), "hello").unwrap();
    engineer.run(&["root", "import", "wrong.txt"]).fails(4, &["no response to a sign-request"]);
    let text = engineer.text("early.txt");
    fs::write(engineer.path("cut.txt"), &text[..text.len() / 2]).unwrap();
    engineer.run(&["root", "import", "cut.txt"]).fails(4, &["the response is"]);
    // It goes on all the same.
    for officer in [alice, bob] {
        sign(engineer, officer, "root.pem").ok();
    }
    sign(engineer, bob, "targets.pem").ok();
    engineer.run(&["root", "apply"]).ok();
}

#[test]
fn a_request_on_a_root_that_was_overtaken_is_stale() {
    let team = Team::new();
    let Team { engineer, alice, bob } = &team;
    team.request();
    for officer in [alice, bob] {
        sign(engineer, officer, "root.pem").ok();
    }
    sign(engineer, alice, "targets.pem").ok();
    // The same ceremony, applied from a copy of the project: another checkout.
    let copy = Machine::new();
    support::copy_folder(engineer.0.path(), copy.0.path());
    copy.run(&["root", "apply"]).ok();
    fs::remove_dir_all(engineer.path("repository")).unwrap();
    support::copy_folder(&copy.path("repository"), &engineer.path("repository"));
    // What was asked for is there already: applying only closes the ceremony.
    engineer.run(&["root", "apply"]).ok();
    // Now a request is made here, and the copy makes its own, and applies it.
    for machine in [engineer, &copy] {
        machine.run(&["root", "stage", "renew"]).ok();
        machine.at("1780272060", &["root", "request"]).ok();
    }
    for officer in [alice, bob] {
        sign(&copy, officer, "root.pem").ok();
    }
    sign(&copy, alice, "targets.pem").ok();
    copy.run(&["root", "stage", "ceiling", "2000"]).ok();
    copy.run(&["root", "request"]).ok();
    for officer in [alice, bob] {
        sign(&copy, officer, "root.pem").ok();
    }
    sign(&copy, alice, "targets.pem").ok();
    copy.run(&["root", "apply"]).ok();
    for officer in [alice, bob] {
        sign(engineer, officer, "root.pem").ok();
    }
    sign(engineer, alice, "targets.pem").ok();
    fs::remove_dir_all(engineer.path("repository")).unwrap();
    support::copy_folder(&copy.path("repository"), &engineer.path("repository"));
    engineer.run(&["root", "apply"]).fails(3, &["request is stale", "sealift root request --anew"]);
}

#[test]
fn a_clock_that_is_far_off_is_noticed() {
    let team = Team::new();
    let Team { engineer, alice, .. } = &team;
    team.request();
    alice.take(engineer, "sign-request.json");
    let arguments = ["root", "sign", "--request", "sign-request.json", "--key", "file:root.pem"];
    // A laptop whose battery died, and one that is two months ahead.
    alice.at("86400", &arguments).fails(3, &["1970-01-02", "2026-06-01", "set this machine's clock"]);
    alice.at("1785456000", &arguments).fails(3, &["the request is stale", "root request --anew"]);
    alice.at("1785456000", &[&arguments[..], &["--any-clock"]].concat()).ok();
    // The engineer's: expiries are counted from it.
    engineer.at("86400", &["root", "request", "--anew"]).fails(3, &["1970-01-02", "set the clock"]);
}

#[test]
fn a_response_fits_a_qr_code_on_a_terminal() {
    let team = Team::new();
    let Team { engineer, alice, .. } = &team;
    team.request();
    alice.take(engineer, "sign-request.json");
    // The most that one key signs: root and targets, in both encodings, is two keys here; root alone in both.
    let shown = alice.run(&["root", "sign", "--request", "sign-request.json", "--key", "file:root.pem", "--qr"]).ok();
    let lines: Vec<_> = shown.stderr.lines().filter(|line| line.contains('█')).collect();
    assert!(lines.len() > 20, "{}", shown.stderr);
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{}", shown.stderr);
    assert!(shown.stdout.trim().starts_with("SEALIFT-RESPONSE-1:"));
    // What a camera reads goes in by standard input.
    let mut import = command(engineer.0.path(), &["root", "import", "-"]);
    import.env("SOURCE_DATE_EPOCH", THEN).write_stdin(shown.stdout.trim().to_lowercase()).run().ok();
}

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
        support::copy_folder(engineer.0.path(), machine.0.path());
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
    support::copy_folder(engineer.0.path(), done.0.path());
    done.run(&["root", "apply"]).ok();
    let log = done.text("sealift.ceremony.jsonl");
    let without_last: String = log.lines().take(log.lines().count() - 1).map(|line| format!("{line}\n")).collect();
    let fresh = |parts: &[&str]| {
        let machine = Machine::new();
        support::copy_folder(engineer.0.path(), machine.0.path());
        // It said that it applies; then these parts of it reached the disk.
        fs::write(machine.path("sealift.ceremony.jsonl"), &without_last).unwrap();
        for part in parts {
            match *part {
                "repository" => {
                    fs::remove_dir_all(machine.path("repository")).unwrap();
                    support::copy_folder(&done.path("repository"), &machine.path("repository"));
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
fn a_products_keys_and_new_delegations_go_through_the_same_ceremony() {
    let team = Team::new();
    let Team { engineer, alice, .. } = &team;
    team.trusted("one");
    let pump = Machine::new();
    let public = pump.key("pump.pem");
    let stage = [
        "root",
        "stage",
        "delegation",
        "pumps",
        "--product",
        "pump",
        "--hardware",
        "board-c",
        "--key",
        "pump-ci",
        "--uri",
        "env:PUMP_KEY",
        "--public",
        &public,
        "--custody",
        "ci",
        "--ceiling",
        "20",
    ];
    engineer.run(&stage).ok();
    engineer.run(&["root", "request"]).ok();
    // Root stays: the top-level targets alone change, and one targets key is their threshold.
    let imported = sign(engineer, alice, "targets.pem").ok().json();
    assert_eq!(imported["ready"], true);
    let applied = engineer.run(&["root", "apply", "--json"]).ok().json();
    assert_eq!((&applied["root"], &applied["targets"]), (&false.into(), &true.into()));
    // The pump's team releases alone, with its own key.
    fs::write(engineer.path("pump.bin"), support::firmware(2_000, 5)).unwrap();
    let release = [
        "release",
        "create",
        "--product",
        "pump",
        "--version",
        "1.0.0",
        "--security-counter",
        "1",
        "--image",
        "pump.bin",
    ];
    let key = pump.text("pump.pem");
    command(engineer.0.path(), &release).env("SOURCE_DATE_EPOCH", THEN).env("PUMP_KEY", &key).run().ok();
    verifies(engineer, "one");
    // And is removed again.
    engineer.run(&["root", "stage", "remove-delegation", "pumps"]).ok();
    engineer.run(&["root", "request"]).ok();
    sign(engineer, alice, "targets.pem").ok();
    engineer.run(&["root", "apply"]).ok();
    assert!(!engineer.text("sealift.toml").contains("pump"));
    verifies(engineer, "one");
}

#[test]
fn a_product_whose_keys_are_offline_is_released_by_a_request() {
    let project = support::Project::new();
    let (engineer, officer) = (Machine::new(), Machine::new());
    project.release("1.0.0", &support::firmware(4_000, 1));
    project.run(&["root", "export", "--format", "cbor", "--out", "one"]).ok();
    support::copy_folder(project.path(), engineer.0.path());
    let public = officer.key("release.pem");
    let stage = [
        "root",
        "stage",
        "replace-key",
        "--old",
        "release-1",
        "--new",
        "olga",
        "--uri",
        "offline:olga",
        "--public",
        &public,
    ];
    engineer.run(&stage).ok();
    // Root's and targets' keys are here; what the old release key signed, Olga has to sign anew.
    engineer.run(&["root", "apply"]).fails(3, &["thermostat: 0 of 1", "olga"]);
    sign(&engineer, &officer, "release.pem").ok();
    let applied = engineer.run(&["root", "apply", "--json"]).ok().json();
    assert_eq!(applied["resigned"], serde_json::json!(["thermostat"]));
    verifies(&engineer, "one");
    // A release: asked for, signed, applied.
    fs::write(engineer.path("next.bin"), support::firmware(4_000, 2)).unwrap();
    let create = [
        "release",
        "create",
        "--product",
        "thermostat",
        "--version",
        "1.1.0",
        "--security-counter",
        "1",
        "--image",
        "next.bin",
    ];
    let before = engineer.run(&["release", "list", "--json"]).ok().json();
    engineer.run(&create).fails(3, &["SL-201", "offline keys have to sign", "thermostat: 0 of 1", "olga"]);
    engineer.run(&create).fails(3, &["another ceremony is under way"]);
    assert_eq!(engineer.run(&["release", "list", "--json"]).ok().json(), before);
    officer.take(&engineer, "sign-request.json");
    assert!(officer.text("sign-request.json").contains("+ release thermostat 1.1.0"));
    sign(&engineer, &officer, "release.pem").ok();
    engineer.run(&["root", "apply"]).ok();
    let listed = engineer.run(&["release", "list", "--json"]).ok().json();
    assert_eq!(listed["releases"].as_array().unwrap().len(), 2);
    verifies(&engineer, "one");
    engineer.run(&["verify", "repository", "--root", "repository/tuf/metadata/1.root.json", "--no-clock"]).ok();
    // And taken back the same way.
    engineer.run(&["release", "withdraw", "--product", "thermostat", "--version", "1.0.0"]).fails(3, &["olga"]);
    sign(&engineer, &officer, "release.pem").ok();
    engineer.run(&["root", "apply"]).ok();
    assert_eq!(engineer.run(&["release", "list", "--json"]).ok().json()["releases"].as_array().unwrap().len(), 1);
    engineer.run(&["audit"]).ok();
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

#[test]
fn staged_changes_that_make_no_sense_are_refused_at_once() {
    let team = Team::new();
    let Team { engineer, .. } = &team;
    let stage = |arguments: &[&str]| engineer.run(&[&["root", "stage"][..], arguments].concat());
    stage(&["threshold", "--role", "root", "3"]).fails(4, &["3 of 2 keys can never be reached"]);
    stage(&["threshold", "--role", "roots", "1"]).fails(2, &["no role `roots`", "thermostat"]);
    stage(&["remove-key", "--role", "root", "--name", "nobody"]).fails(2, &["no key `nobody`", "root-1, root-2"]);
    stage(&["remove-key", "--role", "root", "--name", "root-1"]).fails(4, &["2 of 1 keys"]);
    stage(&["add-key", "--role", "root", "--name", "carol"]).fails(2, &["no key `carol`", "--public"]);
    let uri = ["--uri", "offline:carol"];
    stage(&[&["add-key", "--role", "root", "--name", "carol"][..], &uri].concat())
        .fails(2, &["public half", "keys show"]);
    stage(&["add-key", "--role", "root", "--name", "timestamp-1"]).fails(3, &["`cloud`"]);
    assert_eq!(engineer.run(&["root", "show", "--json"]).ok().json()["open"], false, "nothing was begun");
    engineer.run(&["root", "request"]).fails(3, &["no ceremony is under way"]);
    stage(&["ceiling", "1000"]).ok();
    engineer.run(&["root", "request"]).fails(3, &["nothing to sign", "root stage renew"]);
}

#[test]
fn changes_of_sealift_toml_during_a_ceremony_are_kept_or_noticed() {
    let team = Team::new();
    let Team { engineer, alice, bob } = &team;
    engineer.run(&["root", "stage", "ceiling", "2000"]).ok();
    engineer.run(&["root", "request"]).ok();
    for officer in [alice, bob] {
        sign(engineer, officer, "root.pem").ok();
    }
    let edit = |from: &str, to: &str| {
        let text = engineer.text("sealift.toml");
        assert!(text.contains(from));
        fs::write(engineer.path("sealift.toml"), text.replacen(from, to, 1)).unwrap();
    };
    // Of what nobody signs: it stays.
    edit("keep-releases = 4", "keep-releases = 6");
    // Of what is signed: noticed.
    edit("counter-ceiling = 1000\n\n[products", "counter-ceiling = 900\n\n[products");
    engineer.run(&["root", "apply"]).fails(3, &["changed since the request was made", "the delegations"]);
    edit("counter-ceiling = 900\n\n[products", "counter-ceiling = 1000\n\n[products");
    engineer.run(&["root", "apply"]).ok();
    let text = engineer.text("sealift.toml");
    assert!(text.contains("keep-releases = 6") && text.contains("counter-ceiling = 2000"), "{text}");
}

#[test]
fn all_keys_in_one_place_make_the_same_ceremony_in_one_command() {
    let project = support::Project::new();
    project.edit("counter-ceiling = 1000\n\n# Custody", "counter-ceiling = 2000\n\n# Custody");
    project.run(&["root", "apply"]).ok();
    project.run(&["root", "apply", "--renew"]).ok();
    project.run(&["root", "stage", "ceiling", "3000"]).ok();
    project.run(&["root", "apply"]).ok();
    let audited = project.run(&["audit", "--json"]).ok().json();
    assert_eq!(audited["roots"], serde_json::json!([1, 2, 3, 4]));
    let acts: Vec<_> =
        audited["entries"].as_array().unwrap().iter().map(|it| it["act"].as_str().unwrap().to_owned()).collect();
    assert!(acts.iter().filter(|act| act.starts_with("signed by")).count() >= 5, "{acts:?}");
    let log = fs::read_to_string(log_of(project.path())).unwrap();
    assert!(!log.contains("PRIVATE"), "nothing secret is logged");
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join("sealift.ceremony.jsonl")
}
