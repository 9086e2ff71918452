//! Passes over what holds no field: a word or an instruction a step, and few branches that depend on what it is.
//!
//! For hosts alone: it changes nothing about what [`retarget`](super::retarget) does (a test holds the two together), and a
//! microcontroller has less flash to give for it than it has time.

use sealift_manifests::delta_format::{Arch, field};

use super::{super::parts::Parts, Mover, Place, aarch64, arm, data, read, riscv, thumb, word, xtensa};

/// Which words may be pointers or distances. That some of them are none is found out by the look that follows.
struct Pointers {
    narrow: bool,
    wide: bool,
    distances: bool,
    first: u64,
    parts: Parts,
}

impl Pointers {
    fn new<M>(place: &Place<'_, M>) -> Self {
        let parts = *place.map.parts();
        Self {
            narrow: place.fields & field::POINTER32 != 0,
            wide: place.fields & field::POINTER64 != 0,
            distances: place.fields & field::RELATIVE32 != 0,
            first: place.map.origin.wrapping_add(u64::from(parts.first())),
            parts,
        }
    }

    /// Whether a word at an aligned address may be one, or the lower half of one.
    #[inline]
    fn near(&self, word: u32) -> bool {
        (self.narrow | self.wide) & self.parts.may_contain(word.wrapping_sub(self.first as u32).into())
    }

    /// Whether a word at an aligned address may be a distance. Most words of code are far too large, and most of data are zero.
    #[inline]
    fn distance(&self, word: u32) -> bool {
        self.distances & (word != 0) & (word.wrapping_add(0x80_0000) < 0x100_0000)
    }

    /// Whether what is `near`, or may be a distance, goes on like it: upper halves of pointers are all the same.
    #[inline]
    fn is_met(&self, bytes: &[u8], at: usize, pc: u32) -> bool {
        if self.narrow | self.distances {
            return true;
        }
        let pointer = |value| self.parts.may_contain(u64::from_le_bytes(value).wrapping_sub(self.first));
        pc & 7 == 0 && read::<8>(bytes, at).is_none_or(pointer)
    }
}

/// As [`retarget`](super::retarget).
pub(super) fn retarget<M: Mover>(bytes: &mut [u8], at: usize, limit: usize, place: &Place<'_, M>) -> usize {
    let pointers = &Pointers::new(place);
    match place.arch {
        Arch::Xtensa => xtensa(bytes, at, limit, place, pointers),
        Arch::RiscV => {
            stops(bytes, at, limit, place, |bytes, at| riscv(bytes, at, limit, place, pointers), riscv::step)
        }
        Arch::Thumb => {
            // Either half may be the first one of an instruction.
            let field = |word: u32| (word & 0xf800 == 0xf000) | (word & 0xf800_0000 == 0xf000_0000);
            let pass = |bytes: &[u8], at| words(bytes, at, limit, place, pointers, field);
            stops(bytes, at, limit, place, pass, thumb::step)
        }
        Arch::Arm => {
            let field = |word: u32| (word & 0x0e00_0000 == 0x0a00_0000) | (word & 0x0ff0_0000 == 0x0300_0000);
            let pass = |bytes: &[u8], at| words(bytes, at, limit, place, pointers, field);
            stops(bytes, at, limit, place, pass, arm::step)
        }
        Arch::AArch64 => {
            let field = |word: u32| {
                (word & 0x7c00_0000 == 0x1400_0000)
                    | (word & 0x1f00_0000 == 0x1000_0000)
                    | (word & 0x3b00_0000 == 0x1800_0000)
            };
            let pass = |bytes: &[u8], at| words(bytes, at, limit, place, pointers, field);
            stops(bytes, at, limit, place, pass, aarch64::step)
        }
        Arch::None => {
            let pass = |bytes: &[u8], at| words(bytes, at, limit, place, pointers, |_| false);
            let step = |_: &mut [u8], at, place: &Place<'_, M>| 4usize.saturating_sub(place.pc(at) as usize & 3);
            stops(bytes, at, limit, place, pass, step)
        }
    }
}

/// Where a pass ends, and whether what is there may be data: if not, it is an instruction that holds a field.
type Stop = (usize, bool);

