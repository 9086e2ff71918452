//! Strict reading. Every refusal names its fault and the offset of the byte at which it was seen.

use core::fmt;
use core::num::NonZeroU32;

/// What is wrong with the bytes. The discriminants are stable: `sealift-verifier` adds them to its error code for
/// malformed input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end before the item does.
    Truncated = 1,
    /// Bytes follow the item.
    TrailingBytes = 2,
    /// An integer or length is not in its shortest form (RFC 8949, section 4.2.1).
    NotShortest = 3,
    /// An item of indefinite length, or a reserved head.
    Indefinite = 4,
    /// An item of another type than the schema asks for.
    WrongType = 5,
    /// Map keys, names or keys that are not strictly ascending: unsorted, or one twice.
    NotAscending = 6,
    /// A field that the schema does not know.
    UnknownField = 7,
    /// A field that the schema requires is missing.
    MissingField = 8,
    /// A count, length or number above its bound.
    TooLarge = 9,
    /// A list that must not be empty is empty.
    Empty = 10,
    /// Text that is not UTF-8, or a name with a character outside `[a-z0-9._-]`.
    BadText = 11,
    /// A value that the schema does not allow in this place.
    BadValue = 12,
    /// A format version this reader does not know.
    UnknownVersion = 13,
    /// Another role than the one expected.
    WrongRole = 14,
}

impl Fault {
    /// Every fault, in the order of its number.
    pub const ALL: [Fault; 14] = [
        Fault::Truncated,
        Fault::TrailingBytes,
        Fault::NotShortest,
        Fault::Indefinite,
        Fault::WrongType,
        Fault::NotAscending,
        Fault::UnknownField,
        Fault::MissingField,
        Fault::TooLarge,
        Fault::Empty,
        Fault::BadText,
        Fault::BadValue,
        Fault::UnknownVersion,
        Fault::WrongRole,
    ];

    /// The fault of a number.
    pub const fn from_number(number: u8) -> Option<Fault> {
        let mut faults = Fault::ALL.as_slice();
        while let [fault, rest @ ..] = faults {
            if *fault as u8 == number {
                return Some(*fault);
            }
            faults = rest;
        }
        None
    }

    /// What is wrong, in a few words.
    pub const fn message(self) -> &'static str {
        match self {
            Fault::Truncated => "the bytes end too early",
            Fault::TrailingBytes => "bytes follow the end",
            Fault::NotShortest => "an integer or length is not in its shortest form",
            Fault::Indefinite => "an item of indefinite length",
            Fault::WrongType => "an item of the wrong type",
            Fault::NotAscending => "keys are not strictly ascending",
            Fault::UnknownField => "a field that this format does not know",
            Fault::MissingField => "a required field is missing",
            Fault::TooLarge => "a count, length or number above its bound",
            Fault::Empty => "a list that must not be empty is empty",
            Fault::BadText => "text that is not a valid name",
            Fault::BadValue => "a value that is not allowed here",
            Fault::UnknownVersion => "a format version that this reader does not know",
            Fault::WrongRole => "another role than the one expected",
        }
    }
}

/// Why bytes were refused, and where.
///
/// One word, never zero: a result without a value is returned in a register, and a device's code for passing refusals on is
/// a third of what two fields would cost.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecodeError(NonZeroU32);

/// Bits of the offset; the fault's number stands above them.
const OFFSET_BITS: u32 = 24;
const OFFSET_MAX: u32 = (1 << OFFSET_BITS) - 1;

impl DecodeError {
    /// A refusal at the byte `offset`, counted from the start of the decoded item. (No item that devices take is longer than
    /// 16 MiB; beyond, the offset stays there.)
    pub const fn new(fault: Fault, offset: usize) -> Self {
        let offset = if offset < OFFSET_MAX as usize { offset as u32 } else { OFFSET_MAX };
        // No fault is 0.
        match NonZeroU32::new((fault as u32) << OFFSET_BITS | offset) {
            Some(word) => DecodeError(word),
            None => DecodeError(NonZeroU32::MAX),
        }
    }

    /// The number of the fault: its discriminant.
    pub const fn number(self) -> u8 {
        (self.0.get() >> OFFSET_BITS) as u8
    }

