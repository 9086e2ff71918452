//! A fleet's keys and files for tests: what a signer would make, with every part open to be made wrong.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use ed25519_dalek::{Signer, SigningKey};
use sealift_manifests::envelope::{SigStructure, Signature};
use sealift_manifests::*;
use sealift_verifier::Error;
use sealift_verifier::session::{DeviceFacts, Identity, Record, Session, TrustState};
use sealift_verifier::trust::{Policy, Time};

pub const REPOSITORY: RepositoryId = RepositoryId([0xf1; 16]);
pub const NOW: u64 = 1_800_000_000;
pub const DAY: u64 = 86_400;

pub const IDENTITY: Identity<'static> =
    Identity { repository: REPOSITORY, product: "thermostat", component: "main", hardware: "board-a" };
pub const DEVICE: DeviceFacts = DeviceFacts { security_counter: 3, installed: Some(Version([1, 0, 0])) };

/// A signing key made of one byte.
pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// Signs a payload with the given keys.
pub fn sign(payload: &[u8], keys: &[&SigningKey]) -> Vec<u8> {
    let message = SigStructure::new(payload).to_vec();
    let made: Vec<_> = keys.iter().map(|key| (public(key).id(), key.sign(&message).to_bytes())).collect();
    let mut signatures: Vec<_> =
        made.iter().map(|(key_id, signature)| Signature { key_id: *key_id, signature }).collect();
    signatures.sort_by_key(|signature| signature.key_id);
    Envelope { payload, signatures: List::new(&signatures) }.encode()
}

/// Keys and threshold of one role.
#[derive(Clone)]
pub struct Keyring {
    pub threshold: u64,
    pub keys: Vec<SigningKey>,
}

impl Keyring {
    pub fn of(threshold: u64, seeds: &[u8]) -> Self {
        Keyring { threshold, keys: seeds.iter().copied().map(key).collect() }
    }
    pub fn all(&self) -> Vec<&SigningKey> {
        self.keys.iter().collect()
    }
    fn indexes(&self, listed: &[PublicKey]) -> Vec<u64> {
        let mut indexes: Vec<u64> = self
            .keys
            .iter()
            .map(|key| listed.iter().position(|known| *known == public(key)).expect("listed") as u64)
            .collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes
    }
}

/// A repository that can be signed at any version.
#[derive(Clone)]
pub struct Fleet {
    pub repository: RepositoryId,
    /// Root, timestamp, snapshot, targets.
    pub roles: [Keyring; 4],
    pub root_version: u64,
    pub root_expires: u64,
    pub counter_ceiling: u64,
    pub timestamp_version: u64,
    pub timestamp_expires: u64,
    pub issued: u64,
    pub snapshot_version: u64,
    pub snapshot_expires: u64,
    pub targets_version: u64,
    pub targets_expires: u64,
    pub product: Keyring,
    pub product_version: u64,
    pub product_expires: u64,
    pub delegation_products: Vec<&'static str>,
    pub delegation_ceiling: u64,
    pub targets: Vec<Release>,
    pub top_level: Vec<Release>,
}

