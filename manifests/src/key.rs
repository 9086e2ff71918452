//! Digests, public keys and key ids.

use core::fmt;

use sha2::{Digest as _, Sha256};

use crate::cbor::Reader;
use crate::list::Item;

/// A SHA-256 digest.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// The SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Digest {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Self {
        Digest(reader.byte_array())
    }
}

/// A key id: the SHA-256 COSE key thumbprint (RFC 9679) of the public key. It is always recomputed from the key.
pub type KeyId = Digest;

/// An Ed25519 public key (RFC 8032), carried as a `COSE_Key` of type OKP. Whether it is a sound point is decided where a
/// signature is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// `{1: 1 (kty OKP), -1: 6 (crv Ed25519), -2: x}` up to and with the head of `x`: RFC 9053, section 7.2, in the
/// deterministic order that RFC 9679, section 3 asks for.
const COSE_KEY_PREFIX: [u8; 8] = [0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20];

impl PublicKey {
    /// The key id of this key.
    pub fn id(&self) -> KeyId {
        Digest(Sha256::new().chain_update(COSE_KEY_PREFIX).chain_update(self.0).finalize().into())
    }

    /// The encoded `COSE_Key`: the thumbprint's input.
    pub fn cose_key(&self) -> [u8; 40] {
        let mut encoded = [0; 40];
        let (prefix, x) = encoded.split_at_mut(COSE_KEY_PREFIX.len());
        prefix.copy_from_slice(&COSE_KEY_PREFIX);
        x.copy_from_slice(&self.0);
        encoded
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", Digest(self.0))
    }
}

/// Lists of keys are sorted by their bytes: a key stands once.
impl<'a> Item<'a> for PublicKey {
    fn decode(reader: &mut Reader<'a>) -> Self {
        // The head of `x` fixes its length, so the bytes after the prefix are the key.
        reader.constant(&COSE_KEY_PREFIX);
        PublicKey(reader.raw_array())
    }
    fn precedes(&self, next: &Self) -> bool {
        self < next
    }
    #[cfg(feature = "alloc")]
    fn encode(&self, writer: &mut crate::cbor::Writer) {
        writer.raw(&self.cose_key());
    }
}
