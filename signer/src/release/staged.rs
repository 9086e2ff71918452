//! Releases that a product's team has signed and the online keys have not published yet.
//!
//! CI that holds nothing but its product's key signs with `--stage`; whoever holds the keys of snapshot and timestamp (a
//! Lambda, say) publishes with `sealift renew --snapshot`. What is staged is only the team's word: it is checked against the
//! delegation when it is published, and again by every device.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use sealift_manifests::envelope::SigStructure;
use sealift_manifests::{PublicKey, Target, Targets, Version};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::input;
use crate::keys::{KeySource, public_from_cose_hex};
use crate::project::Project;
use crate::publish::Changes;
use crate::repository::{Files, Layout, Transaction, sync_folder, write_atomic};
use crate::signing::{FEWER, Signers, seal};
use crate::tuf;

/// Most bytes of a staged file: a payload and sixteen signatures, in hexadecimal.
const MAX_STAGED: u64 = 64 * 1024;
const REMEDY: &str = "remove it, and sign the release again with `--stage`";

/// A delegated file that waits for snapshot and timestamp.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Staged {
    /// The delegated role.
    role: String,
    /// The payload of its targets file, in hexadecimal.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub(super) payload: Vec<u8>,
    signatures: Vec<Signed>,
}

fn to_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    hex::decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// What one key signed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    /// The public key, as an encoded `COSE_Key` in hexadecimal.
    key: String,
    /// Its signature in the device encoding.
    device: String,
    /// Its signature in the host encoding, where the repository has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
}

/// Signatures that were made elsewhere.
struct Replay {
    key: PublicKey,
    signatures: Vec<[u8; 64]>,
}

impl KeySource for Replay {
    fn public_key(&self) -> PublicKey {
        self.key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        let made = self.signatures.iter().find(|it| sealift_verifier::ed25519::verify(&self.key.0, &[message], it));
        made.copied().ok_or_else(|| {
            Error::refused(format!("the staged signature of {} was made over something else", self.key.id()), REMEDY)
        })
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replay({})", self.key.id())
    }
}

fn path(layout: &Layout, role: &str) -> PathBuf {
    layout.directory.join("staged").join(format!("{role}.json"))
}

/// What a role has staged. `None` when there is nothing, or when the repository has passed it by.
pub(super) fn read(layout: &Layout, files: &Files, role: &str) -> Result<Option<Staged>> {
    let path = path(layout, role);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = input::read(&path, "staged release", MAX_STAGED, REMEDY)?;
    let staged: Staged = serde_json::from_slice(&bytes).map_err(|error| Error::input(&path, error, REMEDY))?;
    let version = staged.targets(layout)?.header.version;
    let current = files.delegated(role)?.map_or(0, |(_, targets)| targets.header.version);
    Ok((version > current).then_some(staged))
}

impl Staged {
    fn targets(&self, layout: &Layout) -> Result<Targets<'_>> {
        Targets::decode(&self.payload).map_err(|error| Error::input(path(layout, &self.role), error, REMEDY))
    }

    /// The releases it lists, and its version.
    pub(super) fn listed(&self, layout: &Layout) -> Result<(Vec<Target<'_>>, u64)> {
        let targets = self.targets(layout)?;
        Ok((targets.targets.iter().collect(), targets.header.version))
    }
}

/// Signs a delegated file with its own keys alone, and leaves it for those of snapshot and timestamp.
pub(super) fn stage(transaction: &Transaction, role: &str, changes: &Changes, signers: &Signers) -> Result<()> {
    let layout = transaction.layout();
    let payload = changes.delegated.get(role).ok_or_else(|| Error::failed("nothing to stage", ""))?;
    // Bounds are checked, and each key's signature, as for a file that is published at once.
    seal(payload, sealift_manifests::Role::Targets, signers.of(role))?;
    let message = SigStructure::new(payload).to_vec();
    let targets = Targets::decode(payload).map_err(|error| Error::failed(error, ""))?;
    let sbom_length = |target: &Target<'_>| {
        let digest = target.sbom?;
        let made = changes.payloads.iter().find(|bytes| sealift_manifests::sha256(bytes) == digest);
        let stored = || fs::metadata(layout.payload(&digest)).ok().map(|metadata| metadata.len());
        made.map(|bytes| bytes.len() as u64).or_else(stored)
    };
    let host = tuf::staged_message(layout, &targets, &sbom_length)?;
    let mut signatures = Vec::new();
    for key in signers.of(role) {
        if let (Some(host), Some(most)) = (&host, key.longest_message())
            && host.len() > most
        {
            let fault = format!("{role}: the key signs at most {most} bytes, and the JSON has {}", host.len());
            return Err(Error::refused(fault, FEWER));
        }
        signatures.push(Signed {
            key: hex::encode(key.public_key().cose_key()),
            device: hex::encode(key.sign(&message)?),
            host: host.as_ref().map(|host| key.sign(host).map(hex::encode)).transpose()?,
        });
    }
    for bytes in &changes.payloads {
        transaction.put_payload(bytes)?;
    }
    let staged = Staged { role: role.to_owned(), payload: payload.clone(), signatures };
    let text = serde_json::to_vec_pretty(&staged).map_err(|error| Error::failed(error, ""))?;
    write_atomic(&path(layout, role), &text)
}

