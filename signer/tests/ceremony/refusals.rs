//! What is refused, and what it says.

use std::fs;

use serde_json::Value;

use crate::team::{Machine, Team, sign};

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
    crate::support::copy_folder(engineer.0.path(), copy.0.path());
    copy.run(&["root", "apply"]).ok();
    fs::remove_dir_all(engineer.path("repository")).unwrap();
    crate::support::copy_folder(&copy.path("repository"), &engineer.path("repository"));
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
    crate::support::copy_folder(&copy.path("repository"), &engineer.path("repository"));
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
