//! The only place where verified values are made, and the only function that counts signatures.

use sealift_manifests::{Digest, RepositoryId, Role, example_keys};

use super::format::{
    Authority, Pin, RoleFacts, RootFacts, SignedFile, SnapshotFacts, TargetsFacts, TimestampFacts, VerificationKey,
};
use super::signers::{Floor, SignerSet};
use crate::certain::{pass, possibly, require, surely};
use crate::error::Error;

/// A role whose signatures, version and pins were checked. Its fields are private: nothing else makes one.
#[derive(Clone, Copy, Debug)]
pub struct Verified<R, S> {
    content: R,
    digest: Digest,
    signers: S,
}

/// A file that was accepted earlier and kept, read again under the root that is trusted now: its signatures still reach
/// the threshold. It says what may not be taken back, whatever has expired or been pinned anew since, and nothing else; no
/// step of the workflow takes it for a [`Verified`] file.
#[derive(Clone, Copy, Debug)]
pub struct Remembered<R, S>(Verified<R, S>);

impl<R: RoleFacts, S: SignerSet> Remembered<R, S> {
    /// What the file says.
    pub const fn content(&self) -> &R {
        self.0.content()
    }

    /// The floor that it sets.
    pub fn floor(&self) -> Floor<S> {
        self.0.floor()
    }
}

/// What is known of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Nothing: files cannot be known to be expired.
    Unknown,
    /// It is at least this: seconds since 1970-01-01T00:00:00Z.
    AtLeast(u64),
}

/// What a deployment may decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    allow_example_keys: bool,
    require_clock: bool,
}

impl Policy {
    /// The policy of devices in the field: example keys are refused, a missing clock is not.
    pub const fn production() -> Self {
        Policy { allow_example_keys: false, require_clock: false }
    }

    /// The policy of a workbench: keys that everybody has are accepted. Never ship it.
    pub const fn development() -> Self {
        Policy { allow_example_keys: true, require_clock: false }
    }

    /// Refuses to install while no time is known.
    pub const fn with_clock_required(self) -> Self {
        Policy { require_clock: true, ..self }
    }

    /// Whether a known time is required.
    pub const fn requires_clock(&self) -> bool {
        self.require_clock
    }
}

impl Time {
    /// The later of two lower bounds.
    pub fn or_later(self, other: Time) -> Time {
        match (self, other) {
            (Time::AtLeast(a), Time::AtLeast(b)) => Time::AtLeast(a.max(b)),
            (Time::Unknown, known) | (known, Time::Unknown) => known,
        }
    }

    /// Whether a file with this expiry is known to be expired (TUF: expired from that second on).
    pub fn is_past(self, expires: u64) -> bool {
        matches!(self, Time::AtLeast(now) if now >= expires)
    }
}

/// Counts whose signatures on `file` hold. The only function that does: root, top-level roles and delegations alike.
///
/// Keys are counted by what they are, not by what they are called, so one public key under two key ids counts once, and so
/// does a key that signed twice. A signature that does not hold is passed over.
pub fn count_signatures<F, A, S>(file: &F, authority: &A, role: Role) -> Result<S, Error>
where
    F: SignedFile<A::Key>,
    A: Authority,
    S: SignerSet,
{
    count(authority, role, &|key| file.check_signature(key, |message, signature| key.verifies(message, signature)))
}

/// The loop itself, compiled once for all kinds of files.
#[inline(never)]
fn count<A: Authority, S: SignerSet>(
    authority: &A,
    role: Role,
    signed_by: &dyn Fn(&A::Key) -> bool,
) -> Result<S, Error> {
    let mut counted = S::default();
    for key in authority.keys() {
        let fingerprint = key.fingerprint();
        if counted.contains(&fingerprint) {
            continue;
        }
        // Surely, so that one fault does not count a signature that does not hold.
        if surely(signed_by(&key)) && !counted.insert(fingerprint) {
            return Err(Error::TooManySigners(role));
        }
    }
    // A threshold of 0 is refused where a root or delegation is accepted, and once more here.
    require!(reaches(&counted, authority), Error::ThresholdNotMet(role));
    Ok(counted)
}

fn reaches(counted: &impl SignerSet, authority: &impl Authority) -> bool {
    let threshold = authority.threshold();
    threshold > 0 && counted.count() >= threshold
}

