//! Huffman codes of literals (RFC 8878 section 4.2), decoded canonically.
//!
//! The usual lookup table costs 4 KiB. zstd's codes are canonical: symbols in order of weight, then of value, share out the code
//! space from zero up. So a symbol is found by comparing the next bits with the start of each weight's share: 312 bytes, no build
//! time to speak of, and the short (frequent) codes are found first.

use super::{
    Corrupt,
    bits::Backward,
    fse::{self, MAX_WEIGHT_LOG},
};

/// Longest code (RFC 8878 section 4.2.1).
const MAX_BITS: usize = 11;

/// One Huffman code; kept from block to block, since a later block may use it again.
pub(super) struct Huffman {
    /// Length of the longest code; 0: no code was read yet.
    max_bits: u8,
    /// Symbols by weight, then value.
    sorted: [u8; 256],
    /// First code (of `max_bits` bits) of each weight.
    first_code: [u16; MAX_BITS + 2],
    /// Index in `sorted` of each weight's first symbol.
    first_symbol: [u16; MAX_BITS + 2],
}

impl Huffman {
    pub(super) const NEW: Self =
        Self { max_bits: 0, sorted: [0; 256], first_code: [0; MAX_BITS + 2], first_symbol: [0; MAX_BITS + 2] };

    pub(super) fn clear(&mut self) {
        self.max_bits = 0;
    }

    pub(super) fn is_set(&self) -> bool {
        self.max_bits != 0
    }

    /// Reads a code's description (RFC 8878 section 4.2.1.1) and returns the bytes it took. `scratch` holds the weights' table.
    pub(super) fn read(&mut self, bytes: &[u8], scratch: &mut [u16]) -> Result<usize, Corrupt> {
        let mut weights = [0u8; 256];
        let (&header, rest) = bytes.split_first().ok_or(Corrupt)?;
        let (count, taken) = if header < 128 {
            let size = usize::from(header);
            (compressed_weights(rest.get(..size).ok_or(Corrupt)?, &mut weights, scratch)?, size)
        } else {
            let count = usize::from(header) - 127;
            let size = count.div_ceil(2);
            let packed = rest.get(..size).ok_or(Corrupt)?;
            for (pair, &byte) in weights.chunks_mut(2).zip(packed) {
                for (weight, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                    *weight = nibble;
                }
            }
            (count, size)
        };
        self.max_bits = 0;
        self.build(&mut weights, count)?;
        Ok(taken + 1)
    }

    /// Completes `weights` by the last one, which is not sent, and lays out the code.
    fn build(&mut self, weights: &mut [u8; 256], count: usize) -> Result<(), Corrupt> {
        let mut total = 0u32;
        for &weight in weights.get(..count).ok_or(Corrupt)? {
            if usize::from(weight) > MAX_BITS + 1 {
                return Err(Corrupt);
            }
            total += (1u32 << weight) >> 1;
        }
        let max_bits = total.checked_ilog2().ok_or(Corrupt)? + 1;
        let rest = (1u32 << max_bits) - total;
        if max_bits as usize > MAX_BITS || !rest.is_power_of_two() {
            return Err(Corrupt);
        }
        *weights.get_mut(count).ok_or(Corrupt)? = rest.checked_ilog2().unwrap_or(0) as u8 + 1;
        let weights = weights.get(..=count).ok_or(Corrupt)?;

        let (mut code, mut symbol) = (0u16, 0u16);
        for weight in 1..=max_bits as u8 + 1 {
            let place = usize::from(weight);
            *self.first_code.get_mut(place).ok_or(Corrupt)? = code;
            *self.first_symbol.get_mut(place).ok_or(Corrupt)? = symbol;
            for (value, _) in weights.iter().enumerate().filter(|(_, other)| **other == weight) {
                *self.sorted.get_mut(usize::from(symbol)).ok_or(Corrupt)? = value as u8;
                symbol += 1;
                code = code.wrapping_add((1u16 << weight) >> 1);
            }
        }
        self.max_bits = max_bits as u8;
        Ok(())
    }

    /// Decodes one symbol.
    pub(super) fn decode(&self, bits: &mut Backward<'_>) -> Result<u8, Corrupt> {
        let code = bits.peek(self.max_bits) as u16;
        let mut weight = usize::from(self.max_bits);
        let mut first = *self.first_code.get(weight).ok_or(Corrupt)?;
        while code < first {
            weight = weight.checked_sub(1).ok_or(Corrupt)?;
            first = *self.first_code.get(weight).ok_or(Corrupt)?;
        }
        let weight = weight.max(1);
        bits.skip((self.max_bits + 1).saturating_sub(weight as u8))?;
        let within = (code - first) >> (weight - 1);
        let symbol = usize::from(*self.first_symbol.get(weight).ok_or(Corrupt)?) + usize::from(within);
        self.sorted.get(symbol).copied().ok_or(Corrupt)
    }
}

/// Weights compressed with FSE: two states in turn over one bitstream, until a step finds too few bits.
fn compressed_weights(bytes: &[u8], weights: &mut [u8; 256], scratch: &mut [u16]) -> Result<usize, Corrupt> {
    // Weights go up to 12, and a distribution over more symbols than that is refused below when it is used.
    let mut counts = [0i16; MAX_BITS + 2];
    let (log, taken) = fse::read_counts(bytes, &mut counts, MAX_WEIGHT_LOG)?;
    fse::build(scratch, &counts, log)?;
    let mut bits = Backward::new(bytes.get(taken..).ok_or(Corrupt)?)?;
    let mut state = fse::State::new(scratch, log, &mut bits)?;
    let mut other = fse::State::new(scratch, log, &mut bits)?;
    let mut count = 0;
    // One place is kept for the last weight, which is not sent.
    let mut push = |weight: u8| {
        let place = weights.get_mut(count).filter(|_| count < 255).ok_or(Corrupt)?;
        *place = weight;
        count += 1;
        Ok::<_, Corrupt>(())
    };
    loop {
        push(state.symbol())?;
        if bits.left() < usize::from(state.bits()) {
            push(other.symbol())?;
            return Ok(count);
        }
        state.step(scratch, &mut bits)?;
        core::mem::swap(&mut state, &mut other);
    }
}
