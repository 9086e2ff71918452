//! `COSE_Sign` envelopes (RFC 9052, section 4.1): tag 98, EdDSA, nothing optional.
//!
//! ```text
//! 98([ h'', {}, payload: bstr, [+ [ h'a10127', {4: key id}, signature: bstr .size 64 ]] ])
//! ```
//!
//! The algorithm stands in each signature's protected header alone, the key id is the only unprotected header, the
//! external AAD is empty. The algorithm is -8 (EdDSA), not RFC 9864's fully specified -19 (Ed25519): with the key's curve
//! fixed the two mean the same, and -8 is what deployed COSE libraries and tokens know.

use crate::bounds::{MAX_ENVELOPE, MAX_PAYLOAD, MAX_SIGNATURES};
use crate::cbor::{DecodeError, Fault, Reader};
use crate::key::{Digest, KeyId};
use crate::list::{Item, List};

const COSE_SIGN: u64 = 98;
/// `{1: -8}`: the algorithm is EdDSA.
const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x27];
const KEY_ID: u8 = 4;

/// A role file as it was received: nothing in it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The signed bytes: a role in deterministic CBOR.
    pub payload: &'a [u8],
    /// The signatures, sorted by key id: none stands twice.
    pub signatures: List<'a, Signature<'a>>,
}

/// One signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// Which key is said to have made it.
    pub key_id: KeyId,
    /// Ed25519 signature (RFC 8032) over the [`SigStructure`].
    pub signature: &'a [u8; 64],
}

impl<'a> Envelope<'a> {
    /// Reads a whole file.
    pub fn decode(file: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(file);
        let envelope = Self::read(&mut reader);
        reader.done(envelope)
    }

    /// Reads the next envelope of a sequence.
    pub fn decode_next(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let envelope = Self::read(reader);
        reader.checked(envelope)
    }

    fn read(reader: &mut Reader<'a>) -> Self {
        let start = reader.position();
        reader.tag(COSE_SIGN);
        reader.array_of(4);
        reader.constant(&[0x40, 0xa0]);
        let payload = reader.bytes(MAX_PAYLOAD);
        let signatures = List::decode(reader, 1, MAX_SIGNATURES);
        debug_assert!(reader.position() - start <= MAX_ENVELOPE);
        Envelope { payload, signatures }
    }

    /// What the signatures are made over.
    pub fn sig_structure(&self) -> SigStructure<'a> {
        SigStructure::new(self.payload)
    }

    /// Writes the file.
    #[cfg(feature = "alloc")]
    pub fn encode(&self) -> alloc::vec::Vec<u8> {
        let mut writer = crate::cbor::Writer::new();
        writer.tag(COSE_SIGN).array(4).raw(&[0x40, 0xa0]).bytes(self.payload);
        self.signatures.encode(&mut writer);
        writer.into_bytes()
    }
}

impl<'a> Item<'a> for Signature<'a> {
    fn decode(reader: &mut Reader<'a>) -> Self {
        reader.array_of(3);
        reader.constant(&[0x43]);
        reader.constant(&PROTECTED);
        let mut map = reader.map(1);
        map.required(reader, KEY_ID);
        let key_id = Digest::decode(reader);
        map.finish(reader);
        let at = reader.position();
        let Ok(signature) = reader.bytes(64).try_into() else {
            reader.refuse_at(Fault::BadValue, at);
            return Signature { key_id, signature: &[0; 64] };
        };
        Signature { key_id, signature }
    }
    fn precedes(&self, next: &Self) -> bool {
        self.key_id < next.key_id
    }
    #[cfg(feature = "alloc")]
    fn encode(&self, writer: &mut crate::cbor::Writer) {
        writer.array(3).bytes(&PROTECTED).map(1).key(KEY_ID).bytes(&self.key_id.0).bytes(self.signature);
    }
}

/// The `Sig_structure` (RFC 9052, section 4.4) in two parts, so that it is never copied together: a short prefix that
/// follows from the payload's length, and the payload as it was received.
#[derive(Clone, Copy, Debug)]
pub struct SigStructure<'a> {
    prefix: [u8; MAX_PREFIX],
    prefix_length: usize,
    payload: &'a [u8],
}

/// `["Signature", h'', h'a10127', h'', payload]` up to the head of the payload.
const CONTEXT: [u8; 17] = *b"\x85\x69Signature\x40\x43\xa1\x01\x27\x40";
const MAX_PREFIX: usize = CONTEXT.len() + 3;

impl<'a> SigStructure<'a> {
    /// What is signed when `payload` is signed.
    pub fn new(payload: &'a [u8]) -> Self {
        let mut prefix = [0; MAX_PREFIX];
        let mut prefix_length = 0;
        // A payload longer than a u16 can say is refused by every reader and writer before this.
        let [high, low] = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
        let head: [u8; 3];
        let head = match payload.len() {
            0..=23 => &[0x40 | low][..],
            24..=0xff => &[0x58, low][..],
            _ => {
                head = [0x59, high, low];
                &head[..]
            }
        };
        for (to, from) in prefix.iter_mut().zip(CONTEXT.iter().chain(head)) {
            *to = *from;
            prefix_length += 1;
        }
        SigStructure { prefix, prefix_length, payload }
    }

    /// The parts, to be hashed one after the other.
    pub fn parts(&self) -> [&[u8]; 2] {
        [self.prefix.get(..self.prefix_length).unwrap_or(&self.prefix), self.payload]
    }

    /// The whole message, for a signer that wants it in one piece.
    #[cfg(feature = "alloc")]
    pub fn to_vec(&self) -> alloc::vec::Vec<u8> {
        self.parts().concat()
    }
}
