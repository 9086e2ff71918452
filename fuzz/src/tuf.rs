//! A standard TUF repository whose every role the fuzzer writes, signed with keys that everyone has, before the JSON client.
//!
//! The input is one JSON object: `files`, the signed part of each file by its name; `forged`, names of files that a stranger
//! signs; `path`, the target that is looked up. Lengths and hashes are left out of the pins unless the input adds them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::path::PathBuf;
use std::sync::LazyLock;

use ed25519_dalek::{Signer as _, SigningKey};
use sealift_tuf::fetch::Body;
use sealift_tuf::store::Record;
use sealift_tuf::{Clock, Config, FetchError, Fetcher, Json, Locations, MemoryStore, Store, Updater};
use serde_json::{Value, json};

use crate::slow::schema::sha256;

/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;
const LATER: &str = "2040-01-01T00:00:00Z";

static KEYS: LazyLock<[SigningKey; 2]> =
    LazyLock::new(|| [&b"tuf fuzzing key"[..], b"a stranger"].map(|name| SigningKey::from_bytes(&sha256(name))));

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(number: usize) -> (String, Value) {
    let public = hex(KEYS[number].verifying_key().as_bytes());
    let key = json!({"keytype": "ed25519", "keyval": {"public": public}, "scheme": "ed25519"});
    (hex(&sha256(key.to_string().as_bytes())), key)
}

/// The honest repository at one version: the seeds are made of it.
pub fn honest(version: u64) -> Value {
    let (id, key) = key(0);
    let role = json!({"keyids": [id], "threshold": 1});
    let roles = json!({"root": role, "timestamp": role, "snapshot": role, "targets": role});
    let header = |kind: &str| json!({"_type": kind, "spec_version": "1.0.34", "version": version, "expires": LATER});
    let with = |kind: &str, fields: Value| {
        let mut signed = header(kind);
        for (name, value) in fields.as_object().into_iter().flatten() {
            signed[name] = value.clone();
        }
        signed
    };
    let target = json!({"length": 3, "hashes": {"sha256": hex(&sha256(b"abc"))}});
    let delegation = json!({
        "name": "team", "keyids": [id], "threshold": 1, "terminating": true, "paths": ["team/*"],
    });
    let files = json!({
        format!("{version}.root.json"): with("root", json!({
            "consistent_snapshot": true, "keys": {id.clone(): key}, "roles": roles,
        })),
        "timestamp.json": with("timestamp", json!({"meta": {"snapshot.json": {"version": version}}})),
        format!("{version}.snapshot.json"): with("snapshot", json!({
            "meta": {"targets.json": {"version": version}, "team.json": {"version": version}},
        })),
        format!("{version}.targets.json"): with("targets", json!({
            "targets": {"plain": target},
            "delegations": {"keys": {id: key}, "roles": [delegation]},
        })),
        format!("{version}.team.json"): with("targets", json!({"targets": {"team/image": target}})),
    });
    json!({"files": files, "forged": [], "path": "team/image"})
}

fn sign(signed: &Value, number: usize) -> Option<Vec<u8>> {
    // What has no canonical form goes out as it is, with the signature of something else.
    let text = signed.to_string();
    let message = Json::parse(text.as_bytes()).map(|tree| tree.canonical()).unwrap_or_default();
    let signature = hex(&KEYS[number].sign(&message).to_bytes());
    let (id, _) = key(0);
    let file = json!({"signatures": [{"keyid": id, "sig": signature}], "signed": signed});
    serde_json::to_vec(&file).ok()
}

struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn of(tree: &Value) -> Files {
        let forged: Vec<&str> = tree["forged"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let signed = tree["files"].as_object().into_iter().flatten();
        Files(
            signed
                .filter_map(|(name, signed)| {
                    Some((name.clone(), sign(signed, usize::from(forged.contains(&name.as_str())))?))
                })
                .collect(),
        )
    }
}

/// What a client keeps, for the next one.
#[derive(Clone, Copy)]
struct Kept<'a>(&'a RefCell<MemoryStore>);

impl Store for Kept<'_> {
    fn read(&self, record: Record<'_>) -> io::Result<Option<Vec<u8>>> {
        self.0.borrow().read(record)
    }
    fn write(&mut self, record: Record<'_>, bytes: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().write(record, bytes)
    }
    fn location(&self, record: Record<'_>) -> PathBuf {
        self.0.borrow().location(record)
    }
}

