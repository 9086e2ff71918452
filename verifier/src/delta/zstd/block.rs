//! Blocks (RFC 8878 section 3.1.1.2): literals, sequences, and their execution into a window.

use super::{
    Corrupt,
    bits::Backward,
    fse,
    huffman::{Huffman, Weights},
    lookup::Lookup,
};

/// Symbols of the literal length, offset and match length codes.
const LL_SYMBOLS: usize = 36;
const OF_SYMBOLS: usize = 32;
const ML_SYMBOLS: usize = 53;
const ALL_SYMBOLS: usize = LL_SYMBOLS + OF_SYMBOLS + ML_SYMBOLS;
/// Largest log of an offset table (RFC 8878 section 3.1.1.3.2.1.1).
const OF_MAX_LOG: u8 = 8;

/// RFC 8878 section 3.1.1.3.2.2: the default distributions, in the order literal lengths (log 6), offsets (log 5), match lengths (log 6).
#[rustfmt::skip]
static DEFAULT_COUNTS: [i8; ALL_SYMBOLS] = [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
    1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, 0, 0, 0,
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    -1, -1, -1, -1, -1, -1, -1,
];

/// Extra bits of literal length codes from 16 (RFC 8878 table 15); below, the code is the length.
static LL_EXTRA: [u8; LL_SYMBOLS - 16] = [1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
/// Extra bits of match length codes from 32 (RFC 8878 table 16); below, the code plus 3 is the length.
static ML_EXTRA: [u8; ML_SYMBOLS - 32] = [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// How a block is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delta) enum BlockKind {
    Raw,
    Rle,
    Compressed,
}

/// The three bytes before a block.
#[derive(Clone, Copy, Debug)]
pub(in crate::delta) struct BlockHeader {
    /// No block of the frame follows.
    pub(in crate::delta) last: bool,
    pub(in crate::delta) kind: BlockKind,
    /// `Block_Size`: bytes regenerated for RLE, bytes of content otherwise.
    pub(in crate::delta) size: u32,
}

impl BlockHeader {
    pub(in crate::delta) fn parse(bytes: [u8; 3]) -> Result<Self, Corrupt> {
        let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
        let kind = match word >> 1 & 3 {
            0 => BlockKind::Raw,
            1 => BlockKind::Rle,
            2 => BlockKind::Compressed,
            _ => return Err(Corrupt),
        };
        Ok(Self { last: word & 1 != 0, kind, size: word >> 3 })
    }

    /// Bytes of content that follow the header.
    pub(in crate::delta) fn content(&self) -> u32 {
        if self.kind == BlockKind::Rle { 1 } else { self.size }
    }
}

/// What lies behind a window: the images themselves, for a frame over base and target.
///
/// Neither call fails: who implements it keeps what went wrong, and the block, whose work is bounded, is then for nothing.
pub(in crate::delta) trait Images {
    /// Takes the next bytes of the target. They stay in the window.
    fn write(&mut self, bytes: &[u8]);

    /// Fills the start of `bytes` from `distance` (more than the window holds) before the end of what was written, and returns
    /// how many bytes lie there in one piece.
    fn read(&mut self, distance: u32, bytes: &mut [u8]) -> usize;
}

/// Bytes of a frame over base and target that are handed over at a time, at most; they divide every window.
const HANDED_OVER: u32 = 256;

/// A window as a ring over a power of two of bytes, with a read position behind the write position.
pub(in crate::delta) struct Ring<'a, 'i> {
    bytes: &'a mut [u8],
    written: &'a mut u32,
    images: Option<&'a mut (dyn Images + 'i)>,
    /// What `images` was given.
    handed_over: u32,
}

