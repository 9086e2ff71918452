//! Device roles as TUF's JSON (specification 1.0.34, sections 4.3 to 4.6).

use sealift_manifests::{
    Codec, List, Payload, PublicKey, Role, RoleKeys, Root, Snapshot, Target, Targets, Timestamp, sha256,
};
use serde_json::{Map, Value, json};

use super::{DeviceFile, payload_names, target_name};
use crate::clock::date;
use crate::keys::{tuf_key, tuf_key_id};
use crate::release::attachments;
use crate::repository::Files;

/// The version of the specification that is written.
const SPEC_VERSION: &str = "1.0.34";

/// Length and hash of a role's JSON file.
pub(super) struct Pin {
    pub(super) version: u64,
    pub(super) length: usize,
    pub(super) sha256: String,
}

impl Pin {
    fn json(&self) -> Value {
        json!({"version": self.version, "length": self.length, "hashes": {"sha256": self.sha256}})
    }
}

fn keys(keys: List<'_, PublicKey>) -> Value {
    keys.iter().map(|key| (tuf_key_id(&key), tuf_key(&key))).collect::<Map<_, _>>().into()
}

fn key_ids(role: &RoleKeys<'_>, keys: List<'_, PublicKey>) -> Vec<String> {
    role.resolve(keys).map(|key| tuf_key_id(&key)).collect()
}

pub(super) fn root(root: &Root<'_>) -> Value {
    let roles: Map<_, _> = Role::ALL
        .iter()
        .map(|role| {
            let keys = root.role(*role);
            (role.to_string(), json!({"keyids": key_ids(keys, root.keys), "threshold": keys.threshold}))
        })
        .collect();
    json!({
        "_type": "root", "spec_version": SPEC_VERSION, "consistent_snapshot": true, "version": root.header.version,
        "expires": date(root.header.expires), "keys": keys(root.keys), "roles": roles,
        "x-sealift-repository": root.header.repository.to_string(),
        "x-sealift-counter-ceiling": root.counter_ceiling,
    })
}

pub(super) fn timestamp(timestamp: &Timestamp<'_>, snapshot: &Pin) -> Value {
    json!({
        "_type": "timestamp", "spec_version": SPEC_VERSION, "version": timestamp.header.version,
        "expires": date(timestamp.header.expires), "meta": {"snapshot.json": snapshot.json()},
        "x-sealift-repository": timestamp.header.repository.to_string(), "x-sealift-issued": timestamp.issued,
    })
}

pub(super) fn snapshot(snapshot: &Snapshot<'_>, files: &[(String, Pin)]) -> Value {
    let meta: Map<_, _> = files.iter().map(|(name, pin)| (format!("{name}.json"), pin.json())).collect();
    json!({
        "_type": "snapshot", "spec_version": SPEC_VERSION, "version": snapshot.header.version,
        "expires": date(snapshot.header.expires), "meta": meta,
        "x-sealift-repository": snapshot.header.repository.to_string(),
    })
}

/// A targets file, top-level or delegated, which also lists the files of `device`. `sbom_length` says how long a bill of
/// materials is.
pub(super) fn targets(
    file: &Targets<'_>,
    sbom_length: impl Fn(&Target<'_>) -> Option<u64>,
    device: &[DeviceFile],
) -> Value {
    let mut targets = Map::new();
    let plain = |length: u64, digest: String| json!({"length": length, "hashes": {"sha256": digest}});
    for target in file.targets.iter() {
        for (name, payload) in payload_names(&target).into_iter().zip(target.payloads.iter()) {
            targets.insert(name, payload_entry(&target, &payload));
        }
        for attached in attachments(&target) {
            if let Some(length) = attached.length.or_else(|| sbom_length(&target)) {
                let name = target_name(&target, attached.ending);
                targets.insert(name, plain(length, attached.digest.to_string()));
            }
        }
    }
    for file in device {
        targets.insert(file.name.clone(), plain(file.bytes.len() as u64, sha256(&file.bytes).to_string()));
    }
    let mut json = json!({
        "_type": "targets", "spec_version": SPEC_VERSION, "version": file.header.version,
        "expires": date(file.header.expires), "targets": targets,
        "x-sealift-repository": file.header.repository.to_string(),
    });
    if !file.delegations.is_empty() {
        let roles: Vec<_> = file
            .delegations
            .iter()
            .map(|delegation| {
                json!({
                    "name": delegation.name,
                    "keyids": key_ids(&delegation.keys, file.keys),
                    "threshold": delegation.keys.threshold,
                    "paths": delegation.products.iter().map(|product| format!("{product}~*")).collect::<Vec<_>>(),
                    // A product belongs to one role: what that role does not list, nobody lists.
                    "terminating": true,
                })
            })
            .collect();
        // Not inside `delegations`: there are clients that drop fields they do not know there, and with them the signature.
        let ceilings: Map<_, _> =
            file.delegations.iter().map(|it| (it.name.to_owned(), it.counter_ceiling.into())).collect();
        json["delegations"] = json!({"keys": keys(file.keys), "roles": roles});
        json["x-sealift-counter-ceilings"] = ceilings.into();
    }
    json
}

/// One payload. Each says which hardware and version it is for; the other facts of the release stand with the image itself,
/// and once: what KMS signs is at most 4,096 bytes.
fn payload_entry(target: &Target<'_>, payload: &Payload) -> Value {
    let mut facts = Map::new();
    facts.insert("codec".into(), payload.codec.0.into());
    facts.insert("hardware".into(), target.hardware.iter().collect::<Vec<_>>().into());
    facts.insert("version".into(), target.version.to_string().into());
    if let Some(base) = payload.base {
        facts.insert("base".into(), json!({"length": base.length, "sha256": base.digest.to_string()}));
    }
    if payload.decoder_ram != 0 {
        facts.insert("decoder-ram".into(), payload.decoder_ram.into());
        facts.insert("window-log".into(), payload.window_log.into());
    }
    if payload.codec == Codec::RAW {
        facts.insert("product".into(), target.product.into());
        facts.insert("component".into(), target.component.into());
        facts.insert("security-counter".into(), target.security_counter.into());
        if let Some(minimum) = target.minimum_version {
            facts.insert("minimum-version".into(), minimum.to_string().into());
        }
        if let Some(sbom) = target.sbom {
            facts.insert("sbom".into(), sbom.to_string().into());
        }
        if let Some(attached) = attachments(target).iter().find(|it| it.ending == "provenance.json") {
            facts.insert("provenance".into(), attached.digest.to_string().into());
        }
    }
    json!({
        "length": payload.length, "hashes": {"sha256": payload.digest.to_string()},
        "custom": {"sealift": facts},
    })
}

/// The names of the roles in a snapshot: `targets`, and the delegated ones that have signed something.
pub(super) fn snapshot_roles(files: &Files) -> Vec<String> {
    let delegated = files.delegated.iter().map(|(name, _)| name.clone());
    std::iter::once(Role::Targets.to_string()).chain(delegated).collect()
}