    /// What is wrong.
    pub const fn fault(self) -> Fault {
        match Fault::from_number(self.number()) {
            Some(fault) => fault,
            None => Fault::BadValue,
        }
    }

    /// Offset in bytes, from the start of the decoded item, at which it was seen.
    pub const fn offset(self) -> usize {
        (self.0.get() & OFFSET_MAX) as usize
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeError").field("fault", &self.fault()).field("offset", &self.offset()).finish()
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.fault().message(), self.offset())
    }
}

impl core::error::Error for DecodeError {}

const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// A cursor over deterministic CBOR, which remembers its first refusal.
///
/// Reads return values alone: after a refusal there is nothing more to read and every further value is zero or empty, so that
/// a decoder reads its fields one after the other and asks once, at its end ([`Reader::done`]), whether they stand. That is a
/// third of the code that a device needs when each read returns a result.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    refused: Option<DecodeError>,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `input`.
    pub const fn new(input: &'a [u8]) -> Self {
        Reader { input, at: 0, refused: None }
    }

    /// Offset of the next byte.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Whether every byte was read, or something was refused.
    pub const fn is_at_end(&self) -> bool {
        self.at >= self.input.len()
    }

    /// The bytes read since `start`, an earlier [`position`](Self::position). Empty after a refusal.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.input.get(start..self.at).unwrap_or(&[])
    }

    /// Refuses what was read, at the present position.
    pub fn refuse(&mut self, fault: Fault) {
        self.refuse_at(fault, self.at);
    }

    /// Refuses what was read, for what was seen at `offset`. The first refusal stands.
    #[inline(never)]
    pub fn refuse_at(&mut self, fault: Fault, offset: usize) {
        if self.refused.is_none() {
            self.refused = Some(DecodeError::new(fault, offset));
            self.input = &[];
        }
    }

    /// Whether something was refused.
    pub const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// `value`, unless something was refused on the way to it.
    pub fn checked<T>(&self, value: T) -> Result<T, DecodeError> {
        match self.refused {
            None => Ok(value),
            Some(error) => Err(error),
        }
    }

    /// `value`, unless something was refused on the way to it or bytes are left.
    pub fn done<T>(&mut self, value: T) -> Result<T, DecodeError> {
        if !self.is_at_end() {
            self.refuse(Fault::TrailingBytes);
        }
        self.checked(value)
    }

    #[inline(never)]
    fn take(&mut self, length: usize) -> &'a [u8] {
        match self.input.get(self.at..).and_then(|rest| rest.get(..length)) {
            Some(taken) => {
                self.at = self.at.saturating_add(length);
                taken
            }
            None => {
                self.refuse(Fault::Truncated);
                &[]
            }
        }
    }

    /// The head of the next item: its major type and argument, in shortest form.
    #[inline(never)]
    fn expect(&mut self, major: u8) -> u64 {
        let start = self.at;
        let &[initial] = self.take(1) else { return 0 };
        let info = initial & 0x1f;
        let argument = match info {
            0..=23 => u64::from(info),
            24..=27 => {
                let bytes = self.take(1 << (info - 24));
                let argument = bytes.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
                // What the next shorter form holds.
                let least = match info {
                    24 => 24,
                    25 => 1 << 8,
                    26 => 1 << 16,
                    _ => 1 << 32,
                };
                if argument < least {
                    self.refuse_at(Fault::NotShortest, start);
                }
                argument
            }
            _ => {
                self.refuse_at(Fault::Indefinite, start);
                0
            }
        };
        if initial >> 5 != major {
            self.refuse_at(Fault::WrongType, start);
        }
        if self.refused.is_none() { argument } else { 0 }
    }

    /// A count or length of the given major type, at most `max`.
    #[inline(never)]
    fn sized(&mut self, major: u8, max: usize) -> usize {
        let start = self.at;
        match usize::try_from(self.expect(major)) {
            Ok(length) if length <= max => length,
            _ => {
                self.refuse_at(Fault::TooLarge, start);
                0
            }
        }
    }

    /// An unsigned integer.
    pub fn uint(&mut self) -> u64 {
        self.expect(UNSIGNED)
    }

    /// An unsigned integer of at most `max`.
    #[inline(never)]
    pub fn uint_up_to(&mut self, max: u32) -> u32 {
        let start = self.at;
        match u32::try_from(self.uint()) {
            Ok(value) if value <= max => value,
            _ => {
                self.refuse_at(Fault::TooLarge, start);
                0
            }
        }
    }

    /// A byte string of at most `max` bytes.
    #[inline(never)]
    pub fn bytes(&mut self, max: usize) -> &'a [u8] {
        let length = self.sized(BYTES, max);
        self.take(length)
    }

    /// A byte string of exactly `N` bytes.
    pub fn byte_array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let start = self.at;
        let bytes = self.bytes(usize::MAX);
        self.copy(bytes, &mut array, start);
        array
    }

    /// Bytes that must be as many as there is room for.
    #[inline(never)]
    fn copy(&mut self, bytes: &[u8], room: &mut [u8], start: usize) {
        if bytes.len() != room.len() {
            self.refuse_at(Fault::BadValue, start);
        }
        room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    }

    /// A text string of at most `max` bytes.
    #[inline(never)]
    pub fn text(&mut self, max: usize) -> &'a str {
        let start = self.at;
        let length = self.sized(TEXT, max);
        match core::str::from_utf8(self.take(length)) {
            Ok(text) => text,
            Err(_) => {
                self.refuse_at(Fault::BadText, start);
                ""
            }
        }
    }

    /// The head of an array of at most `max` items: how many follow.
    pub fn array(&mut self, max: usize) -> usize {
        self.sized(ARRAY, max)
    }

    /// The head of an array of exactly `count` items.
    #[inline(never)]
    pub fn array_of(&mut self, count: usize) {
        let start = self.at;
        if self.sized(ARRAY, usize::MAX) != count {
            self.refuse_at(Fault::BadValue, start);
        }
    }

    /// The tag `number`.
    pub fn tag(&mut self, number: u64) {
        let start = self.at;
        if self.expect(TAG) != number {
            self.refuse_at(Fault::BadValue, start);
        }
    }

    /// The head of a map of at most `max` entries with unsigned keys.
    pub fn map(&mut self, max: usize) -> MapReader {
        MapReader { left: self.sized(MAP, max), last: 0, begun: false, waits: false }
    }

    /// The next `N` bytes as they stand: the content of a string whose head was part of a [`constant`](Self::constant).
    pub fn raw_array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let start = self.at;
        let bytes = self.take(N);
        self.copy(bytes, &mut array, start);
        array
    }

    /// Exactly these bytes: a part of the format that is a constant.
    #[inline(never)]
    pub fn constant(&mut self, expected: &[u8]) {
        let start = self.at;
        if self.take(expected.len()) != expected {
            self.refuse_at(Fault::BadValue, start);
        }
    }
}

