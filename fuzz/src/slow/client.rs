//! TUF's client workflow with floors that are bound to their signers.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use super::cbor::sequence;
use super::ed25519;
use super::schema::{
    Delegation, File, Hash, Header, Meta, Role, RoleKeys, Target, file, number, role, sha256, sig_structure, thumbprint,
};

/// What is remembered of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Its version.
    pub version: u64,
    /// SHA-256 of its payload.
    pub content: Hash,
    /// Ids of the keys whose signatures counted.
    pub signers: BTreeSet<Hash>,
}

/// What a device keeps besides its root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Floor, latest `issued`, version of the snapshot it named.
    pub timestamp: Option<(Floor, u64, u64)>,
    /// Floor, version of the top-level targets it listed.
    pub snapshot: Option<(Floor, u64)>,
    /// Floor of the top-level targets.
    pub targets: Option<Floor>,
    /// Name and floor of the delegated targets.
    pub delegated: Option<(String, Floor)>,
}

/// A device.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its repository.
    pub repository: [u8; 16],
    /// Product, component.
    pub identity: [String; 2],
    /// Hardware.
    pub hardware: String,
    /// The root file it trusts.
    pub root: Vec<u8>,
    /// Its floors.
    pub state: State,
    /// What its clock says.
    pub clock: Option<u64>,
}

/// What a session ended with: the targets that may be selected.
#[derive(Clone, Debug)]
pub struct Listing {
    ceiling: u64,
    top: Vec<Target>,
    delegated: Option<(Delegation, Vec<Target>)>,
}

struct Root {
    version: u64,
    expires: u64,
    roles: [RoleKeys; 4],
    ceiling: u64,
}

/// Which distinct keys signed, if they reach the threshold.
pub fn signers(file: &File, keys: &RoleKeys) -> Option<BTreeSet<Hash>> {
    let message = sig_structure(&file.payload);
    let mut counted = BTreeSet::new();
    for key in &keys.keys {
        let id = thumbprint(key);
        let holds = |(key_id, signature): &(Hash, [u8; 64])| *key_id == id && remembered(key, &message, signature);
        if file.signatures.iter().any(holds) {
            counted.insert(id);
        }
    }
    (keys.threshold > 0 && counted.len() as u64 >= keys.threshold).then_some(counted)
}

/// The predicate, asked once for each question: scripts deliver the same files again and again.
fn remembered(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    thread_local! {
        static ANSWERS: RefCell<HashMap<Hash, bool>> = RefCell::default();
    }
    let question = sha256(&[&key[..], signature, message].concat());
    ANSWERS.with_borrow_mut(|answers| {
        if answers.len() > 1 << 16 {
            answers.clear();
        }
        *answers.entry(question).or_insert_with(|| ed25519::verify(key, message, signature))
    })
}

/// Whether a threshold can be met by distinct keys at all.
fn sound(keys: &RoleKeys) -> bool {
    let distinct: BTreeSet<_> = keys.keys.iter().collect();
    keys.threshold >= 1 && keys.threshold <= distinct.len() as u64
}

impl Floor {
    fn holds(&self, keys: &RoleKeys) -> bool {
        let still: BTreeSet<_> = keys.keys.iter().map(thumbprint).filter(|id| self.signers.contains(id)).collect();
        keys.threshold > 0 && still.len() as u64 >= keys.threshold
    }

    /// Whether a new version with a new content may follow.
    fn lets(&self, next: &Floor) -> bool {
        next.version > self.version || (next.version == self.version && next.content == self.content)
    }
}

fn root_of(payload: &[u8]) -> Option<(Header, Root)> {
    let (header, Role::Root(roles, ceiling)) = role(payload)? else { return None };
    let good = !header.critical && roles.iter().all(sound);
    let root = Root { version: header.version, expires: header.expires, roles, ceiling };
    good.then_some((header, root))
}

fn pinned(bytes: &[u8], meta: &Meta) -> Option<()> {
    (bytes.len() as u64 == meta.length && sha256(bytes) == meta.digest).then_some(())
}

impl Client {
    /// The time that is known: the clock's, or a signed lower bound.
    fn expired(&self, root: &Root, expires: u64) -> bool {
        let signed = self.state.timestamp.as_ref().filter(|(floor, ..)| floor.holds(&root.roles[1]));
        let now = self.clock.max(signed.map(|(_, issued, _)| *issued));
        now.is_some_and(|now| now >= expires)
    }

    /// Signatures, content, repository, floor, expiry: what every role but root needs.
    fn open(&self, root: &Root, bytes: &[u8], keys: &RoleKeys, floor: Option<&Floor>) -> Option<(Role, Floor)> {
        let file = file(bytes)?;
        let signers = signers(&file, keys)?;
        let (header, role) = role(&file.payload)?;
        let next = Floor { version: header.version, content: sha256(&file.payload), signers };
        let kept = floor.filter(|floor| floor.holds(keys));
        let good = !header.critical
            && header.repository == self.repository
            && kept.is_none_or(|floor| floor.lets(&next))
            && !self.expired(root, header.expires);
        good.then_some((role, next))
    }

