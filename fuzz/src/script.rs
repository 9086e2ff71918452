//! The trust machine under a sequence of operations: releases, rotations, forgeries, deliveries in any order, clocks that jump,
//! reboots. The verifier and the slow one go through it side by side, and the invariants are checked after each step.
//!
//! The input is a script of bytes, one operation after the other, so that seeds can be written by hand (README.md lists them):
//!
//! | byte | operation | bytes that follow |
//! |---|---|---|
//! | 0 | release: roles of the mask get a new version, everything is signed | mask (bit n: role n) |
//! | 1 | rotate: a role gets other keys; root is signed by old and new | role, key mask, threshold |
//! | 2 | sabotage: the next release has one file spoilt | role, kind, choice |
//! | 3 | deliver: a bundle goes to the device | release, mask of files left out, order |
//! | 4 | clock: absent, or anywhere | how, argument |
//! | 5 | reboot: the device keeps its records alone | |
//! | 6 | policy of the signer: expiries, counters, ceilings, delegations | what, argument |
//! | 7 | jump: a role's version goes to an edge | role, which |

use std::collections::BTreeSet;

use sealift_manifests::{Digest, Envelope, PublicKey, RepositoryId, Role, Root, Version};
use sealift_verifier::Error;
use sealift_verifier::session::{DeviceFacts, Identity, Record, Session, TRUST_RECORD_MAX, TrustState};
use sealift_verifier::trust::{Floor, Policy, SignerSet as _, Time};

use crate::fleet::{DELEGATED, Fleet, KEYS, Log, NOW, REPOSITORY, ROOT, Release, Sabotage, TARGETS, number_of};
use crate::slow;

const MAX_STEPS: usize = 24;
const MAX_RELEASES: usize = 10;
const COUNTER: u64 = 2;

const IDENTITY: Identity<'static> =
    Identity { repository: RepositoryId(REPOSITORY), product: "product", component: "main", hardware: "board" };

/// The bytes of a script, read one by one; 0 after the end.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }
    fn below(&mut self, below: usize) -> usize {
        usize::from(self.next()) % below
    }
    fn number(&mut self) -> u64 {
        let [how, argument] = [self.next(), self.next()].map(u64::from);
        match how % 6 {
            0 => argument,
            1 => NOW + argument,
            2 => NOW * argument / 16,
            3 => u64::MAX - argument,
            4 => u64::from(u32::MAX) + argument,
            _ => 1 << (argument % 64),
        }
    }
}

/// What a device keeps, and how far it got.
struct World {
    fleet: Fleet,
    before: Option<Fleet>,
    releases: Vec<Release>,
    roots: Vec<Vec<u8>>,
    sabotage: Vec<Sabotage>,
    log: Log,
    root: Vec<u8>,
    state: TrustState,
    time: Time,
    slow: slow::client::Client,
}

/// How a script ended, for tests of the harness itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bundles that were accepted to their end.
    pub accepted: usize,
    /// Bundles that were refused.
    pub refused: usize,
    /// Targets that were approved.
    pub approved: usize,
}

/// Runs a script.
pub fn run(bytes: &[u8]) -> Tally {
    let mut script = Script(bytes);
    let mut log = Log::new();
    let fleet = Fleet::default();
    let first = fleet.release(None, &[], &mut log);
    let root = first.files[ROOT].clone();
    let mut world = World {
        slow: slow::client::Client {
            repository: REPOSITORY,
            identity: ["product".into(), "main".into()],
            hardware: "board".into(),
            root: root.clone(),
            state: slow::client::State::default(),
            clock: Some(NOW),
        },
        before: None,
        roots: vec![root.clone()],
        releases: vec![first],
        sabotage: vec![],
        log,
        root,
        state: TrustState::default(),
        time: Time::AtLeast(NOW),
        fleet,
    };
    let mut tally = Tally::default();
    for _ in 0..MAX_STEPS {
        if script.0.is_empty() {
            break;
        }
        world.step(&mut script, &mut tally);
    }
    tally
}

impl World {
    fn step(&mut self, script: &mut Script<'_>, tally: &mut Tally) {
        match script.next() % 8 {
            0 => self.release(script.next()),
            1 => self.rotate(script.below(5), script.next(), script.next()),
            2 => {
                let sabotage = Sabotage { role: script.below(5), kind: script.next(), choice: script.next() };
                self.sabotage.push(sabotage);
            }
            3 => {
                let (which, left_out, order) = (script.next(), script.next(), script.next());
                self.deliver(which, left_out, order, tally);
            }
            4 => {
                let known = !script.next().is_multiple_of(4);
                let at = script.number();
                self.time = if known { Time::AtLeast(at) } else { Time::Unknown };
                self.slow.clock = known.then_some(at);
            }
            5 => self.reboot(),
            6 => self.policy(script),
            _ => {
                let role = script.below(5);
                self.fleet.versions[role] = script.number().max(1);
            }
        }
    }

