//! The chain of a repository, followed with the verifier's own code, and what it lists.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use sealift_jobs::Digest;
use sealift_manifests::{Delegation, Fault, Role, RoleKeys, Targets};
use sealift_verifier::Error;
use sealift_verifier::repository::Repository;
use sealift_verifier::session::Fetch;
use sealift_verifier::trust::{Policy, Time};
use serde::{Deserialize, Serialize};

/// Metadata files by name.
pub type Files = BTreeMap<String, Bytes>;

/// Why the chain wasn't followed to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// A file that isn't among those given.
    Needs(String),
    /// The verifier refused a file.
    Refused {
        /// Which file.
        file: String,
        /// Why.
        error: Error,
    },
}

/// What a verified repository lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// Repository id, hex.
    pub repository: String,
    /// Every target of every role.
    pub targets: Vec<ListedTarget>,
    /// Versions, keys and hashes of the roles.
    pub chain: Chain,
}

/// One target and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedTarget {
    /// SHA-256 of its entry: its name in a job.
    pub digest: Digest,
    /// Product.
    pub product: String,
    /// Component.
    pub component: String,
    /// Hardware ids.
    pub hardware: Vec<String>,
    /// Version.
    pub version: String,
    /// Security counter.
    pub security_counter: u64,
    /// SHA-256 of the image.
    pub image: Digest,
    /// Length of the image in bytes.
    pub image_length: u64,
    /// Its payloads.
    pub payloads: Vec<ListedPayload>,
    /// The delegated role that lists it; `None` is the top-level role.
    pub role: Option<String>,
}

/// One payload of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedPayload {
    /// SHA-256.
    pub digest: Digest,
    /// Length in bytes.
    pub length: u64,
    /// `raw`, `zstd`, `delta`, or the number of a codec this build doesn't know.
    pub codec: String,
    /// For a delta: SHA-256 of the image it starts from.
    pub base: Option<Digest>,
    /// RAM that its decoder needs, in bytes.
    #[serde(default)]
    pub decoder_ram: u64,
}

/// Versions and names of the files of a chain, for bundles and for comparing two publications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Version of the last root.
    pub root_version: u64,
    /// When the timestamp expires.
    pub expires: u64,
    /// Timestamp, snapshot and top-level targets.
    pub timestamp: ChainFile,
    /// Snapshot.
    pub snapshot: ChainFile,
    /// Top-level targets.
    pub targets: ChainFile,
    /// Delegated targets by role name.
    pub delegated: BTreeMap<String, ChainFile>,
}

/// One file of a chain, and who may sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainFile {
    /// Its name below `metadata/`.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// How many signatures it takes.
    pub threshold: u64,
    /// Public keys that may sign it.
    pub keys: Vec<[u8; 32]>,
}

/// Name of a root file.
#[must_use]
pub fn root_name(version: u64) -> String {
    Fetch::root(version).to_string()
}

/// Follows the chain of `files` from `1.root` to every delegated targets file.
///
/// # Errors
/// [`Stop::Needs`] names the next file to add; [`Stop::Refused`] is the verifier's word.
pub fn read(files: &Files, time: Time, policy: Policy) -> Result<Catalog, Stop> {
    let first = root_name(1);
    let root = files.get(&first).ok_or_else(|| Stop::Needs(first.clone()))?;
    let (needs, last) = (RefCell::new(None), RefCell::new(first));
    let opened = Repository::open(
        root,
        |fetch| {
            let name = fetch.to_string();
            let found = files.get(&name).map(AsRef::as_ref);
            match found {
                Some(_) => *last.borrow_mut() = name,
                // There is always one more root that isn't there: that is how the chain of roots ends.
                None if fetch.role != Role::Root => *needs.borrow_mut() = Some(name),
                None => {}
            }
            found
        },
        time,
        policy,
    );
    if let Some(name) = needs.into_inner() {
        return Err(Stop::Needs(name));
    }
    let repository = opened.map_err(|error| Stop::Refused { file: last.into_inner(), error })?;
    Walk { files, repository }.catalog()
}

struct Walk<'b> {
    files: &'b Files,
    repository: Repository<'b>,
}

