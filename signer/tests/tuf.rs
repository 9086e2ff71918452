//! The host encoding is a TUF repository to TUF's own clients, and says exactly what the device encoding says.
#![cfg(feature = "tuf-json")]

#[path = "../../manifests/tests/wire/python.rs"]
mod python;
mod served;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sealift_manifests::{
    Digest, Envelope, PublicKey, Role, RoleKeys, Root, Snapshot, Target, Targets, Timestamp, sha256,
};
use sealift_signer::keys::{tuf_key, tuf_key_id};
use sealift_signer::release::attachments;
use sealift_signer::tuf::{payload_names, target_name};
use serde_json::{Value, json};
use support::{Project, firmware};
use tough::schema::key::Key;
use tough::{IntoVec, Repository, RepositoryLoader};
use url::Url;

/// Two products' worth of releases with every fact set, root rotated once in between.
fn repository() -> Project {
    let project = Project::new();
    project.release("1.0.0", &firmware(30_000, 1));
    rotate_root(&project);
    let mut changed = firmware(30_000, 1);
    changed[5_000..5_100].fill(7);
    project.write("image.bin", &changed);
    project.write("sbom.json", r#"{"bomFormat": "CycloneDX", "specVersion": "1.6"}"#);
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
        "subject": [{"name": "image.bin", "digest": {"sha256": sha256(&changed).to_string()}}], "predicate": {},
    });
    project.write("provenance.json", statement.to_string());
    let arguments = ["--version", "1.1.0", "--security-counter", "2", "--image", "image.bin", "--sbom", "sbom.json"];
    let more = ["--minimum-version", "1.0.0", "--hardware", "board-b", "--provenance", "provenance.json"];
    let arguments = [&arguments[..], &more].concat();
    project.run(&[&["release", "create", "--product", "thermostat"][..], &arguments].concat()).ok();
    project.run(&["renew"]).ok();
    project
}

/// Replaces the root key by a new one.
fn rotate_root(project: &Project) {
    edit_root_key(project);
    let applied = project.run(&["root", "apply", "--json"]).ok().json();
    assert_eq!(applied["roles"]["root"]["version"], 2);
}

/// Puts a new root key into the project file.
fn edit_root_key(project: &Project) {
    let made = project.run(&["keys", "generate", "keys/root-2.pem", "--json"]).ok().json();
    let public = made["keys"][0]["cose_key"].as_str().unwrap();
    let key =
        format!("[keys.root-2]\nuri = \"file:keys/root-2.pem\"\ncustody = \"offline\"\npublic = \"{public}\"\n\n");
    project.edit("[keys.targets-1]", &format!("{key}[keys.targets-1]"));
    project.edit("[roles.root]\nkeys = [\"root-1\"]", "[roles.root]\nkeys = [\"root-2\"]");
}

fn host(project: &Project, name: &str) -> Value {
    let path = project.file(&format!("repository/tuf/metadata/{name}"));
    let file: Value = serde_json::from_slice(&fs::read(&path).unwrap_or_else(|why| panic!("{name}: {why}"))).unwrap();
    file["signed"].clone()
}

fn device(project: &Project, name: &str) -> Vec<u8> {
    fs::read(project.file(&format!("repository/metadata/{name}"))).unwrap()
}

fn date(seconds: u64) -> Value {
    sealift_signer::clock::date(seconds).into()
}

fn keys_of(role: &RoleKeys<'_>, keys: sealift_manifests::List<'_, PublicKey>) -> Value {
    let ids: Vec<_> = role.resolve(keys).map(|key| tuf_key_id(&key)).collect();
    json!({"keyids": ids, "threshold": role.threshold})
}

