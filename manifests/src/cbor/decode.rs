//! Strict reading. Every refusal names its fault and the offset of the byte at which it was seen.

use core::fmt;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecodeError {
    /// What is wrong.
    pub fault: Fault,
    /// Offset in bytes, from the start of the decoded item, at which it was seen.
    pub offset: usize,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.fault.message(), self.offset)
    }
}

impl core::error::Error for DecodeError {}

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// A cursor over deterministic CBOR.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `input`.
    pub const fn new(input: &'a [u8]) -> Self {
        Reader { input, at: 0 }
    }

    /// Offset of the next byte.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Whether every byte was read.
    pub const fn is_at_end(&self) -> bool {
        self.at >= self.input.len()
    }

    /// The bytes read since `start`, an earlier [`position`](Self::position).
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.input.get(start..self.at).unwrap_or(&[])
    }

    /// An error at the present position.
    pub const fn error(&self, fault: Fault) -> DecodeError {
        DecodeError { fault, offset: self.at }
    }

    /// Succeeds when every byte was read.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.is_at_end() { Ok(()) } else { Err(self.error(Fault::TrailingBytes)) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(length).ok_or(self.error(Fault::Truncated))?;
        let taken = self.input.get(self.at..end).ok_or(self.error(Fault::Truncated))?;
        self.at = end;
        Ok(taken)
    }

    /// The head of the next item: its major type and argument, in shortest form.
    fn head(&mut self) -> Result<(u8, u64), DecodeError> {
        let start = self.at;
        let refuse = |fault| DecodeError { fault, offset: start };
        let initial = *self.take(1)?.first().ok_or(refuse(Fault::Truncated))?;
        let (major, info) = (initial >> 5, initial & 0x1f);
        let extra = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return Err(refuse(Fault::Indefinite)),
        };
        let argument = self.take(extra)?.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        let least = match extra {
            1 => 24,
            2 => 1 << 8,
            4 => 1 << 16,
            _ => 1 << 32,
        };
        if argument < least { Err(refuse(Fault::NotShortest)) } else { Ok((major, argument)) }
    }

    fn expect(&mut self, major: u8) -> Result<u64, DecodeError> {
        let start = self.at;
        match self.head()? {
            (found, argument) if found == major => Ok(argument),
            _ => Err(DecodeError { fault: Fault::WrongType, offset: start }),
        }
    }

    /// A count or length of the given major type, at most `max`.
    fn sized(&mut self, major: u8, max: usize) -> Result<usize, DecodeError> {
        let start = self.at;
        let argument = self.expect(major)?;
        match usize::try_from(argument) {
            Ok(length) if length <= max => Ok(length),
            _ => Err(DecodeError { fault: Fault::TooLarge, offset: start }),
        }
    }

    /// An unsigned integer.
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        self.expect(UNSIGNED)
    }

    /// An unsigned integer of at most `max`.
    pub fn uint_up_to(&mut self, max: u64) -> Result<u64, DecodeError> {
        let start = self.at;
        let value = self.uint()?;
        if value <= max { Ok(value) } else { Err(DecodeError { fault: Fault::TooLarge, offset: start }) }
    }

    /// The negative integer `-1 - n`, given as `n`.
    pub fn negative(&mut self) -> Result<u64, DecodeError> {
        self.expect(NEGATIVE)
    }

    /// A byte string of at most `max` bytes.
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let length = self.sized(BYTES, max)?;
        self.take(length)
    }

    /// A byte string of exactly `N` bytes.
    pub fn byte_array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let start = self.at;
        let bytes = self.bytes(usize::MAX)?;
        bytes.try_into().map_err(|_| DecodeError { fault: Fault::BadValue, offset: start })
    }

    /// A text string of at most `max` bytes.
    pub fn text(&mut self, max: usize) -> Result<&'a str, DecodeError> {
        let start = self.at;
        let length = self.sized(TEXT, max)?;
        core::str::from_utf8(self.take(length)?).map_err(|_| DecodeError { fault: Fault::BadText, offset: start })
    }

    /// The head of an array of at most `max` items: how many follow.
    pub fn array(&mut self, max: usize) -> Result<usize, DecodeError> {
        self.sized(ARRAY, max)
    }

    /// The head of an array of exactly `count` items.
    pub fn array_of(&mut self, count: usize) -> Result<(), DecodeError> {
        let start = self.at;
        if self.sized(ARRAY, usize::MAX)? == count {
            Ok(())
        } else {
            Err(DecodeError { fault: Fault::BadValue, offset: start })
        }
    }

    /// The tag `number`.
    pub fn tag(&mut self, number: u64) -> Result<(), DecodeError> {
        let start = self.at;
        if self.expect(TAG)? == number { Ok(()) } else { Err(DecodeError { fault: Fault::BadValue, offset: start }) }
    }

    /// The head of a map of at most `max` entries with unsigned keys.
    pub fn map(&mut self, max: usize) -> Result<MapReader, DecodeError> {
        Ok(MapReader { left: self.sized(MAP, max)?, next: None, last: None })
    }

    /// The next `N` bytes as they stand: the content of a string whose head was part of a [`constant`](Self::constant).
    pub fn raw_array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| DecodeError { fault: Fault::Truncated, offset: at })
    }

    /// Exactly these bytes: a part of the format that is a constant.
    pub fn constant(&mut self, expected: &[u8]) -> Result<(), DecodeError> {
        let start = self.at;
        if self.take(expected.len())? == expected {
            Ok(())
        } else {
            Err(DecodeError { fault: Fault::BadValue, offset: start })
        }
    }
}

/// Reads the keys of a map in their strictly ascending order; the values are read from the [`Reader`] in between.
#[derive(Debug)]
pub struct MapReader {
    left: usize,
    next: Option<u64>,
    last: Option<u64>,
}

impl MapReader {
    /// The next key, read once and remembered until it is taken.
    fn peek(&mut self, reader: &mut Reader<'_>) -> Result<Option<u64>, DecodeError> {
        if self.next.is_none() && self.left > 0 {
            let start = reader.position();
            let key = reader.uint()?;
            if self.last.is_some_and(|last| key <= last) {
                return Err(DecodeError { fault: Fault::NotAscending, offset: start });
            }
            self.left -= 1;
            self.last = Some(key);
            self.next = Some(key);
        }
        Ok(self.next)
    }

    /// The next key of a map whose keys are data, or `None` at its end.
    pub fn key(&mut self, reader: &mut Reader<'_>) -> Result<Option<u64>, DecodeError> {
        let key = self.peek(reader)?;
        self.next = None;
        Ok(key)
    }

    /// Whether the next entry is `key`; if so its value follows in the reader.
    pub fn optional(&mut self, reader: &mut Reader<'_>, key: u64) -> Result<bool, DecodeError> {
        let found = self.peek(reader)? == Some(key);
        if found {
            self.next = None;
        }
        Ok(found)
    }

    /// The next entry must be `key`; its value follows in the reader.
    pub fn required(&mut self, reader: &mut Reader<'_>, key: u64) -> Result<(), DecodeError> {
        if self.optional(reader, key)? { Ok(()) } else { Err(reader.error(Fault::MissingField)) }
    }

    /// No entry may be left.
    pub fn finish(mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        match self.peek(reader)? {
            None => Ok(()),
            Some(_) => Err(reader.error(Fault::UnknownField)),
        }
    }
}
