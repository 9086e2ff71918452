//! Roots and custody: who can sign what, what a changed project file does, and that a stolen key loses its power.

mod support;

use std::fs;

use support::{Project, Run, command, firmware};

/// Makes a key and adds it to the project file under `name`.
fn add_key(project: &Project, name: &str, custody: &str) {
    let file = format!("keys/{name}.pem");
    let made = project.run(&["keys", "generate", &file, "--json"]).ok().json();
    let public = made["keys"][0]["cose_key"].as_str().unwrap();
    let key = format!("[keys.{name}]\nuri = \"file:{file}\"\ncustody = \"{custody}\"\npublic = \"{public}\"\n\n");
    project.edit("[keys.root-1]", &format!("{key}[keys.root-1]"));
}

#[test]
fn an_edited_project_file_has_to_be_signed_before_anything_else_is() {
    let project = Project::new();
    project.release("1.0.0", b"image");
    project.edit("counter-ceiling = 1000\n\n# Custody", "counter-ceiling = 2000\n\n# Custody");
    project.run(&["renew"]).fails(3, &["disagree on the ceiling", "sealift root apply"]);
    let applied = project.run(&["root", "apply", "--json"]).ok().json();
    assert_eq!((&applied["root"], &applied["targets"]), (&true.into(), &false.into()));
    assert_eq!(applied["roles"]["root"]["version"], 2);
    project.run(&["renew"]).ok();
    let again = project.run(&["root", "apply"]).ok();
    assert!(again.stdout.contains("nothing to do"), "{again:?}");
}

#[test]
fn a_revoked_release_key_signs_nothing_any_more() {
    let project = Project::new();
    project.release("1.0.0", &firmware(4_000, 1));
    // What the thief took: the key, and a repository in which it signs a release of its own.
    let thief = project.copy();
    thief.release("6.6.6", b"evil");
    thief.run(&["bundle", "export", "--product", "thermostat", "--out", "forged"]).ok();

    add_key(&project, "release-2", "ci");
    project
        .edit("[delegations.thermostat]\nkeys = [\"release-1\"]", "[delegations.thermostat]\nkeys = [\"release-2\"]");
    let applied = project.run(&["root", "apply", "--json"]).ok().json();
    assert_eq!(applied["resigned"], serde_json::json!(["thermostat"]));
    assert_eq!(applied["releases"][0]["version"], "1.0.0", "the releases stay listed, signed by the successor");
    project.run(&["root", "export", "--format", "cbor", "--out", "root"]).ok();
    project.run(&["verify", "repository", "--root", "root", "--no-clock"]).ok();
    // The forgery was right under the old delegation, and its targets are not what the new snapshot pins.
    let targets = fs::read_dir(thief.file("repository/metadata")).unwrap().map(|entry| entry.unwrap().path());
    for file in targets.filter(|path| path.extension().is_some_and(|it| it == "targets")) {
        fs::copy(&file, project.file("repository/metadata").join(file.file_name().unwrap())).unwrap();
    }
    let listed = project.run(&["release", "list", "--json"]).ok().json();
    assert_eq!(listed["releases"].as_array().unwrap().len(), 1);
    project.run(&["renew"]).ok();
}

#[test]
fn a_key_that_is_elsewhere_takes_its_releases_off_the_list() {
    let project = Project::new();
    project.release("1.0.0", b"image");
    add_key(&project, "release-2", "ci");
    project
        .edit("[delegations.thermostat]\nkeys = [\"release-1\"]", "[delegations.thermostat]\nkeys = [\"release-2\"]");
    fs::rename(project.file("keys/release-2.pem"), project.file("elsewhere.pem")).unwrap();
    let applied = project.run(&["root", "apply", "--json"]).ok();
    assert!(applied.stderr.contains("no longer listed"), "{applied:?}");
    assert_eq!(applied.json()["releases"], serde_json::json!([]));
    fs::rename(project.file("elsewhere.pem"), project.file("keys/release-2.pem")).unwrap();
    let created = project.release("1.0.1", b"image 2");
    assert_eq!(created["roles"]["thermostat"]["version"], 2, "the version goes on from what devices remember");
}

#[test]
fn a_list_that_devices_hold_to_is_replaced_and_never_taken_away() {
    let project = Project::new();
    project.write("image.bin", "image");
    let release = ["--version", "1.0.0", "--security-counter", "9", "--image", "image.bin"];
    project.run(&[&["release", "create", "--product", "thermostat"][..], &release].concat()).ok();
    let delegation = "products = [\"thermostat\"]\ncounter-ceiling = ";
    project.edit(&format!("{delegation}1000"), &format!("{delegation}5"));
    fs::rename(project.file("keys/release-1.pem"), project.file("away.pem")).unwrap();
    let before = project.repository();
    project.run(&["root", "apply"]).fails(4, &["keys of thermostat", "release-1"]);
    assert!(project.repository() == before);
    fs::rename(project.file("away.pem"), project.file("keys/release-1.pem")).unwrap();
    let applied = project.run(&["root", "apply", "--json"]).ok().json();
    assert_eq!(applied["releases"], serde_json::json!([]), "what is above the new ceiling is refused by every device");
}