impl<'b> Walk<'b> {
    fn catalog(&self) -> Result<Catalog, Stop> {
        let repository = &self.repository;
        let (root, top) = (repository.root(), repository.targets());
        let file = |role: Role, fetch: Fetch, version: u64| self.file(&fetch, version, root.role(role), root.keys);
        let timestamp = file(Role::Timestamp, Fetch::timestamp(), repository.timestamp().header.version)?;
        let pin = repository.timestamp().snapshot;
        let snapshot = file(Role::Snapshot, Fetch::pinned(Role::Snapshot, &pin), pin.version)?;
        let pin = repository.snapshot().targets;
        let targets = file(Role::Targets, Fetch::pinned(Role::Targets, &pin), pin.version)?;
        let mut listed = list(top, &targets.name, None)?;
        let mut delegated = BTreeMap::new();
        for delegation in top.delegations.iter() {
            let Some(fetch) = repository.delegated_file(&delegation) else { continue };
            let (entry, role) = self.delegated(&delegation, &fetch)?;
            listed.extend(list(&role, &entry.name, Some(delegation.name))?);
            delegated.insert(delegation.name.to_owned(), entry);
        }
        self.check_ambiguity(&targets.name)?;
        let chain = Chain {
            root_version: root.header.version,
            expires: repository.timestamp().header.expires,
            timestamp,
            snapshot,
            targets,
            delegated,
        };
        Ok(Catalog { repository: root.header.repository.to_string(), targets: listed, chain })
    }

    fn delegated(&self, delegation: &Delegation<'b>, fetch: &Fetch) -> Result<(ChainFile, Targets<'b>), Stop> {
        let name = fetch.to_string();
        let bytes = self.files.get(&name).ok_or_else(|| Stop::Needs(name.clone()))?;
        let role = self.repository.delegated(delegation, bytes);
        let role = role.map_err(|error| Stop::Refused { file: name, error })?;
        let entry = self.file(fetch, role.header.version, &delegation.keys, self.repository.targets().keys)?;
        Ok((entry, role))
    }

    /// A device refuses a product that two roles may sign for; better to hear it here.
    fn check_ambiguity(&self, file: &str) -> Result<(), Stop> {
        let top = self.repository.targets();
        let mut products = top.delegations.iter().flat_map(|delegation| delegation.products.iter());
        match products.find(|product| top.delegations_of(product).count() > 1) {
            Some(_) => Err(Stop::Refused { file: file.into(), error: Error::AmbiguousDelegation }),
            None => Ok(()),
        }
    }

    fn file(
        &self,
        fetch: &Fetch,
        version: u64,
        keys: &RoleKeys<'b>,
        list: sealift_manifests::List<'b, sealift_manifests::PublicKey>,
    ) -> Result<ChainFile, Stop> {
        let name = fetch.to_string();
        let bytes = self.files.get(&name).ok_or_else(|| Stop::Needs(name.clone()))?;
        let digest = Digest(sealift_manifests::sha256(bytes).0);
        let keys_of = keys.resolve(list).map(|key| key.0).collect();
        Ok(ChainFile { name, version, digest, threshold: keys.threshold, keys: keys_of })
    }
}

fn list(targets: &Targets<'_>, file: &str, role: Option<&str>) -> Result<Vec<ListedTarget>, Stop> {
    let mut all = Vec::new();
    for (target, encoded) in targets.targets.entries() {
        // Only decoded files come here, and those have their bytes; without them there is no digest to name.
        if encoded.is_empty() {
            let fault = sealift_manifests::DecodeError::new(Fault::BadValue, 0);
            return Err(Stop::Refused { file: file.into(), error: Error::malformed(Role::Targets, fault) });
        }
        all.push(ListedTarget {
            digest: Digest(sealift_manifests::sha256(encoded).0),
            product: target.product.into(),
            component: target.component.into(),
            hardware: target.hardware.iter().map(str::to_owned).collect(),
            version: target.version.to_string(),
            security_counter: target.security_counter,
            image: Digest(target.image.digest.0),
            image_length: target.image.length.into(),
            payloads: target
                .payloads
                .iter()
                .map(|payload| ListedPayload {
                    digest: Digest(payload.digest.0),
                    length: payload.length.into(),
                    codec: codec(payload.codec),
                    base: payload.base.map(|base| Digest(base.digest.0)),
                    decoder_ram: payload.decoder_ram.into(),
                })
                .collect(),
            role: role.map(str::to_owned),
        });
    }
    Ok(all)
}

fn codec(codec: sealift_manifests::Codec) -> String {
    use sealift_manifests::Codec;
    match codec {
        Codec::RAW => "raw".into(),
        Codec::ZSTD => "zstd".into(),
        Codec::DELTA => "delta".into(),
        Codec(number) => number.to_string(),
    }
}
