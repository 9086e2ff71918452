//! Passes over what holds no field, with one look at eight bytes a step and one branch that is hardly ever taken.
//!
//! For hosts alone: it changes nothing about what [`retarget`](super::retarget) does (a test holds the two together), and a
//! microcontroller has less flash to give for it than it has time.

use sealift_manifests::delta_format::{Arch, field};

use super::{Mover, Place, read};

/// Which words may be pointers. That some of them are none is found out by the look that follows.
struct Pointers {
    narrow: bool,
    wide: bool,
    first: u64,
    span: u32,
}

impl Pointers {
    fn new<M>(place: &Place<'_, M>) -> Self {
        let (low, span) = place.map.reach();
        Self {
            narrow: place.fields & field::POINTER32 != 0,
            wide: place.fields & field::POINTER64 != 0,
            first: place.map.origin.wrapping_add(u64::from(low)),
            span,
        }
    }

    /// Whether a word at an aligned address may be one; `word` holds the eight bytes there, or the lower four of them and zeros.
    #[inline]
    fn narrow(&self, word: u64) -> bool {
        self.narrow & ((word as u32).wrapping_sub(self.first as u32) <= self.span)
    }

    /// Whether the eight bytes at an address may be one.
    #[inline]
    fn wide(&self, pc: u32, word: u64) -> bool {
        self.wide & (pc & 7 == 0) & (word.wrapping_sub(self.first) <= u64::from(self.span))
    }
}

/// The next place from `at` on, at most `limit` or a few bytes behind it, at which a field may start.
pub(super) fn pass<M: Mover>(bytes: &[u8], at: usize, limit: usize, place: &Place<'_, M>) -> usize {
    // Distances look like any small number.
    if place.fields & field::RELATIVE32 != 0 {
        return at;
    }
    let pointers = &Pointers::new(place);
    match place.arch {
        Arch::Xtensa => xtensa(bytes, at, limit, place, pointers),
        Arch::RiscV => {
            let step = |word: u64| if word & 3 == 3 { 4 } else { 2 };
            walk(bytes, at, limit, place, pointers, 1, step, |word| matches!(word & 0x7f, 0x6f | 0x17 | 0x37))
        }
        Arch::Thumb => walk(bytes, at, limit, place, pointers, 1, |_| 2, |word| word & 0xf800 == 0xf000),
        Arch::Arm => walk(
            bytes,
            at,
            limit,
            place,
            pointers,
            3,
            |_| 4,
            |word| (word & 0x0e00_0000 == 0x0a00_0000) | (word & 0x0ff0_0000 == 0x0300_0000),
        ),
        Arch::AArch64 => walk(
            bytes,
            at,
            limit,
            place,
            pointers,
            3,
            |_| 4,
            |word| {
                (word & 0x7c00_0000 == 0x1400_0000)
                    | (word & 0x1f00_0000 == 0x1000_0000)
                    | (word & 0x3b00_0000 == 0x1800_0000)
            },
        ),
        Arch::None => walk(bytes, at, limit, place, pointers, 3, |_| 4, |_| false),
    }
}

/// Over instructions that start where `pc & align` is 0, until one that `fields` picks or a word that may be a pointer.
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
) -> usize {
    while at < limit {
        let pc = place.pc(at);
        let Some(word) = read::<8>(bytes, at).map(u64::from_le_bytes).filter(|_| pc & align == 0) else { break };
        let pointer = (pc & 3 == 0) & (pointers.narrow(word) | pointers.wide(pc, word));
        if pointer | fields(word) {
            break;
        }
        at = at.saturating_add(step(word));
    }
    at
}

/// Xtensa's instructions start anywhere; a pointer or a function's start at the aligned address in between ends one.
fn xtensa<M: Mover>(bytes: &[u8], mut at: usize, limit: usize, place: &Place<'_, M>, pointers: &Pointers) -> usize {
    if pointers.wide {
        return at;
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
        if field | (ahead < len) & (starts | pointers.narrow(aligned)) {
            break;
        }
        at = at.saturating_add(len);
    }
    at
}