/// Whether keys and threshold are ones that can be trusted at all: a threshold from 1 to the number of distinct keys, and
/// none of the published example keys outside development.
#[inline(never)]
pub fn check_authority<A: Authority, S: SignerSet>(authority: &A, role: Role, policy: &Policy) -> Result<(), Error> {
    let mut distinct = S::default();
    for key in authority.keys() {
        let fingerprint = key.fingerprint();
        require!(policy.allow_example_keys || !example_keys::is_example(&fingerprint), Error::ExampleKey(role));
        if !distinct.insert(fingerprint) {
            return Err(Error::TooManySigners(role));
        }
    }
    let reachable = authority.threshold() <= distinct.count() || A::MAY_BE_UNREACHABLE;
    require!(authority.threshold() > 0 && reachable, Error::ThresholdInvalid(role));
    Ok(())
}

/// What every role says, in one piece: its checks are compiled once, and not once a role.
#[derive(Clone, Copy)]
struct Facts {
    role: Role,
    repository: Option<RepositoryId>,
    version: u64,
    expires: u64,
    unknown_critical: bool,
}

impl Facts {
    fn of(content: &impl RoleFacts) -> Self {
        Facts {
            role: content.role(),
            repository: content.repository(),
            version: content.version(),
            expires: content.expires(),
            unknown_critical: content.has_unknown_critical(),
        }
    }

    #[inline(never)]
    fn check_kind(&self, role: Role) -> Result<(), Error> {
        require!(self.role == role, Error::OutOfOrder(role));
        require!(!self.unknown_critical, Error::UnknownCritical(role));
        Ok(())
    }

    #[inline(never)]
    fn check_repository(&self, own: Option<RepositoryId>) -> Result<(), Error> {
        require!(self.repository == own, Error::WrongRepository(self.role));
        Ok(())
    }

    #[inline(never)]
    fn check_version(&self, pinned: u64) -> Result<(), Error> {
        require!(self.version == pinned, Error::VersionMismatch(self.role));
        Ok(())
    }

    /// Nothing below a floor that still holds, and no second content under one version.
    #[inline(never)]
    fn check_floor<S: SignerSet>(
        &self,
        digest: &Digest,
        floor: Option<&Floor<S>>,
        authority: &impl Authority,
    ) -> Result<(), Error> {
        if let Some(floor) = floor
            && possibly(floor.holds(authority))
        {
            require!(self.version >= floor.version, Error::Rollback(self.role));
            require!(self.version != floor.version || *digest == floor.content, Error::VersionReused(self.role));
        }
        Ok(())
    }

    #[inline(never)]
    fn check_expiry(&self, time: Time) -> Result<(), Error> {
        require!(!time.is_past(self.expires), Error::Expired(self.role));
        Ok(())
    }
}

impl<R: RoleFacts, S: SignerSet> Verified<R, S> {
    /// What the file says.
    pub const fn content(&self) -> &R {
        &self.content
    }

    /// The floor that this file sets once it is persisted.
    pub fn floor(&self) -> Floor<S> {
        Floor { version: self.content.version(), content: self.digest, signers: self.signers.clone() }
    }

    /// Refuses a file that is known to be expired.
    pub fn check_expiry(&self, time: Time) -> Result<(), Error> {
        self.facts().check_expiry(time)
    }

    /// Signatures first, then the content; then what holds for every role.
    #[inline(never)] // stack and code: one frame at a time, and its result in place
    fn open<F, A>(file: &F, authority: &A, role: Role) -> Result<Self, Error>
    where
        F: SignedFile<A::Key, Content = R>,
        A: Authority,
    {
        let signers: S = count_signatures(file, authority, role)?;
        // Once more, where a verified value is made: whoever skipped the refusal above comes by here.
        require!(reaches(&signers, authority), Error::ThresholdNotMet(role));
        let content = file.open()?;
        let verified = Verified { content, digest: file.content_digest(), signers };
        pass!(verified.facts().check_kind(role));
        Ok(verified)
    }

    fn facts(&self) -> Facts {
        Facts::of(&self.content)
    }
}

/// Length and hash before anything else is done with the bytes (5.5.2, 5.6.2).
fn check_pin(pin: &impl Pin, bytes: &[u8], role: Role) -> Result<(), Error> {
    require!(pin.length_matches(bytes), Error::LengthMismatch(role));
    require!(pin.hash_matches(bytes), Error::HashMismatch(role));
    Ok(())
}