    fn release(&mut self, mask: u8) {
        if self.releases.len() >= MAX_RELEASES {
            return;
        }
        for role in 0..5 {
            if mask >> role & 1 == 1 {
                self.fleet.versions[role] = self.fleet.versions[role].saturating_add(1);
            }
        }
        let sabotage = std::mem::take(&mut self.sabotage);
        let release = self.fleet.release(self.before.as_ref(), &sabotage, &mut self.log);
        self.roots.push(release.files[ROOT].clone());
        self.releases.push(release);
        self.before = Some(self.fleet.clone());
    }

    fn rotate(&mut self, role: usize, mask: u8, threshold: u8) {
        let first = usize::from(mask >> 4);
        let mut keys: Vec<usize> = (0..4).filter(|at| mask >> at & 1 == 1).map(|at| (first + at) % KEYS).collect();
        if keys.is_empty() {
            keys.push(first);
        }
        self.before = Some(self.fleet.clone());
        self.fleet.keys[role] = (u64::from(threshold % 4), keys);
        // Root says who signs the top-level roles, the top-level targets who signs the delegated ones.
        let teller = if role == DELEGATED { TARGETS } else { ROOT };
        self.fleet.versions[teller] = self.fleet.versions[teller].saturating_add(1);
    }

    fn policy(&mut self, script: &mut Script<'_>) {
        match script.below(7) {
            role @ 0..5 => self.fleet.expires[role] = script.number(),
            5 => match script.below(4) {
                0 => self.fleet.counters = (0..script.below(3)).map(|_| u64::from(script.next())).collect(),
                1 => self.fleet.ceilings = [script.next(), script.next()].map(u64::from),
                2 => self.fleet.delegations = script.below(3),
                _ => self.fleet.name = ["team", "other"][script.below(2)],
            },
            _ => self.fleet.issued = script.number(),
        }
    }

    /// A bundle of a release: the roots up to it, then its files, with some left out and in another order.
    fn bundle(&self, which: usize, left_out: u8, order: u8) -> Vec<u8> {
        let release = &self.releases[which];
        let mut files: Vec<&[u8]> = Vec::new();
        if left_out & 0x80 == 0 {
            files.extend(self.roots[1..=which].iter().map(Vec::as_slice));
        }
        files.extend((1..5).filter(|role| left_out >> role & 1 == 0).map(|role| release.files[role].as_slice()));
        if order != 0 && !files.is_empty() {
            let (a, b) = (usize::from(order >> 4) % files.len(), usize::from(order & 15) % files.len());
            files.swap(a, b);
        }
        if left_out & 0x40 != 0 {
            files.push(files.last().copied().unwrap_or(&[]));
        }
        files.concat()
    }

    fn deliver(&mut self, which: u8, left_out: u8, order: u8, tally: &mut Tally) {
        let which = usize::from(which) % self.releases.len();
        let bundle = self.bundle(which, left_out, order);
        let targets = self.releases[which].targets.clone();
        let before = (self.root.clone(), self.state);
        let listing = self.slow.take(&bundle);

        let mut session = Session::new(IDENTITY, &before.0, before.1, self.time, Policy::production())
            .expect("what was accepted as a root can be started from");
        let (mut roots, mut state) = (vec![before.0.clone()], None);
        let outcome = session.supply_bundle(&bundle, |record| {
            match record {
                Record::Root(file) => roots.push(file.to_vec()),
                Record::Trust(floors) => state = Some(*floors),
            }
            Ok(())
        });
        let facts = DeviceFacts { security_counter: COUNTER, installed: Some(Version([1, 0, 0])) };
        if listing.is_some() != outcome.is_ok() {
            panic!("the verifier says {outcome:?}, the slow one {listing:?}");
        }
        // After a refusal nobody selects; a session that had its files before a superfluous one would still answer.
        for digest in targets.iter().filter(|_| outcome.is_ok()) {
            let approved = session.select(&Digest(*digest), &facts);
            let expected =
                listing.as_ref().is_some_and(|listing| self.slow.select(listing, digest, COUNTER, Some([1, 0, 0])));
            assert_eq!(approved.is_ok(), expected, "select: {:?}", approved.err());
            if let Ok(approved) = approved {
                let target = approved.target();
                assert!(target.security_counter >= COUNTER);
                assert_eq!((target.product, target.component), ("product", "main"));
                tally.approved += 1;
            }
        }
        if let Err(error) = outcome {
            assert_ne!(error.code(), 0);
            assert!(matches!(error, Error::Malformed(..)) || (200..600).contains(&error.code()), "{error}");
            tally.refused += 1;
        } else {
            tally.accepted += 1;
        }
        let floors = *session.state();
        assert_eq!(state.unwrap_or(before.1), floors, "the last record is what the session holds");
        // Each root by the keys of the one before it, and by its own.
        for pair in roots.windows(2) {
            self.check_signed(&pair[1], &[&pair[0], &pair[1]]);
        }
        self.root = roots.pop().unwrap_or_default();
        self.state = floors;
        self.check_floors(&before.0, &before.1);
        self.check_agreement();
    }

