//! A signer for fuzzing: it writes role files with serde_cbor, not with the code under test, and signs with keys that everyone
//! has. Every signature that it makes is logged, so that a test can tell what was never signed.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use ed25519_dalek::{Signer as _, SigningKey};
use serde_cbor::Value;

use crate::slow::cbor::write;
use crate::slow::schema::{Hash, sha256, sig_structure, thumbprint};

/// How many keys there are.
pub const KEYS: usize = 16;
/// The repository of every fleet.
pub const REPOSITORY: [u8; 16] = *b"fuzzed by anyone";
/// A time at which nothing of a new fleet has expired.
pub const NOW: u64 = 1_000_000;

struct Key {
    signing: SigningKey,
    public: [u8; 32],
    id: Hash,
}

static ALL: LazyLock<Vec<Key>> = LazyLock::new(|| {
    (0..KEYS)
        .map(|number| {
            let signing = SigningKey::from_bytes(&sha256(format!("sealift fuzzing key {number}").as_bytes()));
            let public = signing.verifying_key().to_bytes();
            Key { signing, public, id: thumbprint(&public) }
        })
        .collect()
});

/// The public half of a key.
pub fn public(number: usize) -> [u8; 32] {
    ALL[number].public
}

/// The number of the key with this id.
pub fn number_of(id: &Hash) -> Option<usize> {
    ALL.iter().position(|key| key.id == *id)
}

/// Signs a message; the same message is signed once in the life of the process, since signatures are deterministic.
fn signature(key: usize, message: &[u8]) -> [u8; 64] {
    thread_local! {
        static MADE: RefCell<HashMap<(usize, Hash), [u8; 64]>> = RefCell::default();
    }
    MADE.with_borrow_mut(|made| {
        if made.len() > 1 << 16 {
            made.clear();
        }
        *made.entry((key, sha256(message))).or_insert_with(|| ALL[key].signing.sign(message).to_bytes())
    })
}

fn map(entries: Vec<(i128, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (Value::Integer(key), value)).collect())
}

fn uint(value: u64) -> Value {
    Value::Integer(value.into())
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn bytes(value: &[u8]) -> Value {
    Value::Bytes(value.into())
}

fn array(items: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(items.into_iter().collect())
}

/// The roles by number: root, timestamp, snapshot, targets, delegated targets.
pub const ROOT: usize = 0;
/// Timestamp.
pub const TIMESTAMP: usize = 1;
/// Snapshot.
pub const SNAPSHOT: usize = 2;
/// Top-level targets.
pub const TARGETS: usize = 3;
/// Delegated targets.
pub const DELEGATED: usize = 4;

/// What may be done to one file of a release.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sabotage {
    /// Which role's file.
    pub role: usize,
    /// What is done, and how.
    pub kind: u8,
    /// A choice within the kind.
    pub choice: u8,
}

/// A repository that can be signed at any moment.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Version of each role.
    pub versions: [u64; 5],
    /// Expiry of each role.
    pub expires: [u64; 5],
    /// Threshold and key numbers of each role.
    pub keys: [(u64, Vec<usize>); 5],
    /// When the timestamp is said to be signed.
    pub issued: u64,
    /// Security counters of the delegated targets, one each.
    pub counters: Vec<u64>,
    /// Ceilings: root's and the delegation's.
    pub ceilings: [u64; 2],
    /// Name of the delegated role.
    pub name: &'static str,
    /// Whether the top-level targets delegate at all, and how often.
    pub delegations: usize,
    /// A delta of one target: its counter, that of its base, and the patch.
    pub delta: Option<(u64, u64, Vec<u8>)>,
}

impl Default for Fleet {
    fn default() -> Self {
        Fleet {
            versions: [1; 5],
            expires: [NOW * 10, NOW * 2, NOW * 3, NOW * 4, NOW * 5],
            keys: [(2, vec![0, 1, 2]), (1, vec![3]), (1, vec![4]), (1, vec![5]), (1, vec![6])],
            issued: NOW - 10,
            counters: vec![3],
            ceilings: [10, 8],
            name: "team",
            delegations: 1,
            delta: None,
        }
    }
}

/// Bytes of an image.
pub const IMAGE: usize = 1000;

/// The image of the target with this counter: every fourth block of 32 bytes is its own, the others are common to all.
pub fn image(counter: u64) -> Vec<u8> {
    let block =
        |number: u64| sha256(&[number.to_be_bytes(), if number % 4 == 1 { counter } else { 0 }.to_be_bytes()].concat());
    let mut image: Vec<u8> = (0..).flat_map(block).take(IMAGE).collect();
    image[..8].copy_from_slice(&counter.to_be_bytes());
    image
}