impl<R: RootFacts, S: SignerSet> Verified<R, S> {
    /// The root that the device was provisioned with, or accepted earlier (5.2). It is trusted for where it was kept, so
    /// its signatures are not counted again; that it could be a root at all is checked.
    #[inline(never)] // stack and code: one frame at a time, and its result in place
    pub fn stored_root<F>(file: &F, policy: &Policy) -> Result<Self, Error>
    where
        F: SignedFile<<R::Authority as Authority>::Key, Content = R>,
    {
        let content = file.open()?;
        let root = Verified { content, digest: file.content_digest(), signers: S::default() };
        pass!(root.check_root(policy));
        Ok(root)
    }

    /// A root from where it could have been damaged or mixed up: [`Self::stored_root`], and signed to its own threshold.
    pub fn self_signed_root<F>(file: &F, policy: &Policy) -> Result<Self, Error>
    where
        F: SignedFile<<R::Authority as Authority>::Key, Content = R>,
    {
        let root: Self = Verified::stored_root(file, policy)?;
        let signers = count_signatures(file, &root.content.authority(Role::Root), Role::Root)?;
        Ok(Verified { signers, ..root })
    }

    /// Reads a file of `role` again that was accepted earlier, for those who keep files in place of floors. Its signatures
    /// are counted anew: it binds for as long as a [`Floor`] made of it would hold (5.3.11). Neither pin nor expiry is
    /// looked at.
    pub fn remembered<T, F>(&self, file: &F, role: Role) -> Result<Remembered<T, S>, Error>
    where
        T: RoleFacts,
        F: SignedFile<<R::Authority as Authority>::Key, Content = T>,
    {
        let kept: Verified<T, S> = Verified::open(file, &self.content.authority(role), role)?;
        pass!(self.check_repository(&kept));
        Ok(Remembered(kept))
    }

    #[inline(never)] // stack and code: one frame at a time, and its result in place
    fn check_root(&self, policy: &Policy) -> Result<(), Error> {
        pass!(self.facts().check_kind(Role::Root));
        for role in Role::ALL {
            pass!(check_authority::<_, S>(&self.content.authority(role), role, policy));
        }
        Ok(())
    }

    /// Whether a file belongs to this root's repository.
    fn check_repository<T: RoleFacts>(&self, file: &Verified<T, S>) -> Result<(), Error> {
        file.facts().check_repository(self.content.repository())
    }

    /// Accepts the next root (5.3): signed to the threshold of the trusted root and to its own, one version on. Expiry is
    /// not looked at: an expired root never blocks the way to its successor (5.3.10 looks at the last one alone).
    #[inline(never)] // stack and code: one frame at a time, and its result in place
    pub fn next_root<F>(&self, file: &F, policy: &Policy) -> Result<Self, Error>
    where
        F: SignedFile<<R::Authority as Authority>::Key, Content = R>,
    {
        // 5.3.4: by the keys of the root that is trusted now ...
        let next: Self = Verified::open(file, &self.content.authority(Role::Root), Role::Root)?;
        // ... and by its own.
        let own: S = count_signatures(file, &next.content.authority(Role::Root), Role::Root)?;
        require!(reaches(&own, &next.content.authority(Role::Root)), Error::ThresholdNotMet(Role::Root));
        pass!(self.check_repository(&next));
        // 5.3.5: exactly one version on. At the end of the numbers there is no successor.
        require!(self.content.version().checked_add(1) == Some(next.content.version()), Error::RootNotNext);
        pass!(next.check_root(policy));
        Ok(Verified { signers: own, ..next })
    }

    /// Accepts a timestamp (5.4). `floor` is what was accepted before; `listed` is the snapshot version that the accepted
    /// timestamp named, with the snapshot's own floor.
    #[inline(never)] // stack and code: one frame at a time, and its result in place
    pub fn timestamp<T, F>(
        &self,
        file: &F,
        floor: Option<&Floor<S>>,
        listed: Option<(u64, &Floor<S>)>,
        time: Time,
    ) -> Result<Verified<T, S>, Error>
    where
        T: TimestampFacts,
        F: SignedFile<<R::Authority as Authority>::Key, Content = T>,
    {
        // 5.3.10: the last root of the chain must not be expired.
        pass!(self.check_expiry(time));
        // 5.4.2
        let authority = self.content.authority(Role::Timestamp);
        let timestamp: Verified<T, S> = Verified::open(file, &authority, Role::Timestamp)?;
        pass!(self.check_repository(&timestamp));
        let facts = timestamp.facts();
        // 5.4.3.1
        pass!(facts.check_floor(&timestamp.digest, floor, &authority));
        // 5.4.3.2, and 5.3.11: the named version binds while the signers of both files still speak for their roles.
        if let Some((version, snapshot)) = listed {
            let binds = possibly(
                floor.is_some_and(|floor| floor.holds(&authority))
                    && snapshot.holds(&self.content.authority(Role::Snapshot)),
            );
            require!(!binds || timestamp.content.snapshot().version() >= version, Error::Rollback(Role::Snapshot));
        }
        // 5.4.4
        pass!(facts.check_expiry(time));
        Ok(timestamp)
    }

