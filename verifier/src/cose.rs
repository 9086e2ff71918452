//! The device encoding's adapter to the trust machine: COSE envelopes and CBOR roles.

use core::marker::PhantomData;

use sealift_manifests::{
    DecodeError, Delegation, Digest, Envelope, Header, List, Meta, PublicKey, RepositoryId, Role, RoleKeys, Root,
    Snapshot, Targets, Timestamp, sha256,
};

use crate::error::Error;
use crate::trust::format::{
    Authority, Pin, RoleFacts, RootFacts, SignedFile, SnapshotFacts, TargetsFacts, TimestampFacts, VerificationKey,
};

/// A received role file that is expected to be an `R`.
#[derive(Clone, Copy, Debug)]
pub struct CoseFile<'a, R> {
    bytes: &'a [u8],
    envelope: Envelope<'a>,
    role: PhantomData<R>,
}

/// A role that this encoding can read.
pub trait CborRole<'a>: Sized {
    /// Which role it is.
    const ROLE: Role;
    /// Reads its payload.
    fn decode(payload: &'a [u8]) -> Result<Self, DecodeError>;
    /// The fields that every role has.
    fn header(&self) -> &Header<'a>;
}

macro_rules! cbor_role {
    ($($role:ident),*) => {$(
        impl<'a> CborRole<'a> for $role<'a> {
            const ROLE: Role = Role::$role;
            fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
                $role::decode(payload)
            }
            fn header(&self) -> &Header<'a> {
                &self.header
            }
        }

        impl RoleFacts for $role<'_> {
            fn role(&self) -> Role {
                Role::$role
            }
            fn repository(&self) -> Option<RepositoryId> {
                Some(self.header.repository)
            }
            fn version(&self) -> u64 {
                self.header.version
            }
            fn expires(&self) -> u64 {
                self.header.expires
            }
            fn has_unknown_critical(&self) -> bool {
                // This version of the format defines none.
                !self.header.critical.is_empty()
            }
        }
    )*};
}

cbor_role!(Root, Timestamp, Snapshot, Targets);

impl<'a, R: CborRole<'a>> CoseFile<'a, R> {
    /// Reads the envelope: the payload stays unread until its signatures are counted.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let envelope = Envelope::decode(bytes).map_err(|error| Error::malformed(R::ROLE, error))?;
        Ok(CoseFile { bytes, envelope, role: PhantomData })
    }
}

impl<'a, R: CborRole<'a> + RoleFacts> SignedFile<PublicKey> for CoseFile<'a, R> {
    type Content = R;

    fn bytes(&self) -> &[u8] {
        self.bytes
    }

    fn content_digest(&self) -> Digest {
        sha256(self.envelope.payload)
    }

    fn check_signature(&self, key: &PublicKey, check: impl FnOnce(&[&[u8]], &[u8]) -> bool) -> bool {
        signature_of(&self.envelope, key).is_some_and(|found| check(&self.envelope.sig_structure().parts(), found))
    }

    fn open(&self) -> Result<R, Error> {
        R::decode(self.envelope.payload).map_err(|error| Error::malformed(R::ROLE, error))
    }
}

/// The signature that `key` is said to have made.
#[inline(never)]
fn signature_of<'a>(envelope: &Envelope<'a>, key: &PublicKey) -> Option<&'a [u8; 64]> {
    let id = key.id();
    envelope.signatures.iter().find(|signature| signature.key_id == id).map(|found| found.signature)
}

impl VerificationKey for PublicKey {
    /// The COSE key thumbprint: a function of the public key alone.
    fn fingerprint(&self) -> Digest {
        self.id()
    }

    fn verifies(&self, message: &[&[u8]], signature: &[u8]) -> bool {
        signature.try_into().is_ok_and(|signature| crate::ed25519::verify(&self.0, message, signature))
    }
}

/// Keys and threshold as a root or a delegation lists them.
#[derive(Clone, Copy, Debug)]
pub struct ListedKeys<'a> {
    keys: List<'a, PublicKey>,
    role: RoleKeys<'a>,
}

impl<'a> ListedKeys<'a> {
    /// The keys of a delegation, out of the file that delegates.
    pub fn of_delegation(targets: &Targets<'a>, delegation: &Delegation<'a>) -> Self {
        ListedKeys { keys: targets.keys, role: delegation.keys }
    }
}

impl Authority for ListedKeys<'_> {
    type Key = PublicKey;
    fn threshold(&self) -> u64 {
        self.role.threshold
    }
    fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.role.resolve(self.keys)
    }
}

impl<'a> RootFacts for Root<'a> {
    type Authority = ListedKeys<'a>;
    #[inline(never)]
    fn authority(&self, role: Role) -> ListedKeys<'a> {
        ListedKeys { keys: self.keys, role: *self.role(role) }
    }
}

impl TimestampFacts for Timestamp<'_> {
    type Pin = Meta;
    fn snapshot(&self) -> Meta {
        self.snapshot
    }
}

impl SnapshotFacts for Snapshot<'_> {
    type Pin = Meta;
    fn targets(&self, name: Option<&str>) -> Option<Meta> {
        match name {
            None => Some(self.targets),
            Some(name) => self.delegated(name),
        }
    }
}

impl TargetsFacts for Targets<'_> {
    fn is_named(&self, name: Option<&str>) -> bool {
        self.name == name
    }
}

impl Pin for Meta {
    fn version(&self) -> u64 {
        self.version
    }
    fn length_matches(&self, bytes: &[u8]) -> bool {
        u32::try_from(bytes.len()) == Ok(self.length)
    }
    fn hash_matches(&self, bytes: &[u8]) -> bool {
        sha256(bytes) == self.digest
    }
}