/// A target, owned.
#[derive(Clone)]
pub struct Release {
    pub product: &'static str,
    pub component: &'static str,
    pub hardware: Vec<&'static str>,
    pub version: Version,
    pub security_counter: u64,
    pub minimum_version: Option<Version>,
    pub image: Vec<u8>,
    pub payloads: Vec<Payload>,
    pub critical: Vec<(u64, &'static [u8])>,
}

impl Release {
    pub fn new(version: [u32; 3]) -> Self {
        let image = format!("image {version:?}").into_bytes();
        Release {
            product: "thermostat",
            component: "main",
            hardware: vec!["board-a"],
            version: Version(version),
            security_counter: 3,
            minimum_version: None,
            payloads: vec![Release::raw(&image)],
            image,
            critical: vec![],
        }
    }
    pub fn raw(image: &[u8]) -> Payload {
        let Image { length, digest } = image_of(image);
        Payload { codec: Codec::RAW, length, digest, base: None, decoder_ram: 0, window_log: 0 }
    }
    pub fn with<R>(&self, use_it: impl FnOnce(Target<'_>) -> R) -> R {
        use_it(Target {
            product: self.product,
            component: self.component,
            hardware: List::new(&self.hardware),
            version: self.version,
            security_counter: self.security_counter,
            minimum_version: self.minimum_version,
            image: image_of(&self.image),
            payloads: List::new(&self.payloads),
            sbom: None,
            critical: Extensions::new(&self.critical),
            extensions: Extensions::NONE,
        })
    }
    pub fn digest(&self) -> Digest {
        self.with(|target| sha256(&target.encoded()))
    }
}

pub fn image_of(bytes: &[u8]) -> Image {
    Image { length: bytes.len() as u32, digest: sha256(bytes) }
}

impl Default for Fleet {
    fn default() -> Self {
        Fleet {
            repository: REPOSITORY,
            roles: [Keyring::of(2, &[1, 2, 3]), Keyring::of(1, &[4]), Keyring::of(1, &[5]), Keyring::of(1, &[6])],
            root_version: 1,
            root_expires: NOW + 365 * DAY,
            counter_ceiling: 10,
            timestamp_version: 1,
            timestamp_expires: NOW + DAY,
            issued: NOW - 60,
            snapshot_version: 1,
            snapshot_expires: NOW + 7 * DAY,
            targets_version: 1,
            targets_expires: NOW + 90 * DAY,
            product: Keyring::of(1, &[7]),
            product_version: 1,
            product_expires: NOW + 30 * DAY,
            delegation_products: vec!["thermostat"],
            delegation_ceiling: 10,
            targets: vec![Release::new([1, 1, 0])],
            top_level: vec![],
        }
    }
}

/// The signed files of one moment.
#[derive(Clone)]
pub struct Files {
    pub root: Vec<u8>,
    pub timestamp: Vec<u8>,
    pub snapshot: Vec<u8>,
    pub targets: Vec<u8>,
    pub product: Vec<u8>,
}

impl Files {
    pub fn bundle(&self) -> Vec<u8> {
        [&self.timestamp[..], &self.snapshot, &self.targets, &self.product].concat()
    }
}

impl Fleet {
    pub fn root_payload(&self) -> Vec<u8> {
        let mut keys: Vec<PublicKey> = self.roles.iter().flat_map(|ring| ring.keys.iter().map(public)).collect();
        keys.sort();
        keys.dedup();
        let indexes: Vec<Vec<u64>> = self.roles.iter().map(|ring| ring.indexes(&keys)).collect();
        let role =
            |at: usize| RoleKeys { threshold: self.roles[at].threshold, keys: List::new(indexes[at].as_slice()) };
        Root {
            header: Header::new(self.repository, self.root_version, self.root_expires),
            keys: List::new(&keys),
            roles: [role(0), role(1), role(2), role(3)],
            counter_ceiling: self.counter_ceiling,
        }
        .encode()
    }

    pub fn root(&self) -> Vec<u8> {
        sign(&self.root_payload(), &self.roles[0].all())
    }

    /// The next root, signed by the root keys of both.
    pub fn root_after(&self, before: &Fleet) -> Vec<u8> {
        let mut keys = [before.roles[0].all(), self.roles[0].all()].concat();
        keys.sort_by_key(|key| key.to_bytes());
        keys.dedup_by_key(|key| key.to_bytes());
        sign(&self.root_payload(), &keys)
    }

    pub fn product_payload(&self) -> Vec<u8> {
        let header = Header::new(self.repository, self.product_version, self.product_expires);
        targets_payload(header, Some("team"), &self.targets, None)
    }

    pub fn targets_payload(&self) -> Vec<u8> {
        let header = Header::new(self.repository, self.targets_version, self.targets_expires);
        targets_payload(header, None, &self.top_level, Some(self))
    }

    pub fn snapshot_payload(&self, targets: &[u8], product: &[u8]) -> Vec<u8> {
        let delegated =
            [DelegatedMeta { name: "team", meta: Meta::of(self.product_version, product).expect("in bounds") }];
        Snapshot {
            header: Header::new(self.repository, self.snapshot_version, self.snapshot_expires),
            targets: Meta::of(self.targets_version, targets).expect("in bounds"),
            delegated: List::new(&delegated),
        }
        .encode()
    }

