//! What every role carries: which role it is, the format, the repository, the version and the expiry.

use core::fmt;

use crate::cbor::{DecodeError, Fault, MapReader, Reader};
use crate::extension::Extensions;

/// TUF's four top-level roles (specification 1.0.34, section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Names the keys of every top-level role.
    Root = 1,
    /// Says which snapshot is the latest.
    Timestamp = 2,
    /// Pins the version, length and hash of every targets file.
    Snapshot = 3,
    /// Describes images, or delegates products to other keys.
    Targets = 4,
}

impl Role {
    /// The four roles in the order of their numbers.
    pub const ALL: [Role; 4] = [Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets];

    /// TUF's name of the role.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Root => "root",
            Role::Timestamp => "timestamp",
            Role::Snapshot => "snapshot",
            Role::Targets => "targets",
        }
    }

    /// The role of a number.
    pub fn from_number(number: u64) -> Option<Role> {
        Role::ALL.into_iter().find(|role| *role as u64 == number)
    }

    /// Which role a payload says it is, before anything about it is known. To route bytes, not to trust them.
    pub fn peek(payload: &[u8]) -> Result<Role, DecodeError> {
        let mut reader = Reader::new(payload);
        let mut map = reader.map(MAX_FIELDS);
        map.required(&mut reader, ROLE);
        let number = reader.uint();
        let role = Role::from_number(number);
        if role.is_none() {
            reader.refuse(Fault::BadValue);
        }
        // A role that is none was refused.
        reader.checked(role.unwrap_or(Role::Root))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of a repository: random bytes, made once, signed into every root, provisioned in every device, repeated in
/// every role. Nothing that is signed for one fleet is valid in another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RepositoryId(pub [u8; 16]);

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The fields that all four roles share (keys 1 to 5, and the extensions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The repository this file belongs to.
    pub repository: RepositoryId,
    /// Version of this role's file; counts up from 1.
    pub version: u64,
    /// From when on the file is expired: seconds since 1970-01-01T00:00:00Z.
    pub expires: u64,
    /// Extensions that a reader must understand or refuse the file.
    pub critical: Extensions<'a>,
    /// Extensions that a reader may ignore.
    pub extensions: Extensions<'a>,
}

const ROLE: u8 = 1;
const FORMAT: u8 = 2;
const REPOSITORY: u8 = 3;
const VERSION: u8 = 4;
const EXPIRES: u8 = 5;
/// Key of the critical extensions, in roles and targets alike: the last keys that take one byte.
pub(crate) const CRITICAL: u8 = 22;
/// Key of the ignorable extensions.
pub(crate) const EXTENSIONS: u8 = 23;
/// No map of the format has more entries.
pub(crate) const MAX_FIELDS: usize = 12;

impl<'a> Header<'a> {
    /// A header without extensions.
    pub const fn new(repository: RepositoryId, version: u64, expires: u64) -> Self {
        Header { repository, version, expires, critical: Extensions::NONE, extensions: Extensions::NONE }
    }

    /// Reads the head of a role's map; its own fields follow, and [`Header::finish`] ends it.
    pub(crate) fn decode(reader: &mut Reader<'a>, role: Role) -> (Self, MapReader) {
        let mut map = reader.map(MAX_FIELDS);
        map.required(reader, ROLE);
        if reader.uint() != role as u64 {
            reader.refuse(Fault::WrongRole);
        }
        map.required(reader, FORMAT);
        if reader.uint() != crate::FORMAT_VERSION {
            reader.refuse(Fault::UnknownVersion);
        }
        map.required(reader, REPOSITORY);
        let repository = RepositoryId(reader.byte_array());
        map.required(reader, VERSION);
        let version = reader.uint();
        if version == 0 {
            reader.refuse(Fault::BadValue);
        }
        map.required(reader, EXPIRES);
        let expires = reader.uint();
        (Header::new(repository, version, expires), map)
    }

    /// Reads the extensions that end a role's map, and its end.
    pub(crate) fn finish(&mut self, reader: &mut Reader<'a>, map: MapReader) {
        (self.critical, self.extensions) = Extensions::decode_both(reader, map);
    }

    /// Writes the head of a role's map that has `own` fields besides header and extensions.
    #[cfg(feature = "alloc")]
    pub(crate) fn encode(&self, writer: &mut crate::cbor::Writer, role: Role, own: usize) {
        writer.map(5 + own + self.critical.fields() + self.extensions.fields());
        writer.key(ROLE).uint(role as u64);
        writer.key(FORMAT).uint(crate::FORMAT_VERSION);
        writer.key(REPOSITORY).bytes(&self.repository.0);
        writer.key(VERSION).uint(self.version);
        writer.key(EXPIRES).uint(self.expires);
    }

    /// Writes the extensions that end a role's map.
    #[cfg(feature = "alloc")]
    pub(crate) fn encode_extensions(&self, writer: &mut crate::cbor::Writer) {
        Extensions::encode_both(&self.critical, &self.extensions, writer);
    }
}