#[test]
fn a_new_root_needs_the_keys_of_the_old_one() {
    let project = Project::new();
    add_key(&project, "root-2", "offline");
    project.edit("[roles.root]\nkeys = [\"root-1\"]", "[roles.root]\nkeys = [\"root-2\"]");
    fs::rename(project.file("keys/root-1.pem"), project.file("away.pem")).unwrap();
    let before = project.repository();
    project.run(&["root", "apply"]).fails(4, &["0 of the 1 keys of the present root", "keep the old keys"]);
    assert!(project.repository() == before);
    fs::rename(project.file("away.pem"), project.file("keys/root-1.pem")).unwrap();
    project.run(&["root", "export", "--format", "cbor", "--out", "one"]).fails(3, &["disagree"]);
    project.run(&["root", "apply"]).ok();
    // Whoever trusts root 1 follows to root 2.
    project.run(&["root", "export", "--format", "cbor", "--version", "1", "--out", "one"]).ok();
    project.run(&["verify", "repository", "--root", "one", "--no-clock"]).ok();
    project.run(&["verify", "repository/metadata/2.root", "--root", "one"]).ok();
    project.release("1.0.0", b"image");
    project.run(&["bundle", "export", "--product", "thermostat", "--out", "bundle"]).ok();
    project.run(&["verify", "bundle", "--root", "one", "--no-clock"]).ok();
    project.run(&["bundle", "export", "--product", "thermostat", "--since-root", "2", "--out", "short"]).ok();
    let refused = project.run(&["verify", "short", "--root", "one", "--no-clock"]);
    assert!(refused.code == 0 || refused.stderr.contains("SL-"), "{refused:?}");
}

#[test]
fn an_interrupted_root_is_finished_by_the_next_apply() {
    let project = Project::new();
    project.release("1.0.0", b"image");
    add_key(&project, "timestamp-2", "cloud");
    project.edit("[roles.timestamp]\nkeys = [\"timestamp-1\"]", "[roles.timestamp]\nkeys = [\"timestamp-2\"]");
    let done = project.copy();
    done.run(&["root", "apply"]).ok();
    // As if the power had failed after the new root was written and before the timestamp was.
    fs::copy(done.file("repository/metadata/2.root"), project.file("repository/metadata/2.root")).unwrap();
    project.run(&["renew"]).fails(3, &["SL-201"]);
    let applied = project.run(&["root", "apply", "--json"]).ok().json();
    assert_eq!(applied["root"], false, "the root that is out already is not signed a second time");
    project.run(&["renew"]).ok();
    assert_eq!(project.run(&["release", "list", "--json"]).ok().json()["roles"]["root"]["version"], 2);
}

#[test]
fn custody_decides_what_a_key_may_sign() {
    let refused = |from: &str, to: &str, words: &[&str]| {
        let project = Project::new();
        let text = fs::read_to_string(project.file("sealift.toml")).unwrap();
        let at = text.find(&format!("[keys.{from}]")).unwrap();
        let changed = text[at..].replacen("custody = \"", &format!("custody = \"{to}\" # "), 1);
        fs::write(project.file("sealift.toml"), format!("{}{changed}", &text[..at])).unwrap();
        project.run(&["renew"]).fails(3, words);
    };
    refused("root-1", "ci", &["roles.root", "not `offline`", "threshold of 1"]);
    refused("targets-1", "ci", &["roles.targets", "not `offline`"]);
    refused("root-1", "cloud", &["roles.root", "`cloud`", "timestamp and snapshot alone"]);
    refused("targets-1", "cloud", &["roles.targets", "`cloud`"]);
    refused("release-1", "cloud", &["delegations.thermostat", "`cloud`"]);

    // A ci key beside offline keys is fine while it cannot reach the threshold without one of them.
    let project = Project::new();
    add_key(&project, "builder", "ci");
    project.edit(
        "[roles.root]\nkeys = [\"root-1\"]\nthreshold = 1",
        "[roles.root]\nkeys = [\"root-1\", \"builder\"]\nthreshold = 2",
    );
    project.run(&["root", "apply"]).ok();
    project.edit(
        "[roles.root]\nkeys = [\"root-1\", \"builder\"]\nthreshold = 2",
        "[roles.root]\nkeys = [\"root-1\", \"builder\"]\nthreshold = 1",
    );
    project.run(&["root", "apply"]).fails(3, &["reach the threshold of 1 by themselves"]);
}

#[test]
fn a_project_starts_with_keys_from_elsewhere_and_a_threshold() {
    let folder = tempfile::tempdir().unwrap();
    let sealift = |arguments: &[&str]| support::sealift_in(folder.path(), arguments);
    sealift(&["keys", "generate", "a.pem", "b.pem", "targets.pem", "online.pem", "release.pem"]).ok();
    let online = fs::read_to_string(folder.path().join("online.pem")).unwrap();
    let arguments = [
        "init",
        "--product",
        "thermostat",
        "--root-key",
        "file:a.pem",
        "--root-key",
        "file:b.pem",
        "--root-threshold",
        "2",
        "--targets-key",
        "file:targets.pem",
        "--snapshot-key",
        "env:ONLINE",
        "--timestamp-key",
        "env:ONLINE",
        "--release-key",
        "file:release.pem",
        "--json",
    ];
    let made = command(folder.path(), &arguments).env("ONLINE", &online).run().ok();
    assert!(!made.stderr.contains("quick start"), "{made:?}");
    assert_eq!(made.json()["development"], false);
    let text = fs::read_to_string(folder.path().join("sealift.toml")).unwrap();
    assert_eq!(text.matches("env:ONLINE").count(), 1, "one key in two roles is listed once: {text}");
    command(folder.path(), &["renew"]).env("ONLINE", &online).run().ok();
    sealift(&arguments).fails(3, &["sealift.toml exists"]);
    sealift(&["init"]).fails(3, &["holds a repository already"]);
    fs::remove_dir_all(folder.path().join("repository")).unwrap();
    fs::remove_file(folder.path().join("sealift.ceremony.jsonl")).unwrap();
    sealift(&["init"]).fails(4, &["keys of timestamp"]);
    command(folder.path(), &["init"]).env("ONLINE", &online).run().ok();
}
