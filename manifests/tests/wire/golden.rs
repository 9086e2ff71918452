//! `manifests/golden/`: files that every later version of this crate must write and read byte for byte. Ed25519 signatures
//! are deterministic, so fixed keys and fixed contents give fixed files. `SEALIFT_BLESS=1` writes them anew: only together
//! with a new format version.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer as _, SigningKey};
use sealift_manifests::envelope::{SigStructure, Signature};
use sealift_manifests::report::{Report, SignedReport};
use sealift_manifests::*;

use crate::documents::Kind;
use crate::{documents, python, schema};

const REPOSITORY: RepositoryId = RepositoryId(*b"sealift golden 1");
/// 2030-01-01T00:00:00Z.
const EXPIRES: u64 = 1_893_456_000;

/// The keys of the golden files. Their seeds are their names, so everyone has them.
const KEYS: [&str; 8] = ["root-a", "root-b", "root-c", "timestamp", "snapshot", "targets", "team", "device"];

fn signing_key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&sha256(format!("sealift golden key {name}").as_bytes()).0)
}

fn public(name: &str) -> PublicKey {
    PublicKey(signing_key(name).verifying_key().to_bytes())
}

/// Signs a payload with the named keys.
fn file(payload: &[u8], signers: &[&str]) -> Vec<u8> {
    let message = SigStructure::new(payload).to_vec();
    let signed = |name: &&str| (public(name).id(), signing_key(name).sign(&message).to_bytes());
    let by_id: BTreeMap<KeyId, [u8; 64]> = signers.iter().map(signed).collect();
    let signatures: Vec<_> = by_id.iter().map(|(key_id, signature)| Signature { key_id: *key_id, signature }).collect();
    Envelope { payload, signatures: List::new(&signatures) }.encode()
}

fn root(version: u64, root_keys: [&str; 2], signers: &[&str]) -> Vec<u8> {
    let mut names = [root_keys[0], root_keys[1], "timestamp", "snapshot", "targets"];
    names.sort_by_key(|name| public(name));
    let keys = names.map(public);
    let index = |name: &str| names.iter().position(|other| *other == name).unwrap() as u64;
    let mut officers = root_keys.map(index);
    officers.sort();
    let [timestamp, snapshot, targets] = ["timestamp", "snapshot", "targets"].map(|name| [index(name)]);
    let role = |threshold, keys| RoleKeys { threshold, keys: List::new(keys) };
    let root = Root {
        header: Header::new(REPOSITORY, version, EXPIRES),
        keys: List::new(&keys),
        roles: [role(2, &officers), role(1, &timestamp), role(1, &snapshot), role(1, &targets)],
        counter_ceiling: 100,
    };
    file(&root.encode(), signers)
}

fn top_level_targets() -> Vec<u8> {
    let (keys, products, index) = ([public("team")], ["thermostat"], [0]);
    let keys_of_team = RoleKeys { threshold: 1, keys: List::new(&index) };
    let team = Delegation { name: "climate", keys: keys_of_team, products: List::new(&products), counter_ceiling: 20 };
    let targets = Targets {
        header: Header::new(REPOSITORY, 7, EXPIRES),
        name: None,
        targets: List::new(&[]),
        keys: List::new(&keys),
        delegations: List::new(std::slice::from_ref(&team)),
    };
    file(&targets.encode(), &["targets"])
}