/// Adds what the project's teams have staged to an act that signs the snapshot. Returns the roles.
pub(super) fn take_up(
    project: &Project,
    layout: &Layout,
    files: &Files,
    changes: &mut Changes,
    signers: &mut Signers,
) -> Result<Vec<String>> {
    let mut taken = Vec::new();
    let top = files.targets()?;
    for delegation in top.delegations.iter() {
        let role = delegation.name;
        // What is signed in this very act goes before.
        if changes.delegated.contains_key(role) {
            continue;
        }
        let Some(staged) = read(layout, files, role)? else { continue };
        let refuse = |fault: String| Error::refused(format!("{}: {fault}", path(layout, role).display()), REMEDY);
        let targets = staged.targets(layout)?;
        if staged.role != role || targets.name != Some(role) || targets.header.repository != project.id {
            return Err(refuse("it is another role's, or another repository's".into()));
        }
        if let Some(foreign) = targets.targets.iter().find(|target| {
            delegation.products.iter().all(|product| product != target.product)
                || target.security_counter > delegation.counter_ceiling.min(project.counter_ceiling)
        }) {
            let what = format!("{} {}", foreign.product, foreign.version);
            return Err(refuse(format!("{what} is not for this role to sign, or its counter is above the ceiling")));
        }
        let keys: Vec<PublicKey> = delegation.keys.resolve(top.keys).collect();
        let message = SigStructure::new(&staged.payload).to_vec();
        let mut replays: Vec<Box<dyn KeySource>> = Vec::new();
        for signed in &staged.signatures {
            let key = public_from_cose_hex(&signed.key).map_err(|fault| refuse(fault.into()))?;
            let given = [Some(&signed.device), signed.host.as_ref()].into_iter().flatten();
            let signatures = given.filter_map(|text| hex::decode(text).ok()?.try_into().ok()).collect();
            let replay = Replay { key, signatures };
            let known = replays.iter().any(|other| other.public_key() == key);
            if keys.contains(&key) && !known && replay.sign(&message).is_ok() {
                replays.push(Box::new(replay));
            }
        }
        if (replays.len() as u64) < delegation.keys.threshold {
            return Err(Error::Refused {
                code: Some(sealift_verifier::Error::ThresholdNotMet(sealift_manifests::Role::Targets).code()),
                fault: format!(
                    "{}: {} of the {} signatures that {role} needs hold",
                    path(layout, role).display(),
                    replays.len(),
                    delegation.keys.threshold
                ),
                remedy: REMEDY.into(),
            });
        }
        changes.delegated.insert(role.to_owned(), staged.payload.clone());
        signers.insert(role, replays);
        taken.push(role.to_owned());
    }
    Ok(taken)
}

/// The releases that were signed and wait to be published: role, product and version of each.
pub fn waiting(layout: &Layout, files: &Files) -> Result<Vec<(String, String, Version)>> {
    let mut found = Vec::new();
    for delegation in files.targets()?.delegations.iter() {
        let Some(staged) = read(layout, files, delegation.name)? else { continue };
        let public = files.delegated(delegation.name)?.map(|(_, targets)| targets);
        let is_public = |target: &Target<'_>| {
            let listed = public.iter().flat_map(|targets| targets.targets.iter());
            listed.into_iter().any(|it| it.encoded() == target.encoded())
        };
        for target in staged.listed(layout)?.0.iter().filter(|target| !is_public(target)) {
            found.push((delegation.name.to_owned(), target.product.to_owned(), target.version));
        }
    }
    Ok(found)
}

/// Forgets what was staged and is published, or was passed by.
pub(super) fn clear(layout: &Layout, role: &str) -> Result<()> {
    let path = path(layout, role);
    if !path.exists() {
        return Ok(());
    }
    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    path.parent().map_or(Ok(()), sync_folder)
}
