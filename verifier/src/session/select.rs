//! From a verified chain to the one target that a job named.

use sealift_manifests::{Digest, Target, Version, sha256};

use super::{Identity, Session, Stage, slot_record};
use crate::certain::{pass, require};
use crate::cose::ListedKeys;
use crate::error::Error;
use crate::trust::Time;
use sealift_manifests::Role;

/// What the device is at now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Its security counter.
    pub security_counter: u64,
    /// The version that is installed, if one is known.
    pub installed: Option<Version>,
}

/// Whether the metadata is known to be fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A time was known, and nothing had expired.
    Known,
    /// No time was known: report it.
    Unknown,
}

/// A target that may be installed: its chain of signatures, its identity, counters and bridge release were checked. Only
/// [`Session::select`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Approved<'b> {
    target: Target<'b>,
    digest: Digest,
    freshness: Freshness,
    identity: Identity<'b>,
    authority: ListedKeys<'b>,
    file: &'b [u8],
}

impl<'b> Approved<'b> {
    /// What is to be installed.
    pub const fn target(&self) -> &Target<'b> {
        &self.target
    }

    /// SHA-256 of the target's entry: the name by which a job calls it.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether the metadata is known to be fresh.
    pub const fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// The device it was approved for.
    pub const fn identity(&self) -> &Identity<'b> {
        &self.identity
    }

    /// Writes the record to keep beside the slot, by which every boot checks the image again; returns its length, at most
    /// [`slot_record::SLOT_RECORD_MAX`].
    pub fn slot_record(&self, out: &mut [u8]) -> Result<usize, Error> {
        slot_record::encode(&self.digest, &self.authority, self.file, out)
    }
}

impl<'b> Session<'b> {
    /// Selects the target whose entry has this SHA-256 (5.7, and Sealift's own checks). A digest that is not listed (any
    /// more) was superseded or withdrawn.
    #[inline(never)]
    pub fn select(&self, digest: &Digest, device: &DeviceFacts) -> Result<Approved<'b>, Error> {
        require!(self.stage == Stage::Done, Error::OutOfOrder(Role::Targets));
        let root = self.root.content();
        let targets = self.targets.as_ref().ok_or(Error::OutOfOrder(Role::Targets))?;
        let (target, file, authority, ceiling) = if let Some(target) = targets.role.content().find(digest) {
            (target, targets.file, self.authority(Role::Targets), root.counter_ceiling)
        } else {
            let (Some(delegation), Some(delegated)) = (&self.delegation, &self.delegated) else {
                return Err(Error::TargetNotListed);
            };
            let target = delegated.role.content().find(digest).ok_or(Error::TargetNotListed)?;
            // The delegation was found by the device's product; the target must be for a product of it too.
            require!(delegation.products.iter().any(|product| product == target.product), Error::WrongProduct);
            let ceiling = root.counter_ceiling.min(delegation.counter_ceiling);
            (target, delegated.file, targets.authority(delegation), ceiling)
        };
        pass!(check_identity(&target, &self.identity));
        require!(target.security_counter <= ceiling, Error::CounterAboveCeiling);
        require!(target.security_counter >= device.security_counter, Error::CounterTooLow);
        let bridged = target.minimum_version.is_none_or(|minimum| device.installed.is_some_and(|now| now >= minimum));
        require!(bridged, Error::BridgeRequired);
        let known = self.time != Time::Unknown;
        require!(known || !self.policy.requires_clock(), Error::ClockRequired);
        let freshness = if known { Freshness::Known } else { Freshness::Unknown };
        Ok(Approved { target, digest: *digest, freshness, identity: self.identity, authority, file })
    }

    /// Digest and entry of every target that the verified files list for this device's product, component and hardware.
    pub fn candidates(&self) -> impl Iterator<Item = (Digest, Target<'b>)> {
        let files = [&self.targets, &self.delegated].into_iter().filter(|_| self.stage == Stage::Done).flatten();
        let entries = files.flat_map(|listed| listed.role.content().targets.entries());
        let identity = self.identity;
        entries
            .filter(move |(target, _)| check_identity(target, &identity).is_ok())
            .map(|(target, encoded)| (sha256(encoded), target))
    }
}

/// Whether a target is for this device at all.
#[inline(never)]
pub(super) fn check_identity(target: &Target<'_>, identity: &Identity<'_>) -> Result<(), Error> {
    require!(target.critical.is_empty(), Error::UnknownCritical(Role::Targets));
    require!(target.product == identity.product, Error::WrongProduct);
    require!(target.component == identity.component, Error::WrongComponent);
    require!(target.hardware.iter().any(|hardware| hardware == identity.hardware), Error::WrongHardware);
    Ok(())
}