fn delegated_targets() -> Vec<u8> {
    let image = Image { length: 320_016, digest: sha256(b"thermostat 1.2.0") };
    let base = Image { length: 318_400, digest: sha256(b"thermostat 1.1.0") };
    let payload = |codec, length, content: &[u8]| Payload {
        codec,
        length,
        digest: sha256(content),
        base: None,
        decoder_ram: 0,
        window_log: 0,
    };
    let delta = Payload {
        base: Some(base),
        decoder_ram: 18_432,
        window_log: 12,
        ..payload(Codec::DELTA, 22_336, b"thermostat 1.1.0 to 1.2.0")
    };
    let older = Payload {
        base: Some(Image { length: 311_296, digest: sha256(b"thermostat 1.0.0") }),
        ..payload(Codec::DELTA, 41_210, b"thermostat 1.0.0 to 1.2.0")
    };
    let older = Payload { decoder_ram: delta.decoder_ram, window_log: delta.window_log, ..older };
    let zstd =
        Payload { decoder_ram: 18_432, window_log: 12, ..payload(Codec::ZSTD, 201_004, b"thermostat 1.2.0, zstd") };
    let raw = payload(Codec::RAW, 320_016, b"thermostat 1.2.0");
    let (hardware, payloads) = (["thermostat-rev-a", "thermostat-rev-b"], [delta, older, zstd, raw]);
    let ignorable = [(70_000, &b"an extension that nobody has to know"[..])];
    let target = Target {
        product: "thermostat",
        component: "main",
        hardware: List::new(&hardware),
        version: Version([1, 2, 0]),
        security_counter: 3,
        minimum_version: Some(Version([1, 0, 0])),
        image,
        payloads: List::new(&payloads),
        sbom: Some(sha256(b"thermostat 1.2.0 bill of materials")),
        critical: Extensions::NONE,
        extensions: Extensions::new(&ignorable),
    };
    let targets = Targets {
        header: Header::new(REPOSITORY, 41, EXPIRES),
        name: Some("climate"),
        targets: List::new(std::slice::from_ref(&target)),
        keys: List::new(&[]),
        delegations: List::new(&[]),
    };
    file(&targets.encode(), &["team"])
}

fn report() -> Vec<u8> {
    let report = Report {
        repository: REPOSITORY,
        thing: "thermostat-0001",
        job: "sealift-thermostat-1_2_0",
        execution: 1,
        boot_count: 12,
        image: sha256(b"thermostat 1.2.0"),
        security_counter: 3,
    };
    let payload = report.encode();
    let signature = signing_key("device").sign(&SignedReport::sig_structure(&payload)).to_bytes();
    SignedReport { payload: &payload, key_id: public("device").id(), signature: &signature }.encode()
}

/// A golden file: its name, its content, and whose signatures are on it.
struct Golden {
    name: &'static str,
    content: Vec<u8>,
    signers: &'static [&'static str],
}

fn golden() -> Vec<Golden> {
    let golden = |name, content, signers| Golden { name, content, signers };
    let first = root(1, ["root-a", "root-b"], &["root-a", "root-b"]);
    let second = root(2, ["root-b", "root-c"], &["root-a", "root-b", "root-c"]);
    let (targets, delegated) = (top_level_targets(), delegated_targets());
    let pinned = [DelegatedMeta { name: "climate", meta: Meta::of(41, &delegated).unwrap() }];
    let snapshot = Snapshot {
        header: Header::new(REPOSITORY, 90, EXPIRES),
        targets: Meta::of(7, &targets).unwrap(),
        delegated: List::new(&pinned),
    };
    let snapshot = file(&snapshot.encode(), &["snapshot"]);
    let timestamp = Timestamp {
        header: Header::new(REPOSITORY, 300, EXPIRES),
        issued: 1_861_920_000,
        snapshot: Meta::of(90, &snapshot).unwrap(),
    };
    let timestamp = file(&timestamp.encode(), &["timestamp"]);
    vec![
        golden("1.root", first, &["root-a", "root-b"]),
        golden("2.root", second, &["root-a", "root-b", "root-c"]),
        golden("timestamp", timestamp, &["timestamp"]),
        golden("snapshot", snapshot, &["snapshot"]),
        golden("targets", targets, &["targets"]),
        golden("climate.targets", delegated, &["team"]),
        golden("report", report(), &["device"]),
    ]
}