    /// An accepted root was signed by enough of the keys that each of `roots` asks for.
    fn check_signed(&self, accepted: &[u8], roots: &[&[u8]]) {
        let payload = Envelope::decode(accepted).expect("accepted").payload;
        for root in roots {
            let said = Root::decode(Envelope::decode(root).expect("a root").payload).expect("a root");
            self.check_logged(
                &slow::schema::sha256(payload),
                said.role(Role::Root).resolve(said.keys),
                said.roles[0].threshold,
            );
        }
    }

    /// The log has enough signatures by these keys over this payload.
    fn check_logged(&self, payload: &slow::schema::Hash, keys: impl Iterator<Item = PublicKey>, threshold: u64) {
        let allowed: BTreeSet<usize> = keys.filter_map(|key| number_of(&key.id().0)).collect();
        let signed: BTreeSet<usize> = self.log.get(payload).into_iter().flatten().copied().collect();
        let count = allowed.intersection(&signed).count() as u64;
        assert!(threshold > 0 && count >= threshold, "accepted with {count} of {threshold} signatures ever made");
    }

    /// No floor fell while its signers still spoke for the role, and what set it was signed by them.
    fn check_floors(&self, old_root: &[u8], old: &TrustState) {
        let version =
            |file: &[u8]| Root::decode(Envelope::decode(file).expect("a root").payload).expect("a root").header.version;
        assert!(version(&self.root) >= version(old_root), "the root fell");
        let root = Root::decode(Envelope::decode(&self.root).expect("a root").payload).expect("a root");
        let floors = |state: &TrustState| {
            [
                (Role::Timestamp, state.timestamp.map(|known| known.floor)),
                (Role::Snapshot, state.snapshot.map(|known| known.floor)),
                (Role::Targets, state.targets),
            ]
        };
        for ((role, old), (_, new)) in floors(old).into_iter().zip(floors(&self.state)) {
            let keys = root.role(role);
            let speaks = |floor: &Floor| {
                let still = keys.resolve(root.keys).filter(|key| floor.signers.contains(&key.id())).count() as u64;
                keys.threshold > 0 && still >= keys.threshold
            };
            match (old, new) {
                (Some(old), Some(new)) if speaks(&old) => {
                    assert!(new.version >= old.version, "{role}: the floor fell");
                    assert!(new.version > old.version || new.content == old.content, "{role}: two contents");
                }
                (Some(_), None) => panic!("{role}: a floor was forgotten"),
                _ => {}
            }
            if let Some(new) = new.filter(|new| old != Some(*new)) {
                self.check_logged(&new.content.0, keys.resolve(root.keys), keys.threshold);
            }
        }
    }

    /// The verifier and the slow one keep the same.
    fn check_agreement(&self) {
        assert_eq!(self.root, self.slow.root);
        let floor = |floor: &Floor| slow::client::Floor {
            version: floor.version,
            content: floor.content.0,
            signers: floor.signers.iter().map(|signer| signer.0).collect(),
        };
        let slow = &self.slow.state;
        assert_eq!(
            self.state.timestamp.map(|known| (floor(&known.floor), known.issued, known.snapshot_version)),
            slow.timestamp
        );
        assert_eq!(self.state.snapshot.map(|known| (floor(&known.floor), known.targets_version)), slow.snapshot);
        assert_eq!(self.state.targets.as_ref().map(floor), slow.targets);
        match (&self.state.delegated, &slow.delegated) {
            (None, None) => {}
            (Some(strict), Some((name, expected))) => assert_eq!(strict.of(name).map(floor).as_ref(), Some(expected)),
            (strict, slow) => panic!("strict {strict:?}, slow {slow:?}"),
        }
    }

    /// Through the records, as a device keeps them. A damaged record is refused.
    fn reboot(&mut self) {
        let mut record = [0; TRUST_RECORD_MAX];
        let length = self.state.encode(&mut record).expect("a record fits its bound");
        assert_eq!(TrustState::decode(&record[..length]), Ok(self.state));
        record[length / 2] ^= 0x10;
        assert_eq!(TrustState::decode(&record[..length]), Err(Error::StateCorrupt));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_honest_release_is_accepted_and_its_target_approved() {
        assert_eq!(run(&[3, 0, 0, 0]), Tally { accepted: 1, refused: 0, approved: 1 });
        assert_eq!(run(&[0, 0x1e, 3, 1, 0, 0]), Tally { accepted: 1, refused: 0, approved: 1 });
    }

    #[test]
    fn an_older_release_is_refused_after_a_newer_one() {
        assert_eq!(run(&[0, 0x1e, 3, 1, 0, 0, 5, 3, 0, 0, 0]), Tally { accepted: 1, refused: 1, approved: 1 });
    }

    #[test]
    fn a_rotated_root_is_accepted_and_a_spoilt_file_is_not() {
        let rotate = [1, 1, 0x91, 1, 0, 0x1e];
        assert_eq!(run(&[&rotate[..], &[3, 1, 0, 0]].concat()), Tally { accepted: 1, refused: 0, approved: 1 });
        for role in 1..5 {
            let spoilt = [&[2, role, 4, 8][..], &rotate, &[3, 1, 0, 0]].concat();
            assert_eq!(run(&spoilt).refused, 1, "role {role}");
        }
    }
}
