//! ARM A32: B and BL (Armv7-A ARM A8.8.18, A8.8.25), MOVW with MOVT (A8.8.102, A8.8.106).

use sealift_manifests::delta_format::field;

use super::{Mover, Place, signed, word, write};

/// Rewrites the instruction at `at`, if it holds an address; returns its length.
pub(super) fn step<M: Mover>(bytes: &mut [u8], at: usize, place: &Place<'_, M>) -> usize {
    let misaligned = place.pc(at) as usize & 3;
    if misaligned != 0 {
        return 4usize.saturating_sub(misaligned);
    }
    let Some(instruction) = word(bytes, at) else { return 4 };
    if place.fields & field::BRANCH != 0 && instruction & 0x0e00_0000 == 0x0a00_0000 && instruction < 0xf000_0000 {
        let target = place.pc(at).wrapping_add(8).wrapping_add(signed(instruction << 2, 26));
        let distance = place.moved(at, target).wrapping_sub(place.new_pc(at).wrapping_add(8));
        write(bytes, at, (instruction & 0xff00_0000 | distance >> 2 & 0xff_ffff).to_le_bytes());
    } else if place.fields & field::PAIR != 0 && instruction & 0x0ff0_0000 == 0x0300_0000 {
        pair(bytes, at, instruction, place);
    }
    4
}

fn immediate(instruction: u32) -> u32 {
    instruction >> 4 & 0xf000 | instruction & 0xfff
}

fn with_immediate(instruction: u32, value: u32) -> [u8; 4] {
    (instruction & 0xfff0_f000 | (value & 0xf000) << 4 | value & 0xfff).to_le_bytes()
}

/// MOVW, and MOVT to the same register within the next four instructions.
fn pair<M: Mover>(bytes: &mut [u8], at: usize, low: u32, place: &Place<'_, M>) {
    for far in (4..=16).step_by(4).map(|far: usize| at.saturating_add(far)) {
        let Some(high) = word(bytes, far) else { return };
        if high & 0x0ff0_0000 == 0x0340_0000 && high & 0xf000 == low & 0xf000 {
            if let Some(moved) = place.pointer32(at, immediate(high) << 16 | immediate(low)) {
                write(bytes, at, with_immediate(low, moved & 0xffff));
                write(bytes, far, with_immediate(high, moved >> 16));
            }
            return;
        }
    }
}
