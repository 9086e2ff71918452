//! Address prediction is part of the delta format: what it makes of any bytes is frozen, or deltas that were made before would give
//! other images. Whether it predicts well is the signer's to show (`signer/tests/delta_predictions.rs`).
//!
//! The digests below were written by the code of format version 1. One that changes says that the format changed: it then needs
//! a number or a bit of its own (`manifests/DELTA.md`), and not another digest.

use sealift_manifests::delta_format::{Arch, field};
use sealift_manifests::sha256;
use sealift_verifier::delta::predict::{LOOKAHEAD, MapMover, Place, retarget};
use sealift_verifier::delta::{AddressMap, Region};

/// A xorshift generator, so that every run sees the same bytes.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as u32
    }

    fn below(&mut self, below: usize) -> usize {
        self.roll() as usize % below
    }
}

/// Instructions that hold addresses, and their neighbours: bits that are set, and bits that may be anything.
fn templates(arch: Arch) -> &'static [(u32, u32)] {
    match arch {
        Arch::None => &[(0, u32::MAX)],
        Arch::Thumb => &[
            (0xd000_f000, 0x2fff_07ff), // BL
            (0x9000_f000, 0x2fff_07ff), // B.W
            (0x8000_f000, 0x2fff_07ff), // B<c>.W, which is none
            (0x0000_f240, 0x71ff_040f), // MOVW, to one of two registers
            (0x0000_f2c0, 0x71ff_040f), // MOVT
            (0x0000_2000, 0x00ff_1fff), // two short ones
        ],
        Arch::Arm => &[
            (0x0b00_0000, 0xf0ff_ffff), // BL and BLX
            (0x0a00_0000, 0xf0ff_ffff), // B
            (0x0300_0000, 0xf00f_1fff), // MOVW
            (0x0340_0000, 0xf00f_1fff), // MOVT
            (0xe080_0000, 0x001f_ffff), // ADD
        ],
        Arch::AArch64 => &[
            (0x1400_0000, 0x83ff_ffff), // B, BL
            (0x9000_0000, 0x60ff_ffe1), // ADRP
            (0x1000_0000, 0x60ff_ffe1), // ADR
            (0x1800_0000, 0xc4ff_ffff), // LDR (literal)
            (0x9100_0000, 0x003f_fc21), // ADD (immediate)
            (0x9140_0000, 0x003f_fc21), // ADD (immediate, shifted)
            (0x3900_0000, 0xc4ff_fc21), // loads and stores with an offset
            (0x5400_0000, 0x00ff_ffff), // B.cond
            (0x3400_0000, 0x83ff_ffff), // CBZ, CBNZ, TBZ
            (0xd61f_0000, 0x0060_03e0), // BR, BLR, RET
            (0x8b00_0000, 0x001f_ffff), // ADD (register)
        ],
        Arch::RiscV => &[
            (0x0000_006f, 0xffff_ff80), // JAL
            (0x0000_0017, 0xffff_f080), // AUIPC, to one of two registers
            (0x0000_0037, 0xffff_f080), // LUI
            (0x0000_0013, 0xfff0_ff80), // ADDI and its neighbours, from one of two
            (0x0000_001b, 0xfff0_8f80), // ADDIW
            (0x0000_0003, 0xfff0_ff80), // loads
            (0x0000_0007, 0xfff0_ff80), // floating-point loads
            (0x0000_0023, 0xfff0_ff80), // stores
            (0x0000_0027, 0xfff0_ff80), // floating-point stores
            (0x0000_0067, 0xfff0_8f80), // JALR
            (0x4501_4501, 0x1fe0_1fe0), // two compressed ones
        ],
        Arch::Xtensa => &[
            (0x0000_0005, 0xffff_fff0), // CALLn
            (0x0000_0006, 0xffff_fff0), // J and its neighbours
            (0x0000_0001, 0xffff_fff0), // L32R
            (0x0000_000d, 0xffff_fff0), // one of two bytes
            (0x0000_4136, 0xffff_f000), // ENTRY
            (0x0000_c112, 0xffff_0000), // ADDI to the stack pointer
        ],
    }
}