impl<'a, 'i> Ring<'a, 'i> {
    /// `bytes` must have a power of two as length; `written` counts what ever went in. `images`, if there are any, are given all that
    /// goes in.
    pub(in crate::delta) fn new(
        bytes: &'a mut [u8],
        written: &'a mut u32,
        images: Option<&'a mut (dyn Images + 'i)>,
    ) -> Self {
        let handed_over = *written;
        Self { bytes, written, images, handed_over }
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        let at = *self.written as usize & self.bytes.len().wrapping_sub(1);
        if let Some(place) = self.bytes.get_mut(at) {
            *place = byte;
        }
        self.filled(1);
    }

    /// Where the next bytes go: as many of `most` as lie in one piece.
    fn room(&mut self, most: u32) -> &mut [u8] {
        Self::room_of(self.bytes, *self.written, most)
    }

    fn room_of(bytes: &mut [u8], written: u32, most: u32) -> &mut [u8] {
        let at = written as usize & bytes.len().wrapping_sub(1);
        let most = most.min(HANDED_OVER - (written & (HANDED_OVER - 1))) as usize;
        bytes.get_mut(at..).and_then(|tail| tail.get_mut(..most)).unwrap_or(&mut [])
    }

    /// Takes `count` bytes that were put into [`Self::room`].
    fn filled(&mut self, count: u32) {
        *self.written = self.written.wrapping_add(count);
        if *self.written & (HANDED_OVER - 1) == 0 {
            self.hand_over();
        }
    }

    /// Hands over what was pushed; it lies in one piece.
    #[inline(never)]
    fn hand_over(&mut self) {
        let Some(images) = &mut self.images else { return };
        let from = self.handed_over as usize & self.bytes.len().wrapping_sub(1);
        let count = self.written.wrapping_sub(self.handed_over) as usize;
        images.write(self.bytes.get(from..).and_then(|tail| tail.get(..count)).unwrap_or(&[]));
        self.handed_over = *self.written;
    }

    fn repeat(&mut self, distance: u32, mut length: u32) -> Result<(), Corrupt> {
        if distance == 0 {
            return Err(Corrupt);
        }
        while distance > *self.written || distance as usize > self.bytes.len() {
            if length == 0 {
                return Ok(());
            }
            length = length.saturating_sub(self.fetch(distance, length)?);
        }
        let mask = self.bytes.len().wrapping_sub(1);
        for _ in 0..length {
            let from = self.written.wrapping_sub(distance) as usize & mask;
            let byte = self.bytes.get(from).copied().unwrap_or(0);
            self.push(byte);
        }
        Ok(())
    }

    /// The first bytes of a match that begins outside of the window; returns how many.
    #[inline(never)]
    fn fetch(&mut self, distance: u32, length: u32) -> Result<u32, Corrupt> {
        self.hand_over();
        let images = self.images.as_mut().ok_or(Corrupt)?;
        let count = images.read(distance, Self::room_of(self.bytes, *self.written, length)) as u32;
        if count == 0 {
            return Err(Corrupt);
        }
        self.filled(count);
        Ok(count)
    }
}

/// Which distribution a code has, so that a later block may use it again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Unset,
    Predefined,
    Single(u8),
    Counts(u8),
}

/// What a frame keeps from block to block besides its window.
pub(in crate::delta) struct Memory {
    weights: Weights,
    counts: [i16; ALL_SYMBOLS],
    sources: [Source; 3],
    recent: [u32; 3],
}

impl Memory {
    /// Before the first [`Memory::clear`]: all zeros, so that a decoder's seven of them cost no constant in a device's flash.
    pub(in crate::delta) const NEW: Self =
        Self { weights: Weights::NEW, counts: [0; ALL_SYMBOLS], sources: [Source::Unset; 3], recent: [0; 3] };

    /// Forgets everything: a new frame starts.
    pub(in crate::delta) fn clear(&mut self) {
        self.weights.clear();
        self.sources = [Source::Unset; 3];
        self.recent = [1, 4, 8];
    }

    /// The recent offsets, newest first (RFC 8878 section 3.1.1.5).
    pub(in crate::delta) fn recent(&mut self) -> &mut [u32; 3] {
        &mut self.recent
    }
}

/// The decoding tables, shared by all frames.
pub(in crate::delta) struct Entropy {
    ll: [u16; 1 << fse::MAX_LOG],
    of: [u16; 1 << OF_MAX_LOG],
    ml: [u16; 1 << fse::MAX_LOG],
    huffman: Huffman,
}

