//! The targets role, top-level and delegated (TUF 1.0.34, section 4.5).

use crate::bounds::{MAX_DELEGATIONS, MAX_KEYS, MAX_PRODUCTS, MAX_TARGETS};
use crate::cbor::{DecodeError, Fault, Reader};
use crate::key::{Digest, PublicKey, sha256};
use crate::list::{Item, List};
use crate::role::{Header, MAX_FIELDS, Role};
use crate::root::RoleKeys;
use crate::target::Target;

/// Images that may be installed, and products whose images other keys sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets<'a> {
    /// The fields every role has.
    pub header: Header<'a>,
    /// Name of the delegated role; `None` in the top-level file. So a file of one role never passes as another's, though
    /// the same key may sign both.
    pub name: Option<&'a str>,
    /// Every release that is still being rolled out.
    pub targets: List<'a, Target<'a>>,
    /// The keys of the delegations below, sorted, none twice.
    pub keys: List<'a, PublicKey>,
    /// Delegations, sorted by name. A delegated file has none: the device encoding is one level deep.
    pub delegations: List<'a, Delegation<'a>>,
}

/// Products whose targets a role of other keys signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delegation<'a> {
    /// Name of the delegated role.
    pub name: &'a str,
    /// Its keys and threshold; the indexes go into the delegating file's list of keys.
    pub keys: RoleKeys<'a>,
    /// The exact product ids it may sign for, sorted.
    pub products: List<'a, &'a str>,
    /// The highest security counter its targets may carry; root's own ceiling holds besides.
    pub counter_ceiling: u64,
}

const NAME: u8 = 6;
const TARGETS: u8 = 7;
const KEYS: u8 = 8;
const DELEGATIONS: u8 = 9;

const DELEGATION_NAME: u8 = 1;
const DELEGATION_KEYS: u8 = 2;
const DELEGATION_PRODUCTS: u8 = 3;
const DELEGATION_CEILING: u8 = 4;

impl<'a> Targets<'a> {
    /// The target whose encoded entry has this SHA-256: a job names it so. Only for decoded files.
    pub fn find(&self, digest: &Digest) -> Option<Target<'a>> {
        let mut entries = self.targets.entries().filter(|(_, encoded)| !encoded.is_empty());
        entries.find(|(_, encoded)| sha256(encoded) == *digest).map(|(target, _)| target)
    }

    /// The delegations that name `product`.
    pub fn delegations_of<'p>(&self, product: &'p str) -> impl Iterator<Item = Delegation<'a>> + use<'a, 'p> {
        self.delegations.iter().filter(move |delegation| delegation.products.iter().any(|listed| listed == product))
    }

    /// Reads a targets payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(payload);
        let (mut header, mut map) = Header::decode(reader, Role::Targets);
        let name = if map.optional(reader, NAME) { Some(crate::name::decode_role(reader)) } else { None };
        let mut targets = List::EMPTY;
        if map.optional(reader, TARGETS) {
            targets = List::decode(reader, 1, MAX_TARGETS);
        }
        let (mut keys, mut delegations) = (List::EMPTY, List::EMPTY);
        if map.optional(reader, KEYS) {
            if name.is_some() {
                reader.refuse(Fault::UnknownField);
            }
            keys = List::decode(reader, 1, MAX_KEYS);
            map.required(reader, DELEGATIONS);
            let at = reader.position();
            delegations = List::<Delegation<'_>>::decode(reader, 1, MAX_DELEGATIONS);
            let known = |index: u64| index < keys.len() as u64;
            if !delegations.iter().all(|delegation| delegation.keys.keys.iter().all(known)) {
                reader.refuse_at(Fault::BadValue, at);
            }
        }
        header.finish(reader, map);
        reader.done(Targets { header, name, targets, keys, delegations })
    }

    /// Writes a targets payload.
    #[cfg(feature = "alloc")]
    pub fn encode(&self) -> alloc::vec::Vec<u8> {
        let delegates = !self.delegations.is_empty();
        let own = usize::from(self.name.is_some()) + usize::from(!self.targets.is_empty()) + 2 * usize::from(delegates);
        let mut writer = crate::cbor::Writer::new();
        self.header.encode(&mut writer, Role::Targets, own);
        if let Some(name) = self.name {
            writer.key(NAME).text(name);
        }
        if !self.targets.is_empty() {
            writer.key(TARGETS);
            self.targets.encode(&mut writer);
        }
        if delegates {
            writer.key(KEYS);
            self.keys.encode(&mut writer);
            writer.key(DELEGATIONS);
            self.delegations.encode(&mut writer);
        }
        self.header.encode_extensions(&mut writer);
        writer.into_bytes()
    }
}

impl<'a> Item<'a> for Delegation<'a> {
    fn decode(reader: &mut Reader<'a>) -> Self {
        let mut map = reader.map(MAX_FIELDS);
        map.required(reader, DELEGATION_NAME);
        let name = crate::name::decode_role(reader);
        map.required(reader, DELEGATION_KEYS);
        // Bounded here by what a file may list; `Targets::decode` holds it to what this file lists.
        let keys = RoleKeys::decode(reader, MAX_KEYS);
        map.required(reader, DELEGATION_PRODUCTS);
        let products = List::decode(reader, 1, MAX_PRODUCTS);
        map.required(reader, DELEGATION_CEILING);
        let counter_ceiling = reader.uint();
        map.finish(reader);
        Delegation { name, keys, products, counter_ceiling }
    }
    fn precedes(&self, next: &Self) -> bool {
        self.name < next.name
    }
    #[cfg(feature = "alloc")]
    fn encode(&self, writer: &mut crate::cbor::Writer) {
        writer.map(4).key(DELEGATION_NAME).text(self.name);
        writer.key(DELEGATION_KEYS);
        self.keys.encode(writer);
        writer.key(DELEGATION_PRODUCTS);
        self.products.encode(writer);
        writer.key(DELEGATION_CEILING).uint(self.counter_ceiling);
    }
}