/// The two instructions that put `address` together, where a set has such: to or from a register below 2.
fn pair(arch: Arch, address: u32, register: u32) -> Option<[u32; 2]> {
    let (low, high) = (address & 0xffff, address >> 16);
    // Both halfwords of a Thumb instruction, the first one in the lower half.
    let thumb = |first: u32, value: u32| {
        let second = (value >> 8 & 7) << 12 | register << 8 | value & 0xff;
        second << 16 | first | (value >> 11 & 1) << 10 | value >> 12
    };
    let arm = |opcode: u32, value: u32| opcode | (value & 0xf000) << 4 | register << 12 | value & 0xfff;
    match arch {
        Arch::Thumb => Some([thumb(0xf240, low), thumb(0xf2c0, high)]),
        Arch::Arm => Some([arm(0xe300_0000, low), arm(0xe340_0000, high)]),
        Arch::RiscV => {
            let user = if address & 0x40 == 0 {
                0x13 | register << 7 | (address & 0xfff) << 20
            } else {
                0x2023 | 5 << 20 | (address & 0xfe0) << 20 | (address & 31) << 7
            };
            let upper = 0x37 | register << 7 | address.wrapping_add(0x800) & 0xffff_f000;
            Some([upper, user | register << 15])
        }
        _ => None,
    }
}

/// Regions as images have them: one, several with gaps, up to the end of the address space and around it.
fn regions(which: usize) -> Vec<Region> {
    let region = |address, len, base, code| Region { address, len, base, code, target_bias: 0 };
    match which {
        0 => vec![],
        1 => vec![region(0, 0x4_0000, Some(0), true)],
        2 => vec![region(0x1_0000, 0x2_0000, Some(0), true), region(0x3_8000, 0x800, None, false)],
        _ => vec![region(0u32.wrapping_sub(0x2_0000), 0x5_0000, Some(0), true)],
    }
}

/// Bytes to rewrite: instructions, now and then pointers and distances, now and then anything.
fn piece(dice: &mut Dice, arch: Arch, origin: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < 160 {
        let near = u64::from(dice.roll() % 0x6_0000);
        match dice.below(12) {
            0 => bytes.extend(dice.roll().to_le_bytes()),
            1 => bytes.extend((origin.wrapping_add(near) as u32).to_le_bytes()),
            2 => {
                bytes.resize(bytes.len().next_multiple_of(8), 0);
                bytes.extend(origin.wrapping_add(near).to_le_bytes());
            }
            3 => bytes.extend((near as u32).wrapping_sub(0x2_0000).to_le_bytes()),
            4 if dice.below(3) == 0 => bytes.push(dice.roll() as u8),
            4 | 5 if let Some([first, second]) = pair(arch, origin.wrapping_add(near) as u32, dice.roll() & 1) => {
                bytes.extend(first.to_le_bytes());
                // What stands in between: as far as it is looked for, and farther.
                for _ in 0..dice.below(14) * dice.below(2) {
                    bytes.extend(if arch == Arch::Arm { &[0, 0, 0x80, 0xe0][..] } else { &[0x05, 0x20] });
                }
                bytes.extend(second.to_le_bytes());
            }
            _ => {
                let all = templates(arch);
                let (set, free) = all[dice.below(all.len())];
                // Near targets, so that they lie in what is mapped, and far ones.
                let mut filled = dice.roll() & free;
                if dice.below(2) == 0 {
                    filled &= dice.roll() | dice.roll();
                }
                // Every so often a bit is wrong, and it is another instruction.
                let wrong = if dice.below(16) == 0 { 1 << dice.below(32) } else { 0 };
                let word = ((set | filled) ^ wrong).to_le_bytes();
                let len = if arch == Arch::Xtensa { 3 } else { 4 };
                bytes.extend(&word[..len]);
            }
        }
    }
    bytes
}

