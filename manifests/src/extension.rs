//! Extensions: numbered byte strings that later versions of the format may add. Critical ones are understood or the file
//! is refused; ignorable ones are kept, byte for byte.

use crate::bounds::{MAX_EXTENSION_VALUE, MAX_EXTENSIONS};
use crate::cbor::{MapReader, Reader};
use crate::list::{Item, List};
use crate::role::{CRITICAL, EXTENSIONS};

/// One kind of extensions of a role or target, by ascending number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions<'a>(List<'a, (u64, &'a [u8])>);

impl<'a> Item<'a> for (u64, &'a [u8]) {
    fn decode(reader: &mut Reader<'a>) -> Self {
        reader.array_of(2);
        (reader.uint(), reader.bytes(MAX_EXTENSION_VALUE))
    }
    fn precedes(&self, next: &Self) -> bool {
        self.0 < next.0
    }
    #[cfg(feature = "alloc")]
    fn encode(&self, writer: &mut crate::cbor::Writer) {
        writer.array(2).uint(self.0).bytes(self.1);
    }
}

impl<'a> Extensions<'a> {
    /// No extension.
    pub const NONE: Extensions<'static> = Extensions(List::EMPTY);

    /// Extensions to be written: number and value, by ascending number.
    #[cfg(feature = "alloc")]
    pub const fn new(items: &'a [(u64, &'a [u8])]) -> Self {
        Extensions(List::new(items))
    }

    /// Number and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        self.0.iter()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the two kinds, which are the last fields of their map, and the end of the map.
    pub(crate) fn decode_both(reader: &mut Reader<'a>, mut map: MapReader) -> (Self, Self) {
        let mut kinds = [Extensions::NONE; 2];
        for (kind, key) in kinds.iter_mut().zip([CRITICAL, EXTENSIONS]) {
            if map.optional(reader, key) {
                *kind = Extensions(List::decode(reader, 1, MAX_EXTENSIONS));
            }
        }
        map.finish(reader);
        let [critical, ignorable] = kinds;
        (critical, ignorable)
    }

    /// How many map entries these take: an empty kind is left out.
    #[cfg(feature = "alloc")]
    pub(crate) fn fields(&self) -> usize {
        usize::from(!self.is_empty())
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn encode_both(critical: &Self, ignorable: &Self, writer: &mut crate::cbor::Writer) {
        for (kind, key) in [(critical, CRITICAL), (ignorable, EXTENSIONS)] {
            if !kind.is_empty() {
                writer.key(key);
                kind.0.encode(writer);
            }
        }
    }
}