/// Goes from place to place at which a field may start, which `pass` finds, and has a full look there.
#[inline]
fn stops<M: Mover>(
    bytes: &mut [u8],
    mut at: usize,
    limit: usize,
    place: &Place<'_, M>,
    pass: impl Fn(&[u8], usize) -> Stop,
    step: impl Fn(&mut [u8], usize, &Place<'_, M>) -> usize,
) -> usize {
    while at < limit {
        let (stop, may_be_data) = pass(bytes, at);
        at = stop;
        if at < limit {
            let data = if may_be_data { data(bytes, at, place) } else { None };
            let taken = data.unwrap_or_else(|| step(bytes, at, place));
            at = at.saturating_add(taken.max(1));
        }
    }
    at
}

/// The next place from `at` on, at most `limit` or a few bytes behind it, at which a field may start: over aligned words, until one
/// that `fields` picks or one that may be a pointer or a distance.
#[inline]
fn words<M: Mover>(
    bytes: &[u8],
    at: usize,
    limit: usize,
    place: &Place<'_, M>,
    pointers: &Pointers,
    fields: impl Fn(u32) -> bool,
) -> Stop {
    if place.pc(at) & 3 != 0 {
        return (at, true);
    }
    for (word, place_of) in words_from(bytes, at, limit).zip((at..).step_by(4)) {
        let (field, near) = (fields(word), pointers.near(word) | pointers.distance(word));
        if field | near {
            let data = near && pointers.is_met(bytes, place_of, place.pc(place_of));
            if field | data {
                return (place_of, data);
            }
        }
    }
    (at.saturating_add(limit.min(bytes.len()).saturating_sub(at) & !3), true)
}

/// Whole words from `at` to before `limit`.
#[inline]
fn words_from(bytes: &[u8], at: usize, limit: usize) -> impl Iterator<Item = u32> {
    let words = bytes.get(at..limit.min(bytes.len())).unwrap_or(&[]).as_chunks::<4>().0;
    words.iter().map(|word| u32::from_le_bytes(*word))
}

/// As [`words`], over instructions of two or four bytes.
fn riscv<M: Mover>(bytes: &[u8], mut at: usize, limit: usize, place: &Place<'_, M>, pointers: &Pointers) -> Stop {
    while at < limit {
        let pc = place.pc(at);
        let Some(word) = word(bytes, at).filter(|_| pc & 1 == 0) else { break };
        let near = (pc & 3 == 0) & (pointers.near(word) | pointers.distance(word));
        let data = near && pointers.is_met(bytes, at, pc);
        if data | matches!(word & 0x7f, 0x6f | 0x17 | 0x37) {
            return (at, data);
        }
        at = at.saturating_add(if word & 3 == 3 { 4 } else { 2 });
    }
    (at, true)
}

/// Fields that are found before the first of them is rewritten.
const FOUND: usize = 64;

/// Over instructions that start anywhere; a pointer or a function's start at the aligned address in between ends one.
///
/// What starts where does not depend on fields: those of a stretch are noted first, in a loop without a branch that depends on the
/// instructions, and rewritten then.
fn xtensa<M: Mover>(bytes: &mut [u8], mut at: usize, limit: usize, place: &Place<'_, M>, pointers: &Pointers) -> usize {
    // The next place at which there may be data or the start of a function, unless it is behind `at`.
    let mut ahead = 0;
    while at < limit {
        if ahead < at {
            ahead = next_start(bytes, at, limit, place, pointers);
        }
        // No instruction that starts before this reaches that place, or the end of what is there.
        let end = limit.min(ahead.min(bytes.len()).saturating_sub(2));
        while at < end {
            let (mut found, mut count) = ([0; FOUND], 0usize);
            while at < end
                && let (Some(first), Some(next)) = (bytes.get(at), found.get_mut(count))
            {
                let opcode = first & 15;
                *next = at;
                count = count.saturating_add(((opcode == 1) | (opcode == 5) | (first & 0x3f == 6)).into());
                at = at.saturating_add(3 - usize::from(opcode.wrapping_sub(8) < 6));
            }
            for &field in found.iter().take(count) {
                if let Some(instruction) = read(bytes, field) {
                    xtensa::rewrite(bytes, field, instruction, place);
                }
            }
        }
        if at < limit {
            let taken = data(bytes, at, place).unwrap_or_else(|| xtensa::step(bytes, at, place));
            at = at.saturating_add(taken.max(1));
        }
    }
    at
}

/// The next aligned place from `at` on at which there may be a pointer, a distance or the start of a function; at the latest where no
/// further word is.
fn next_start<M: Mover>(bytes: &[u8], at: usize, limit: usize, place: &Place<'_, M>, pointers: &Pointers) -> usize {
    if pointers.wide {
        return at;
    }
    let aligned = at.saturating_add((place.pc(at).wrapping_neg() & 3) as usize);
    let ends = |word: u32| pointers.near(word) | pointers.distance(word) | xtensa::is_prologue(word as u16);
    let count = words_from(bytes, aligned, limit.saturating_add(3)).take_while(|word| !ends(*word)).count();
    aligned.saturating_add(count.saturating_mul(4))
}
