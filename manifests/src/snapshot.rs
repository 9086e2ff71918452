//! The snapshot role (TUF 1.0.34, section 4.4).

use crate::bounds::{MAX_DELEGATIONS, MAX_ENVELOPE};
use crate::cbor::{DecodeError, Fault, Reader};
use crate::key::{Digest, sha256};
use crate::list::{Item, List};
use crate::role::{Header, Role};

/// Pins the top-level targets file and every delegated one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot<'a> {
    /// The fields every role has.
    pub header: Header<'a>,
    /// The top-level targets file.
    pub targets: Meta,
    /// The delegated targets files, sorted by role name.
    pub delegated: List<'a, DelegatedMeta<'a>>,
}

/// Version, length and hash of a whole file, its envelope and signatures included (TUF's METAPATH, section 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Version of the role in the file.
    pub version: u64,
    /// Length of the file in bytes.
    pub length: u32,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// A delegated targets file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelegatedMeta<'a> {
    /// Name of the delegated role.
    pub name: &'a str,
    /// Its file.
    pub meta: Meta,
}

const TARGETS: u8 = 6;
const DELEGATED: u8 = 7;

impl<'a> Snapshot<'a> {
    /// The file of the delegated role `name`.
    pub fn delegated(&self, name: &str) -> Option<Meta> {
        self.delegated.iter().find(|entry| entry.name == name).map(|entry| entry.meta)
    }

    /// Reads a snapshot's payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(payload);
        let (mut header, mut map) = Header::decode(reader, Role::Snapshot);
        map.required(reader, TARGETS);
        let targets = Meta::decode(reader);
        let mut delegated = List::EMPTY;
        if map.optional(reader, DELEGATED) {
            delegated = List::decode(reader, 1, MAX_DELEGATIONS);
        }
        header.finish(reader, map);
        reader.done(Snapshot { header, targets, delegated })
    }

    /// Writes a snapshot's payload.
    #[cfg(feature = "alloc")]
    pub fn encode(&self) -> alloc::vec::Vec<u8> {
        let mut writer = crate::cbor::Writer::new();
        self.header.encode(&mut writer, Role::Snapshot, 1 + usize::from(!self.delegated.is_empty()));
        writer.key(TARGETS);
        self.targets.encode(&mut writer);
        if !self.delegated.is_empty() {
            writer.key(DELEGATED);
            self.delegated.encode(&mut writer);
        }
        self.header.encode_extensions(&mut writer);
        writer.into_bytes()
    }
}

impl Meta {
    /// What pins `file`, whose role has this `version`. `None` for a file no reader would accept.
    pub fn of(version: u64, file: &[u8]) -> Option<Self> {
        let length = u32::try_from(file.len()).ok().filter(|_| file.len() <= MAX_ENVELOPE)?;
        Some(Meta { version, length, digest: sha256(file) })
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Self {
        reader.array_of(3);
        let version = reader.uint();
        if version == 0 {
            reader.refuse(Fault::BadValue);
        }
        let length = reader.uint_up_to(MAX_ENVELOPE as u32);
        if length == 0 {
            reader.refuse(Fault::BadValue);
        }
        Meta { version, length, digest: Digest::decode(reader) }
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn encode(&self, writer: &mut crate::cbor::Writer) {
        writer.array(3).uint(self.version).uint(self.length.into()).bytes(&self.digest.0);
    }
}

impl<'a> Item<'a> for DelegatedMeta<'a> {
    fn decode(reader: &mut Reader<'a>) -> Self {
        reader.array_of(2);
        DelegatedMeta { name: crate::name::decode_role(reader), meta: Meta::decode(reader) }
    }
    fn precedes(&self, next: &Self) -> bool {
        self.name < next.name
    }
    #[cfg(feature = "alloc")]
    fn encode(&self, writer: &mut crate::cbor::Writer) {
        writer.array(2).text(self.name);
        self.meta.encode(writer);
    }
}