impl Fetcher for Files {
    fn open(&self, url: &str, from: u64) -> Result<Body, FetchError> {
        let bytes = self.0.get(url).ok_or(FetchError::NotFound)?;
        let rest = bytes.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or(&[]);
        Ok(Body { from, bytes: Box::new(Cursor::new(rest.to_vec())) })
    }
}

/// What a run came to, for tests of the harness itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The hostile refresh went through.
    pub refreshed: bool,
    /// The target was found.
    pub found: bool,
}

/// A client that knows the honest repository at version 1 meets the one of the input.
pub fn run(input: &[u8]) -> Tally {
    let Ok(tree) = serde_json::from_slice::<Value>(input) else { return Tally::default() };
    let known = Files::of(&honest(1));
    let hostile = Files::of(&tree);
    let config = Config { clock: Clock::At(NOW), ..Config::default() };
    let store = RefCell::default();
    let mut kept = Kept(&store);
    Updater::<&Files, _>::initialise(&mut kept, &known.0["1.root.json"], &config).expect("the honest root");
    let mut client = Updater::open(kept, &known, Locations::metadata(""), config).expect("the honest root");
    client.refresh().expect("the honest repository");
    let floors = client.top_level().expect("refreshed");
    drop(client);
    // Whatever the hostile one makes it keep, it can be opened again.
    let mut client = Updater::open(kept, &hostile, Locations::metadata(""), config).expect("what it kept");
    let refreshed = client.refresh().is_ok();
    drop(Updater::open(kept, &hostile, Locations::metadata(""), config).expect("what it kept"));
    let mut tally = Tally { refreshed, found: false };
    if !refreshed {
        return tally;
    }
    let now = client.top_level().expect("refreshed");
    for (before, after) in floors.iter().zip(&now) {
        assert!(after.version >= before.version, "{:?} fell from {} to {}", after.role, before.version, after.version);
        assert!(after.expires > NOW, "{:?} had expired", after.role);
    }
    // What a stranger signed was not among what was accepted.
    let consistent = client.root().consistent_snapshot();
    for role in &now {
        let name = role.role.name();
        let file = match name {
            "timestamp" => "timestamp.json".to_owned(),
            "root" => format!("{}.root.json", role.version),
            _ if consistent => format!("{}.{name}.json", role.version),
            _ => format!("{name}.json"),
        };
        let forged = tree["forged"].as_array().into_iter().flatten().any(|each| each.as_str() == Some(&file));
        assert!(!forged || (name == "root" && role.version == 1), "{file} is a stranger's, and was accepted");
    }
    if let Some(path) = tree["path"].as_str() {
        tally.found = matches!(client.target(path), Ok(Some(_)));
    }
    tally
}

/// The parser and the canonical form, against serde_json's own tree and against another library's canonical form.
pub fn parse(input: &[u8]) {
    let ours = Json::parse(input);
    let Ok(theirs) = serde_json::from_slice::<Value>(input) else {
        assert!(ours.is_err(), "serde_json refuses it");
        return;
    };
    let Ok(ours) = ours else { return };
    assert!(same(&ours, &theirs), "another tree");
    let canonical = ours.canonical();
    // serde_json's own writer differs from the canonical form in the escapes of controls alone.
    if !canonical.iter().any(|byte| *byte < b' ') {
        assert_eq!(Json::parse(&canonical).as_ref(), Ok(&ours), "the canonical form reads back as something else");
    }
    if canonical.is_ascii() {
        let mut other = Vec::new();
        let mut writer = serde_json::Serializer::with_formatter(&mut other, olpc_cjson::CanonicalFormatter::new());
        serde::Serialize::serialize(&theirs, &mut writer).expect("what has no fraction has a canonical form");
        assert_eq!(canonical, other, "another canonical form");
    }
}

fn same(ours: &Json, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(a), Value::Bool(b)) => a == b,
        (Json::Integer(a), Value::Number(b)) => b.as_i128() == Some(*a),
        (Json::String(a), Value::String(b)) => a == b,
        (Json::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_honest_repository_is_taken_and_a_forged_or_older_one_is_not() {
        let run = |tree: &Value| run(tree.to_string().as_bytes());
        assert_eq!(run(&honest(2)), Tally { refreshed: true, found: true });
        for file in ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"] {
            let mut tree = honest(2);
            tree["forged"] = json!([file]);
            assert!(!run(&tree).refreshed, "{file}");
        }
        let mut tree = honest(2);
        tree["files"]["timestamp.json"]["version"] = json!(0);
        assert!(!run(&tree).refreshed);
    }
}