    /// Works through a bundle; what is accepted on the way is kept, whatever follows.
    pub fn take(&mut self, bundle: &[u8]) -> Option<Listing> {
        let (header, mut root) = root_of(&file(&self.root)?.payload)?;
        if header.repository != self.repository {
            return None;
        }
        let mut files = sequence(bundle).into_iter().enumerate();
        let mut next = || {
            let (at, bytes) = files.next()?;
            // Every file must be one, even if it would not be looked at.
            let bytes: &[u8] = bytes?;
            (at < 12 && file(bytes).is_some()).then_some(bytes)
        };
        // 5.3
        let mut accepted = 0;
        let timestamp = loop {
            let bytes = next()?;
            let read = file(bytes)?;
            if number(&read.payload)? != 1 {
                break bytes;
            }
            let (header, Role::Root(..)) = role(&read.payload)? else { return None };
            if header.version <= root.version {
                continue;
            }
            signers(&read, &root.roles[0])?;
            let (header, newer) = root_of(&read.payload)?;
            signers(&read, &newer.roles[0])?;
            if header.repository != self.repository
                || root.version.checked_add(1) != Some(newer.version)
                || accepted == 8
            {
                return None;
            }
            accepted += 1;
            root = newer;
            self.root = bytes.to_vec();
        };
        // 5.3.10
        if self.expired(&root, root.expires) {
            return None;
        }
        let snapshot_pin = self.timestamp(&root, timestamp)?;
        // 5.5
        let (targets_pin, delegated_pins) = self.snapshot(&root, next()?, &snapshot_pin)?;
        // 5.6
        let bytes = next()?;
        pinned(bytes, &targets_pin)?;
        let (Role::Targets(None, top, delegations), floor) =
            self.open(&root, bytes, &root.roles[3], self.state.targets.as_ref())?
        else {
            return None;
        };
        let mut mine = delegations.into_iter().filter(|delegation| delegation.products.contains(&self.identity[0]));
        let (delegation, ambiguous) = (mine.next(), mine.next());
        let usable = delegation.as_ref().is_none_or(|delegation| sound(&delegation.keys));
        if floor.version != targets_pin.version || ambiguous.is_some() || !usable {
            return None;
        }
        // 5.5.5 for the delegated role: it may be missing if it was never there.
        if let Some(delegation) = &delegation
            && !delegated_pins.contains_key(&delegation.name)
            && let Some((name, floor)) = &self.state.delegated
            && *name == delegation.name
            && floor.holds(&delegation.keys)
        {
            return None;
        }
        self.state.targets = Some(floor);
        let mut listing = Listing { ceiling: root.ceiling, top, delegated: None };
        if let Some(delegation) = delegation {
            // 5.6.7
            let known = self.state.delegated.as_ref().filter(|(name, _)| *name == delegation.name);
            let Some(pin) = delegated_pins.get(&delegation.name) else {
                // Never listed: no release for this product yet.
                return files.next().is_none().then_some(listing);
            };
            let bytes = next()?;
            pinned(bytes, pin)?;
            let (Role::Targets(Some(name), targets, _), floor) =
                self.open(&root, bytes, &delegation.keys, known.map(|(_, floor)| floor))?
            else {
                return None;
            };
            if name != delegation.name || floor.version != pin.version {
                return None;
            }
            self.state.delegated = Some((name, floor));
            listing.delegated = Some((delegation, targets));
        }
        // Nothing may follow.
        files.next().is_none().then_some(listing)
    }

    fn timestamp(&mut self, root: &Root, bytes: &[u8]) -> Option<Meta> {
        let known = self.state.timestamp.clone();
        let (Role::Timestamp(issued, pin), floor) =
            self.open(root, bytes, &root.roles[1], known.as_ref().map(|(floor, ..)| floor))?
        else {
            return None;
        };
        let (_, Role::Timestamp(..)) = role(&file(bytes)?.payload)? else { return None };
        let (header, _) = role(&file(bytes)?.payload)?;
        if issued >= header.expires {
            return None;
        }
        let bound = known.filter(|(floor, ..)| floor.holds(&root.roles[1]));
        if let (Some((_, _, named)), Some((snapshot, _))) = (&bound, &self.state.snapshot)
            && snapshot.holds(&root.roles[2])
            && pin.version < *named
        {
            return None;
        }
        let issued = bound.map_or(issued, |(_, earlier, _)| earlier.max(issued));
        self.state.timestamp = Some((floor, issued, pin.version));
        Some(pin)
    }

    fn snapshot(
        &mut self,
        root: &Root,
        bytes: &[u8],
        pin: &Meta,
    ) -> Option<(Meta, std::collections::BTreeMap<String, Meta>)> {
        pinned(bytes, pin)?;
        let known = self.state.snapshot.clone();
        let (Role::Snapshot(targets, delegated), floor) =
            self.open(root, bytes, &root.roles[2], known.as_ref().map(|(floor, _)| floor))?
        else {
            return None;
        };
        if floor.version != pin.version {
            return None;
        }
        // 5.5.5, while both the snapshot's and the targets' floor bind.
        let binds = self.state.targets.as_ref().is_none_or(|floor| floor.holds(&root.roles[3]));
        if let Some((kept, listed)) = &known
            && kept.holds(&root.roles[2])
            && binds
            && targets.version < *listed
        {
            return None;
        }
        self.state.snapshot = Some((floor, targets.version));
        Some((targets, delegated))
    }
}

impl Client {
    /// Whether a target may be installed.
    pub fn select(&self, listing: &Listing, digest: &Hash, counter: u64, installed: Option<[u64; 3]>) -> bool {
        let find = |targets: &[Target]| targets.iter().find(|target| target.digest == *digest).cloned();
        let (target, ceiling, products) = match (find(&listing.top), &listing.delegated) {
            (Some(target), _) => (target, listing.ceiling, None),
            (None, Some((delegation, targets))) => match find(targets) {
                Some(target) => (target, listing.ceiling.min(delegation.ceiling), Some(&delegation.products)),
                None => return false,
            },
            (None, None) => return false,
        };
        products.is_none_or(|products| products.contains(&target.identity[0]))
            && !target.critical
            && target.identity == self.identity
            && target.hardware.contains(&self.hardware)
            && (counter..=ceiling).contains(&target.counter)
            && target.minimum.is_none_or(|minimum| installed.is_some_and(|installed| installed >= minimum))
    }
}
