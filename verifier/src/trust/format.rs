//! What a metadata format tells the trust machine: facts, signed bytes and signatures. No decision is made here.

use sealift_manifests::{Digest, RepositoryId, Role};

use crate::error::Error;

/// A public key that may sign.
pub trait VerificationKey {
    /// SHA-256 of the public key itself, however a file calls it: one key under two key ids has one fingerprint.
    fn fingerprint(&self) -> Digest;

    /// Whether `signature` holds over the concatenated parts of `message`.
    fn verifies(&self, message: &[&[u8]], signature: &[u8]) -> bool;
}

/// Keys and threshold of a role: what root or a delegation says.
pub trait Authority {
    /// The keys' type.
    type Key: VerificationKey;

    /// Whether the format allows a role that asks for more signatures than it has usable keys, as formats do whose roots
    /// may list keys of schemes that this build does not know. Nothing is accepted for such a role until a later root
    /// mends it.
    const MAY_BE_UNREACHABLE: bool = false;

    /// How many distinct keys must sign.
    fn threshold(&self) -> u64;

    /// The keys, as they are listed.
    fn keys(&self) -> impl Iterator<Item = Self::Key>;
}

/// A role file as it was received.
pub trait SignedFile<K> {
    /// What it says once its signatures have been counted.
    type Content: RoleFacts;

    /// The received bytes.
    fn bytes(&self) -> &[u8];

    /// SHA-256 of what is signed, without the signatures.
    fn content_digest(&self) -> Digest;

    /// Passes the signed bytes, in parts, and the signature that `key` is said to have made to `check`.
    fn check_signature(&self, key: &K, check: impl FnOnce(&[&[u8]], &[u8]) -> bool) -> bool;

    /// Reads the signed bytes.
    fn open(&self) -> Result<Self::Content, Error>;
}

/// What every role says.
pub trait RoleFacts {
    /// Which of TUF's roles it is.
    fn role(&self) -> Role;
    /// The repository it is signed for; `None` in formats that do not say.
    fn repository(&self) -> Option<RepositoryId>;
    /// Its version.
    fn version(&self) -> u64;
    /// When it expires: seconds since 1970-01-01T00:00:00Z.
    fn expires(&self) -> u64;
    /// Whether it carries an extension that must be understood and is not.
    fn has_unknown_critical(&self) -> bool;
}

/// What a root says besides.
pub trait RootFacts: RoleFacts {
    /// Keys and threshold of a top-level role.
    type Authority: Authority;
    /// Keys and threshold of `role`.
    fn authority(&self, role: Role) -> Self::Authority;
}

/// What a timestamp says besides.
pub trait TimestampFacts: RoleFacts {
    /// What pins the snapshot.
    type Pin: Pin;
    /// What pins the snapshot.
    fn snapshot(&self) -> Self::Pin;
}

/// What a snapshot says besides.
pub trait SnapshotFacts: RoleFacts {
    /// What pins a targets file.
    type Pin: Pin;
    /// What pins the targets file of `name`, or the top-level one; `None` when it is not listed.
    fn targets(&self, name: Option<&str>) -> Option<Self::Pin>;
}

/// What a targets file says besides.
pub trait TargetsFacts: RoleFacts {
    /// Whether this is the file of the delegated role `name`, or the top-level one. Formats that do not say answer yes.
    fn is_named(&self, name: Option<&str>) -> bool;
}

/// Version, and where given length and hash, that one file states of another.
pub trait Pin {
    /// The version of the pinned file.
    fn version(&self) -> u64;
    /// Whether `bytes` have the pinned length, where one is given.
    fn length_matches(&self, bytes: &[u8]) -> bool;
    /// Whether `bytes` have every pinned hash.
    fn hash_matches(&self, bytes: &[u8]) -> bool;
}
