//! What keeps a repository well: rollbacks that go forward, renewal, provenance, a right clock, product teams that sign for
//! themselves, and `doctor`, which tells what will hurt.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sealift_manifests::sha256;
use serde_json::{Value, json};
use support::{Outcome, Project, Run, THEN, command, firmware, sealift_in};

fn create<'a>(version: &'a str, counter: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let release = ["release", "create", "--product", "thermostat", "--image", "image.bin", "--version", version];
    [&release[..], &["--security-counter", counter], more].concat()
}

fn statement(image: &[u8]) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
        "subject": [
            {"name": "map.txt", "digest": {"sha256": "00".repeat(32)}},
            {"name": "image.bin", "digest": {"sha256": sha256(image).to_string()}},
        ],
        "predicate": {"buildDefinition": {"buildType": "make"}},
    })
}

#[test]
fn a_former_image_comes_back_under_a_new_version_with_its_counter() {
    let project = Project::new();
    let good = firmware(20_000, 1);
    project.write("image.bin", &good);
    project.write("sbom.json", r#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "rtos"}]}"#);
    project.write("provenance.json", statement(&good).to_string());
    let attached = ["--sbom", "sbom.json", "--provenance", "provenance.json", "--hardware", "board-a"];
    let first = project.run(&create("1.0.0", "3", &[&attached[..], &["--json"]].concat())).ok().json();
    let mut bad = good.clone();
    bad[1_000..1_100].fill(9);
    project.write("image.bin", &bad);
    project.run(&create("1.1.0", "3", &[])).ok();

    let again = project.run(&["release", "reissue", "--version", "1.0.0", "--json"]).ok().json();
    let release = &again["release"];
    assert_eq!((&release["version"], &release["reissues"]), (&json!("1.1.1"), &json!("1.0.0")));
    assert_eq!(release["security_counter"], 3);
    assert_eq!(release["image"]["sha256"], first["release"]["image"]["sha256"]);
    let from = release["payloads"].as_array().unwrap().iter().filter(|payload| payload["codec"] == "delta");
    assert_eq!(from.map(|payload| payload["from"].clone()).collect::<Vec<_>>(), ["1.1.0"], "devices run the bad one");
    let listed = again["releases"].as_array().unwrap();
    let (old, new) = (&listed[0], &listed[2]);
    for fact in ["hardware", "sbom_sha256", "provenance_sha256", "minimum_version", "image"] {
        assert_eq!(old[fact], new[fact], "{fact} is kept");
    }
    assert!(new["sbom_sha256"].is_string() && new["provenance_sha256"].is_string());
    project.run(&["root", "export", "--format", "cbor", "--out", "root"]).ok();
    project.run(&["verify", "repository", "--root", "root"]).ok();

    // Once more, under a version of one's choice, which has to go forward.
    let choose = |version: &str| {
        project.run(&["release", "reissue", "--version", "1.0.0", "--new-version", version, "--product", "thermostat"])
    };
    choose("1.1.1").fails(2, &["1.1.1 is not above 1.1.1", "goes forward"]);
    choose("2.0.0").ok();
    project.run(&["release", "reissue", "--version", "7.0.0"]).fails(3, &["7.0.0 was never released", "1.0.0, 1.1.0"]);
}

#[test]
fn a_reissue_whose_counter_would_have_to_fall_is_refused() {
    let project = Project::new();
    project.release("1.0.0", &firmware(4_000, 1));
    project.write("image.bin", firmware(4_000, 2));
    project.run(&create("1.1.0", "2", &[])).ok();
    let before = project.repository();
    let words = ["SL-505", "1.0.0 carries security counter 1", "1.1.0 raised it to 2", "would have to fall"];
    project.run(&["release", "reissue", "--version", "1.0.0"]).fails(3, &words);
    assert!(project.repository() == before);
    // Taking the release off the list takes the counter out of no device.
    project.run(&["release", "withdraw", "--product", "thermostat", "--version", "1.1.0"]).ok();
    project.run(&["release", "reissue", "--version", "1.0.0"]).fails(3, &words);
    project.run(&["release", "reissue", "--version", "1.1.0"]).ok();
}

#[test]
fn provenance_is_bound_when_it_speaks_of_this_image_and_refused_otherwise() {
    let project = Project::new();
    let image = firmware(4_000, 1);
    project.write("image.bin", &image);
    let release = |version: &str| project.run(&create(version, "1", &["--provenance", "provenance.json", "--json"]));
    let before = project.repository();
    let refused = |content: &str, code: i32, words: &[&str]| {
        project.write("provenance.json", content);
        release("1.0.0").fails(code, words);
    };
    refused(&statement(b"another").to_string(), 3, &["not of this image", &sha256(&image).to_string()]);
    refused("{", 4, &["provenance.json", "no JSON"]);
    refused("{}", 4, &["no in-toto statement"]);
    let mut other = statement(&image);
    other["predicateType"] = "https://example.org/review".into();
    refused(&other.to_string(), 4, &["not SLSA provenance"]);
    other["_type"] = "letter".into();
    refused(&other.to_string(), 4, &["not an in-toto statement"]);
    refused(r#"{"payload": "***", "signatures": []}"#, 4, &["DSSE payload"]);
    assert!(project.repository() == before);

    // As builders hand it out: bare, in DSSE, in a Sigstore bundle. The file is kept byte for byte.
    let payload = openssl_base64(statement(&image).to_string().as_bytes());
    let dsse =
        json!({"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": [{"sig": "AA=="}]});
    let bundle = json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": dsse});
    for (version, content) in [("1.0.0", statement(&image)), ("1.0.1", dsse.clone()), ("1.0.2", bundle)] {
        let content = format!("{content:#}\n");
        project.write("provenance.json", &content);
        let made = release(version).ok().json();
        let listed = made["releases"].as_array().unwrap().last().unwrap();
        let digest = sha256(content.as_bytes()).to_string();
        assert_eq!(listed["provenance_sha256"], digest);
        assert_eq!(fs::read(project.file(&format!("repository/payloads/{digest}"))).unwrap(), content.as_bytes());
        // A verifier of the repository misses it when it is gone.
    }
    project.run(&["root", "export", "--format", "cbor", "--out", "root"]).ok();
    project.run(&["verify", "repository", "--root", "root"]).ok();
    let digest = sha256(&fs::read(project.file("provenance.json")).unwrap()).to_string();
    fs::remove_file(project.file(&format!("repository/payloads/{digest}"))).unwrap();
    project.run(&["verify", "repository", "--root", "root"]).fails(4, &[&digest]);
}

fn openssl_base64(bytes: &[u8]) -> String {
    let mut openssl = assert_cmd::Command::new("openssl");
    let done = openssl.args(["base64", "-A"]).write_stdin(bytes.to_vec()).run();
    done.ok().stdout.trim().to_owned()
}

#[test]
fn provenance_of_the_elf_file_alone_is_told_from_that_of_the_image() {
    let project = Project::new();
    let elf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-images/images/station-1.0.0-mps2-an385.elf");
    let elf = fs::read(elf).unwrap();
    project.write("image.bin", &elf);
    project.write("provenance.json", statement(&elf).to_string());
    project.run(&create("1.0.0", "1", &["--provenance", "provenance.json"])).fails(3, &["ELF or HEX", "flat image"]);
}

#[test]
fn a_bill_of_materials_that_is_none_is_refused() {
    let project = Project::new();
    project.write("image.bin", "image");
    let mut version = 0;
    let mut release = |sbom: &str| {
        project.write("sbom.json", sbom);
        version += 1;
        project.run(&create(&format!("1.0.{version}"), "1", &["--sbom", "sbom.json"]))
    };
    release("no").fails(4, &["sbom.json", "no JSON"]);
    release("{}").fails(4, &["CycloneDX or SPDX"]);
    release(r#"{"bomFormat": "CycloneDX"}"#).fails(4, &["no valid CycloneDX", "specVersion"]);
    release(r#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{}]}"#)
        .fails(4, &["no valid CycloneDX"]);
    release(r#"{"spdxVersion": "SPDX-2.3"}"#).fails(4, &["no valid SPDX 2", "SPDXID"]);
    release(r#"{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "packages": [{"name": "rtos"}]}"#).ok();
    release(r#"{"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": []}"#).ok();
}

#[test]
fn a_clock_far_off_signs_nothing() {
    let project = Project::new();
    project.release("1.0.0", b"image");
    let before = project.repository();
    let at = |project: &Project, time: &str, more: &[&str]| {
        command(project.path(), &[&["renew"][..], more].concat()).env("SOURCE_DATE_EPOCH", time).run()
    };
    at(&project, "1", &[]).fails(3, &["SOURCE_DATE_EPOCH", "1970", "before Sealift was written"]);
    at(&project, "4102444800", &[]).fails(3, &["2100", "in the future"]);
    assert!(project.repository() == before);
    // The machine's own clock, beside what the repository says: signed in 2100, or last in 2020.
    let future = project.copy();
    at(&future, "4102444800", &["--trust-clock"]).ok();
    sealift_in(future.path(), &["renew"]).fails(3, &["last signed at 2100", "set the clock", "--trust-clock"]);
    let past = project.copy();
    at(&past, "1577836800", &["--trust-clock"]).ok();
    sealift_in(past.path(), &["renew"]).fails(3, &["after the repository was last signed", "--trust-clock"]);
    sealift_in(past.path(), &["renew", "--trust-clock"]).ok();
    sealift_in(past.path(), &["renew"]).ok();
}

#[test]
fn renewal_signs_both_encodings_anew() {
    let project = Project::new();
    project.release("1.0.0", b"image");
    for key in ["root-1", "targets-1", "release-1"] {
        fs::remove_file(project.file(&format!("keys/{key}.pem"))).unwrap();
    }
    let renewed = project.run(&["renew", "--snapshot", "--json"]).ok().json();
    assert_eq!(
        (&renewed["roles"]["timestamp"]["version"], &renewed["roles"]["snapshot"]["version"]),
        (&json!(3), &json!(3))
    );
    #[cfg(feature = "tuf-json")]
    {
        let host = |name: &str| -> Value {
            let file = fs::read(project.file(&format!("repository/tuf/metadata/{name}"))).unwrap();
            serde_json::from_slice::<Value>(&file).unwrap()["signed"]["version"].clone()
        };
        assert_eq!((host("timestamp.json"), host("3.snapshot.json")), (json!(3), json!(3)));
    }
}

/// Two products, each with a team that has its own keys; two of three must sign for the pump.
fn two_teams() -> Project {
    let project = Project::new();
    let mut keys = String::new();
    for name in ["pump-1", "pump-2", "pump-3"] {
        let made = project.run(&["keys", "generate", &format!("keys/{name}.pem"), "--json"]).ok().json();
        keys += &format!(
            "[keys.{name}]\nuri = \"file:keys/{name}.pem\"\ncustody = \"ci\"\npublic = {}\n\n",
            made["keys"][0]["cose_key"]
        );
    }
    project.edit("[keys.root-1]", &format!("{keys}[keys.root-1]"));
    let text = fs::read_to_string(project.file("sealift.toml")).unwrap();
    let team = "\n[delegations.pump]\nkeys = [\"pump-1\", \"pump-2\", \"pump-3\"]\nthreshold = 2\nexpires = \"26w\"\n\
                products = [\"pump\"]\ncounter-ceiling = 10\n\n[products.pump]\nhardware = [\"pump-board\"]\n\
                decoder-ram = \"24KiB\"\n";
    fs::write(project.file("sealift.toml"), text + team).unwrap();
    project.run(&["root", "apply"]).ok();
    project.write("image.bin", "image");
    project
}

#[test]
fn a_product_teams_keys_sign_its_own_product_alone() {
    let project = two_teams();
    for key in ["root-1", "targets-1", "release-1"] {
        fs::remove_file(project.file(&format!("keys/{key}.pem"))).unwrap();
    }
    let release = |product: &str, counter: &str| {
        let release = ["release", "create", "--image", "image.bin", "--version", "1.0.0", "--product", product];
        project.run(&[&release[..], &["--security-counter", counter]].concat())
    };
    release("thermostat", "1").fails(4, &["keys of thermostat", "release-1"]);
    release("pump", "11").fails(3, &["SL-506", "ceiling of 10"]);
    let made = release("pump", "1").ok();
    assert!(made.stdout.contains("signed by `pump`"), "{made:?}");
    // The thermostat's delegation, handed the pump's key, sees that it is another one.
    project.edit("uri = \"file:keys/release-1.pem\"", "uri = \"file:keys/pump-1.pem\"");
    release("thermostat", "1").fails(4, &["keys.release-1", "is another one"]);
}

#[test]
fn a_delegations_threshold_is_reached_or_nothing_is_signed() {
    let project = two_teams();
    let release = |version: &str| {
        let release = ["release", "create", "--product", "pump", "--image", "image.bin", "--security-counter", "1"];
        project.run(&[&release[..], &["--version", version]].concat())
    };
    fs::rename(project.file("keys/pump-3.pem"), project.file("away-3")).unwrap();
    release("1.0.0").ok();
    fs::rename(project.file("keys/pump-2.pem"), project.file("away-2")).unwrap();
    project.write("image.bin", "image 2");
    let before = project.repository();
    release("1.1.0").fails(4, &["1 of the 2 keys", "pump-2 (file:keys/pump-2.pem)", "pump-3"]);
    assert!(project.repository() == before);
    project.run(&["root", "export", "--format", "cbor", "--out", "root"]).ok();
    project.run(&["verify", "repository", "--root", "root"]).ok();
}

#[test]
fn a_key_of_another_role_is_refused_where_it_does_not_belong() {
    let project = Project::new();
    project.release("1.0.0", b"image");
    project.edit("uri = \"file:keys/timestamp-1.pem\"", "uri = \"file:keys/root-1.pem\"");
    project.run(&["renew"]).fails(4, &["keys.timestamp-1", "keys/root-1.pem is another one", "its id must be"]);
}

fn rules(examined: &Value) -> Vec<String> {
    let findings = examined["findings"].as_array().unwrap();
    let warnings = findings.iter().filter(|finding| finding["severity"] == "warning");
    let mut rules: Vec<_> = warnings.map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect();
    rules.sort();
    rules.dedup();
    rules
}

#[test]
fn doctor_tells_what_will_hurt_and_strict_says_so_to_programs() {
    let project = Project::new();
    project.release("1.0.0", b"image");
    let doctor = |time: &str, more: &[&str]| -> Outcome {
        command(project.path(), &[&["doctor", "--json"][..], more].concat()).env("SOURCE_DATE_EPOCH", time).run()
    };
    let examined = doctor(THEN, &[]).ok().json();
    assert_eq!(rules(&examined), ["quick-start", "threshold-is-key-count"]);
    let strict = doctor(THEN, &["--strict"]);
    assert_eq!((strict.code, strict.json()), (3, examined), "the same is printed");

    // Twelve days later the timestamp's two weeks are nearly over; after a year everything is.
    let later = (THEN.parse::<u64>().unwrap() + 12 * 86_400).to_string();
    let soon = doctor(&later, &[]).ok().json();
    assert_eq!(rules(&soon), ["expires-soon", "quick-start", "threshold-is-key-count"]);
    let finding =
        soon["findings"].as_array().unwrap().iter().find(|finding| finding["rule"] == "expires-soon").unwrap();
    assert!(finding["remedy"].as_str().unwrap().contains("sealift renew"), "{finding}");
    let expired = (THEN.parse::<u64>().unwrap() + 366 * 86_400).to_string();
    assert!(rules(&doctor(&expired, &[]).ok().json()).contains(&"expired".into()));

    fs::set_permissions(project.file("keys/root-1.pem"), Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(project.file("keys"), Permissions::from_mode(0o777)).unwrap();
    let weak = doctor(THEN, &[]).ok().json();
    let weak: Vec<_> =
        weak["findings"].as_array().unwrap().iter().filter(|finding| finding["rule"] == "weak-file-mode").collect();
    assert_eq!(weak.len(), 2, "the file and its folder: {weak:?}");

    // A key that no role names, one that never signed, one in two roles, and a published one.
    project.run(&["keys", "generate", "keys/spare.pem"]).ok();
    let spare = project.run(&["keys", "show", "file:keys/spare.pem", "--json"]).ok().json();
    let entry = |name: &str, public: &Value| {
        format!("[keys.{name}]\nuri = \"file:keys/{name}.pem\"\ncustody = \"offline\"\npublic = {public}\n\n")
    };
    project.edit("[keys.root-1]", &format!("{}[keys.root-1]", entry("spare", &spare["keys"][0]["cose_key"])));
    assert!(rules(&doctor(THEN, &[]).ok().json()).contains(&"unused-key".into()));
    project.edit("[roles.root]\nkeys = [\"root-1\"]", "[roles.root]\nkeys = [\"root-1\", \"spare\"]");
    project.edit("[roles.targets]\nkeys = [\"targets-1\"]", "[roles.targets]\nkeys = [\"targets-1\", \"root-1\"]");
    let shared = doctor(THEN, &[]).ok().json();
    assert!(rules(&shared).contains(&"one-key-in-many-roles".into()), "{shared}");
    let unsigned = shared["findings"].as_array().unwrap().iter().any(|finding| finding["rule"] == "repository");
    assert!(unsigned, "the project file says what no officer signed: {shared}");
    fs::remove_file(project.file("keys/root-1.pem")).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keys-example");
    let example = fs::read_dir(example).unwrap().map(|entry| entry.unwrap().path());
    let example = example.filter(|path| path.extension().is_some_and(|it| it == "pem")).min().unwrap();
    fs::copy(example, project.file("keys/example.pem")).unwrap();
    fs::set_permissions(project.file("keys/example.pem"), Permissions::from_mode(0o600)).unwrap();
    let show = ["keys", "show", "file:keys/example.pem", "--development", "--json"];
    let example = project.run(&show).ok().json()["keys"][0]["cose_key"].clone();
    project.edit("[keys.root-1]", &format!("{}[keys.root-1]", entry("example", &example)));
    assert!(rules(&doctor(THEN, &[]).ok().json()).contains(&"example-key".into()));
}

#[test]
fn a_well_kept_project_passes_the_strict_doctor() {
    let folder = tempfile::tempdir().unwrap();
    let sealift = |arguments: &[&str]| command(folder.path(), arguments).env("SOURCE_DATE_EPOCH", THEN).run();
    let names = ["r1", "r2", "r3", "t1", "t2", "snapshot", "timestamp", "b1", "b2"];
    let files: Vec<_> = names.iter().map(|name| format!("keys/{name}.pem")).collect();
    let generate: Vec<_> = ["keys", "generate"].into_iter().chain(files.iter().map(String::as_str)).collect();
    sealift(&generate).ok();
    fs::set_permissions(folder.path().join("keys"), Permissions::from_mode(0o700)).unwrap();
    let options = ["root", "root", "root", "targets", "targets", "snapshot", "timestamp", "release", "release"];
    let mut init: Vec<String> = ["init", "--product", "thermostat", "--root-threshold", "2"].map(String::from).into();
    for (option, file) in options.iter().zip(&files) {
        init.extend([format!("--{option}-key"), format!("file:{file}")]);
    }
    sealift(&init.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    let well = sealift(&["doctor", "--strict"]).ok();
    assert!(well.stdout.contains("0 warnings, 2 notes"), "{well:?}");
    // The third officer's key has never signed: it was not here when the second root was made.
    sealift(&["keys", "generate", "keys/r4.pem"]).ok();
    let public = sealift(&["keys", "show", "file:keys/r4.pem", "--json"]).ok().json()["keys"][0]["cose_key"].clone();
    let text = fs::read_to_string(folder.path().join("sealift.toml")).unwrap();
    let key =
        format!("[keys.r4]\nuri = \"file:keys/r4.pem\"\ncustody = \"offline\"\npublic = {public}\n\n[keys.root-1]");
    let text = text.replacen("[keys.root-1]", &key, 1).replacen("\"root-3\"]", "\"root-3\", \"r4\"]", 1);
    fs::write(folder.path().join("sealift.toml"), text).unwrap();
    fs::rename(folder.path().join("keys/r4.pem"), folder.path().join("safe.pem")).unwrap();
    sealift(&["root", "apply"]).ok();
    let told = sealift(&["doctor", "--strict"]);
    assert_eq!(told.code, 3);
    assert!(told.stdout.contains("keys.r4") && told.stdout.contains("never-used"), "{told:?}");
}

/// The commands of the page for CI are commands.
#[test]
fn every_command_of_the_page_for_ci_is_understood() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CI.md")).unwrap();
    let page = page.replace("\\\n", " ");
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for line in page.lines().map(|line| line.trim().trim_start_matches("- ").trim_start_matches("run: ")) {
        // Keys in KMS need a build of their own.
        let Some(arguments) = line.strip_prefix("sealift ").filter(|line| !line.contains("awskms:")) else { continue };
        let arguments = arguments.replace('"', "").replace("${VERSION}", "1.2.3").replace("${COUNTER}", "4");
        let arguments: Vec<_> =
            arguments.split_whitespace().take_while(|word| !word.starts_with(['>', '#', '|'])).collect();
        let understood = sealift_in(folder.path(), &arguments);
        assert!(understood.code != 2, "`{line}`: {understood:?}");
        seen += 1;
    }
    assert!(seen >= 4, "{seen} commands were found");
}

/// CI has its product's key and nothing else; the online keys are elsewhere, and publish.
#[test]
fn ci_signs_with_its_delegated_key_alone_and_the_online_keys_publish() {
    let project = Project::new();
    let image = firmware(20_000, 1);
    project.write("image.bin", &image);
    project.write("sbom.json", r#"{"bomFormat": "CycloneDX", "specVersion": "1.6"}"#);
    let away = |keys: &[&str]| {
        for key in keys {
            fs::rename(project.file(&format!("keys/{key}.pem")), project.file(&format!("{key}.away"))).unwrap();
        }
    };
    let back = |keys: &[&str]| {
        for key in keys {
            fs::rename(project.file(&format!("{key}.away")), project.file(&format!("keys/{key}.pem"))).unwrap();
        }
    };
    away(&["root-1", "targets-1", "snapshot-1", "timestamp-1"]);
    project.run(&create("1.0.0", "1", &[])).fails(4, &["keys of snapshot"]);
    let staged = project.run(&create("1.0.0", "1", &["--stage", "--sbom", "sbom.json", "--json"])).ok().json();
    assert_eq!(
        (&staged["release"]["staged"], &staged["releases"]),
        (&json!(true), &json!([])),
        "nothing is public yet"
    );
    project.run(&create("1.0.0", "1", &["--stage"])).fails(3, &["1.0.0 is listed already"]);
    let mut next = image.clone();
    next[100..200].fill(3);
    project.write("image.bin", &next);
    let second = project.run(&create("1.1.0", "1", &["--stage", "--json"])).ok().json();
    assert_eq!(second["release"]["payloads"][0]["from"], "1.0.0", "a delta from what was staged before");
    let listed = project.run(&["release", "list", "--json"]).ok().json();
    let staged: Vec<_> = listed["staged"].as_array().unwrap().iter().map(|it| it["version"].clone()).collect();
    assert_eq!((staged, &listed["releases"]), (vec![json!("1.0.0"), json!("1.1.0")], &json!([])));
    let forged = fs::read_to_string(project.file("repository/staged/thermostat.json")).unwrap();

    away(&["release-1"]);
    back(&["snapshot-1", "timestamp-1"]);
    // Someone else's hand in it: what the team did not sign is published by nobody.
    let payload = forged.split('"').skip_while(|part| *part != "payload").nth(2).unwrap();
    let altered = payload.replacen(&hex::encode("1.1.0".as_bytes()), "", 1);
    assert_eq!(altered, payload, "versions are numbers");
    let altered = payload.replacen(&hex::encode("board-b"), &hex::encode("board-z"), 1);
    assert_ne!(altered, payload);
    project.write("repository/staged/thermostat.json", forged.replace(payload, &altered));
    let before = project.repository();
    project.run(&["renew", "--snapshot"]).fails(3, &["SL-201", "0 of the 1 signatures"]);
    assert!(project.repository() == before);
    project.write("repository/staged/thermostat.json", "{}");
    project.run(&["renew", "--snapshot"]).fails(4, &["staged/thermostat.json"]);
    project.write("repository/staged/thermostat.json", &forged);

    let plain = project.run(&["renew", "--json"]).ok().json();
    assert_eq!((&plain["published"], &plain["releases"]), (&json!([]), &json!([])), "only a new snapshot publishes");
    let published = project.run(&["renew", "--snapshot", "--json"]).ok().json();
    assert_eq!(published["published"], json!(["thermostat"]));
    let versions: Vec<_> = published["releases"].as_array().unwrap().iter().map(|it| it["version"].clone()).collect();
    assert_eq!(versions, ["1.0.0", "1.1.0"]);
    assert!(!project.file("repository/staged/thermostat.json").exists());
    assert_eq!(project.run(&["release", "list", "--json"]).ok().json()["staged"], json!([]));
    project.run(&["root", "export", "--format", "cbor", "--out", "root"]).ok();
    project.run(&["verify", "repository", "--root", "root"]).ok();
    #[cfg(feature = "tuf-json")]
    project.run(&["verify", "repository", "--root", "repository/tuf/metadata/1.root.json"]).ok();
    // What is old by now is passed by.
    project.write("repository/staged/thermostat.json", &forged);
    let again = project.run(&["renew", "--snapshot", "--json"]).ok().json();
    assert_eq!(again["published"], json!([]));
}