/// Reads the keys of a map in their strictly ascending order; the values are read from the [`Reader`] in between.
#[derive(Debug)]
pub struct MapReader {
    left: usize,
    /// The last key read.
    last: u64,
    /// Whether there was one.
    begun: bool,
    /// Whether it waits to be taken.
    waits: bool,
}

impl MapReader {
    /// Whether a key waits: it is read once and remembered until it is taken.
    fn waits(&mut self, reader: &mut Reader<'_>) -> bool {
        if !self.waits && self.left > 0 {
            let start = reader.position();
            let key = reader.uint();
            if self.begun && key <= self.last {
                reader.refuse_at(Fault::NotAscending, start);
            }
            self.left = self.left.saturating_sub(1);
            self.last = key;
            self.begun = true;
            self.waits = true;
        }
        self.waits
    }

    /// Whether the next entry is `key`; if so its value follows in the reader.
    #[inline(never)]
    pub fn optional(&mut self, reader: &mut Reader<'_>, key: u8) -> bool {
        let found = self.waits(reader) && self.last == u64::from(key) && !reader.is_refused();
        self.waits &= !found;
        found
    }

    /// The next entry must be `key`; its value follows in the reader.
    #[inline(never)]
    pub fn required(&mut self, reader: &mut Reader<'_>, key: u8) {
        if !self.optional(reader, key) {
            reader.refuse(Fault::MissingField);
        }
    }

    /// No entry may be left.
    #[inline(never)]
    pub fn finish(mut self, reader: &mut Reader<'_>) {
        if self.waits(reader) {
            reader.refuse(Fault::UnknownField);
        }
    }
}
