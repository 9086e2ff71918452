//! A TUF repository that tests write by hand, with an encoder of its own: `serde_json` with sorted names, which is canonical
//! JSON for the plain text used here.

use std::collections::BTreeMap;

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::server::Files;

/// The time that tests run at: 2026-01-01T00:00:00Z.
pub(crate) const NOW: u64 = 1_767_225_600;
/// An expiry that is far away.
pub(crate) const LATER: &str = "2040-01-01T00:00:00Z";
/// One that is past.
pub(crate) const PAST: &str = "2025-12-31T23:59:59Z";

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// An Ed25519 key as metadata lists it.
#[derive(Clone)]
pub(crate) struct Key {
    signing: SigningKey,
    /// Fields that the specification does not know: they change the id and not the key.
    pub(crate) extra: Option<Value>,
    /// Listed under this in place of its own id.
    pub(crate) called: Option<String>,
}

impl Key {
    pub(crate) fn new(seed: u8) -> Self {
        Key::from_seed([seed; 32])
    }

    pub(crate) fn from_seed(seed: [u8; 32]) -> Self {
        Key { signing: SigningKey::from_bytes(&seed), extra: None, called: None }
    }

    /// The same public key, with another valid id.
    pub(crate) fn twin(&self) -> Self {
        Key { extra: Some(json!("twin")), ..self.clone() }
    }

    pub(crate) fn called(&self, id: &str) -> Self {
        Key { called: Some(id.to_owned()), ..self.clone() }
    }

    pub(crate) fn json(&self) -> Value {
        let public = hex::encode(self.signing.verifying_key().as_bytes());
        let mut key = json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}});
        if let Some(extra) = &self.extra {
            key["x-extra"] = extra.clone();
        }
        key
    }

    pub(crate) fn id(&self) -> String {
        self.called.clone().unwrap_or_else(|| sha256(self.json().to_string().as_bytes()))
    }

    pub(crate) fn sign(&self, signed: &Value) -> Value {
        let signature = self.signing.sign(signed.to_string().as_bytes());
        json!({"keyid": self.id(), "sig": hex::encode(signature.to_bytes())})
    }
}

/// Signs a role.
pub(crate) fn signed(content: &Value, keys: &[Key]) -> Value {
    json!({"signed": content, "signatures": keys.iter().map(|key| key.sign(content)).collect::<Vec<_>>()})
}

/// The repository. Fields may be changed at will before something is published.
pub(crate) struct Repo {
    pub(crate) files: Files,
    pub(crate) roles: BTreeMap<String, Value>,
    /// Who signs a role.
    pub(crate) signers: BTreeMap<String, Vec<Key>>,
    pub(crate) consistent: bool,
    /// Whether snapshot and timestamp state length and hash.
    pub(crate) pinned: bool,
    seed: u8,
}

const TOP: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

impl Repo {
    /// Four roles with a key each, version 1, published.
    pub(crate) fn new() -> Self {
        let mut repo = Repo {
            files: Files::default(),
            roles: BTreeMap::new(),
            signers: BTreeMap::new(),
            consistent: true,
            pinned: true,
            seed: 0,
        };
        let header = |kind: &str| json!({"_type": kind, "spec_version": "1.0.34", "version": 0, "expires": LATER});
        for role in TOP {
            repo.roles.insert(role.to_owned(), header(role));
        }
        repo.roles.get_mut("root").unwrap()["keys"] = json!({});
        repo.roles.get_mut("root").unwrap()["roles"] = json!({});
        repo.roles.get_mut("root").unwrap()["consistent_snapshot"] = json!(true);
        repo.roles.get_mut("targets").unwrap()["targets"] = json!({});
        repo.roles.get_mut("snapshot").unwrap()["meta"] = json!({});
        for role in TOP {
            let key = repo.new_key();
            repo.set_keys(role, &[key], 1);
        }
        repo.publish(&["root", "targets", "snapshot", "timestamp"]);
        repo
    }

    pub(crate) fn new_key(&mut self) -> Key {
        self.seed += 1;
        Key::new(self.seed)
    }

    pub(crate) fn role(&mut self, role: &str) -> &mut Value {
        self.roles.get_mut(role).unwrap()
    }

