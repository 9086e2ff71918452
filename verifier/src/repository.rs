//! The chain of trust over a whole repository, every delegation included: for signers, servers and auditors, who check
//! everything before a device sees it. The rules are the device's own.

use sealift_manifests::{Delegation, Role, Root, Snapshot, Targets, Timestamp};

use crate::cose::{CoseFile, ListedKeys};
use crate::error::Error;
use crate::session::Fetch;
use crate::trust::{Policy, Signers, Time, Verified, check_authority};

/// A repository whose top-level roles are verified.
#[derive(Clone, Copy, Debug)]
pub struct Repository<'b> {
    root: Verified<Root<'b>, Signers>,
    timestamp: Verified<Timestamp<'b>, Signers>,
    snapshot: Verified<Snapshot<'b>, Signers>,
    targets: Verified<Targets<'b>, Signers>,
    policy: Policy,
    time: Time,
}

impl<'b> Repository<'b> {
    /// Follows the roots from `root`, which is trusted, to the last one, and verifies timestamp, snapshot and targets.
    /// `files` returns a file by its name, or `None` where there is none.
    pub fn open(
        root: &'b [u8],
        mut files: impl FnMut(&Fetch) -> Option<&'b [u8]>,
        time: Time,
        policy: Policy,
    ) -> Result<Self, Error> {
        let mut root: Verified<Root<'b>, Signers> = Verified::stored_root(&CoseFile::new(root)?, &policy)?;
        while let Some(file) = next_version(&root).and_then(|fetch| files(&fetch)) {
            root = root.next_root(&CoseFile::new(file)?, &policy)?;
        }
        root.check_expiry(time)?;
        let file = files(&Fetch::timestamp()).ok_or(Error::LengthMismatch(Role::Timestamp))?;
        let timestamp: Verified<Timestamp<'b>, Signers> = root.timestamp(&CoseFile::new(file)?, None, None, time)?;
        let fetch = Fetch::pinned(Role::Snapshot, &timestamp.content().snapshot);
        let file = files(&fetch).ok_or(Error::LengthMismatch(Role::Snapshot))?;
        let snapshot: Verified<Snapshot<'b>, Signers> =
            root.snapshot(&timestamp, &CoseFile::new(file)?, None, None, time)?;
        let fetch = Fetch::pinned(Role::Targets, &snapshot.content().targets);
        let file = files(&fetch).ok_or(Error::LengthMismatch(Role::Targets))?;
        let targets = root.targets(&snapshot, &CoseFile::new(file)?, None, time)?;
        Ok(Repository { root, timestamp, snapshot, targets, policy, time })
    }

    /// The root at the end of the chain.
    pub const fn root(&self) -> &Root<'b> {
        self.root.content()
    }

    /// The latest timestamp.
    pub const fn timestamp(&self) -> &Timestamp<'b> {
        self.timestamp.content()
    }

    /// The snapshot it pins.
    pub const fn snapshot(&self) -> &Snapshot<'b> {
        self.snapshot.content()
    }

    /// The top-level targets.
    pub const fn targets(&self) -> &Targets<'b> {
        self.targets.content()
    }

    /// The file that a delegation's targets stand in; `None` when the snapshot lists none yet.
    pub fn delegated_file(&self, delegation: &Delegation<'_>) -> Option<Fetch> {
        self.snapshot().delegated(delegation.name).map(|meta| Fetch::pinned(Role::Targets, &meta))
    }

    /// Verifies the targets file of one delegation, and that its targets keep to the delegation: its products, and the
    /// counter ceilings.
    pub fn delegated(&self, delegation: &Delegation<'b>, file: &'b [u8]) -> Result<Targets<'b>, Error> {
        let authority = ListedKeys::of_delegation(self.targets(), delegation);
        check_authority::<_, Signers>(&authority, Role::Targets, &self.policy)?;
        let verified: Verified<Targets<'b>, Signers> = self.root.delegated(
            &self.snapshot,
            &authority,
            Some(delegation.name),
            &CoseFile::new(file)?,
            None,
            self.time,
        )?;
        let ceiling = self.root().counter_ceiling.min(delegation.counter_ceiling);
        for target in verified.content().targets.iter() {
            if !delegation.products.iter().any(|product| product == target.product) {
                return Err(Error::WrongProduct);
            }
            if target.security_counter > ceiling {
                return Err(Error::CounterAboveCeiling);
            }
        }
        Ok(*verified.content())
    }
}

fn next_version(root: &Verified<Root<'_>, Signers>) -> Option<Fetch> {
    root.content().header.version.checked_add(1).map(Fetch::root)
}