/// The files of one moment.
#[derive(Clone, Debug)]
pub struct Release {
    /// By role number.
    pub files: [Vec<u8>; 5],
    /// Digests of the delegated targets.
    pub targets: Vec<Hash>,
}

/// Which keys signed which payload.
pub type Log = BTreeMap<Hash, Vec<usize>>;

impl Fleet {
    fn header(&self, role: usize, number: u64) -> Vec<(i128, Value)> {
        vec![
            (1, uint(number)),
            (2, uint(1)),
            (3, bytes(&REPOSITORY)),
            (4, uint(self.versions[role])),
            (5, uint(self.expires[role])),
        ]
    }

    fn root(&self) -> Value {
        let mut numbers: Vec<usize> = self.keys[..4].iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
        numbers.sort_by_key(|number| ALL[*number].public);
        numbers.dedup();
        let roles = self.keys[..4].iter().zip(1..).map(|(role, number)| (number, role_keys(role, &numbers)));
        let mut root = self.header(ROOT, 1);
        root.extend([(6, public_keys(&numbers)), (7, map(roles.collect())), (8, uint(self.ceilings[0]))]);
        map(root)
    }

    fn target(&self, counter: u64) -> Value {
        let digest = sha256(&image(counter));
        let mut payloads = vec![map(vec![(1, uint(0)), (2, uint(IMAGE as u64)), (3, bytes(&digest))])];
        if let Some((_, base, patch)) = self.delta.as_ref().filter(|(of, ..)| *of == counter) {
            let base = array([uint(IMAGE as u64), bytes(&sha256(&image(*base)))]);
            let own = [(1, uint(2)), (2, uint(patch.len() as u64)), (3, bytes(&sha256(patch))), (4, base)];
            payloads.insert(0, map([&own[..], &[(5, uint(24 * 1024)), (6, uint(12))]].concat()));
        }
        map(vec![
            (1, text("product")),
            (2, text("main")),
            (3, array([text("board")])),
            (4, array([uint(1), uint(counter & 0xffff), uint(0)])),
            (5, uint(counter)),
            (7, array([uint(IMAGE as u64), bytes(&digest)])),
            (8, array(payloads)),
        ])
    }

    fn delegated(&self) -> Value {
        let mut targets = self.header(DELEGATED, 4);
        targets.push((6, text(self.name)));
        if !self.counters.is_empty() {
            targets.push((7, array(self.counters.iter().map(|counter| self.target(*counter)))));
        }
        map(targets)
    }

    fn top_level(&self) -> Value {
        let mut targets = self.header(TARGETS, 4);
        if self.delegations > 0 {
            let (_, keys) = &self.keys[DELEGATED];
            let mut numbers = keys.clone();
            numbers.sort_by_key(|number| ALL[*number].public);
            numbers.dedup();
            let delegation = |name: &str| {
                map(vec![
                    (1, text(name)),
                    (2, role_keys(&self.keys[DELEGATED], &numbers)),
                    (3, array([text("product")])),
                    (4, uint(self.ceilings[1])),
                ])
            };
            let mut names = vec![self.name];
            names.extend((1..self.delegations).map(|_| "zz-second"));
            targets.extend([(8, public_keys(&numbers)), (9, array(names.into_iter().map(delegation)))]);
        }
        map(targets)
    }

    fn meta(&self, role: usize, file: &[u8]) -> Value {
        array([uint(self.versions[role]), uint(file.len() as u64), bytes(&sha256(file))])
    }

    /// Signs everything; `sabotage` befalls single files on the way, and what pins them pins the result.
    pub fn release(&self, before: Option<&Fleet>, sabotage: &[Sabotage], log: &mut Log) -> Release {
        let mut signers: [Vec<usize>; 5] = self.keys.each_ref().map(|(_, keys)| keys.clone());
        if let Some(before) = before {
            signers[ROOT].extend(&before.keys[ROOT].1);
        }
        let mut make = |role: usize, value: Value| {
            let mut file = Draft { payload: write(&value), signers: signers[role].clone(), spoil: None };
            sabotage.iter().filter(|sabotage| sabotage.role == role).for_each(|sabotage| file.suffer(*sabotage));
            file.sign(log)
        };
        let root = make(ROOT, self.root());
        let delegated = make(DELEGATED, self.delegated());
        let targets = make(TARGETS, self.top_level());
        let mut pins = self.header(SNAPSHOT, 3);
        pins.push((6, self.meta(TARGETS, &targets)));
        pins.push((7, array([array([text(self.name), self.meta(DELEGATED, &delegated)])])));
        let snapshot = make(SNAPSHOT, map(pins));
        let mut latest = self.header(TIMESTAMP, 2);
        latest.extend([(6, uint(self.issued)), (7, self.meta(SNAPSHOT, &snapshot))]);
        let timestamp = make(TIMESTAMP, map(latest));
        let targets_of = |counter: &u64| sha256(&write(&self.target(*counter)));
        Release {
            files: [root, timestamp, snapshot, targets, delegated],
            targets: self.counters.iter().map(targets_of).collect(),
        }
    }
}

