//! The bytes of a record log: what stands at the start of a half, and what an entry looks like.
//!
//! | at | bytes | |
//! |---|---:|---|
//! | a half's start | 4 | magic |
//! | | 8 | generation |
//! | | 4 | first bytes of SHA-256 over both |
//! | an entry's start | 1 | key |
//! | | 2 | length of the value; 65,535: it was lost to rot; 65,534: it was removed |
//! | | 1 | zero |
//! | | 4 | first bytes of SHA-256 over generation, offset in the half and the four bytes before |
//! | | length | value |
//! | | 8 | first bytes of SHA-256 over the same, and the value |
//!
//! Generation and offset are in the checksums so that nothing of an earlier log, of which an erasure left something, is
//! taken for an entry of this one. Both halves of a generation have the same bytes at the same offsets.

use sha2::{Digest, Sha256};

const MAGIC: [u8; 4] = *b"SLR1";
/// Bytes of a half's start.
pub(super) const START: usize = 16;
/// Bytes before an entry's value.
pub(super) const HEAD: usize = 8;
/// Bytes behind an entry's value.
pub(super) const SEAL: usize = 8;
/// The length that says that a value was lost.
const LOST: u16 = u16::MAX;
/// The length that says that a value was removed.
const REMOVED: u16 = u16::MAX - 1;

/// The start of a half of this generation.
pub(super) fn start(generation: u64) -> [u8; START] {
    let number = generation.to_be_bytes();
    let sum: [u8; 32] = Sha256::new().chain_update(MAGIC).chain_update(number).finalize().into();
    let mut bytes = [0xff; START];
    let fields = MAGIC.iter().chain(&number).chain(&sum);
    bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = *from);
    bytes
}

/// The generation that a half's start names, if it is whole.
pub(super) fn generation(bytes: &[u8; START]) -> Option<u64> {
    let [_, _, _, _, number @ .., _, _, _, _] = bytes;
    let number = u64::from_be_bytes(*number);
    (start(number) == *bytes).then_some(number)
}

/// What an entry says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) key: u8,
    length: u16,
}

impl Head {
    /// Of a value; `None` when it is too long for an entry.
    pub(super) const fn of_value(key: u8, value: usize) -> Option<Self> {
        // The bound makes the cast exact.
        if value < REMOVED as usize { Some(Head { key, length: value as u16 }) } else { None }
    }

    /// Of a value that can't be read any more: so that an older one never comes back in its place.
    pub(super) const fn of_lost(key: u8) -> Self {
        Head { key, length: LOST }
    }

    /// Of nothing: the value is gone.
    pub(super) const fn of_removed(key: u8) -> Self {
        Head { key, length: REMOVED }
    }

    pub(super) const fn is_lost(self) -> bool {
        self.length == LOST
    }

    pub(super) const fn is_removed(self) -> bool {
        self.length == REMOVED
    }

    /// Bytes of the value.
    pub(super) const fn value(self) -> usize {
        if self.is_lost() || self.is_removed() { 0 } else { self.length as usize }
    }

    /// Bytes of the whole entry on a flash that writes words of this size.
    pub(super) const fn entry(self, word: usize) -> usize {
        // At most 65,551 and a word: no overflow.
        (HEAD + self.value() + SEAL).next_multiple_of(word)
    }

    fn fields(self) -> [u8; 4] {
        let [high, low] = self.length.to_be_bytes();
        [self.key, high, low, 0]
    }

    /// The hash that goes on over the value to the seal.
    pub(super) fn hash(self, generation: u64, at: u32) -> Sha256 {
        let place = Sha256::new().chain_update(generation.to_be_bytes()).chain_update(at.to_be_bytes());
        place.chain_update(self.fields())
    }

    pub(super) fn encode(self, generation: u64, at: u32) -> [u8; HEAD] {
        let sum: [u8; 32] = self.hash(generation, at).finalize().into();
        let ([a, b, c, d], [e, f, g, h, ..]) = (self.fields(), sum);
        [a, b, c, d, e, f, g, h]
    }

    /// Reads the head of an entry that stands at `at` in a half of this generation.
    pub(super) fn decode(bytes: &[u8; HEAD], generation: u64, at: u32) -> Option<Self> {
        let [key, high, low, ..] = *bytes;
        let head = Head { key, length: u16::from_be_bytes([high, low]) };
        (head.encode(generation, at) == *bytes).then_some(head)
    }
}

/// An entry's seal.
pub(super) fn seal(hash: Sha256) -> [u8; SEAL] {
    let sum: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = sum;
    [a, b, c, d, e, f, g, h]
}
