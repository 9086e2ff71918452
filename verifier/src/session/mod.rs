//! One update session of a device: it says which file it needs next, takes files as they come (one by one, or a bundle),
//! hands out what is to be persisted, and at its end selects the target that a job named.
//!
//! ```text
//! let mut session = Session::new(identity, root, state, time, policy)?;
//! loop {
//!     match session.next() {
//!         None => break,
//!         Some(fetch) => match download(fetch) {                  // names, exact or greatest lengths
//!             Some(file) => persist(session.supply(file)?),       // a root, or the floors: before going on
//!             None => session.no_newer_root()?,                   // 404 for the next root: this one is the last
//!         },
//!     }
//! }
//! let approved = session.select(&digest, &device)?;               // identity, counters, bridge release
//! ```
//!
//! The session borrows the files it was given, so a verified role is never copied. Floors are held role by role; what a
//! refused file said is never remembered.

mod fetch;
mod floors;
mod select;
pub mod slot_record;

use sealift_manifests::bounds::MAX_BUNDLE_ROOTS;
use sealift_manifests::{Delegation, Envelope, Meta, RepositoryId, Role, Root, Snapshot, Targets, Timestamp, bundle};

use crate::cose::{CoseFile, ListedKeys};
use crate::error::Error;
use crate::trust::format::RootFacts;
use crate::trust::{Policy, Signers, Time, Verified, check_authority};

pub use fetch::Fetch;
pub use floors::{DelegatedFloor, SnapshotFloor, TRUST_RECORD_MAX, TimestampFloor, TrustState};
pub use select::{Approved, DeviceFacts, Freshness};

type Trusted<R> = Verified<R, Signers>;

/// What a device is: provisioned at the factory, never changed by an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The only repository it listens to.
    pub repository: RepositoryId,
    /// Its product id.
    pub product: &'a str,
    /// The component that this verifier updates.
    pub component: &'a str,
    /// Its hardware id.
    pub hardware: &'a str,
}

/// What to persist, in one atomic write, before the session goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record<'s> {
    /// The root file that is trusted from now on.
    Root(&'s [u8]),
    /// The floors: [`TrustState::encode`] writes them.
    Trust(&'s TrustState),
}

/// An update session. See the module's text for its use.
#[derive(Clone, Debug)]
pub struct Session<'b> {
    identity: Identity<'b>,
    policy: Policy,
    time: Time,
    state: TrustState,
    root: Trusted<Root<'b>>,
    roots_accepted: usize,
    stage: Stage<'b>,
}