fn public_keys(numbers: &[usize]) -> Value {
    array(numbers.iter().map(|number| map(vec![(1, uint(1)), (-1, uint(6)), (-2, bytes(&ALL[*number].public))])))
}

fn role_keys((threshold, keys): &(u64, Vec<usize>), listed: &[usize]) -> Value {
    let mut indexes: Vec<u64> =
        keys.iter().filter_map(|key| listed.iter().position(|other| other == key)).map(|at| at as u64).collect();
    indexes.sort_unstable();
    indexes.dedup();
    array([uint(*threshold), array(indexes.into_iter().map(uint))])
}

/// A file before it is signed.
struct Draft {
    payload: Vec<u8>,
    signers: Vec<usize>,
    spoil: Option<(u8, u8)>,
}

impl Draft {
    fn suffer(&mut self, Sabotage { kind, choice, .. }: Sabotage) {
        match kind % 6 {
            // Other keys sign.
            0 => self.signers = (0..KEYS).filter(|key| (choice >> (key % 8)) & 1 == 1 && key % 8 != 7).collect(),
            // One signer fewer.
            1 => {
                self.signers.truncate(self.signers.len().saturating_sub(1));
            }
            // The content is changed before it is signed: a stolen key signs anything.
            2 | 3 => {
                if let Some((mut tree, [])) = crate::tree::read(&self.payload) {
                    let mut choices = crate::mutate::Choices::new(u32::from(choice) << 8 | u32::from(kind));
                    crate::mutate::change(&mut tree, &mut choices);
                    self.payload = tree.bytes();
                }
            }
            // The file is changed after it was signed.
            _ => self.spoil = Some((kind, choice)),
        }
    }

    fn sign(mut self, log: &mut Log) -> Vec<u8> {
        self.signers.sort_by_key(|key| ALL[*key].id);
        self.signers.dedup();
        let message = sig_structure(&self.payload);
        let mut signatures: Vec<(Hash, [u8; 64])> =
            self.signers.iter().map(|key| (ALL[*key].id, signature(*key, &message))).collect();
        log.entry(sha256(&self.payload)).or_default().extend(&self.signers);
        if let (Some((kind, choice)), Some((_, first))) = (self.spoil, signatures.first_mut()) {
            match (kind % 6, choice % 8) {
                (_, 0) => first[usize::from(choice) % 64] ^= 1 << (choice % 7),
                (_, 1) => *first = add_l(*first),
                (_, 2) => first[..32].copy_from_slice(&SMALL_ORDER[usize::from(choice) % SMALL_ORDER.len()]),
                (_, 3) => *first = [0; 64],
                (4, _) => {
                    let at = usize::from(choice) * 7 % self.payload.len();
                    self.payload[at] ^= 1;
                }
                (_, _) => self.payload.push(choice),
            }
        }
        let body = array([
            bytes(&[]),
            map(vec![]),
            bytes(&self.payload),
            array(signatures.iter().map(|(id, signature)| {
                array([bytes(&[0xa1, 0x01, 0x27]), map(vec![(4, bytes(id))]), bytes(signature)])
            })),
        ]);
        write(&Value::Tag(98, Box::new(body)))
    }
}

/// The identity, and the point of order 2: R of signatures that some verifiers take.
const SMALL_ORDER: [[u8; 32]; 2] = {
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut order_2 = [0xff; 32];
    (order_2[0], order_2[31]) = (0xec, 0x7f);
    [identity, order_2]
};

/// The same signature with S + L: what a malleable verifier takes for another.
fn add_l(mut signature: [u8; 64]) -> [u8; 64] {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (s, l) in signature[32..].iter_mut().zip(L) {
        let sum = u16::from(*s) + u16::from(l) + carry;
        (*s, carry) = (sum as u8, sum >> 8);
    }
    signature
}