    pub fn timestamp_payload(&self, snapshot: &[u8]) -> Vec<u8> {
        Timestamp {
            header: Header::new(self.repository, self.timestamp_version, self.timestamp_expires),
            issued: self.issued,
            snapshot: Meta::of(self.snapshot_version, snapshot).expect("in bounds"),
        }
        .encode()
    }

    pub fn files(&self) -> Files {
        let product = sign(&self.product_payload(), &self.product.all());
        let targets = sign(&self.targets_payload(), &self.roles[3].all());
        let snapshot = sign(&self.snapshot_payload(&targets, &product), &self.roles[2].all());
        let timestamp = sign(&self.timestamp_payload(&snapshot), &self.roles[1].all());
        Files { root: self.root(), timestamp, snapshot, targets, product }
    }

    /// The next versions of everything but root.
    pub fn bump(&mut self) {
        self.timestamp_version += 1;
        self.snapshot_version += 1;
        self.targets_version += 1;
        self.product_version += 1;
    }
}

fn targets_payload(header: Header<'_>, name: Option<&str>, releases: &[Release], delegates: Option<&Fleet>) -> Vec<u8> {
    // Targets borrow their lists: build them from the inside out.
    let critical: Vec<_> = releases.iter().map(|release| Extensions::new(&release.critical)).collect();
    let targets: Vec<Target<'_>> = releases
        .iter()
        .zip(&critical)
        .map(|(release, critical)| Target {
            product: release.product,
            component: release.component,
            hardware: List::new(&release.hardware),
            version: release.version,
            security_counter: release.security_counter,
            minimum_version: release.minimum_version,
            image: image_of(&release.image),
            payloads: List::new(&release.payloads),
            sbom: None,
            critical: *critical,
            extensions: Extensions::NONE,
        })
        .collect();
    let mut keys: Vec<PublicKey> =
        delegates.map(|fleet| fleet.product.keys.iter().map(public).collect()).unwrap_or_default();
    keys.sort();
    let indexes = delegates.map(|fleet| fleet.product.indexes(&keys)).unwrap_or_default();
    let delegations: Vec<Delegation<'_>> = delegates
        .iter()
        .map(|fleet| Delegation {
            name: "team",
            keys: RoleKeys { threshold: fleet.product.threshold, keys: List::new(&indexes) },
            products: List::new(&fleet.delegation_products),
            counter_ceiling: fleet.delegation_ceiling,
        })
        .collect();
    Targets { header, name, targets: List::new(&targets), keys: List::new(&keys), delegations: List::new(&delegations) }
        .encode()
}

/// A device between sessions: what it keeps.
#[derive(Clone)]
pub struct Device {
    pub root: Vec<u8>,
    pub state: TrustState,
    pub time: Time,
    pub policy: Policy,
    pub facts: DeviceFacts,
}

impl Device {
    pub fn provisioned(root: Vec<u8>) -> Self {
        Device {
            root,
            state: TrustState::default(),
            time: Time::AtLeast(NOW),
            policy: Policy::production(),
            facts: DEVICE,
        }
    }

    /// Works through a bundle as a device does: each record is kept as it comes, whatever follows.
    pub fn take(&mut self, bundle: &[u8]) -> Result<(), Error> {
        self.select(bundle, None).map(|_| ())
    }

    /// The same, and selects a target.
    pub fn select(&mut self, bundle: &[u8], digest: Option<Digest>) -> Result<Option<[u8; 32]>, Error> {
        let root = self.root.clone();
        let mut session = Session::new(IDENTITY, &root, self.state, self.time, self.policy)?;
        let result = session.supply_bundle(bundle, |record| {
            match record {
                Record::Root(file) => self.root = file.to_vec(),
                Record::Trust(state) => {
                    // Through its record, as a device keeps it.
                    let mut bytes = [0; sealift_verifier::session::TRUST_RECORD_MAX];
                    let length = state.encode(&mut bytes)?;
                    self.state = TrustState::decode(&bytes[..length])?;
                }
            }
            Ok(())
        });
        result?;
        digest.map(|digest| session.select(&digest, &self.facts).map(|approved| approved.digest().0)).transpose()
    }
}
