//! Devices, tokens and groups through the command line.

use serde_json::json;

use crate::device::{Device, enrolment, post_enrolment, report_key};
use crate::process::{Server, json as run_json, run};

#[test]
fn devices_are_listed_shown_and_grouped() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    for (name, group) in [("b", "canary"), ("a", "canary"), ("c", "fleet")] {
        Device::enrol(&server, name, group);
    }
    server.ok(&["groups", "create", "spare"]);
    let groups = server.ok(&["groups", "list"]);
    assert_eq!(
        groups,
        json!([
        {"name": "canary", "things": 2}, {"name": "fleet", "things": 1}, {"name": "spare", "things": 0}])
    );
    let names = |list: serde_json::Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(server.ok(&["devices", "list"])), ["a", "b", "c"]);
    assert_eq!(names(server.ok(&["devices", "list", "--group", "canary"])), ["a", "b"]);
    let shown = server.ok(&["devices", "show", "a"]);
    assert_eq!((shown["product"].as_str(), shown["active"].as_bool()), (Some("thermostat"), Some(true)));
    assert_eq!(server.json(&["devices", "show", "nobody"]).1, 2);
    let people = run(&["devices", "list", "--state", server.state()]);
    assert!(String::from_utf8_lossy(&people.stdout).starts_with("DEVICE"));
}

#[test]
fn a_token_is_bound_to_its_terms() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    let issued = server.ok(&[
        "devices",
        "token",
        "--group",
        "a",
        "--group",
        "b",
        "--product",
        "thermostat",
        "--thing",
        "dev-7",
        "--hours",
        "1",
    ]);
    assert_eq!((&issued["groups"], &issued["thing"]), (&json!(["a", "b"]), &json!("dev-7")));
    let life = issued["expiresAt"].as_u64().unwrap() - crate::release::now();
    assert!((3_500..=3_600).contains(&life), "{life}");
    let token = issued["token"].as_str().unwrap();
    let ask = |name: &str| enrolment(token, name, &rcgen::KeyPair::generate().unwrap(), &report_key(name));
    assert_eq!(post_enrolment(&server, &ask("dev-8")).status, 403);
    let enrolled = post_enrolment(&server, &ask("dev-7"));
    let groups = enrolled.json()["groups"].as_array().unwrap().clone();
    assert_eq!((enrolled.status, &groups[..2]), (201, &[json!("a"), json!("b")][..]));
    assert!(groups[2].as_str().unwrap().starts_with("sealift-thermostat-bucket-"), "percentages are made of these");
    assert_eq!(post_enrolment(&server, &ask("dev-7")).status, 403, "used");
    // The secret is in no file of the server.
    let database = std::fs::read(server.state.join("ledger.redb")).unwrap();
    assert!(!database.windows(token.len()).any(|window| window == token.as_bytes()));
}

#[test]
fn wrong_use_says_what_is_right() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&home.path().join("state"));
    for arguments in [
        &["devices", "token", "--product", "thermostat"][..],
        &["devices", "token", "--group", "a b", "--product", "thermostat"],
        &["devices", "token", "--group", "a", "--product", "no product id"],
        &["devices", "token", "--group", "a", "--product", "x", "--hours", "0"],
        &["devices", "show", "no/thing"],
        &["rollout", "create", "--group", "a"],
        &["rollout", "status", "unknown"],
        &["rollout", "status", "un/known"],
        &["rollout", "cancel", "unknown"],
    ] {
        let output = run(&[arguments, &["--state", server.state()]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stderr.is_empty());
    }
    let elsewhere = home.path().join("nowhere");
    let (said, exit) = run_json(&["groups", "list", "--state", elsewhere.to_str().unwrap()]);
    assert_eq!(exit, 1);
    assert!(said["error"]["message"].as_str().unwrap().contains("no sealift-server runs"), "{said}");
}

#[test]
fn every_example_in_the_help_is_understood() {
    let mut seen = 0;
    for command in [
        &["--help"][..],
        &["serve", "--help"],
        &["publish", "--help"],
        &["rollout", "create", "--help"],
        &["devices", "token", "--help"],
        &["jobs", "create", "--help"],
        &["policies", "put", "--help"],
    ] {
        let output = run(command);
        let text = String::from_utf8(output.stdout).unwrap();
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("sealift-server ")) {
            let words: Vec<&str> = line.split('#').next().unwrap().split_whitespace().skip(1).collect();
            use clap::Parser as _;
            let parsed =
                sealift_server::cli::Cli::try_parse_from(["sealift-server"].into_iter().chain(words).map(|word| {
                    match word {
                        // An abbreviated digest stands in the help.
                        word if word.ends_with("...") => "ab".repeat(32),
                        word => word.to_owned(),
                    }
                }));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen >= 12, "{seen} examples");
}
