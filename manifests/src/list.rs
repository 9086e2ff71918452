//! Lists without an allocator: received bytes that were validated once, or a slice of items that is to be written.

use core::fmt;
use core::marker::PhantomData;

use crate::cbor::{Fault, Reader};

/// Something that can stand in a [`List`].
pub trait Item<'a>: Clone + PartialEq + fmt::Debug {
    /// Reads one item.
    fn decode(reader: &mut Reader<'a>) -> Self;

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

/// Items are for writers, who have an allocator: a device's lists are always received ones.
enum Repr<'a, T> {
    Encoded {
        bytes: &'a [u8],
        count: usize,
        item: PhantomData<T>,
    },
    #[cfg(feature = "alloc")]
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

impl<T> List<'_, T> {
    /// A list of nothing.
    pub const EMPTY: Self = List { repr: Repr::Encoded { bytes: &[], count: 0, item: PhantomData } };
}

impl<'a, T: Item<'a>> List<'a, T> {
    /// A list to be written.
    #[cfg(feature = "alloc")]
    pub const fn new(items: &'a [T]) -> Self {
        List { repr: Repr::Items(items) }
    }

    /// Reads an array of at least `least` and at most `most` items and validates every one of them and their order.
    pub fn decode(reader: &mut Reader<'a>, least: usize, most: usize) -> Self {
        let mut previous: Option<T> = None;
        let (count, bytes) = validate(reader, least, most, &mut |reader| {
            let item = T::decode(reader);
            let ordered = previous.as_ref().is_none_or(|previous| previous.precedes(&item));
            previous = Some(item);
            ordered
        });
        List { repr: Repr::Encoded { bytes, count, item: PhantomData } }
    }

    /// How many items there are.
    pub const fn len(&self) -> usize {
        match self.repr {
            Repr::Encoded { count, .. } => count,
            #[cfg(feature = "alloc")]
            Repr::Items(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let (repr, mut reader) = (self.repr, self.reader());
        (0..self.len()).map_while(move |_index| match repr {
            #[cfg(feature = "alloc")]
            Repr::Items(items) => items.get(_index).cloned(),
            Repr::Encoded { .. } => {
                // Every item decoded once already, from these very bytes.
                let item = T::decode(&mut reader);
                if reader.is_refused() { None } else { Some(item) }
            }
        })
    }

    /// The items, each with its encoded bytes: empty for a list that was not decoded.
    pub fn entries(&self) -> impl Iterator<Item = (T, &'a [u8])> + use<'a, T> {
        let (repr, mut reader) = (self.repr, self.reader());
        (0..self.len()).map_while(move |_index| match repr {
            #[cfg(feature = "alloc")]
            Repr::Items(items) => items.get(_index).map(|item| (item.clone(), &[][..])),
            Repr::Encoded { .. } => {
                let start = reader.position();
                let item = T::decode(&mut reader);
                if reader.is_refused() { None } else { Some((item, reader.since(start))) }
            }
        })
    }

    fn reader(&self) -> Reader<'a> {
        Reader::new(match self.repr {
            Repr::Encoded { bytes, .. } => bytes,
            #[cfg(feature = "alloc")]
            Repr::Items(_) => &[],
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

/// Reads an array whose items `item` reads; it says whether one may follow the last. Compiled once, not once a type.
#[inline(never)]
fn validate<'a>(
    reader: &mut Reader<'a>,
    least: usize,
    most: usize,
    item: &mut dyn FnMut(&mut Reader<'a>) -> bool,
) -> (usize, &'a [u8]) {
    let head = reader.position();
    let count = reader.array(most);
    if count < least {
        reader.refuse_at(Fault::Empty, head);
    }
    let start = reader.position();
    for _ in 0..count {
        let at = reader.position();
        if !item(reader) {
            reader.refuse_at(Fault::NotAscending, at);
        }
        if reader.is_refused() {
            return (0, &[]);
        }
    }
    (count, reader.since(start))
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
    fn decode(reader: &mut Reader<'a>) -> Self {
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
    fn decode(reader: &mut Reader<'a>) -> Self {
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
