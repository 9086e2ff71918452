//! Decoding of literals: on a device from the canonical code as it is, on a host by a table of 4 KiB.
//!
//! Both decode the same (a test holds them together). The table costs more RAM than a microcontroller has to give, and is
//! quicker where a branch or a comparison costs more than a look into the first cache.

use super::{Corrupt, bits::Backward, huffman::Huffman};

/// Entries of a table; a device has none.
const ENTRIES: usize = if cfg!(target_os = "none") { 0 } else { 1 << Huffman::MAX_BITS };
/// Literals below this count are decoded before a table would be ready.
const FEW: u32 = 64;

/// A code that decodes runs of literals.
pub(super) struct Lookup {
    /// Bits that find an entry; 0 stands for no table.
    bits: u8,
    /// The symbol that the bits begin with, and the number of its bits above it.
    entries: [u16; ENTRIES],
}

impl Lookup {
    /// For a block with that many literals of this code.
    pub(super) fn new(code: &Huffman, literals: u32) -> Self {
        let mut lookup = Self { bits: 0, entries: [0; ENTRIES] };
        if !cfg!(target_os = "none") && literals >= FEW {
            lookup.bits = code.max_bits();
            let mut entries = lookup.entries.iter_mut();
            code.each(|symbol, length, codes| {
                let entry = u16::from(length) << 8 | u16::from(symbol);
                entries.by_ref().take(codes).for_each(|place| *place = entry);
            });
        }
        lookup
    }

    /// Fills `to` with the next symbols of `code`, which is the code that this was made for.
    #[inline]
    pub(super) fn fill(&self, code: &Huffman, bits: &mut Backward<'_>, to: &mut [u8]) -> Result<(), Corrupt> {
        if cfg!(target_os = "none") || self.bits == 0 {
            return to.iter_mut().try_for_each(|symbol| code.decode(bits).map(|next| *symbol = next));
        }
        let mut ahead = *bits;
        for symbol in to {
            let entry = self.entries.get(ahead.peek(self.bits) as usize).copied().unwrap_or(0);
            ahead.skip((entry >> 8) as u8)?;
            *symbol = entry as u8;
        }
        *bits = ahead;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::huffman::Weights, *};
    use crate::delta::dice;

    #[test]
    fn a_table_decodes_what_the_code_decodes() {
        let mut state = 0x100c_0de5_u32;
        let mut random = || dice::random(&mut state);
        let mut codes = 0;
        while codes < 300 {
            let mut description = [0u8; 65];
            let symbols = 2 + random() % 100;
            description[0] = 127 + symbols as u8;
            let most = 2 + random() % 9;
            description[1..].fill_with(|| (((random() % most) << 4) | (random() % most)) as u8);
            let (mut weights, mut code) = (Weights::NEW, Huffman::NEW);
            if weights.read(&description, &mut []).is_err() || code.build(&weights).is_err() {
                continue;
            }
            codes += 1;
            let mut bytes = [0u8; 64];
            bytes.fill_with(|| random() as u8);
            bytes[63] |= 1;
            let (table, none) = (Lookup::new(&code, FEW), Lookup::new(&code, FEW - 1));
            assert!(table.bits > 0 && none.bits == 0, "{} {}", table.bits, none.bits);
            let start = Backward::new(&bytes).unwrap();
            let (mut fast, mut slow, mut single) = (start, start, start);
            let (mut from_table, mut from_code) = ([0u8; 40], [0u8; 40]);
            let same = table.fill(&code, &mut fast, &mut from_table);
            assert_eq!(same, none.fill(&code, &mut slow, &mut from_code));
            assert_eq!((from_table, fast.left() == slow.left() || same.is_err()), (from_code, true));
            for symbol in from_table.iter().take_while(|_| same.is_ok()) {
                assert_eq!(code.decode(&mut single), Ok(*symbol));
            }
        }
    }

    #[test]
    fn too_few_bits_are_refused() {
        let (mut weights, mut code) = (Weights::NEW, Huffman::NEW);
        weights.read(&[129, 0x11], &mut []).unwrap();
        code.build(&weights).unwrap();
        // Three symbols, of two, two and one bits, from four bits.
        let bytes = [0b1_1010];
        let mut bits = Backward::new(&bytes).unwrap();
        let mut symbols = [0; 5];
        assert_eq!(Lookup::new(&code, FEW).fill(&code, &mut bits, &mut symbols), Err(Corrupt));
    }
}
