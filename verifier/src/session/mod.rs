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

use crate::certain::{pass, possibly, require, surely};
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
    stage: Stage,
    /// What was accepted in this session: each stands from its own stage on, and is never moved again.
    timestamp: Option<Trusted<Timestamp<'b>>>,
    snapshot: Option<Trusted<Snapshot<'b>>>,
    targets: Option<Listed<'b>>,
    /// Of the device's product, if the top-level targets delegate it.
    delegation: Option<Delegation<'b>>,
    delegated: Option<Listed<'b>>,
}

/// Which file is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Roots,
    Timestamp,
    Snapshot,
    Targets,
    Delegated,
    Done,
}

/// A verified targets file, which may name an image for this device.
#[derive(Clone, Copy, Debug)]
struct Listed<'b> {
    role: Trusted<Targets<'b>>,
    file: &'b [u8],
}

impl<'b> Session<'b> {
    /// Starts a session from what the device keeps: its identity, the root it trusts and its floors. `time` is what a
    /// clock says, if there is one; a signed lower bound from the floors is added to it.
    #[inline(never)]
    pub fn new(
        identity: Identity<'b>,
        root: &'b [u8],
        state: TrustState,
        time: Time,
        policy: Policy,
    ) -> Result<Self, Error> {
        let root: Trusted<Root<'b>> = Verified::stored_root(&CoseFile::new(root)?, &policy)?;
        require!(root.content().header.repository == identity.repository, Error::WrongRepository(Role::Root));
        Ok(Session {
            identity,
            policy,
            time,
            state,
            root,
            roots_accepted: 0,
            stage: Stage::Roots,
            timestamp: None,
            snapshot: None,
            targets: None,
            delegation: None,
            delegated: None,
        })
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
        let pinned = match self.stage {
            Stage::Roots => return self.root_version().checked_add(1).map(Fetch::root),
            Stage::Timestamp => return Some(Fetch::timestamp()),
            Stage::Done => return None,
            Stage::Snapshot | Stage::Targets | Stage::Delegated => self.pin()?,
        };
        let role = if self.stage == Stage::Snapshot { Role::Snapshot } else { Role::Targets };
        Some(Fetch::pinned(role, &pinned))
    }

    /// What pins the next file, if anything does.
    fn pin(&self) -> Option<Meta> {
        match self.stage {
            Stage::Snapshot => Some(self.timestamp.as_ref()?.content().snapshot),
            Stage::Targets => Some(self.snapshot.as_ref()?.content().targets),
            Stage::Delegated => self.snapshot.as_ref()?.content().delegated(self.delegation.as_ref()?.name),
            Stage::Roots | Stage::Timestamp | Stage::Done => None,
        }
    }

    /// There is no newer root: the one that is trusted now is the last.
    pub fn no_newer_root(&mut self) -> Result<(), Error> {
        if self.stage != Stage::Roots {
            return Err(Error::OutOfOrder(Role::Root));
        }
        // 5.3.10
        pass!(self.root.check_expiry(self.time()));
        self.stage = Stage::Timestamp;
        Ok(())
    }

