//! Finite state entropy tables (RFC 8878 section 4.1).
//!
//! A table entry is one `u16`: the symbol in the upper six bits and, in the lower ten, the number `x` from which both the bits
//! to read and the next state's base follow (`bits = log - ilog2(x)`, `base = (x << bits) - size`). Symbols of zstd's three
//! sequence codes and Huffman weights are below 64, and `x` is below twice the table's size (at most 1,024): it fits, at half the
//! RAM of the usual layout.

use super::{
    Corrupt,
    bits::{Backward, Forward},
};

/// Largest table log of literal length and match length codes (RFC 8878 section 3.1.1.3.2.1.1); offsets have 8.
pub(super) const MAX_LOG: u8 = 9;
/// Largest table log of Huffman weights (RFC 8878 section 4.2.1.1).
pub(super) const MAX_WEIGHT_LOG: u8 = 6;
/// Most symbols of any code (match lengths).
const MAX_SYMBOLS: usize = 53;

/// Reads a distribution (RFC 8878 section 4.1.1) into `counts`, which is as long as the code has symbols. Returns the table's
/// log and the bytes taken.
pub(super) fn read_counts(bytes: &[u8], counts: &mut [i16], max_log: u8) -> Result<(u8, usize), Corrupt> {
    let mut bits = Forward::new(bytes);
    let log = bits.peek(4) as u8 + 5;
    bits.skip(4);
    if log > max_log {
        return Err(Corrupt);
    }
    counts.fill(0);
    let mut remaining = 1i32 << log;
    let mut symbols = counts.iter_mut();
    while remaining > 0 {
        let width = (remaining as u32 + 1).checked_ilog2().unwrap_or(0) + 1;
        let value = bits.peek(width);
        let low = value & ((1 << (width - 1)) - 1);
        let threshold = (1u32 << width).wrapping_sub(remaining as u32 + 2);
        let value = if low < threshold {
            bits.skip(width - 1);
            low
        } else {
            bits.skip(width);
            if value >> (width - 1) != 0 { value.wrapping_sub(threshold) } else { value }
        };
        let count = value as i32 - 1;
        remaining -= count.abs();
        *symbols.next().ok_or(Corrupt)? = count as i16;
        if count == 0 {
            // Two-bit repeat flags: that many further symbols have no share, and 3 says that another flag follows.
            loop {
                let repeat = bits.peek(2);
                bits.skip(2);
                for _ in 0..repeat {
                    symbols.next().ok_or(Corrupt)?;
                }
                if repeat != 3 {
                    break;
                }
            }
        }
    }
    if remaining != 0 {
        return Err(Corrupt);
    }
    Ok((log, bits.bytes_taken()?))
}

/// Builds the decoding table of a distribution (RFC 8878 section 4.1.1, "From Normalized Distribution to Decoding Tables").
pub(super) fn build(table: &mut [u16], counts: &[i16], log: u8) -> Result<(), Corrupt> {
    let size = 1usize << (log & 15);
    let table = table.get_mut(..size).ok_or(Corrupt)?;
    let mut next = [0u16; MAX_SYMBOLS];
    let mut high = size;
    for ((symbol, &count), next) in counts.iter().enumerate().zip(next.iter_mut()) {
        *next = count.unsigned_abs();
        if count == -1 {
            high = high.checked_sub(1).ok_or(Corrupt)?;
            *table.get_mut(high).ok_or(Corrupt)? = symbol as u16;
        }
    }
    let step = (size >> 1) + (size >> 3) + 3;
    let mut place = 0usize;
    for (symbol, &count) in counts.iter().enumerate() {
        for _ in 0..count.max(0) {
            *table.get_mut(place).ok_or(Corrupt)? = symbol as u16;
            loop {
                place = (place + step) & (size - 1);
                if place < high || high == 0 {
                    break;
                }
            }
        }
    }
    for entry in table.iter_mut() {
        let next = next.get_mut(usize::from(*entry)).ok_or(Corrupt)?;
        *entry = *entry << 10 | (*next & 0x3ff);
        *next = next.wrapping_add(1);
    }
    Ok(())
}

/// A table that gives one symbol and reads nothing (RLE mode).
pub(super) fn build_single(table: &mut [u16], symbol: u8) {
    if let Some(entry) = table.first_mut() {
        *entry = u16::from(symbol) << 10 | 1;
    }
}

/// A decoding state over a table.
#[derive(Clone, Copy)]
pub(super) struct State {
    log: u8,
    entry: u16,
}

impl State {
    pub(super) fn new(table: &[u16], log: u8, bits: &mut Backward<'_>) -> Result<Self, Corrupt> {
        let at = bits.read(log)?;
        Ok(Self { log, entry: *table.get(at as usize).ok_or(Corrupt)? })
    }

    pub(super) fn symbol(self) -> u8 {
        (self.entry >> 10) as u8
    }

    /// Bits that the step to the next state reads.
    pub(super) fn bits(self) -> u8 {
        self.log.saturating_sub((self.entry & 0x3ff).checked_ilog2().unwrap_or(0) as u8)
    }

    pub(super) fn step(&mut self, table: &[u16], bits: &mut Backward<'_>) -> Result<(), Corrupt> {
        let count = self.bits();
        let base = usize::from(self.entry & 0x3ff) << (count & 15);
        let at = base.wrapping_sub(1 << (self.log & 15)).wrapping_add(bits.read(count)? as usize);
        self.entry = *table.get(at).ok_or(Corrupt)?;
        Ok(())
    }
}
