//! ARM Thumb and Thumb-2: BL and B.W (Armv7-M ARM A7.7.18, A7.7.12 T4), MOVW with MOVT (A7.7.76, A7.7.79).

use sealift_manifests::delta_format::field;

use super::{Mover, Place, half, write};

/// Rewrites the instruction at `at`, if it holds an address; returns its length.
pub(super) fn step<M: Mover>(bytes: &mut [u8], at: usize, place: &Place<'_, M>) -> usize {
    if place.pc(at) & 1 != 0 {
        return 1;
    }
    let (Some(first), Some(second)) = (half(bytes, at), half(bytes, at.saturating_add(2))) else { return 2 };
    if first & 0xf800 != 0xf000 {
        return 2;
    }
    if place.fields & field::BRANCH != 0 && second & 0x9000 == 0x9000 {
        let (first, second) = branch(first, second, at, place);
        write(bytes, at, first.to_le_bytes());
        write(bytes, at.saturating_add(2), second.to_le_bytes());
        return 4;
    }
    // MOVW: 11110 i 100100 imm4 | 0 imm3 Rd imm8; MOVT has 101100.
    if place.fields & field::PAIR != 0 && first & 0xfbf0 == 0xf240 && second & 0x8000 == 0 {
        pair(bytes, at, first, second, place);
        return 4;
    }
    2
}

/// BL and B.W share their immediate: S imm10 | J1 J2 imm11, 25 bits with the zero below.
fn branch<M: Mover>(first: u16, second: u16, at: usize, place: &Place<'_, M>) -> (u16, u16) {
    let (first, second) = (u32::from(first), u32::from(second));
    let sign = first >> 10 & 1;
    let i1 = (second >> 13 ^ sign ^ 1) & 1;
    let i2 = (second >> 11 ^ sign ^ 1) & 1;
    let distance = sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3ff) << 12 | (second & 0x7ff) << 1;
    let target = place.pc(at).wrapping_add(4).wrapping_add(super::signed(distance, 25));
    let distance = place.moved(at, target).wrapping_sub(place.new_pc(at).wrapping_add(4));
    let sign = distance >> 24 & 1;
    let j1 = (distance >> 23 ^ sign ^ 1) & 1;
    let j2 = (distance >> 22 ^ sign ^ 1) & 1;
    let first = first & 0xf800 | sign << 10 | distance >> 12 & 0x3ff;
    let second = second & 0xd000 | j1 << 13 | j2 << 11 | distance >> 1 & 0x7ff;
    (first as u16, second as u16)
}

fn immediate(first: u16, second: u16) -> u32 {
    let (first, second) = (u32::from(first), u32::from(second));
    (first & 0xf) << 12 | (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xff
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    let (Some(first), Some(second)) = (half(bytes, at), half(bytes, at.saturating_add(2))) else { return };
    let first = first & 0xfbf0 | ((value >> 11 & 1) << 10 | value >> 12 & 0xf) as u16;
    let second = second & 0x8f00 | ((value >> 8 & 7) << 12 | value & 0xff) as u16;
    write(bytes, at, first.to_le_bytes());
    write(bytes, at.saturating_add(2), second.to_le_bytes());
}

/// MOVW, and MOVT to the same register within the next four halfwords.
fn pair<M: Mover>(bytes: &mut [u8], at: usize, first: u16, second: u16, place: &Place<'_, M>) {
    for high in (4..=12).step_by(2).map(|far: usize| at.saturating_add(far)) {
        let (Some(top), Some(low)) = (half(bytes, high), half(bytes, high.saturating_add(2))) else { return };
        if top & 0xfbf0 == 0xf2c0 && low & 0x8f00 == second & 0x0f00 {
            if let Some(moved) = place.pointer32(at, immediate(top, low) << 16 | immediate(first, second)) {
                put(bytes, at, moved & 0xffff);
                put(bytes, high, moved >> 16);
            }
            return;
        }
    }
}