    /// Takes the next file. Persist the record before going on. After an error the session stands where it stood.
    pub fn supply(&mut self, file: &'b [u8]) -> Result<Record<'_>, Error> {
        if let Some(pin) = self.pin() {
            // A file of another length than the pinned one is refused before anything in it is read. The pin as a whole, hash
            // included, is checked with the signatures.
            require!(u32::try_from(file.len()) == Ok(pin.length), Error::LengthMismatch(self.role()));
        }
        match self.stage {
            Stage::Roots => {
                pass!(self.accept_root(file));
                return Ok(Record::Root(file));
            }
            Stage::Timestamp => pass!(self.accept_timestamp(file)),
            Stage::Snapshot => pass!(self.accept_snapshot(file)),
            Stage::Targets => pass!(self.accept_targets(file)),
            Stage::Delegated => pass!(self.accept_delegated(file)),
            Stage::Done => return Err(Error::OutOfOrder(Role::Targets)),
        }
        Ok(Record::Trust(&self.state))
    }

    /// Takes a whole bundle and passes each record to `persist` as it falls due. Roots that the device has already are
    /// passed over.
    #[inline(never)]
    pub fn supply_bundle(
        &mut self,
        bundle: &'b [u8],
        mut persist: impl FnMut(Record<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for file in bundle::files(bundle) {
            let file = file.map_err(|error| Error::malformed(self.role(), error))?;
            if self.stage == Stage::Roots {
                match peek(file)? {
                    (Role::Root, version) if version <= self.root_version() => continue,
                    (Role::Root, _) => {}
                    _ => self.no_newer_root()?,
                }
            }
            persist(self.supply(file)?)?;
        }
        require!(self.stage == Stage::Done, Error::OutOfOrder(self.role()));
        Ok(())
    }

    /// The role whose file is next.
    fn role(&self) -> Role {
        self.next().map_or(Role::Targets, |fetch| fetch.role)
    }

    /// The time, and the signed lower bound that earlier sessions left while its signers still speak.
    fn time(&self) -> Time {
        match &self.state.timestamp {
            Some(known) if possibly(known.floor.holds(&self.authority(Role::Timestamp))) => {
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
    fn accept_root(&mut self, file: &'b [u8]) -> Result<(), Error> {
        if self.roots_accepted >= MAX_BUNDLE_ROOTS {
            return Err(Error::TooManyRoots);
        }
        self.root = self.root.next_root(&CoseFile::new(file)?, &self.policy)?;
        self.roots_accepted += 1;
        Ok(())
    }

    #[inline(never)] // stack: one step's at a time
    fn accept_timestamp(&mut self, file: &'b [u8]) -> Result<(), Error> {
        let known = self.state.timestamp.as_ref();
        let named = known.zip(self.state.snapshot.as_ref()).map(|(t, s)| (t.snapshot_version, &s.floor));
        let timestamp: Trusted<Timestamp<'b>> =
            self.root.timestamp(&CoseFile::new(file)?, known.map(|known| &known.floor), named, self.time())?;
        let content = timestamp.content();
        // Signed at or after its own expiry: it was never valid.
        pass!(timestamp.check_expiry(Time::AtLeast(content.issued)));
        // The signed bound only rises while the keys that gave it still speak, and falls with them.
        let kept = known.filter(|known| possibly(known.floor.holds(&self.authority(Role::Timestamp))));
        self.state.timestamp = Some(TimestampFloor {
            floor: timestamp.floor(),
            issued: kept.map_or(0, |known| known.issued).max(content.issued),
            snapshot_version: content.snapshot.version,
        });
        self.timestamp = Some(timestamp);
        self.stage = Stage::Snapshot;
        Ok(())
    }

    #[inline(never)] // stack: one step's at a time
    fn accept_snapshot(&mut self, file: &'b [u8]) -> Result<(), Error> {
        let timestamp = self.timestamp.as_ref().ok_or(Error::OutOfOrder(Role::Timestamp))?;
        let known = self.state.snapshot.as_ref();
        // The version listed for a targets role falls with that role's own floor.
        let fell =
            surely(self.state.targets.as_ref().is_some_and(|floor| !floor.holds(&self.authority(Role::Targets))));
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
        self.snapshot = Some(snapshot);
        self.stage = Stage::Targets;
        Ok(())
    }

    #[inline(never)] // stack: one step's at a time
    fn accept_targets(&mut self, file: &'b [u8]) -> Result<(), Error> {
        let snapshot = self.snapshot.as_ref().ok_or(Error::OutOfOrder(Role::Snapshot))?;
        let role: Trusted<Targets<'b>> =
            self.root.targets(snapshot, &CoseFile::new(file)?, self.state.targets.as_ref(), self.time())?;
        let delegation = self.delegation_in(snapshot, role.content())?;
        self.state.targets = Some(role.floor());
        self.stage = if delegation.is_some() { Stage::Delegated } else { Stage::Done };
        self.delegation = delegation;
        self.targets = Some(Listed { role, file });
        Ok(())
    }

    /// The one delegation of the device's product, if its file is listed yet.
    #[inline(never)]
    fn delegation_in(
        &self,
        snapshot: &Trusted<Snapshot<'b>>,
        targets: &Targets<'b>,
    ) -> Result<Option<Delegation<'b>>, Error> {
        let mut delegations = targets.delegations_of(self.identity.product);
        let delegation = delegations.next();
        require!(delegations.next().is_none(), Error::AmbiguousDelegation);
        let Some(delegation) = delegation else { return Ok(None) };
        let authority = ListedKeys::of_delegation(targets, &delegation);
        pass!(check_authority::<_, Signers>(&authority, Role::Targets, &self.policy));
        if snapshot.content().delegated(delegation.name).is_some() {
            return Ok(Some(delegation));
        }
        // 5.5.5 for the delegated role: what was listed once is not taken away.
        let known = self.state.delegated.as_ref().and_then(|known| known.of(delegation.name));
        require!(!known.is_some_and(|floor| floor.holds(&authority)), Error::NotInSnapshot);
        // Nothing was ever released for this product.
        Ok(None)
    }

    #[inline(never)] // stack: one step's at a time
    fn accept_delegated(&mut self, file: &'b [u8]) -> Result<(), Error> {
        let (Some(snapshot), Some(targets), Some(delegation)) = (&self.snapshot, &self.targets, &self.delegation)
        else {
            return Err(Error::OutOfOrder(Role::Targets));
        };
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
        self.delegated = Some(Listed { role, file });
        self.stage = Stage::Done;
        Ok(())
    }
}

impl<'b> Listed<'b> {
    /// The keys of a delegation that this file makes.
    fn authority(&self, delegation: &Delegation<'b>) -> ListedKeys<'b> {
        ListedKeys::of_delegation(self.role.content(), delegation)
    }
}

/// Role and version that a file says it has, to route it: nothing is trusted for it.
fn peek(file: &[u8]) -> Result<(Role, u64), Error> {
    let malformed = |error| Error::malformed(Role::Root, error);
    let payload = Envelope::decode(file).map_err(malformed)?.payload;
    match Role::peek(payload).map_err(malformed)? {
        Role::Root => Ok((Role::Root, Root::decode(payload).map_err(malformed)?.header.version)),
        role => Ok((role, 0)),
    }
}
