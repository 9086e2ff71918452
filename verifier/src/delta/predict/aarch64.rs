//! AArch64 (Arm ARM C6.2): B and BL; ADRP with ADD, loads and stores; ADR; load literal.

use sealift_manifests::delta_format::field;

use super::{Mover, Place, signed, word, write};

/// Instructions behind an ADRP among which its users are looked for.
const REACH: usize = 9;

/// Rewrites the instruction at `at`, if it holds an address; returns its length.
pub(super) fn step<M: Mover>(bytes: &mut [u8], at: usize, place: &Place<'_, M>) -> usize {
    let misaligned = place.pc(at) as usize & 3;
    if misaligned != 0 {
        return 4usize.saturating_sub(misaligned);
    }
    let Some(instruction) = word(bytes, at) else { return 4 };
    let (pc, new_pc) = (place.pc(at), place.new_pc(at));
    if instruction & 0x7c00_0000 == 0x1400_0000 {
        if place.fields & field::BRANCH != 0 {
            let target = pc.wrapping_add(signed(instruction << 2, 28));
            let distance = place.moved(at, target).wrapping_sub(new_pc);
            write(bytes, at, (instruction & 0xfc00_0000 | distance >> 2 & 0x3ff_ffff).to_le_bytes());
        }
    } else if place.fields & field::PAIR != 0 {
        match instruction & 0x9f00_0000 {
            0x9000_0000 => page(bytes, at, instruction, place),
            0x1000_0000 => {
                let distance = instruction >> 3 & 0x1f_fffc | instruction >> 29 & 3;
                let target = pc.wrapping_add(signed(distance, 21));
                let distance = place.moved(at, target).wrapping_sub(new_pc);
                write(bytes, at, with_21_bits(instruction, distance).to_le_bytes());
            }
            _ if instruction & 0x3b00_0000 == 0x1800_0000 => {
                // LDR (literal) is 19 bits of words.
                let target = pc.wrapping_add(signed(instruction >> 3 & 0x1f_fffc, 21));
                let distance = place.moved(at, target).wrapping_sub(new_pc);
                write(bytes, at, (instruction & 0xff00_001f | (distance >> 2 & 0x7_ffff) << 5).to_le_bytes());
            }
            _ => {}
        }
    }
    4
}

/// ADR's and ADRP's immediate: two low bits at 29, nineteen at 5.
fn with_21_bits(instruction: u32, value: u32) -> u32 {
    instruction & 0x9f00_001f | (value & 3) << 29 | (value >> 2 & 0x7_ffff) << 5
}

/// The low twelve bits of an address in an ADD, LDR or STR with base register `register`: (value, scale).
fn low_bits(instruction: u32, register: u32) -> Option<(u32, u32)> {
    if instruction >> 5 & 31 != register {
        return None;
    }
    if instruction & 0xffc0_0000 == 0x9100_0000 {
        return Some((instruction >> 10 & 0xfff, 0));
    }
    if instruction & 0x3b00_0000 == 0x3900_0000 {
        // Loads and stores with an unsigned offset; 128-bit SIMD ones have size 0 and the upper bit of opc.
        let simd_128 = instruction & 0x0480_0000 == 0x0480_0000 && instruction >> 30 == 0;
        let scale = if simd_128 { 4 } else { instruction >> 30 };
        return Some(((instruction >> 10 & 0xfff) << scale, scale));
    }
    None
}

/// Whether the instruction ends the search: a branch, call or return, or one that (by its place) overwrites `register`.
fn ends(instruction: u32, register: u32) -> bool {
    let branches = instruction & 0x1c00_0000 == 0x1400_0000;
    let conditional = instruction & 0xff00_0000 == 0x5400_0000 || instruction & 0x7c00_0000 == 0x3400_0000;
    let another = instruction & 0x9f00_001f == 0x9000_0000 | register;
    branches && !conditional || another
}

fn page<M: Mover>(bytes: &mut [u8], at: usize, instruction: u32, place: &Place<'_, M>) {
    let register = instruction & 31;
    let pages = instruction >> 3 & 0x1f_fffc | instruction >> 29 & 3;
    let base = (place.pc(at) & !0xfff).wrapping_add(pages << 12);
    let mut page = None;
    for user in (1..=REACH).map(|far| at.saturating_add(far.saturating_mul(4))) {
        let Some(other) = word(bytes, user).filter(|other| !ends(*other, register)) else { break };
        let Some((low, scale)) = low_bits(other, register) else { continue };
        let moved = place.moved(user, base.wrapping_add(low));
        page.get_or_insert(moved);
        write(bytes, user, (other & !(0xfff << 10) | (moved & 0xfff) >> scale << 10).to_le_bytes());
        // What loads into the register itself (ADD x0, x0 or LDR x0, [x0]) is its last use.
        if other & 31 == register && other & 0xffc0_0000 != 0xf900_0000 {
            break;
        }
    }
    let moved = page.unwrap_or_else(|| place.moved(at, base));
    let pages = (moved & !0xfff).wrapping_sub(place.new_pc(at) & !0xfff) >> 12;
    // Twenty bits of a difference of 32-bit addresses: the topmost of ADRP's 21 bits is its sign.
    write(bytes, at, with_21_bits(instruction, signed(pages, 20)).to_le_bytes());
}
