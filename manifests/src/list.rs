//! Lists without an allocator: received bytes that were validated once, or a slice of items that is to be written.

use core::fmt;

use crate::cbor::{DecodeError, Fault, Reader};

/// Something that can stand in a [`List`].
pub trait Item<'a>: Clone + PartialEq + fmt::Debug {
    /// Reads one item.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError>;

    /// Whether `next` may follow `self` in a list: sorted lists return `self < next`, so that none is listed twice.
    fn precedes(&self, next: &Self) -> bool {
        let _ = next;
        true
    }

    /// Writes one item.
    #[cfg(feature = "alloc")]
    fn encode(&self, writer: &mut crate::cbor::Writer);
}

/// An ordered list of items. Decoded lists borrow the received bytes and decode each item anew as it is asked for: they
/// were validated as a whole when they were read, and only this module can make one.
pub struct List<'a, T> {
    repr: Repr<'a, T>,
}

enum Repr<'a, T> {
    Encoded { bytes: &'a [u8], count: usize },
    Items(&'a [T]),
}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for List<'_, T> {}
impl<T> Clone for Repr<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Repr<'_, T> {}

impl<'a, T: Item<'a>> List<'a, T> {
    /// A list to be written.
    pub const fn new(items: &'a [T]) -> Self {
        List { repr: Repr::Items(items) }
    }

    /// Reads an array of at least `least` and at most `most` items and validates every one of them and their order.
    pub fn decode(reader: &mut Reader<'a>, least: usize, most: usize) -> Result<Self, DecodeError> {
        let head = reader.position();
        let count = reader.array(most)?;
        if count < least {
            return Err(DecodeError { fault: Fault::Empty, offset: head });
        }
        let start = reader.position();
        let mut previous: Option<T> = None;
        for _ in 0..count {
            let at = reader.position();
            let item = T::decode(reader)?;
            if previous.is_some_and(|previous| !previous.precedes(&item)) {
                return Err(DecodeError { fault: Fault::NotAscending, offset: at });
            }
            previous = Some(item);
        }
        Ok(List { repr: Repr::Encoded { bytes: reader.since(start), count } })
    }

    /// How many items there are.
    pub const fn len(&self) -> usize {
        match self.repr {
            Repr::Encoded { count, .. } => count,
            Repr::Items(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        self.entries().map(|(item, _)| item)
    }

    /// The items, each with its encoded bytes: empty for a list that was not decoded.
    pub fn entries(&self) -> impl Iterator<Item = (T, &'a [u8])> + use<'a, T> {
        let repr = self.repr;
        let mut reader = Reader::new(match repr {
            Repr::Encoded { bytes, .. } => bytes,
            Repr::Items(_) => &[],
        });
        (0..self.len()).map_while(move |index| match repr {
            Repr::Items(items) => items.get(index).map(|item| (item.clone(), &[][..])),
            Repr::Encoded { .. } => {
                let start = reader.position();
                // Every item decoded once already, from these very bytes.
                T::decode(&mut reader).ok().map(|item| (item, reader.since(start)))
            }
        })
    }

    /// The item at `index`.
    pub fn nth(&self, index: usize) -> Option<T> {
        self.iter().nth(index)
    }

    /// Writes the array.
    #[cfg(feature = "alloc")]
    pub fn encode(&self, writer: &mut crate::cbor::Writer) {
        writer.array(self.len());
        self.iter().for_each(|item| item.encode(writer));
    }
}

impl<'a, T: Item<'a>> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, T: Item<'a>> Eq for List<'a, T> {}

impl<'a, T: Item<'a>> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Item<'a> for u64 {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.uint()
    }
    fn precedes(&self, next: &Self) -> bool {
        self < next
    }
    #[cfg(feature = "alloc")]
    fn encode(&self, writer: &mut crate::cbor::Writer) {
        writer.uint(*self);
    }
}

/// A name (see [`crate::is_name`]); lists of names are sorted.
impl<'a> Item<'a> for &'a str {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        crate::name::decode(reader)
    }
    fn precedes(&self, next: &Self) -> bool {
        self < next
    }
    #[cfg(feature = "alloc")]
    fn encode(&self, writer: &mut crate::cbor::Writer) {
        writer.text(self);
    }
}