fn sorted_keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn both_encodings_say_the_same() {
    let project = repository();
    let id = project.run(&["root", "export", "--format", "cbor", "--out", "r", "--json"]).ok().json();
    let id = id["repository_id"].clone();

    for version in [1, 2] {
        let file = device(&project, &format!("{version}.root"));
        let root = Root::decode(Envelope::decode(&file).unwrap().payload).unwrap();
        let json = host(&project, &format!("{version}.root.json"));
        assert_eq!((&json["_type"], &json["version"]), (&json!("root"), &json!(version)));
        assert_eq!(json["expires"], date(root.header.expires));
        assert_eq!(json["consistent_snapshot"], true);
        assert_eq!(
            (&json["x-sealift-repository"], &json["x-sealift-counter-ceiling"]),
            (&id, &json!(root.counter_ceiling))
        );
        let keys: serde_json::Map<_, _> = root.keys.iter().map(|key| (tuf_key_id(&key), tuf_key(&key))).collect();
        assert_eq!(json["keys"], Value::from(keys));
        for role in Role::ALL {
            assert_eq!(json["roles"][role.name()], keys_of(root.role(role), root.keys), "{role}");
        }
    }

    let file = device(&project, "timestamp");
    let timestamp = Timestamp::decode(Envelope::decode(&file).unwrap().payload).unwrap();
    let json = host(&project, "timestamp.json");
    assert_eq!(json["version"], timestamp.header.version);
    assert_eq!(json["expires"], date(timestamp.header.expires));
    assert_eq!((&json["x-sealift-issued"], &json["x-sealift-repository"]), (&json!(timestamp.issued), &id));
    assert_eq!(json["meta"]["snapshot.json"]["version"], timestamp.snapshot.version);
    assert_eq!(json["meta"].as_object().unwrap().len(), 1);

    let file = device(&project, &format!("{}.snapshot", timestamp.snapshot.digest));
    let snapshot = Snapshot::decode(Envelope::decode(&file).unwrap().payload).unwrap();
    let json = host(&project, &format!("{}.snapshot.json", snapshot.header.version));
    assert_eq!(json["version"], snapshot.header.version);
    assert_eq!(json["expires"], date(snapshot.header.expires));
    assert_eq!(json["meta"]["targets.json"]["version"], snapshot.targets.version);
    let listed: BTreeSet<_> = snapshot.delegated.iter().map(|entry| format!("{}.json", entry.name)).collect();
    assert_eq!(sorted_keys(&json["meta"]), &listed | &BTreeSet::from(["targets.json".to_owned()]));
    for entry in snapshot.delegated.iter() {
        assert_eq!(json["meta"][format!("{}.json", entry.name)]["version"], entry.meta.version);
    }

    let file = device(&project, &format!("{}.targets", snapshot.targets.digest));
    let top = Targets::decode(Envelope::decode(&file).unwrap().payload).unwrap();
    let json = host(&project, &format!("{}.targets.json", top.header.version));
    assert_eq!(json["expires"], date(top.header.expires));
    assert_eq!(json["targets"], json!({}));
    let keys: serde_json::Map<_, _> = top.keys.iter().map(|key| (tuf_key_id(&key), tuf_key(&key))).collect();
    assert_eq!(json["delegations"]["keys"], Value::from(keys));
    assert_eq!(json["delegations"]["roles"].as_array().unwrap().len(), top.delegations.len());
    for (delegation, role) in top.delegations.iter().zip(json["delegations"]["roles"].as_array().unwrap()) {
        let signers = keys_of(&delegation.keys, top.keys);
        assert_eq!((&role["keyids"], &role["threshold"]), (&signers["keyids"], &signers["threshold"]));
        let paths: Vec<_> = delegation.products.iter().map(|product| format!("{product}~*")).collect();
        assert_eq!((&role["name"], &role["paths"]), (&json!(delegation.name), &json!(paths)));
        assert_eq!(json["x-sealift-counter-ceilings"][delegation.name], delegation.counter_ceiling);
    }

    let mut seen = 0;
    for entry in snapshot.delegated.iter() {
        let file = device(&project, &format!("{}.targets", entry.meta.digest));
        let targets = Targets::decode(Envelope::decode(&file).unwrap().payload).unwrap();
        let json = host(&project, &format!("{}.{}.json", targets.header.version, entry.name));
        assert_eq!(json["expires"], date(targets.header.expires));
        assert_eq!(json["x-sealift-repository"], id);
        let mut names = BTreeSet::new();
        for target in targets.targets.iter() {
            for (name, payload) in payload_names(&target).iter().zip(target.payloads.iter()) {
                let listed = &json["targets"][name];
                assert_eq!(listed["length"], payload.length, "{name}");
                assert_eq!(listed["hashes"], json!({"sha256": payload.digest.to_string()}));
                let facts = &listed["custom"]["sealift"];
                assert_eq!(facts["codec"], payload.codec.0);
                assert_eq!(facts["version"], target.version.to_string());
                assert_eq!(facts["hardware"], json!(target.hardware.iter().collect::<Vec<_>>()));
                assert_eq!(facts["decoder-ram"].as_u64().unwrap_or(0), u64::from(payload.decoder_ram));
                assert_eq!(facts["window-log"].as_u64().unwrap_or(0), u64::from(payload.window_log));
                let base = payload.base.map(|it| json!({"length": it.length, "sha256": it.digest.to_string()}));
                assert_eq!(facts["base"], base.unwrap_or_default());
                if payload.digest == target.image.digest {
                    let minimum = target.minimum_version.map(|version| version.to_string());
                    let facts_of_release = json!({
                        "codec": 0, "product": target.product, "component": target.component,
                        "hardware": target.hardware.iter().collect::<Vec<_>>(), "version": target.version.to_string(),
                        "security-counter": target.security_counter,
                    });
                    let mut expected = facts_of_release.as_object().unwrap().clone();
                    expected.extend(minimum.map(|minimum| ("minimum-version".into(), minimum.into())));
                    expected.extend(target.sbom.map(|sbom| ("sbom".into(), sbom.to_string().into())));
                    expected.extend(provenance(&target).map(|it| ("provenance".into(), it.to_string().into())));
                    assert_eq!(*facts, Value::from(expected));
                    seen += 1;
                }
                names.insert(name.clone());
            }
            for (ending, digest) in [("sbom.json", target.sbom), ("provenance.json", provenance(&target))] {
                let Some(digest) = digest else { continue };
                let name = target_name(&target, ending);
                assert_eq!(json["targets"][&name]["hashes"]["sha256"], digest.to_string());
                let stored = fs::read(project.file(&format!("repository/payloads/{digest}"))).unwrap();
                assert_eq!(json["targets"][&name]["length"], stored.len());
                names.insert(name);
            }
        }
        // The device's own files, as they were when the releases were signed; never its timestamp or snapshot.
        for (name, file) in [
            ("thermostat~1.root".to_owned(), device(&project, "1.root")),
            ("thermostat~2.root".to_owned(), device(&project, "2.root")),
            (
                format!("thermostat~{}.targets", top.header.version),
                device(&project, &format!("{}.targets", snapshot.targets.digest)),
            ),
            (
                format!("thermostat~{}.thermostat.targets", targets.header.version),
                device(&project, &format!("{}.targets", entry.meta.digest)),
            ),
        ] {
            let listed = &json["targets"][&name];
            assert_eq!(
                (&listed["length"], &listed["hashes"]["sha256"]),
                (&json!(file.len()), &sha256(&file).to_string().into()),
                "{name}"
            );
            let target = project.file(&format!("repository/tuf/targets/{}.{name}", sha256(&file)));
            assert_eq!(fs::read(target).unwrap(), file, "{name}");
            names.insert(name);
        }
        assert_eq!(sorted_keys(&json["targets"]), names, "neither lists what the other does not");
    }
    assert_eq!(seen, 2, "both releases were compared");
}

