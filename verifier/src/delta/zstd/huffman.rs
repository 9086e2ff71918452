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

const MAX_BITS: usize = Huffman::MAX_BITS;

/// What a frame keeps of its Huffman code from block to block, since a later block may use it again: the weights.
pub(super) struct Weights {
    /// Symbols with a weight; 0: no code was read yet.
    count: u16,
    /// Two weights a byte, the first one in the upper half.
    packed: [u8; 128],
}

/// A Huffman code, laid out for decoding.
pub(super) struct Huffman {
    /// Length of the longest code.
    max_bits: u8,
    /// Symbols by weight, then value.
    sorted: [u8; 256],
    /// First code (of `max_bits` bits) of each weight.
    first_code: [u16; MAX_BITS + 2],
    /// Index in `sorted` of each weight's first symbol.
    first_symbol: [u16; MAX_BITS + 2],
}

impl Weights {
    pub(super) const NEW: Self = Self { count: 0, packed: [0; 128] };

    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// Reads a code's description (RFC 8878 section 4.2.1.1) and returns the bytes it took. `scratch` holds the weights' table.
    pub(super) fn read(&mut self, bytes: &[u8], scratch: &mut [u16]) -> Result<usize, Corrupt> {
        let (&header, rest) = bytes.split_first().ok_or(Corrupt)?;
        self.count = 0;
        self.packed = [0; 128];
        if header < 128 {
            let size = usize::from(header);
            self.compressed(rest.get(..size).ok_or(Corrupt)?, scratch)?;
            return Ok(size + 1);
        }
        let count = u16::from(header) - 127;
        let size = usize::from(count).div_ceil(2);
        let packed = rest.get(..size).ok_or(Corrupt)?;
        self.packed.iter_mut().zip(packed).for_each(|(to, from)| *to = *from);
        self.count = count;
        // The half byte behind an odd count is padding.
        if count & 1 != 0
            && let Some(last) = self.packed.get_mut(size.saturating_sub(1))
        {
            *last &= 0xf0;
        }
        Ok(size + 1)
    }

    /// Weights compressed with FSE: two states in turn over one bitstream, until a step finds too few bits.
    fn compressed(&mut self, bytes: &[u8], scratch: &mut [u16]) -> Result<(), Corrupt> {
        // A weight is at most 11, and what sets higher ones is refused when the code is laid out.
        let mut counts = [0i16; MAX_BITS + 2];
        let (log, taken) = fse::read_counts(bytes, &mut counts, MAX_WEIGHT_LOG)?;
        fse::build(scratch, &counts, log)?;
        let mut bits = Backward::new(bytes.get(taken..).ok_or(Corrupt)?)?;
        let mut state = fse::State::new(scratch, log, &mut bits)?;
        let mut other = fse::State::new(scratch, log, &mut bits)?;
        loop {
            self.push(state.symbol())?;
            if bits.left() < usize::from(state.bits()) {
                return self.push(other.symbol());
            }
            state.step(scratch, &mut bits)?;
            core::mem::swap(&mut state, &mut other);
        }
    }

    fn push(&mut self, weight: u8) -> Result<(), Corrupt> {
        // One place is kept for the last weight, which is not sent.
        let place = self.packed.get_mut(usize::from(self.count >> 1)).filter(|_| self.count < 255).ok_or(Corrupt)?;
        *place |= if self.count & 1 == 0 { weight << 4 } else { weight & 15 };
        self.count += 1;
        Ok(())
    }

    /// The weight of a symbol.
    #[inline(never)]
    fn of(&self, symbol: u16) -> u8 {
        let pair = self.packed.get(usize::from(symbol >> 1)).copied().unwrap_or(0);
        if symbol & 1 == 0 { pair >> 4 } else { pair & 15 }
    }
}

impl Huffman {
    /// Longest code (RFC 8878 section 4.2.1).
    pub(super) const MAX_BITS: usize = 11;

    pub(super) const NEW: Self =
        Self { max_bits: 0, sorted: [0; 256], first_code: [0; MAX_BITS + 2], first_symbol: [0; MAX_BITS + 2] };