/// The golden update bundle: everything a device at root version 1 needs.
fn bundle() -> Vec<u8> {
    golden()[1..=5].iter().flat_map(|file| file.content.clone()).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn keys_json() -> Vec<u8> {
    let keys: BTreeMap<&str, BTreeMap<&str, String>> = KEYS
        .map(|name| {
            let key = public(name);
            let fields = [("public", hex::encode(key.0)), ("key_id", key.id().to_string())];
            (name, BTreeMap::from(fields))
        })
        .into();
    let mut text = serde_json::to_vec_pretty(&keys).unwrap();
    text.push(b'\n');
    text
}

#[test]
fn golden_files_are_written_byte_for_byte() {
    let mut files: Vec<(&str, Vec<u8>)> = golden().into_iter().map(|file| (file.name, file.content)).collect();
    files.push(("update.bundle", bundle()));
    files.push(("keys.json", keys_json()));
    if std::env::var_os("SEALIFT_BLESS").is_some() {
        fs::create_dir_all(folder()).unwrap();
        files.iter().for_each(|(name, content)| fs::write(folder().join(name), content).unwrap());
    }
    for (name, content) in &files {
        let path = folder().join(name);
        let kept = fs::read(&path).unwrap_or_else(|why| panic!("read {}: {why}; see golden/README.md", path.display()));
        assert!(kept == *content, "{name} is no longer written as it was: the format changed");
    }
    let known: Vec<&str> = files.iter().map(|(name, _)| *name).chain(["README.md"]).collect();
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(known.iter().any(|known| *known == name), "no test writes golden/{}", name.display());
    }
}

#[test]
fn golden_files_read_back_byte_for_byte_and_the_schema_allows_them() {
    for Golden { name, content, .. } in golden() {
        let kind = if name == "report" { Kind::SignedReport } else { Kind::Envelope };
        assert_eq!(documents::recode(kind, &content).as_ref(), Ok(&content), "{name}");
        assert_eq!(schema::check(documents::rule(kind), &content), Ok(()), "{name}");
    }
    let bundle = bundle();
    let files: Result<Vec<&[u8]>, _> = sealift_manifests::bundle::files(&bundle).collect();
    assert_eq!(files.unwrap().concat(), bundle);
}

#[test]
fn dalek_verifies_every_signature_of_the_golden_files() {
    for Golden { name, content, signers } in golden().into_iter().filter(|file| file.name != "report") {
        let envelope = Envelope::decode(&content).unwrap();
        let message = envelope.sig_structure().to_vec();
        assert_eq!(envelope.signatures.len(), signers.len(), "{name}");
        for signer in signers {
            let id = public(signer).id();
            let found = envelope.signatures.iter().find(|signature| signature.key_id == id).unwrap();
            let signature = ed25519_dalek::Signature::from_bytes(found.signature);
            assert!(signing_key(signer).verifying_key().verify_strict(&message, &signature).is_ok(), "{name}");
        }
    }
}

/// A COSE library that is not ours.
#[test]
fn pycose_verifies_every_signature_of_the_golden_files_and_none_over_a_changed_payload() {
    let files = golden();
    let mut command = std::process::Command::new(python::interpreter());
    command.arg(python::script("verify_cose.py")).arg(folder().join("keys.json"));
    command.args(files.iter().map(|file| folder().join(file.name)));
    let done = command.output().unwrap_or_else(|why| panic!("start {command:?}: {why}"));
    assert!(done.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&done.stderr));
    let lines: Vec<serde_json::Value> =
        done.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(lines.len(), files.len());
    for (file, line) in files.iter().zip(lines) {
        let names = |field: &str| -> Vec<String> {
            let mut names: Vec<String> = serde_json::from_value(line[field].clone()).unwrap();
            names.sort();
            names
        };
        assert_eq!(names("holds"), file.signers, "{}", file.name);
        assert_eq!(names("holds_changed"), Vec::<String>::new(), "{}", file.name);
        let kind = if file.name == "report" { "Sign1Message" } else { "SignMessage" };
        assert_eq!(line["type"], kind, "{}", file.name);
    }
}

/// The aim of issue and design: an update bundle with one image and two deltas in at most 1.5 KiB, root unchanged.
#[test]
fn the_golden_bundle_without_its_root_is_small() {
    let without_root = bundle().len() - golden()[1].content.len();
    assert!(without_root <= 1_536, "{without_root} bytes");
}