/// Literals of a block, decoded as they are asked for.
enum Literals<'a> {
    Raw(&'a [u8]),
    Rle(u8),
    Huffman { streams: [&'a [u8]; 4], next: usize, per_stream: u32, left_in_stream: u32, bits: Option<Backward<'a>> },
}

impl Entropy {
    pub(in crate::delta) const NEW: Self = Self {
        ll: [0; 1 << fse::MAX_LOG],
        of: [0; 1 << OF_MAX_LOG],
        ml: [0; 1 << fse::MAX_LOG],
        huffman: Huffman::NEW,
    };

    /// Decodes the `content` of a block into `ring`; refuses to regenerate more than `most` bytes.
    pub(in crate::delta) fn block(
        &mut self,
        header: BlockHeader,
        content: &[u8],
        memory: &mut Memory,
        ring: &mut Ring<'_, '_>,
        most: u32,
    ) -> Result<(), Corrupt> {
        let mut literals = match header.kind {
            BlockKind::Compressed => {
                self.compressed(content, memory, ring, most)?;
                ring.hand_over();
                return Ok(());
            }
            _ if header.size > most => return Err(Corrupt),
            BlockKind::Raw => Literals::Raw(content),
            BlockKind::Rle => Literals::Rle(*content.first().ok_or(Corrupt)?),
        };
        literals.copy(header.size, &self.huffman, &Lookup::new(&self.huffman, 0), ring)?;
        ring.hand_over();
        Ok(())
    }

    fn compressed(
        &mut self,
        content: &[u8],
        memory: &mut Memory,
        ring: &mut Ring<'_, '_>,
        most: u32,
    ) -> Result<(), Corrupt> {
        let (mut literals, mut literals_left, rest) = self.literals(content, memory)?;
        if literals_left > most {
            return Err(Corrupt);
        }
        let lookup = &Lookup::new(&self.huffman, if literals.coded() { literals_left } else { 0 });
        let end = ring.written.wrapping_add(most);
        let (count, rest) = sequence_count(rest)?;
        if count > 0 {
            let (&modes, rest) = rest.split_first().ok_or(Corrupt)?;
            if modes & 3 != 0 {
                return Err(Corrupt);
            }
            let (logs, rest) = self.sequence_tables(modes, rest, memory)?;
            let bits = &mut Backward::new(rest)?;
            let mut ll = fse::State::new(&self.ll, logs[0], bits)?;
            let mut of = fse::State::new(&self.of, logs[1], bits)?;
            let mut ml = fse::State::new(&self.ml, logs[2], bits)?;
            for left in (0..count).rev() {
                // RFC 8878 section 3.1.1.3.2.1.2: offset, match length and literal length give their extra bits in this order.
                let offset = of.symbol();
                let offset = (1u32 << (offset & 31)).wrapping_add(bits.read(offset)?);
                let (base, extra) = match_length(ml.symbol())?;
                let match_len = base + bits.read(extra)?;
                let (base, extra) = literal_length(ll.symbol())?;
                let literal_len = base + bits.read(extra)?;
                if left > 0 {
                    ll.step(&self.ll, bits)?;
                    ml.step(&self.ml, bits)?;
                    of.step(&self.of, bits)?;
                }
                literals_left = literals_left.checked_sub(literal_len).ok_or(Corrupt)?;
                let room = end.wrapping_sub(*ring.written);
                if literal_len.saturating_add(match_len).saturating_add(literals_left) > room {
                    return Err(Corrupt);
                }
                literals.copy(literal_len, &self.huffman, lookup, ring)?;
                ring.repeat(distance(offset, literal_len, &mut memory.recent)?, match_len)?;
            }
            if bits.left() != 0 {
                return Err(Corrupt);
            }
        } else if !rest.is_empty() {
            return Err(Corrupt);
        }
        literals.copy(literals_left, &self.huffman, lookup, ring)?;
        literals.end()
    }

    /// RFC 8878 section 3.1.1.3.1: the literals section. Returns the literals, their number, and what follows.
    fn literals<'a>(
        &mut self,
        content: &'a [u8],
        memory: &mut Memory,
    ) -> Result<(Literals<'a>, u32, &'a [u8]), Corrupt> {
        let first = *content.first().ok_or(Corrupt)?;
        let word = content.iter().take(5).rev().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
        let format = first >> 2 & 3;
        if first & 2 == 0 {
            // Raw or RLE: the size alone, in 5, 12 or 20 bits.
            let (header, size) = match format {
                0 | 2 => (1, word >> 3 & 0x1f),
                1 => (2, word >> 4 & 0xfff),
                _ => (3, word >> 4 & 0xf_ffff),
            };
            let rest = content.get(header..).ok_or(Corrupt)?;
            let (literals, rest) = if first & 1 == 0 {
                let (raw, rest) = rest.split_at_checked(size as usize).ok_or(Corrupt)?;
                (Literals::Raw(raw), rest)
            } else {
                let (&byte, rest) = rest.split_first().ok_or(Corrupt)?;
                (Literals::Rle(byte), rest)
            };
            return Ok((literals, size as u32, rest));
        }
        let (header, width) = match format {
            0 | 1 => (3, 10),
            2 => (4, 14),
            _ => (5, 18),
        };
        let mask = (1u64 << width) - 1;
        let (size, packed) = ((word >> 4 & mask) as u32, (word >> (4 + width) & mask) as usize);
        let (mut packed, rest) = content.get(header..).ok_or(Corrupt)?.split_at_checked(packed).ok_or(Corrupt)?;
        if first & 1 == 0 {
            let taken = memory.weights.read(packed, &mut self.of)?;
            packed = packed.get(taken..).ok_or(Corrupt)?;
        }
        // Without weights (a treeless block in a frame that had none) there is nothing to lay out, and that is refused.
        self.huffman.build(&memory.weights)?;
        let mut streams: [&[u8]; 4] = [packed, &[], &[], &[]];
        let mut per_stream = size;
        if format != 0 {
            // Four streams: three lengths, then the streams (RFC 8878 section 3.1.1.3.1.6).
            let (jump, mut tail) = packed.split_at_checked(6).ok_or(Corrupt)?;
            for (stream, length) in streams.iter_mut().zip(jump.chunks_exact(2)) {
                let length = length.iter().rev().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
                (*stream, tail) = tail.split_at_checked(length).ok_or(Corrupt)?;
            }
            streams[3] = tail;
            per_stream = size.div_ceil(4);
            if per_stream.saturating_mul(3) > size {
                return Err(Corrupt);
            }
        }
        Ok((Literals::Huffman { streams, next: 0, per_stream, left_in_stream: 0, bits: None }, size, rest))
    }

    /// RFC 8878 section 3.1.1.3.2.1: the three tables, by their modes. Returns their logs and what follows.
    fn sequence_tables<'a>(
        &mut self,
        modes: u8,
        mut rest: &'a [u8],
        memory: &mut Memory,
    ) -> Result<([u8; 3], &'a [u8]), Corrupt> {
        let mut logs = [0; 3];
        let parts: [(&mut [u16], usize, usize, u8, u8); 3] = [
            (&mut self.ll, 0, LL_SYMBOLS, fse::MAX_LOG, 6),
            (&mut self.of, LL_SYMBOLS, OF_SYMBOLS, OF_MAX_LOG, 5),
            (&mut self.ml, LL_SYMBOLS + OF_SYMBOLS, ML_SYMBOLS, fse::MAX_LOG, 6),
        ];
        for (place, ((table, start, symbols, max_log, default_log), log)) in
            parts.into_iter().zip(&mut logs).enumerate()
        {
            let source = memory.sources.get_mut(place).ok_or(Corrupt)?;
            let counts = memory.counts.get_mut(start..start + symbols).ok_or(Corrupt)?;
            match modes >> (6 - 2 * place) & 3 {
                0 => *source = Source::Predefined,
                1 => {
                    let (&symbol, tail) = rest.split_first().ok_or(Corrupt)?;
                    if usize::from(symbol) >= symbols {
                        return Err(Corrupt);
                    }
                    (*source, rest) = (Source::Single(symbol), tail);
                }
                2 => {
                    let (log, taken) = fse::read_counts(rest, counts, max_log)?;
                    (*source, rest) = (Source::Counts(log), rest.get(taken..).ok_or(Corrupt)?);
                }
                _ => {}
            }
            match *source {
                Source::Unset => return Err(Corrupt),
                Source::Single(symbol) => fse::build_single(table, symbol),
                Source::Counts(used) => {
                    fse::build(table, counts, used)?;
                    *log = used;
                }
                Source::Predefined => {
                    let defaults = DEFAULT_COUNTS.get(start..start + symbols).ok_or(Corrupt)?;
                    for (count, &default) in counts.iter_mut().zip(defaults) {
                        *count = i16::from(default);
                    }
                    fse::build(table, counts, default_log)?;
                    *log = default_log;
                }
            }
        }
        Ok((logs, rest))
    }
}