    /// Lays out the code with these weights, completed by the last one, which is not sent.
    pub(super) fn build(&mut self, weights: &Weights) -> Result<(), Corrupt> {
        let mut total = 0u32;
        let mut counts = [0u16; MAX_BITS + 2];
        for symbol in 0..weights.count {
            let weight = weights.of(symbol);
            if usize::from(weight) > MAX_BITS {
                return Err(Corrupt);
            }
            *counts.get_mut(usize::from(weight)).ok_or(Corrupt)? += 1;
            total += (1u32 << weight) >> 1;
        }
        let max_bits = total.checked_ilog2().ok_or(Corrupt)? + 1;
        let rest = (1u32 << max_bits) - total;
        if max_bits as usize > MAX_BITS || !rest.is_power_of_two() {
            return Err(Corrupt);
        }
        let last = rest.ilog2() as u8 + 1;
        *counts.get_mut(usize::from(last)).ok_or(Corrupt)? += 1;
        // A full code has its longest codes in pairs; the reference refuses others, which would leave holes.
        if counts[1] < 2 || counts[1] & 1 != 0 {
            return Err(Corrupt);
        }

        // Each weight's share of codes and symbols; `counts` then says where its next symbol goes.
        let (mut code, mut symbol) = (0u16, 0u16);
        let firsts = self.first_code.iter_mut().zip(&mut self.first_symbol);
        for (weight, ((first_code, first_symbol), count)) in firsts.zip(&mut counts).enumerate().skip(1) {
            (*first_code, *first_symbol) = (code, symbol);
            code = code.wrapping_add(*count << weight >> 1);
            let own = *count;
            *count = symbol;
            symbol += own;
        }
        for value in 0..=weights.count {
            let weight = if value == weights.count { last } else { weights.of(value) };
            if weight == 0 {
                continue;
            }
            let place = counts.get_mut(usize::from(weight)).ok_or(Corrupt)?;
            *self.sorted.get_mut(usize::from(*place)).ok_or(Corrupt)? = value as u8;
            *place += 1;
        }
        self.max_bits = max_bits as u8;
        Ok(())
    }

    /// Bits of the longest code.
    pub(super) fn max_bits(&self) -> u8 {
        self.max_bits
    }

    /// Every symbol in the order of its code, with the code's length, and how many codes of the longest kind begin with it.
    pub(super) fn each(&self, mut take: impl FnMut(u8, u8, usize)) {
        let mut code = 0u16;
        let mut symbols = self.sorted.iter();
        for weight in 1..=self.max_bits {
            let behind = self.first_code.get(usize::from(weight) + 1).copied().unwrap_or(0);
            let behind = if weight == self.max_bits { 1 << self.max_bits } else { behind };
            let codes = 1u16 << (weight - 1);
            while code < behind
                && let Some(symbol) = symbols.next()
            {
                take(*symbol, self.max_bits + 1 - weight, codes.into());
                code = code.saturating_add(codes);
            }
        }
    }

    /// Decodes one symbol.
    #[inline]
    pub(super) fn decode(&self, bits: &mut Backward<'_>) -> Result<u8, Corrupt> {
        let code = bits.peek(self.max_bits) as u16;
        let weight = if cfg!(target_os = "none") { self.search(code) } else { self.count(code) };
        let first = *self.first_code.get(weight).ok_or(Corrupt)?;
        let weight = weight.max(1);
        bits.skip((self.max_bits + 1).saturating_sub(weight as u8))?;
        let within = (code - first) >> (weight - 1);
        let symbol = usize::from(*self.first_symbol.get(weight).ok_or(Corrupt)?) + usize::from(within);
        self.sorted.get(symbol).copied().ok_or(Corrupt)
    }

    /// The weight of the symbol that `code` starts with, from the shortest codes on: best where branches cost little.
    #[inline]
    fn search(&self, code: u16) -> usize {
        let mut weight = usize::from(self.max_bits);
        while self.first_code.get(weight).is_some_and(|first| code < *first) {
            weight = weight.saturating_sub(1);
        }
        weight
    }

    /// The same without a branch that the next bits decide: best where a branch that was not foreseen costs more than 13 comparisons.
    #[inline]
    fn count(&self, code: u16) -> usize {
        // One bit a weight, from the lowest up: the codes of the weights ascend.
        let bits = self.first_code.iter().enumerate().map(|(weight, first)| u32::from(*first <= code) << weight);
        (bits.fold(0, |all, bit| all | bit).trailing_ones() as usize).saturating_sub(1)
    }
}