    /// Root lists these keys and this threshold for a role; all of them sign.
    pub(crate) fn set_keys(&mut self, role: &str, keys: &[Key], threshold: i64) {
        let root = self.role("root");
        root["roles"][role] = json!({"keyids": keys.iter().map(Key::id).collect::<Vec<_>>(), "threshold": threshold});
        for key in keys {
            root["keys"][key.id()] = key.json();
        }
        self.signers.insert(role.to_owned(), keys.to_vec());
    }

    /// New keys for a role, and none of the old ones.
    pub(crate) fn rotate(&mut self, role: &str) {
        let key = self.new_key();
        self.set_keys(role, &[key], 1);
    }

    /// `delegator` delegates to `role`, which gets a key and an empty file. `scope` as `{"paths": [..]}`.
    pub(crate) fn delegate(&mut self, delegator: &str, role: &str, scope: Value) -> Key {
        let key = self.new_key();
        let mut entry = json!({"name": role, "keyids": [key.id()], "threshold": 1, "terminating": false});
        for (name, value) in scope.as_object().unwrap() {
            entry[name] = value.clone();
        }
        let parent = self.role(delegator);
        if parent.get("delegations").is_none() {
            parent["delegations"] = json!({"keys": {}, "roles": []});
        }
        parent["delegations"]["keys"][key.id()] = key.json();
        parent["delegations"]["roles"].as_array_mut().unwrap().push(entry);
        self.add_targets_role(role);
        self.signers.entry(role.to_owned()).or_default().push(key.clone());
        key
    }

    pub(crate) fn add_targets_role(&mut self, role: &str) {
        let empty =
            json!({"_type": "targets", "spec_version": "1.0.34", "version": 0, "expires": LATER, "targets": {}});
        self.roles.entry(role.to_owned()).or_insert(empty);
    }

    /// Lists a target and serves it.
    pub(crate) fn add_target(&mut self, role: &str, path: &str, bytes: &[u8]) {
        let hash = sha256(bytes);
        self.role(role)["targets"][path] = json!({"length": bytes.len(), "hashes": {"sha256": hash}});
        let name = match path.rsplit_once('/') {
            _ if !self.consistent => path.to_owned(),
            Some((dir, file)) => format!("{dir}/{hash}.{file}"),
            None => format!("{hash}.{path}"),
        };
        self.files.put(&format!("targets/{name}"), bytes);
    }

    /// Raises the versions of roles, signs and serves them.
    pub(crate) fn publish(&mut self, roles: &[&str]) {
        for role in roles {
            let version = self.role(role)["version"].as_u64().unwrap() + 1;
            self.role(role)["version"] = json!(version);
            self.publish_as_it_is(role);
        }
    }

    /// Everything but root.
    pub(crate) fn publish_all(&mut self) {
        let delegated: Vec<String> = self.roles.keys().filter(|role| !TOP.contains(&role.as_str())).cloned().collect();
        let mut roles: Vec<&str> = delegated.iter().map(String::as_str).collect();
        roles.extend(["targets", "snapshot", "timestamp"]);
        self.publish(&roles);
    }

    /// Signs and serves a role with the version it has.
    pub(crate) fn publish_as_it_is(&mut self, role: &str) {
        let file = signed(&self.roles[role], &self.signers[role]);
        self.serve(role, file.to_string().as_bytes());
    }

    /// Serves bytes as a role's file, and has snapshot or timestamp state them.
    pub(crate) fn serve(&mut self, role: &str, bytes: &[u8]) {
        let version = self.roles[role]["version"].as_u64().unwrap();
        let mut meta = json!({"version": version});
        if self.pinned {
            meta["length"] = json!(bytes.len());
            meta["hashes"] = json!({"sha256": sha256(bytes)});
        }
        match role {
            "root" | "timestamp" => {}
            "snapshot" => self.role("timestamp")["meta"] = json!({"snapshot.json": meta}),
            _ => self.role("snapshot")["meta"][format!("{role}.json")] = meta,
        }
        let name = match role {
            "timestamp" => "timestamp.json".to_owned(),
            _ if role == "root" || self.consistent => format!("{version}.{role}.json"),
            _ => format!("{role}.json"),
        };
        self.files.put(&format!("metadata/{name}"), bytes);
    }

    /// The first root: what a client is provisioned with.
    pub(crate) fn first_root(&self) -> Vec<u8> {
        self.files.file("metadata/1.root.json").unwrap()
    }
}
