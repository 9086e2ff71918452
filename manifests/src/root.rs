//! The root role (TUF 1.0.34, section 4.3).

use crate::bounds::{MAX_KEYS, MAX_ROLE_KEYS};
use crate::cbor::{DecodeError, Fault, Reader};
use crate::key::PublicKey;
use crate::list::List;
use crate::role::{Header, Role};

/// The keys of every top-level role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root<'a> {
    /// The fields every role has.
    pub header: Header<'a>,
    /// Every key that a role below names, sorted, none twice.
    pub keys: List<'a, PublicKey>,
    /// Keys and threshold of root, timestamp, snapshot and targets, in the order of [`Role::ALL`].
    pub roles: [RoleKeys<'a>; 4],
    /// The highest security counter that any target of this repository may carry.
    pub counter_ceiling: u64,
}

/// Which keys sign a role, and how many of them it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleKeys<'a> {
    /// How many distinct keys must sign. The format allows any number; the verifier refuses 0 and more than there are keys.
    pub threshold: u64,
    /// Ascending indexes into the file's list of keys.
    pub keys: List<'a, u64>,
}

const KEYS: u8 = 6;
const ROLES: u8 = 7;
const COUNTER_CEILING: u8 = 8;

impl<'a> Root<'a> {
    /// Keys and threshold of `role`.
    pub fn role(&self, role: Role) -> &RoleKeys<'a> {
        let [root, timestamp, snapshot, targets] = &self.roles;
        match role {
            Role::Root => root,
            Role::Timestamp => timestamp,
            Role::Snapshot => snapshot,
            Role::Targets => targets,
        }
    }

    /// Reads a root's payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(payload);
        let (mut header, mut map) = Header::decode(reader, Role::Root);
        map.required(reader, KEYS);
        let keys = List::decode(reader, 1, MAX_KEYS);
        map.required(reader, ROLES);
        let mut roles = reader.map(Role::ALL.len());
        let role_keys = Role::ALL.map(|role| {
            roles.required(reader, role as u8);
            RoleKeys::decode(reader, keys.len())
        });
        roles.finish(reader);
        map.required(reader, COUNTER_CEILING);
        let counter_ceiling = reader.uint();
        header.finish(reader, map);
        reader.done(Root { header, keys, roles: role_keys, counter_ceiling })
    }

    /// Writes a root's payload.
    #[cfg(feature = "alloc")]
    pub fn encode(&self) -> alloc::vec::Vec<u8> {
        let mut writer = crate::cbor::Writer::new();
        self.header.encode(&mut writer, Role::Root, 3);
        writer.key(KEYS);
        self.keys.encode(&mut writer);
        writer.key(ROLES).map(Role::ALL.len());
        for (role, keys) in Role::ALL.iter().zip(&self.roles) {
            writer.uint(*role as u64);
            keys.encode(&mut writer);
        }
        writer.key(COUNTER_CEILING).uint(self.counter_ceiling);
        self.header.encode_extensions(&mut writer);
        writer.into_bytes()
    }
}

impl<'a> RoleKeys<'a> {
    /// The keys themselves, out of the file's list.
    pub fn resolve(&self, keys: List<'a, PublicKey>) -> impl Iterator<Item = PublicKey> + use<'a> {
        let own = self.keys;
        (0..own.len()).filter_map(move |index| RoleKeys::key(own, keys, index))
    }

    /// One of them. Out of line: each loop over a role's keys would hold two readers.
    #[inline(never)]
    fn key(own: List<'a, u64>, keys: List<'a, PublicKey>, index: usize) -> Option<PublicKey> {
        keys.nth(usize::try_from(own.nth(index)?).ok()?)
    }

    /// Reads keys and threshold; every index is below `key_count`.
    pub(crate) fn decode(reader: &mut Reader<'a>, key_count: usize) -> Self {
        reader.array_of(2);
        let threshold = reader.uint();
        let at = reader.position();
        let keys = List::<u64>::decode(reader, 1, MAX_ROLE_KEYS);
        if keys.iter().any(|index| index >= key_count as u64) {
            reader.refuse_at(Fault::BadValue, at);
        }
        RoleKeys { threshold, keys }
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn encode(&self, writer: &mut crate::cbor::Writer) {
        writer.array(2).uint(self.threshold);
        self.keys.encode(writer);
    }
}