impl<'a> Literals<'a> {
    /// Whether they are in a Huffman code.
    fn coded(&self) -> bool {
        matches!(self, Self::Huffman { .. })
    }

    /// Moves the next `count` literals into the ring.
    fn copy(
        &mut self,
        mut count: u32,
        huffman: &Huffman,
        lookup: &Lookup,
        ring: &mut Ring<'_, '_>,
    ) -> Result<(), Corrupt> {
        while count > 0 {
            let room = ring.room(count);
            let taken = self.take(huffman, lookup, room)?;
            if taken == 0 {
                return Err(Corrupt);
            }
            ring.filled(taken);
            count = count.saturating_sub(taken);
        }
        Ok(())
    }

    /// Puts the next literals into `room`, as many of them as come at once; returns how many.
    fn take(&mut self, huffman: &Huffman, lookup: &Lookup, room: &mut [u8]) -> Result<u32, Corrupt> {
        match self {
            Self::Raw(bytes) => {
                let (now, later) = bytes.split_at_checked(room.len()).ok_or(Corrupt)?;
                room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
                *bytes = later;
            }
            Self::Rle(byte) => room.fill(*byte),
            Self::Huffman { streams, next, per_stream, left_in_stream, bits } => {
                let reader = match bits {
                    Some(reader) if *left_in_stream > 0 => reader,
                    _ => {
                        // The stream before must have been used up to its last bit.
                        if bits.is_some_and(|reader| reader.left() != 0) {
                            return Err(Corrupt);
                        }
                        let stream = streams.get(*next).ok_or(Corrupt)?;
                        *next += 1;
                        *left_in_stream = *per_stream;
                        bits.insert(Backward::new(stream)?)
                    }
                };
                let now = (*left_in_stream).min(room.len() as u32);
                lookup.fill(huffman, reader, room.get_mut(..now as usize).unwrap_or(&mut []))?;
                *left_in_stream -= now;
                return Ok(now);
            }
        }
        Ok(room.len() as u32)
    }

