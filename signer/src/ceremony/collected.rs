//! A key that was used elsewhere: it signs what its officer signed already, and nothing else.

use std::collections::BTreeMap;
use std::fmt;

use sealift_manifests::{Digest, PublicKey, sha256};

use crate::error::{Error, Result};
use crate::keys::KeySource;

/// The signatures that one officer sent, by what they were made over.
pub(super) struct CollectedKey {
    key: PublicKey,
    signatures: BTreeMap<Digest, [u8; 64]>,
}

impl CollectedKey {
    /// No signature yet.
    pub(super) fn new(key: PublicKey) -> Self {
        CollectedKey { key, signatures: BTreeMap::new() }
    }

    /// Adds the signature over `message`, if it holds.
    pub(super) fn add(&mut self, message: &[u8], signature: [u8; 64]) -> bool {
        let holds = sealift_verifier::ed25519::verify(&self.key.0, &[message], &signature);
        if holds {
            self.signatures.insert(sha256(message), signature);
        }
        holds
    }
}

impl KeySource for CollectedKey {
    fn public_key(&self) -> PublicKey {
        self.key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        self.signatures.get(&sha256(message)).copied().ok_or_else(|| {
            Error::refused(
                format!("the officer's key {} signed something else than what is to be written now", self.key.id()),
                "make a new request with `sealift root request --anew`, and have it signed",
            )
        })
    }
}

impl fmt::Debug for CollectedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CollectedKey({})", self.key.id())
    }
}
