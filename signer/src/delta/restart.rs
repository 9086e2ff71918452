//! Makes zstd's blocks independent of the blocks before a section: what a block says to use again (`Repeat_Mode`, treeless literals, RFC
//! 8878 sections 3.1.1.3.1.1 and 3.1.1.3.2.1) is put into it, byte for byte as the earlier block had it. What is coded with it stays.

use std::borrow::Cow;

/// Tables as the blocks so far have left them, and which of them the section at hand has seen.
#[derive(Default)]
pub(super) struct Tables {
    tree: Table,
    /// Of literal lengths, offsets and match lengths.
    sequences: [(u8, Table); 3],
}

/// A table's description.
#[derive(Default)]
struct Table {
    bytes: Vec<u8>,
    /// Whether a decoder that began with this section knows it.
    known: bool,
}

impl Table {
    fn set(&mut self, bytes: &[u8]) {
        self.bytes = bytes.to_vec();
        self.known = true;
    }
}

/// Modes of a table of sequences.
const PREDEFINED: u8 = 0;
const RLE: u8 = 1;
const COMPRESSED: u8 = 2;
const REPEAT: u8 = 3;
/// Type of literals with a tree; the ones above have none, the ones below need none.
const TREE: u8 = 2;

impl Tables {
    /// A section begins: a decoder may begin with it.
    pub(super) fn forget(&mut self) {
        self.tree.known = false;
        self.sequences.iter_mut().for_each(|(_, table)| table.known = false);
    }

    /// Header and content of a valid block, with what it would use again and a decoder does not know. `None`: there is no room
    /// for that, in one stream of literals (10 bits of size).
    pub(super) fn complete<'a>(&mut self, header: &[u8], content: &'a [u8]) -> Option<([u8; 3], Cow<'a, [u8]>)> {
        let header = [header[0], header[1], header[2]];
        // Raw and RLE blocks use and leave nothing.
        if header[0] >> 1 & 3 != 2 {
            return Some((header, Cow::Borrowed(content)));
        }
        let (literals, rest) = self.literals(content)?;
        let sequences = self.sequences(rest);
        if literals.is_none() && sequences.is_none() {
            return Some((header, Cow::Borrowed(content)));
        }
        let old = &content[..content.len() - rest.len()];
        let mut whole = literals.unwrap_or_else(|| old.to_vec());
        whole.extend_from_slice(sequences.as_deref().unwrap_or(rest));
        let word = (whole.len() as u32) << 3 | u32::from(header[0] & 7);
        let [a, b, c, _] = word.to_le_bytes();
        Some(([a, b, c], Cow::Owned(whole)))
    }

    /// Looks at the literals section; returns another one where it needs one, and what follows it.
    fn literals<'a>(&mut self, content: &'a [u8]) -> Option<(Option<Vec<u8>>, &'a [u8])> {
        let (kind, format) = (content[0] & 3, content[0] >> 2 & 3);
        let word = content.iter().take(5).rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        if kind < TREE {
            let (header, size) = match format {
                0 | 2 => (1, word >> 3 & 0x1f),
                1 => (2, word >> 4 & 0xfff),
                _ => (3, word >> 4 & 0xf_ffff),
            };
            let size = if kind == 0 { size as usize } else { 1 };
            return Some((None, &content[header + size..]));
        }
        let (header, width) = match format {
            0 | 1 => (3, 10),
            2 => (4, 14),
            _ => (5, 18),
        };
        let mask = (1u64 << width) - 1;
        let (size, packed) = (word >> 4 & mask, word >> (4 + width) & mask);
        let (packed, rest) = content[header..].split_at(packed as usize);
        if kind == TREE {
            let len = match packed[0] {
                direct @ 128.. => 1 + usize::from(direct - 127).div_ceil(2),
                compressed => 1 + usize::from(compressed),
            };
            self.tree.set(&packed[..len]);
            return Some((None, rest));
        }
        if self.tree.known {
            return Some((None, rest));
        }
        self.tree.known = true;
        let len = (self.tree.bytes.len() + packed.len()) as u64;
        // Sizes that need more bits: the next wider format has as many streams, but for the one of a single stream.
        let widest = size.max(len);
        let (format, header, width) = match format {
            0 => (0, 3, 10),
            _ if widest < 1 << 10 => (1, 3, 10),
            _ if widest < 1 << 14 => (2, 4, 14),
            _ => (3, 5, 18),
        };
        if widest >= 1 << width {
            return None;
        }
        let word = u64::from(TREE) | format << 2 | size << 4 | len << (4 + width);
        let mut section = word.to_le_bytes()[..header].to_vec();
        section.extend_from_slice(&self.tree.bytes);
        section.extend_from_slice(packed);
        Some((Some(section), rest))
    }

    /// The same for the sequences section, which is the rest of the block.
    fn sequences(&mut self, section: &[u8]) -> Option<Vec<u8>> {
        let count = match section[0] {
            0 => return None,
            1..128 => 1,
            255 => 3,
            _ => 2,
        };
        let modes = section[count];
        let mut at = count + 1;
        let mut new = section[..count].to_vec();
        let mut new_modes = 0;
        let mut descriptions = Vec::new();
        let mut changed = false;
        for (place, (kind, table)) in self.sequences.iter_mut().enumerate() {
            let shift = 6 - 2 * place;
            let mode = modes >> shift & 3;
            if mode != REPEAT {
                let len = match mode {
                    PREDEFINED => 0,
                    RLE => 1,
                    _ => description(&section[at..]),
                };
                *kind = mode;
                table.set(&section[at..at + len]);
                at += len;
            }
            let repeated = mode == REPEAT && table.known;
            changed |= mode == REPEAT && !table.known;
            table.known = true;
            if repeated {
                new_modes |= REPEAT << shift;
            } else {
                debug_assert!(*kind <= COMPRESSED);
                new_modes |= *kind << shift;
                descriptions.extend_from_slice(&table.bytes);
            }
        }
        new.push(new_modes);
        new.extend_from_slice(&descriptions);
        new.extend_from_slice(&section[at..]);
        changed.then_some(new)
    }
}

/// Length of a distribution's description (RFC 8878 section 4.1.1).
fn description(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut take = |count: u32, skip: u32| {
        let word = bytes[at / 8..].iter().take(4).rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        let value = word >> (at % 8) & ((1 << count) - 1);
        at += skip as usize;
        value
    };
    let mut remaining = 1i32 << (take(4, 4) + 5);
    while remaining > 0 {
        let width = (remaining as u32 + 1).ilog2() + 1;
        let threshold = (1u32 << width) - (remaining as u32 + 2);
        let value = take(width, 0);
        let low = value & ((1 << (width - 1)) - 1);
        let value = if low < threshold {
            take(0, width - 1);
            low
        } else {
            take(0, width);
            if value >> (width - 1) != 0 { value - threshold } else { value }
        };
        let count = value as i32 - 1;
        remaining -= count.abs();
        // A symbol without a share is followed by how many more have none, three at a time.
        while count == 0 && take(2, 2) == 3 {}
    }
    at.div_ceil(8)
}
