//! Bit readers: zstd writes entropy-coded data to be read backwards, and table descriptions to be read forwards.

use super::Corrupt;

/// Reads bits from the end of a buffer towards its start (RFC 8878 section 4.1.1 and 4.2.2).
#[derive(Clone, Copy)]
pub(super) struct Backward<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Backward<'a> {
    /// The highest set bit of the last byte marks the start and is no data.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        match bytes.split_last() {
            Some((&last, rest)) if last != 0 => {
                Ok(Self { bytes, left: rest.len().saturating_mul(8) + last.checked_ilog2().unwrap_or(0) as usize })
            }
            _ => Err(Corrupt),
        }
    }

    /// Bits not yet read.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// The next `count` (at most 32) bits; zeros follow the last real one.
    #[inline]
    pub(super) fn peek(&self, count: u8) -> u32 {
        let count = usize::from(count);
        let (start, pad) = match self.left.checked_sub(count) {
            Some(start) => (start, 0),
            None => (0, count.saturating_sub(self.left)),
        };
        let tail = self.bytes.get(start >> 3..).unwrap_or(&[]);
        let word = match tail.first_chunk::<8>() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => tail.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        };
        let taken = count.saturating_sub(pad) as u32;
        let mask = 1u64.checked_shl(taken).unwrap_or(0).wrapping_sub(1);
        (((word >> (start & 7)) & mask) << (pad & 31)) as u32
    }

    /// Takes `count` bits that [`Self::peek`] has shown.
    #[inline]
    pub(super) fn skip(&mut self, count: u8) -> Result<(), Corrupt> {
        self.left = self.left.checked_sub(usize::from(count)).ok_or(Corrupt)?;
        Ok(())
    }

    /// Takes the next `count` (at most 32) bits.
    #[inline]
    pub(super) fn read(&mut self, count: u8) -> Result<u32, Corrupt> {
        let value = self.peek(count);
        self.skip(count)?;
        Ok(value)
    }
}

/// Reads bits from the start of a buffer, lowest bit first (RFC 8878 section 4.1.1).
pub(super) struct Forward<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Forward<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` (at most 16) bits; zeros follow the buffer's end.
    pub(super) fn peek(&self, count: u32) -> u32 {
        let mut word = 0u32;
        for (place, &byte) in self.bytes.get(self.at >> 3..).unwrap_or(&[]).iter().take(3).enumerate() {
            word |= u32::from(byte) << (place * 8);
        }
        (word >> (self.at & 7)) & ((1 << (count & 31)) - 1)
    }

    pub(super) fn skip(&mut self, count: u32) {
        self.at = self.at.saturating_add(count as usize);
    }

    /// Whole bytes taken so far, or [`Corrupt`] if there were not that many.
    pub(super) fn bytes_taken(&self) -> Result<usize, Corrupt> {
        let taken = self.at.div_ceil(8);
        if taken <= self.bytes.len() { Ok(taken) } else { Err(Corrupt) }
    }
}