    /// After the last literal nothing may be left over.
    fn end(&self) -> Result<(), Corrupt> {
        match self {
            Self::Huffman { bits: Some(reader), .. } if reader.left() != 0 => Err(Corrupt),
            _ => Ok(()),
        }
    }
}

/// RFC 8878 section 3.1.1.3.2.1: `Number_of_Sequences`.
fn sequence_count(bytes: &[u8]) -> Result<(u32, &[u8]), Corrupt> {
    match *bytes {
        [0, ref rest @ ..] => Ok((0, rest)),
        [first @ 1..=127, ref rest @ ..] => Ok((u32::from(first), rest)),
        [255, low, high, ref rest @ ..] => Ok((u32::from(u16::from_le_bytes([low, high])) + 0x7f00, rest)),
        [first @ 128..=254, second, ref rest @ ..] => Ok((u32::from(first - 128) << 8 | u32::from(second), rest)),
        _ => Err(Corrupt),
    }
}

/// Base and extra bits of a length code whose codes from `plain` on have the extra bits of `extras`.
fn length_code(code: u8, plain: u8, extras: &[u8]) -> Result<(u32, u8), Corrupt> {
    let Some(above) = code.checked_sub(plain) else { return Ok((u32::from(code), 0)) };
    let extra = *extras.get(usize::from(above)).ok_or(Corrupt)?;
    let before = extras.get(..usize::from(above)).unwrap_or(&[]);
    let base = before.iter().fold(u32::from(plain), |base, &bits| base + (1 << bits));
    Ok((base, extra))
}

/// RFC 8878 table 15.
fn literal_length(code: u8) -> Result<(u32, u8), Corrupt> {
    length_code(code, 16, &LL_EXTRA)
}

/// RFC 8878 table 16.
fn match_length(code: u8) -> Result<(u32, u8), Corrupt> {
    let (base, extra) = length_code(code, 32, &ML_EXTRA)?;
    Ok((base + 3, extra))
}

/// RFC 8878 section 3.1.1.5: offset values 1 to 3 name recent offsets, shifted by one when there are no literals.
fn distance(value: u32, literal_len: u32, recent: &mut [u32; 3]) -> Result<u32, Corrupt> {
    let [first, second, third] = *recent;
    let distance = match value + u32::from(literal_len == 0) {
        _ if value > 3 => value - 3,
        1 => return Ok(first),
        2 => {
            *recent = [second, first, third];
            return Ok(second);
        }
        3 => third,
        // Value 3 without literals: the newest offset less one; zero is refused where it is used.
        _ => first.checked_sub(1).ok_or(Corrupt)?,
    };
    *recent = [distance, first, second];
    Ok(distance)
}