    /// Accepts the snapshot that a timestamp pins (5.5). `prior` are the targets files and versions that the accepted
    /// snapshot listed, as far as they still bind; they count while `floor` holds.
    #[inline(never)] // stack and code: one frame at a time, and its result in place
    pub fn snapshot<'n, T, N, F>(
        &self,
        timestamp: &Verified<T, S>,
        file: &F,
        floor: Option<&Floor<S>>,
        prior: impl IntoIterator<Item = (Option<&'n str>, u64)>,
        time: Time,
    ) -> Result<Verified<N, S>, Error>
    where
        T: TimestampFacts,
        N: SnapshotFacts,
        F: SignedFile<<R::Authority as Authority>::Key, Content = N>,
    {
        let pin = timestamp.content.snapshot();
        // 5.5.2
        pass!(check_pin(&pin, file.bytes(), Role::Snapshot));
        // 5.5.3
        let authority = self.content.authority(Role::Snapshot);
        let snapshot: Verified<N, S> = Verified::open(file, &authority, Role::Snapshot)?;
        pass!(self.check_repository(&snapshot));
        let facts = snapshot.facts();
        // 5.5.4
        pass!(facts.check_version(pin.version()));
        pass!(facts.check_floor(&snapshot.digest, floor, &authority));
        // 5.5.5: no targets file is taken back or away.
        let binds = possibly(floor.is_some_and(|floor| floor.holds(&authority)));
        for (name, version) in prior {
            let listed = snapshot.content.targets(name).map(|pin| pin.version());
            require!(!binds || listed.is_some(), Error::NotInSnapshot);
            require!(!binds || listed.is_none_or(|listed| listed >= version), Error::Rollback(Role::Targets));
        }
        // 5.5.6
        pass!(facts.check_expiry(time));
        Ok(snapshot)
    }

    /// Accepts the top-level targets file that a snapshot pins (5.6).
    pub fn targets<N, G, F>(
        &self,
        snapshot: &Verified<N, S>,
        file: &F,
        floor: Option<&Floor<S>>,
        time: Time,
    ) -> Result<Verified<G, S>, Error>
    where
        N: SnapshotFacts,
        G: TargetsFacts,
        F: SignedFile<<R::Authority as Authority>::Key, Content = G>,
    {
        self.delegated(snapshot, &self.content.authority(Role::Targets), None, file, floor, time)
    }

    /// Accepts the targets file of the delegated role `name` (5.6.7), whose keys `authority` its delegator stated; `None`
    /// is the top-level file. The same checks for every edge: length, hash, signatures, version, floor, expiry.
    #[inline(never)] // stack and code: one frame at a time, and its result in place
    pub fn delegated<N, G, F, A>(
        &self,
        snapshot: &Verified<N, S>,
        authority: &A,
        name: Option<&str>,
        file: &F,
        floor: Option<&Floor<S>>,
        time: Time,
    ) -> Result<Verified<G, S>, Error>
    where
        N: SnapshotFacts,
        G: TargetsFacts,
        A: Authority,
        F: SignedFile<A::Key, Content = G>,
    {
        let pin = snapshot.content.targets(name).ok_or(Error::NotInSnapshot)?;
        // 5.6.2
        pass!(check_pin(&pin, file.bytes(), Role::Targets));
        // 5.6.3
        let targets: Verified<G, S> = Verified::open(file, authority, Role::Targets)?;
        pass!(self.check_repository(&targets));
        require!(targets.content.is_named(name), Error::WrongRoleName);
        let facts = targets.facts();
        // 5.6.4
        pass!(facts.check_version(pin.version()));
        pass!(facts.check_floor(&targets.digest, floor, authority));
        // 5.6.5
        pass!(facts.check_expiry(time));
        Ok(targets)
    }
}