fn provenance(target: &Target<'_>) -> Option<Digest> {
    let found = attachments(target).into_iter().find(|it| it.ending == "provenance.json");
    found.map(|it| it.digest)
}

/// Every target's name, as the newest delegated file lists them.
fn names(project: &Project) -> Vec<String> {
    sorted_keys(&host(project, "2.thermostat.json")["targets"]).into_iter().collect()
}

async fn load(project: &Project) -> Result<Repository, tough::error::Error> {
    let tuf = project.file("repository/tuf");
    let root = fs::read(tuf.join("metadata/1.root.json")).unwrap();
    let base = served::serve(&tuf);
    let url = |folder: &str| -> Url { base.join(&format!("{folder}/")).unwrap() };
    // The time of the signatures is long past or to come when this test runs.
    let loader = RepositoryLoader::new(&root, url("metadata"), url("targets"));
    loader.expiration_enforcement(tough::ExpirationEnforcement::Unsafe).load().await
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The bytes of a target, as tough's client reads them.
async fn read(loaded: &Repository, name: &str) -> Result<Vec<u8>, tough::error::Error> {
    let content = loaded.read_target(&name.try_into().unwrap()).await?;
    content.unwrap_or_else(|| panic!("{name} is not found")).into_vec().await
}

#[test]
fn toughs_client_downloads_every_target_over_http_through_a_root_rotation() {
    let project = repository();
    block_on(async {
        let loaded = load(&project).await.unwrap();
        assert_eq!(loaded.root().signed.version.get(), 2);
        let names = names(&project);
        for name in &names {
            let listed = &host(&project, "2.thermostat.json")["targets"][name];
            assert_eq!(sha256(&read(&loaded, name).await.unwrap()).to_string(), listed["hashes"]["sha256"]);
        }
        assert!(names.len() >= 11, "images, compressed, a delta, SBOM, provenance, roots, targets files: {names:?}");
    });
}

#[test]
fn toughs_client_refuses_what_was_altered() {
    let project = repository();
    let name = names(&project).into_iter().find(|name| name.ends_with(".raw")).unwrap();
    let digest = host(&project, "2.thermostat.json")["targets"][&name]["hashes"]["sha256"].clone();
    let target = project.file(&format!("repository/tuf/targets/{}.{name}", digest.as_str().unwrap()));
    replace(&target, |bytes| bytes[100] ^= 1);
    block_on(async {
        let loaded = load(&project).await.unwrap();
        let refused = read(&loaded, &name).await.unwrap_err().to_string();
        assert!(refused.to_lowercase().contains("hash"), "{refused}");
    });
    for file in ["timestamp.json", "2.root.json", "2.thermostat.json"] {
        let altered = project.copy();
        replace(&altered.file(&format!("repository/tuf/metadata/{file}")), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = text.replacen("\"version\":", "\"version\": 1", 1).into_bytes();
        });
        assert!(block_on(load(&altered)).is_err(), "{file} was altered");
    }
}

