//! The keys whose signatures were counted, remembered with a floor.

use sealift_manifests::Digest;
use sealift_manifests::bounds::MAX_ROLE_KEYS;

use super::format::{Authority, VerificationKey};

/// A set of key fingerprints.
pub trait SignerSet: Clone + Default {
    /// Adds a fingerprint; `false` when there is no room. One that is there already is not added again.
    fn insert(&mut self, fingerprint: Digest) -> bool;
    /// Whether a fingerprint is in the set.
    fn contains(&self, fingerprint: &Digest) -> bool;
    /// How many there are.
    fn count(&self) -> u64;
}

/// A signer set of at most `N` keys, without an allocator. The device encoding allows no more in a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signers<const N: usize = MAX_ROLE_KEYS> {
    fingerprints: [Digest; N],
    count: usize,
}

impl<const N: usize> Default for Signers<N> {
    fn default() -> Self {
        Signers { fingerprints: [Digest([0; 32]); N], count: 0 }
    }
}

impl<const N: usize> Signers<N> {
    /// The fingerprints.
    pub fn iter(&self) -> impl Iterator<Item = &Digest> {
        self.fingerprints.iter().take(self.count)
    }
}

impl<const N: usize> SignerSet for Signers<N> {
    fn insert(&mut self, fingerprint: Digest) -> bool {
        if self.contains(&fingerprint) {
            return true;
        }
        match self.fingerprints.get_mut(self.count) {
            Some(free) => {
                *free = fingerprint;
                self.count += 1;
                true
            }
            None => false,
        }
    }
    fn contains(&self, fingerprint: &Digest) -> bool {
        self.iter().any(|known| known == fingerprint)
    }
    fn count(&self) -> u64 {
        self.count as u64
    }
}

/// What a device remembers of a role: nothing older is accepted while the keys that signed it still speak for the role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor<S = Signers> {
    /// The version that was accepted.
    pub version: u64,
    /// SHA-256 of its signed content: a version has one content.
    pub content: Digest,
    /// The keys whose signatures were counted.
    pub signers: S,
}

impl<S: SignerSet> Floor<S> {
    /// Whether the floor holds under `authority`: its signers still reach the threshold. So a version that a stolen key
    /// signed stops binding once that key is revoked, and adding keys never lowers a floor.
    pub fn holds(&self, authority: &impl Authority) -> bool {
        let mut counted = S::default();
        for key in authority.keys() {
            let fingerprint = key.fingerprint();
            if self.signers.contains(&fingerprint) {
                // No more than were in the set before: there is room.
                counted.insert(fingerprint);
            }
        }
        authority.threshold() > 0 && counted.count() >= authority.threshold()
    }
}
