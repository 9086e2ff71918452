//! Passes over what holds no field, with one look at eight bytes a step and one branch that is hardly ever taken.
//!
//! For hosts alone: it changes nothing about what [`retarget`](super::retarget) does (a test holds the two together), and a
//! microcontroller has less flash to give for it than it has time.

use sealift_manifests::delta_format::{Arch, field};

use super::{Mover, Place, aarch64, arm, data, read, riscv, thumb, xtensa};

/// Which words may be pointers or distances. That some of them are none is found out by the look that follows.
struct Pointers {
    narrow: bool,
    wide: bool,
    distances: bool,
    first: u64,
    span: u32,
}

impl Pointers {
    fn new<M>(place: &Place<'_, M>) -> Self {
        let (low, span) = place.map.reach();
        Self {
            narrow: place.fields & field::POINTER32 != 0,
            wide: place.fields & field::POINTER64 != 0,
            distances: place.fields & field::RELATIVE32 != 0,
            first: place.map.origin.wrapping_add(u64::from(low)),
            span,
        }
    }

    /// Whether a word at an aligned address may be one; `word` holds the eight bytes there, or the lower four of them and zeros.
    #[inline]
    fn narrow(&self, word: u64) -> bool {
        self.narrow & ((word as u32).wrapping_sub(self.first as u32) <= self.span)
    }

    /// Whether a word at an aligned address may be a distance. Most words of code are far too large, and most of data are zero.
    #[inline]
    fn distance(&self, word: u64) -> bool {
        self.distances & (word as u32 != 0) & ((word as u32).wrapping_add(0x80_0000) < 0x100_0000)
    }

    /// Whether the eight bytes at an address may be a pointer.
    #[inline]
    fn wide(&self, pc: u32, word: u64) -> bool {
        self.wide & (pc & 7 == 0) & (word.wrapping_sub(self.first) <= u64::from(self.span))
    }
}

/// As [`retarget`](super::retarget).
pub(super) fn retarget<M: Mover>(bytes: &mut [u8], at: usize, limit: usize, place: &Place<'_, M>) -> usize {
    let pointers = &Pointers::new(place);
    match place.arch {
        Arch::Xtensa => {
            let pass = |bytes: &[u8], at| xtensa(bytes, at, limit, place, pointers);
            stops(bytes, at, limit, place, pass, xtensa::step)
        }
        Arch::RiscV => {
            let step = |word: u64| if word & 3 == 3 { 4 } else { 2 };
            let field = |word: u64| matches!(word & 0x7f, 0x6f | 0x17 | 0x37);
            let pass = |bytes: &[u8], at| walk(bytes, at, limit, place, pointers, 1, step, field);
            stops(bytes, at, limit, place, pass, riscv::step)
        }
        Arch::Thumb => {
            let field = |word: u64| word & 0xf800 == 0xf000;
            let pass = |bytes: &[u8], at| walk(bytes, at, limit, place, pointers, 1, |_| 2, field);
            stops(bytes, at, limit, place, pass, thumb::step)
        }
        Arch::Arm => {
            let field = |word: u64| (word & 0x0e00_0000 == 0x0a00_0000) | (word & 0x0ff0_0000 == 0x0300_0000);
            let pass = |bytes: &[u8], at| walk(bytes, at, limit, place, pointers, 3, |_| 4, field);
            stops(bytes, at, limit, place, pass, arm::step)
        }
        Arch::AArch64 => {
            let field = |word: u64| {
                (word & 0x7c00_0000 == 0x1400_0000)
                    | (word & 0x1f00_0000 == 0x1000_0000)
                    | (word & 0x3b00_0000 == 0x1800_0000)
            };
            let pass = |bytes: &[u8], at| walk(bytes, at, limit, place, pointers, 3, |_| 4, field);
            stops(bytes, at, limit, place, pass, aarch64::step)
        }
        Arch::None => {
            let pass = |bytes: &[u8], at| walk(bytes, at, limit, place, pointers, 3, |_| 4, |_| false);
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

/// The next place from `at` on, at most `limit` or a few bytes behind it, at which a field may start: over instructions that start
/// where `pc & align` is 0, until one that `fields` picks or a word that may be a pointer or a distance.
#[inline]
#[allow(clippy::too_many_arguments)]
fn walk<M: Mover>(
    bytes: &[u8],
    mut at: usize,
    limit: usize,
    place: &Place<'_, M>,
    pointers: &Pointers,
    align: u32,
    step: impl Fn(u64) -> usize,
    fields: impl Fn(u64) -> bool,
) -> Stop {
    while at < limit {
        let pc = place.pc(at);
        let Some(word) = read::<8>(bytes, at).map(u64::from_le_bytes).filter(|_| pc & align == 0) else { break };
        let pointer = (pc & 3 == 0) & (pointers.narrow(word) | pointers.wide(pc, word) | pointers.distance(word));
        if pointer | fields(word) {
            return (at, pointer);
        }
        at = at.saturating_add(step(word));
    }
    (at, true)
}

/// Xtensa's instructions start anywhere; a pointer or a function's start at the aligned address in between ends one.
fn xtensa<M: Mover>(bytes: &[u8], mut at: usize, limit: usize, place: &Place<'_, M>, pointers: &Pointers) -> Stop {
    if pointers.wide {
        return (at, true);
    }
    while at < limit {
        let Some(word) = read::<8>(bytes, at).map(u64::from_le_bytes) else { break };
        let opcode = word & 15;
        let len = 3 - usize::from(opcode.wrapping_sub(8) < 6);
        let ahead = (place.pc(at).wrapping_neg() & 3) as usize;
        let aligned = word >> (8 * ahead);
        let half = aligned & 0xffff;
        let starts = (ahead != 0) & ((half & 0x0fff == 0x0136) | (half == 0xc112));
        let field = (opcode == 1) | (opcode == 5) | (word & 0x3f == 6);
        let pointer = pointers.narrow(aligned);
        let data = (ahead == 0) & (pointer | pointers.distance(word));
        if field | data | (ahead < len) & (starts | pointer) {
            return (at, data);
        }
        at = at.saturating_add(len);
    }
    (at, true)
}
