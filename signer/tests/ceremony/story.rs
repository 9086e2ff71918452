//! What people do: keys replaced, products and releases with offline keys, QR codes, everything in one place.

use std::fs;

use crate::support::{Run, THEN, command};
use crate::team::{Machine, Team, log_of, sign, verifies};

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
    fs::write(engineer.path("image.bin"), crate::support::firmware(4_000, 1)).unwrap();
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
    fs::write(engineer.path("pump.bin"), crate::support::firmware(2_000, 5)).unwrap();
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
    let project = crate::support::Project::new();
    let (engineer, officer) = (Machine::new(), Machine::new());
    project.release("1.0.0", &crate::support::firmware(4_000, 1));
    project.run(&["root", "export", "--format", "cbor", "--out", "one"]).ok();
    crate::support::copy_folder(project.path(), engineer.0.path());
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
    fs::write(engineer.path("next.bin"), crate::support::firmware(4_000, 2)).unwrap();
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
fn all_keys_in_one_place_make_the_same_ceremony_in_one_command() {
    let project = crate::support::Project::new();
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