/// How far the workflow has come; each stage holds what vouches for the next.
#[derive(Clone, Copy, Debug)]
enum Stage<'b> {
    Roots,
    Timestamp,
    Snapshot(Trusted<Timestamp<'b>>),
    Targets(Trusted<Snapshot<'b>>),
    Delegated { snapshot: Trusted<Snapshot<'b>>, targets: Listed<'b>, delegation: Delegation<'b> },
    Done(Listing<'b>),
}

/// The verified targets files that may name an image for this device.
#[derive(Clone, Copy, Debug)]
struct Listing<'b> {
    targets: Listed<'b>,
    delegated: Option<(Delegation<'b>, Listed<'b>)>,
}

#[derive(Clone, Copy, Debug)]
struct Listed<'b> {
    role: Trusted<Targets<'b>>,
    file: &'b [u8],
}

impl<'b> Session<'b> {
    /// Starts a session from what the device keeps: its identity, the root it trusts and its floors. `time` is what a
    /// clock says, if there is one; a signed lower bound from the floors is added to it.
    pub fn new(
        identity: Identity<'b>,
        root: &'b [u8],
        state: TrustState,
        time: Time,
        policy: Policy,
    ) -> Result<Self, Error> {
        let root: Trusted<Root<'b>> = Verified::stored_root(&CoseFile::new(root)?, &policy)?;
        if root.content().header.repository != identity.repository {
            return Err(Error::WrongRepository(Role::Root));
        }
        Ok(Session { identity, policy, time, state, root, roots_accepted: 0, stage: Stage::Roots })
    }

    /// The floors as they stand now.
    pub fn state(&self) -> &TrustState {
        &self.state
    }

    /// Version of the root that is trusted now.
    pub fn root_version(&self) -> u64 {
        self.root.content().header.version
    }

    /// The next file, or `None` when a target can be selected.
    pub fn next(&self) -> Option<Fetch> {
        match &self.stage {
            Stage::Roots => self.root_version().checked_add(1).map(Fetch::root),
            Stage::Timestamp => Some(Fetch::timestamp()),
            Stage::Snapshot(timestamp) => Some(Fetch::pinned(Role::Snapshot, &timestamp.content().snapshot)),
            Stage::Targets(snapshot) => Some(Fetch::pinned(Role::Targets, &snapshot.content().targets)),
            Stage::Delegated { snapshot, delegation, .. } => {
                snapshot.content().delegated(delegation.name).map(|meta| Fetch::pinned(Role::Targets, &meta))
            }
            Stage::Done(_) => None,
        }
    }

    /// There is no newer root: the one that is trusted now is the last.
    pub fn no_newer_root(&mut self) -> Result<(), Error> {
        match self.stage {
            Stage::Roots => {
                // 5.3.10
                self.root.check_expiry(self.time())?;
                self.stage = Stage::Timestamp;
                Ok(())
            }
            _ => Err(Error::OutOfOrder(Role::Root)),
        }
    }

    /// Takes the next file. Persist the record before going on. After an error the session stands where it stood.
    pub fn supply(&mut self, file: &'b [u8]) -> Result<Record<'_>, Error> {
        match self.stage {
            Stage::Roots => self.accept_root(file),
            Stage::Timestamp => self.accept_timestamp(file),
            Stage::Snapshot(timestamp) => self.accept_snapshot(&timestamp, file),
            Stage::Targets(snapshot) => self.accept_targets(snapshot, file),
            Stage::Delegated { snapshot, targets, delegation } => {
                self.accept_delegated(&snapshot, targets, &delegation, file)
            }
            Stage::Done(_) => Err(Error::OutOfOrder(Role::Targets)),
        }
    }

    /// Takes a whole bundle and passes each record to `persist` as it falls due. Roots that the device has already are
    /// passed over.
    pub fn supply_bundle(
        &mut self,
        bundle: &'b [u8],
        mut persist: impl FnMut(Record<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for file in bundle::files(bundle) {
            let file = file.map_err(|error| Error::Malformed(self.role(), error))?;
            if matches!(self.stage, Stage::Roots) {
                match peek(file)? {
                    (Role::Root, version) if version <= self.root_version() => continue,
                    (Role::Root, _) => {}
                    _ => self.no_newer_root()?,
                }
            }
            persist(self.supply(file)?)?;
        }
        if matches!(self.stage, Stage::Done(_)) { Ok(()) } else { Err(Error::OutOfOrder(self.role())) }
    }

    /// The role whose file is next.
    fn role(&self) -> Role {
        self.next().map_or(Role::Targets, |fetch| fetch.role)
    }

    /// The time, and the signed lower bound that earlier sessions left while its signers still speak.
    fn time(&self) -> Time {
        match &self.state.timestamp {
            Some(known) if known.floor.holds(&self.authority(Role::Timestamp)) => {
                self.time.or_later(Time::AtLeast(known.issued))
            }
            _ => self.time,
        }
    }

    /// Keys and threshold of a top-level role under the trusted root.
    fn authority(&self, role: Role) -> ListedKeys<'b> {
        self.root.content().authority(role)
    }

    #[inline(never)] // stack: one step's at a time
    fn accept_root(&mut self, file: &'b [u8]) -> Result<Record<'_>, Error> {
        if self.roots_accepted >= MAX_BUNDLE_ROOTS {
            return Err(Error::TooManyRoots);
        }
        self.root = self.root.next_root(&CoseFile::new(file)?, &self.policy)?;
        self.roots_accepted += 1;
        Ok(Record::Root(file))
    }

    #[inline(never)] // stack: one step's at a time
    fn accept_timestamp(&mut self, file: &'b [u8]) -> Result<Record<'_>, Error> {
        let known = self.state.timestamp.as_ref();
        let named = known.zip(self.state.snapshot.as_ref()).map(|(t, s)| (t.snapshot_version, &s.floor));
        let timestamp: Trusted<Timestamp<'b>> =
            self.root.timestamp(&CoseFile::new(file)?, known.map(|known| &known.floor), named, self.time())?;
        let content = timestamp.content();
        // Signed at or after its own expiry: it was never valid.
        timestamp.check_expiry(Time::AtLeast(content.issued))?;
        // The signed bound only rises while the keys that gave it still speak, and falls with them.
        let kept = known.filter(|known| known.floor.holds(&self.authority(Role::Timestamp)));
        self.state.timestamp = Some(TimestampFloor {
            floor: timestamp.floor(),
            issued: kept.map_or(0, |known| known.issued).max(content.issued),
            snapshot_version: content.snapshot.version,
        });
        self.stage = Stage::Snapshot(timestamp);
        Ok(Record::Trust(&self.state))
    }

    #[inline(never)] // stack: one step's at a time
    fn accept_snapshot(&mut self, timestamp: &Trusted<Timestamp<'b>>, file: &'b [u8]) -> Result<Record<'_>, Error> {
        check_length(file, Some(timestamp.content().snapshot), Role::Snapshot)?;
        let known = self.state.snapshot.as_ref();
        // The version listed for a targets role falls with that role's own floor.
        let fell = self.state.targets.as_ref().is_some_and(|floor| !floor.holds(&self.authority(Role::Targets)));
        let prior = known.filter(|_| !fell).map(|known| (None, known.targets_version));
        let snapshot: Trusted<Snapshot<'b>> = self.root.snapshot(
            timestamp,
            &CoseFile::new(file)?,
            known.map(|known| &known.floor),
            prior,
            self.time(),
        )?;
        self.state.snapshot =
            Some(SnapshotFloor { floor: snapshot.floor(), targets_version: snapshot.content().targets.version });
        self.stage = Stage::Targets(snapshot);
        Ok(Record::Trust(&self.state))
    }

    #[inline(never)] // stack: one step's at a time
    fn accept_targets(&mut self, snapshot: Trusted<Snapshot<'b>>, file: &'b [u8]) -> Result<Record<'_>, Error> {
        check_length(file, Some(snapshot.content().targets), Role::Targets)?;
        let targets: Trusted<Targets<'b>> =
            self.root.targets(&snapshot, &CoseFile::new(file)?, self.state.targets.as_ref(), self.time())?;
        let mut delegations = targets.content().delegations_of(self.identity.product);
        let delegation = delegations.next();
        if delegations.next().is_some() {
            return Err(Error::AmbiguousDelegation);
        }
        let floor = targets.floor();
        let targets = Listed { role: targets, file };
        self.stage = match delegation {
            None => Stage::Done(Listing { targets, delegated: None }),
            Some(delegation) => {
                let authority = targets.authority(&delegation);
                check_authority::<_, Signers>(&authority, Role::Targets, &self.policy)?;
                let known = self.state.delegated.as_ref().and_then(|known| known.of(delegation.name));
                match snapshot.content().delegated(delegation.name) {
                    Some(_) => Stage::Delegated { snapshot, targets, delegation },
                    // 5.5.5 for the delegated role: what was listed once is not taken away.
                    None if known.is_some_and(|floor| floor.holds(&authority)) => return Err(Error::NotInSnapshot),
                    // Nothing was ever released for this product.
                    None => Stage::Done(Listing { targets, delegated: None }),
                }
            }
        };
        self.state.targets = Some(floor);
        Ok(Record::Trust(&self.state))
    }

    #[inline(never)] // stack: one step's at a time
    fn accept_delegated(
        &mut self,
        snapshot: &Trusted<Snapshot<'b>>,
        targets: Listed<'b>,
        delegation: &Delegation<'b>,
        file: &'b [u8],
    ) -> Result<Record<'_>, Error> {
        check_length(file, snapshot.content().delegated(delegation.name), Role::Targets)?;
        let floor = self.state.delegated.as_ref().and_then(|known| known.of(delegation.name));
        let role: Trusted<Targets<'b>> = self.root.delegated(
            snapshot,
            &targets.authority(delegation),
            Some(delegation.name),
            &CoseFile::new(file)?,
            floor,
            self.time(),
        )?;
        self.state.delegated = Some(DelegatedFloor::new(delegation.name, role.floor())?);
        self.stage = Stage::Done(Listing { targets, delegated: Some((*delegation, Listed { role, file })) });
        Ok(Record::Trust(&self.state))
    }
}

impl<'b> Listed<'b> {
    /// The keys of a delegation that this file makes.
    fn authority(&self, delegation: &Delegation<'b>) -> ListedKeys<'b> {
        ListedKeys::of_delegation(self.role.content(), delegation)
    }
}

/// Refuses a file of another length than the pinned one before anything in it is read. The pin as a whole, hash included, is
/// checked with the signatures.
fn check_length(file: &[u8], pin: Option<Meta>, role: Role) -> Result<(), Error> {
    match pin {
        Some(pin) if u32::try_from(file.len()) != Ok(pin.length) => Err(Error::LengthMismatch(role)),
        _ => Ok(()),
    }
}

/// Role and version that a file says it has, to route it: nothing is trusted for it.
fn peek(file: &[u8]) -> Result<(Role, u64), Error> {
    let malformed = |error| Error::Malformed(Role::Root, error);
    let payload = Envelope::decode(file).map_err(malformed)?.payload;
    match Role::peek(payload).map_err(malformed)? {
        Role::Root => Ok((Role::Root, Root::decode(payload).map_err(malformed)?.header.version)),
        role => Ok((role, 0)),
    }
}
