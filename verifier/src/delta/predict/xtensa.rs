//! Xtensa (ISA reference manual 4.x): CALL0/4/8/12, J, L32R. Instructions take two or three bytes at any address.

use sealift_manifests::delta_format::field;

use super::{Mover, Place, half, read, signed, word, write};

/// Rewrites the instruction at `at`, if it holds an address; returns its length.
pub(super) fn step<M: Mover>(bytes: &mut [u8], at: usize, place: &Place<'_, M>) -> usize {
    let Some([b0, b1, b2]) = read::<3>(bytes, at) else { return 3 };
    let opcode = b0 & 15;
    // Density option: 8 to 13 are instructions of two bytes.
    let len = if (8..14).contains(&opcode) { 2 } else { 3 };
    // Data and padding between functions put the scan out of step. What starts at an aligned address for certain ends it: a
    // pointer, or a function's first instruction.
    let to_word = (place.pc(at).wrapping_neg() & 3) as usize;
    if to_word != 0 && to_word < len {
        let aligned = at.saturating_add(to_word);
        let starts = match word(bytes, aligned) {
            Some(value) => is_prologue(value as u16) || is_pointer(value, place),
            None => half(bytes, aligned).is_some_and(is_prologue),
        };
        if starts {
            return to_word;
        }
    }
    rewrite(bytes, at, [b0, b1, b2], place);
    len
}

/// Rewrites the instruction at `at`, which consists of these bytes, if it holds an address.
#[inline]
pub(super) fn rewrite<M: Mover>(bytes: &mut [u8], at: usize, [b0, b1, b2]: [u8; 3], place: &Place<'_, M>) {
    let word = u32::from_le_bytes([b0, b1, b2, 0]);
    let (pc, new_pc) = (place.pc(at), place.new_pc(at));
    let changed = match b0 & 15 {
        // CALLn: 18 bits of words from the word of the call, plus 4.
        5 if place.fields & field::BRANCH != 0 => {
            let target = (pc & !3).wrapping_add(4).wrapping_add(signed(word >> 6, 18) << 2);
            let distance = place.moved(at, target).wrapping_sub((new_pc & !3).wrapping_add(4));
            word & 0x3f | (distance >> 2 & 0x3_ffff) << 6
        }
        // J (n = 0): 18 bits of bytes, plus 4.
        6 if place.fields & field::BRANCH != 0 && word & 0x30 == 0 => {
            let target = pc.wrapping_add(4).wrapping_add(signed(word >> 6, 18));
            let distance = place.moved(at, target).wrapping_sub(new_pc.wrapping_add(4));
            word & 0x3f | (distance & 0x3_ffff) << 6
        }
        // L32R: 16 bits of words below the next word.
        1 if place.fields & field::PAIR != 0 => {
            let target = (pc.wrapping_add(3) & !3).wrapping_add((word >> 8 | 0xffff_0000) << 2);
            let distance = place.moved(at, target).wrapping_sub(new_pc.wrapping_add(3) & !3);
            word & 0xff | (distance >> 2 & 0xffff) << 8
        }
        _ => word,
    };
    if changed != word {
        let [b0, b1, b2, _] = changed.to_le_bytes();
        write(bytes, at, [b0, b1, b2]);
    }
}

/// ENTRY with the stack pointer (windowed ABI), or the ADDI that makes a frame on it (CALL0 ABI).
#[inline]
pub(super) fn is_prologue(half: u16) -> bool {
    half & 0x0fff == 0x0136 || half == 0xc112
}

/// Whether an aligned word is a pointer: code is unaligned and must not run into it.
#[inline]
fn is_pointer<M: Mover>(value: u32, place: &Place<'_, M>) -> bool {
    place.fields & field::POINTER32 != 0 && place.address(u64::from(value)).is_some()
}
