//! RISC-V (unprivileged ISA 2.5, 2.6): JAL; AUIPC and LUI with the instruction that adds the low twelve bits.

use sealift_manifests::delta_format::field;

use super::{Mover, Place, half, signed, word, write};

/// Bytes behind an AUIPC or LUI in which its user is looked for.
const REACH: usize = 24;

/// Rewrites the instruction at `at`, if it holds an address; returns its length.
pub(super) fn step<M: Mover>(bytes: &mut [u8], at: usize, place: &Place<'_, M>) -> usize {
    if place.pc(at) & 1 != 0 {
        return 1;
    }
    let Some(instruction) = word(bytes, at) else { return 2 };
    match instruction & 0x7f {
        0x6f if place.fields & field::BRANCH != 0 => {
            let target = place.pc(at).wrapping_add(jal(instruction));
            let distance = place.moved(at, target).wrapping_sub(place.new_pc(at));
            write(bytes, at, with_jal(instruction, distance).to_le_bytes());
        }
        0x17 | 0x37 if place.fields & field::PAIR != 0 => upper(bytes, at, instruction, place),
        _ => {}
    }
    if instruction & 3 == 3 { 4 } else { 2 }
}

/// J-type immediate: bits 20, 10..1, 11, 19..12 from the top.
fn jal(instruction: u32) -> u32 {
    let low = instruction >> 20 & 0x7fe | instruction >> 9 & 0x800 | instruction & 0xf_f000;
    signed(low | instruction >> 11 & 0x10_0000, 21)
}

fn with_jal(instruction: u32, distance: u32) -> u32 {
    instruction & 0xfff
        | (distance & 0x7fe) << 20
        | (distance & 0x800) << 9
        | distance & 0xf_f000
        | (distance & 0x10_0000) << 11
}

/// Low twelve bits in the instruction that uses `register` as its base: I-type or S-type.
fn low_bits(instruction: u32, register: u32) -> Option<(u32, bool)> {
    if instruction >> 15 & 31 != register {
        return None;
    }
    match instruction & 0x7f {
        0x03 | 0x07 | 0x67 => Some((signed(instruction >> 20, 12), false)),
        // ADDI and ADDIW; the other operations of these codes add nothing.
        0x13 | 0x1b if instruction >> 12 & 7 == 0 => Some((signed(instruction >> 20, 12), false)),
        0x23 | 0x27 => Some((signed(instruction >> 20 & 0xfe0 | instruction >> 7 & 31, 12), true)),
        _ => None,
    }
}

fn upper<M: Mover>(bytes: &mut [u8], at: usize, instruction: u32, place: &Place<'_, M>) {
    let register = instruction >> 7 & 31;
    let relative = instruction & 0x7f == 0x17;
    let high = instruction & 0xffff_f000;
    let mut user = at.saturating_add(4);
    while user < at.saturating_add(REACH) {
        let Some(first) = half(bytes, user) else { return };
        if first & 3 != 3 {
            user = user.saturating_add(2);
            continue;
        }
        let Some(other) = word(bytes, user) else { return };
        if let Some((low, store)) = low_bits(other, register) {
            let sum = high.wrapping_add(low);
            let value = if relative {
                place.moved(at, place.pc(at).wrapping_add(sum)).wrapping_sub(place.new_pc(at))
            } else {
                match place.pointer32(at, sum) {
                    Some(moved) => moved,
                    None => return,
                }
            };
            write(bytes, at, (value.wrapping_add(0x800) & 0xffff_f000 | instruction & 0xfff).to_le_bytes());
            let low = value & 0xfff;
            let other = if store {
                other & 0x01ff_f07f | (low & 0xfe0) << 20 | (low & 31) << 7
            } else {
                other & 0x000f_ffff | low << 20
            };
            write(bytes, user, other.to_le_bytes());
            return;
        }
        // Another AUIPC or LUI into the register starts anew.
        if matches!(other & 0x7f, 0x17 | 0x37) && other >> 7 & 31 == register {
            return;
        }
        user = user.saturating_add(4);
    }
}