/// Digest of what becomes of many pieces.
fn digest_of(arch: Arch, fields: u8) -> String {
    let mut dice = Dice(0x0005_ea11_f7de_1700 + u64::from(fields) * 7919 + arch as u64);
    let (mut outcome, mut changed) = (Vec::new(), 0);
    for _ in 0..1_500 {
        let origin = [0u64, 0x4000_0000, 0x0800_1000, 0xffff_ffff_8000_0000][dice.below(4)];
        let regions = regions(dice.below(4));
        // Shifts at a few addresses, some of them odd, one of them far.
        let mut keys: Vec<u32> = (0..dice.below(6)).map(|_| dice.roll() % 0x5_0000).collect();
        keys.sort_unstable();
        let shifts: Vec<u32> =
            keys.iter().map(|_| dice.roll() % 0x4_0000).map(|by| by.wrapping_sub(0x1_0000)).collect();
        let map = AddressMap::new(origin, &regions, &keys, &shifts);
        let from = (dice.roll() % 0x4_0000) & if dice.below(8) == 0 { !0 } else { !7 };
        let to = (dice.roll() % 0x20_0000).wrapping_sub(0x1000);
        let mover = MapMover { map, piece: from, len: dice.roll() % 0x400, shift: to.wrapping_sub(from) };
        let place = Place { arch, fields, map, mover, from, to, pinned: dice.below(8) == 0 };
        let bytes = piece(&mut dice, arch, origin);
        // At once, and in two calls as a decoder does it: the same.
        let limit = bytes.len() - dice.below(3) * LOOKAHEAD;
        let mut once = bytes.clone();
        let end = retarget(&mut once, 0, limit, &place);
        let mut twice = bytes.clone();
        let first = LOOKAHEAD.min(limit);
        let next = retarget(&mut twice[..(first + LOOKAHEAD).min(bytes.len())], 0, first, &place);
        assert_eq!(retarget(&mut twice, next, limit, &place), end, "{arch:?} {fields:02x}: {bytes:02x?}");
        assert_eq!(once, twice, "{arch:?} {fields:02x}: {bytes:02x?}");
        changed += usize::from(once != bytes);
        outcome.extend(&once);
        outcome.extend((end as u32).to_le_bytes());
    }
    if arch != Arch::None && fields != 0 {
        assert!(changed > 100, "{arch:?} {fields:02x}: only {changed} pieces held a field");
    }
    sha256(&outcome).to_string()[..16].to_owned()
}

const POINTERS: u8 = field::POINTER32 | field::POINTER64;
const KINDS: [u8; 6] = [
    0,
    field::BRANCH,
    field::PAIR,
    POINTERS | field::RELATIVE32,
    field::BRANCH | field::PAIR | field::POINTER32,
    field::BRANCH | field::PAIR | POINTERS | field::RELATIVE32,
];

fn frozen(arch: Arch, expected: [&str; 6]) {
    assert_eq!(KINDS.map(|fields| digest_of(arch, fields)), expected, "{arch:?}: the format changed");
}

#[test]
fn what_prediction_makes_of_thumb_is_frozen() {
    frozen(
        Arch::Thumb,
        [
            "5d322619fbf599dc",
            "1d783efb8b586468",
            "03e70f99755816dd",
            "3ddb86044635d81c",
            "4e53f62ea913cc35",
            "bf89546913d7b5cf",
        ],
    );
}

#[test]
fn what_prediction_makes_of_arm_is_frozen() {
    frozen(
        Arch::Arm,
        [
            "42271742fb6c149a",
            "e827797fcf29bce1",
            "609c8ec5a90e5e49",
            "f4ce8522ab48b6ea",
            "ac7763bf528baefe",
            "85886b91de37d378",
        ],
    );
}

#[test]
fn what_prediction_makes_of_aarch64_is_frozen() {
    frozen(
        Arch::AArch64,
        [
            "69181082ce5b5f52",
            "b3b1baa9c7dbd9f8",
            "ecd9bb210f2751dd",
            "f8db765ecb29e95e",
            "bd7bf53b75dcc8f4",
            "2db818b4cec29e66",
        ],
    );
}

#[test]
fn what_prediction_makes_of_risc_v_is_frozen() {
    frozen(
        Arch::RiscV,
        [
            "36771595d84b3613",
            "041c2f1bdbbc0b71",
            "1c3ce65419cd486a",
            "1e910acd7a8714b7",
            "5488972e63717359",
            "7c0e1bb8060ceed6",
        ],
    );
}

#[test]
fn what_prediction_makes_of_xtensa_is_frozen() {
    frozen(
        Arch::Xtensa,
        [
            "2b73e56e68ee26ff",
            "77ab5e9218545e8c",
            "b43565e44a163c91",
            "803f188bb25dd3ea",
            "1fa384cf5bd1158a",
            "27ce28403f93c1f8",
        ],
    );
}

#[test]
fn what_prediction_makes_of_data_is_frozen() {
    frozen(
        Arch::None,
        [
            "c4a870e0a55be377",
            "f015eaad0c9b6e85",
            "6f2335c1f3bc1c10",
            "b2eb0df2dcfe73ce",
            "bbaca0d2626bb25b",
            "ea20c0b968a8bd60",
        ],
    );
}