/// Changes a file in place. Targets are hard links to payloads: the payload must not change with them.
fn replace(file: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}

#[test]
fn key_ids_are_the_ones_that_a_tuf_library_computes() {
    let key = PublicKey([9; 32]);
    let read: Key = serde_json::from_value(tuf_key(&key)).unwrap();
    assert_eq!(hex::encode(read.key_id().unwrap().as_ref()), tuf_key_id(&key));
}

fn python_tuf(project: &Project, state: &Path, names: &[String]) -> Output {
    let tuf = project.file("repository/tuf");
    let mut command = Command::new(python::interpreter());
    command.arg(python::script("tuf_client.py")).arg(&tuf).arg(tuf.join("metadata/1.root.json")).arg(state).args(names);
    command.output().unwrap()
}

/// The repository of [`repository`], signed now: python-tuf looks at the clock.
fn fresh() -> Project {
    let project = repository();
    for arguments in [&["root", "apply", "--renew"][..], &["renew", "--snapshot", "--product", "thermostat"]] {
        // Whenever this test runs, it is long after the signatures of the others.
        assert!(support::sealift_in(project.path(), &[arguments, &["--trust-clock"]].concat()).code == 0);
    }
    project
}

#[test]
fn python_tuf_downloads_every_target_and_refuses_what_was_altered() {
    let project = fresh();
    let names: Vec<_> = sorted_keys(&host(&project, "3.thermostat.json")["targets"]).into_iter().collect();
    let state = tempfile::tempdir().unwrap();
    let done = python_tuf(&project, state.path(), &names);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(out.lines().count(), names.len());
    for line in out.lines() {
        let name = line.split(' ').nth(2).unwrap();
        let listed = &host(&project, "3.thermostat.json")["targets"][name];
        assert!(line.starts_with(listed["hashes"]["sha256"].as_str().unwrap()), "{line}");
    }

    // A byte of a target, a byte of signed metadata, a snapshot from before: each is refused.
    let altered = |file: &Path, change: &dyn Fn(&mut Vec<u8>), names: &[String]| {
        let before = fs::read(file).unwrap();
        let mut bytes = before.clone();
        change(&mut bytes);
        // Targets are hard links to payloads: the payload must not change with them.
        fs::remove_file(file).unwrap();
        fs::write(file, bytes).unwrap();
        let state = tempfile::tempdir().unwrap();
        let refused = python_tuf(&project, state.path(), names);
        fs::write(file, before).unwrap();
        assert!(!refused.status.success(), "{} was altered", file.display());
        String::from_utf8_lossy(&refused.stderr).into_owned()
    };
    let raw = names.iter().find(|name| name.ends_with(".raw")).unwrap();
    let digest = host(&project, "3.thermostat.json")["targets"][raw]["hashes"]["sha256"].as_str().unwrap().to_owned();
    let target = project.file(&format!("repository/tuf/targets/{digest}.{raw}"));
    let said = altered(&target, &|bytes| bytes[100] ^= 1, std::slice::from_ref(raw));
    assert!(said.contains("hash"), "{said}");
    let metadata = project.file("repository/tuf/metadata");
    for file in ["timestamp.json", "3.thermostat.json", "2.root.json"] {
        let flip = |bytes: &mut Vec<u8>| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = text.replacen("\"version\":", "\"version\": 1", 1).into_bytes();
        };
        altered(&metadata.join(file), &flip, &names);
    }
}

