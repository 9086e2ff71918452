//! The timestamp role (TUF 1.0.34, section 4.6).

use crate::cbor::{DecodeError, Reader};
use crate::role::{Header, Role};
use crate::snapshot::Meta;

/// Which snapshot is the latest, and when that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp<'a> {
    /// The fields every role has.
    pub header: Header<'a>,
    /// When it was signed: seconds since 1970-01-01T00:00:00Z. It gives a device without a clock a signed lower bound.
    pub issued: u64,
    /// The latest snapshot.
    pub snapshot: Meta,
}

const ISSUED: u8 = 6;
const SNAPSHOT: u8 = 7;

impl<'a> Timestamp<'a> {
    /// Reads a timestamp's payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(payload);
        let (mut header, mut map) = Header::decode(reader, Role::Timestamp);
        map.required(reader, ISSUED);
        let issued = reader.uint();
        map.required(reader, SNAPSHOT);
        let snapshot = Meta::decode(reader);
        header.finish(reader, map);
        reader.done(Timestamp { header, issued, snapshot })
    }

    /// Writes a timestamp's payload.
    #[cfg(feature = "alloc")]
    pub fn encode(&self) -> alloc::vec::Vec<u8> {
        let mut writer = crate::cbor::Writer::new();
        self.header.encode(&mut writer, Role::Timestamp, 2);
        writer.key(ISSUED).uint(self.issued);
        writer.key(SNAPSHOT);
        self.snapshot.encode(&mut writer);
        self.header.encode_extensions(&mut writer);
        writer.into_bytes()
    }
}