#[test]
fn python_tuf_that_knew_the_old_root_follows_to_the_new_one() {
    let project = Project::new();
    let now = |arguments: &[&str]| support::sealift_in(project.path(), &[arguments, &["--trust-clock"]].concat()).ok();
    project.write("image.bin", firmware(8_000, 1));
    now(&["root", "apply", "--renew"]);
    let release = ["release", "create", "--product", "thermostat", "--security-counter", "1", "--image", "image.bin"];
    now(&[&release[..], &["--version", "1.0.0"]].concat());
    let listed = |file: &str| sorted_keys(&host(&project, file)["targets"]).into_iter().collect::<Vec<_>>();
    let state = tempfile::tempdir().unwrap();
    let before = python_tuf(&project, state.path(), &listed("1.thermostat.json"));
    assert!(before.status.success(), "{}", String::from_utf8_lossy(&before.stderr));

    edit_root_key(&project);
    now(&["root", "apply"]);
    project.write("image.bin", firmware(8_000, 2));
    now(&[&release[..], &["--version", "1.1.0"]].concat());
    let names = listed("2.thermostat.json");
    assert!(names.contains(&"thermostat~3.root".to_owned()), "{names:?}");
    let after = python_tuf(&project, state.path(), &names);
    assert!(after.status.success(), "{}", String::from_utf8_lossy(&after.stderr));
    assert_eq!(String::from_utf8_lossy(&after.stdout).lines().count(), names.len());
    let root: Value = serde_json::from_slice(&fs::read(state.path().join("metadata/root.json")).unwrap()).unwrap();
    assert_eq!(root["signed"]["version"], 3, "the client keeps the newest root");
}

#[test]
fn the_host_encoding_is_verified_by_the_devices_own_trust_machine() {
    let project = repository();
    let verify = ["verify", "repository", "--root", "repository/tuf/metadata/1.root.json"];
    let report = project.run(&[&verify[..], &["--json"]].concat()).ok().json();
    assert_eq!(report["kind"], "tuf repository");
    assert_eq!(report["roles"][0]["version"], 2);
    assert!(!report["targets"].as_array().unwrap().is_empty());
    assert_eq!(report["unreachable"], json!([]));

    // One role file, where it lies: it counts if the repository's timestamp leads to it.
    let role = |name: &str| {
        let file = format!("repository/tuf/metadata/{name}");
        project.run(&["verify", &file, "--root", "repository/tuf/metadata/1.root.json"])
    };
    for name in ["1.root.json", "2.root.json", "timestamp.json", "2.thermostat.json"] {
        role(name).ok();
    }
    role("1.thermostat.json").fails(3, &["not part of what the repository's timestamp names"]);
    fs::copy(project.file("repository/tuf/metadata/2.root.json"), project.file("alone.json")).unwrap();
    project
        .run(&["verify", "alone.json", "--root", "repository/tuf/metadata/1.root.json"])
        .fails(4, &["where it lies"]);

    // A payload that was swapped, and a role that was: each is found, and the exit code says refused.
    let folder = project.file("repository/tuf/targets");
    // An image that is listed: files of former states lie beside it, in whatever order the folder has.
    let listed = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(".raw");
    let target = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).find(listed).unwrap();
    let bytes = fs::read(&target).unwrap();
    fs::remove_file(&target).unwrap();
    project.run(&verify).fails(4, &["not found"]);
    fs::write(&target, vec![0; bytes.len()]).unwrap();
    project.run(&verify).fails(3, &["SL-603"]);
    fs::write(&target, bytes).unwrap();
    project.run(&verify).ok();
    let timestamp = project.file("repository/tuf/metadata/timestamp.json");
    let mut altered: Value = serde_json::from_slice(&fs::read(&timestamp).unwrap()).unwrap();
    altered["signed"]["version"] = json!(99);
    fs::write(&timestamp, altered.to_string()).unwrap();
    project.run(&verify).fails(3, &["SL-201"]);
}
