//! Address prediction, one field at a time: which of them a bit of the header turns on, and where a map ends.

use sealift_manifests::delta_format::{Arch, field};
use sealift_verifier::delta::predict::{Mover, Place, retarget};
use sealift_verifier::delta::{AddressMap, Region};

/// Everything has moved by 0x100.
#[derive(Debug)]
struct Far;

impl Mover for Far {
    fn moved(&self, _: usize, target: u32) -> u32 {
        target.wrapping_add(0x100)
    }
}

const ORIGIN: u64 = 0x4000_0000;

fn region(address: u32, len: u32) -> Region {
    Region { address, len, base: Some(0), code: true, target_bias: 0 }
}

/// What becomes of bytes that stood at `from` and stay there.
fn predicted(arch: Arch, fields: u8, from: u32, bytes: &[u8]) -> Vec<u8> {
    let regions = [region(0, u32::MAX)];
    let map = AddressMap::new(ORIGIN, &regions, &[], &[]);
    let mut bytes = bytes.to_vec();
    let limit = bytes.len();
    retarget(&mut bytes, 0, limit, &Place { arch, fields, map, mover: Far, from, to: from, pinned: false });
    bytes
}

#[test]
fn each_bit_turns_on_its_own_kind_of_data_and_no_other() {
    let pointer32 = 0x4000_2000u32.to_le_bytes();
    let pointer64 = 0x4000_3000u64.to_le_bytes();
    let distance = 0x40u32.to_le_bytes();
    let before = [&pointer64[..], &pointer32, &distance].concat();
    let both = field::POINTER32 | field::RELATIVE32;
    for (fields, narrow, wide, near) in [
        (0, false, false, false),
        (field::POINTER32, true, false, false),
        (field::POINTER64, false, true, false),
        (field::RELATIVE32, false, false, true),
        (both, true, false, true),
        (both | field::POINTER64, true, true, true),
    ] {
        let after = predicted(Arch::None, fields, 0x1000, &before);
        // The lower half of the wide pointer is a narrow one.
        assert_eq!(after[..8] != pointer64, wide || narrow, "{fields:02x}: the wide pointer");
        let expected = if narrow { 0x4000_2100u32 } else { 0x4000_2000 };
        assert_eq!(after[8..12], expected.to_le_bytes(), "{fields:02x}: the narrow pointer");
        // The distance goes from where it stands, which hasn't moved.
        let expected = if near { 0x140u32 } else { 0x40 };
        assert_eq!(after[12..], expected.to_le_bytes(), "{fields:02x}: the distance");
    }
}

#[test]
fn a_distance_is_of_less_than_eight_mebibytes() {
    for (distance, is_one) in [
        (0, false),
        (1, true),
        (0x7f_ffff, true),
        (0x80_0000, false),
        (0u32.wrapping_sub(0x80_0000), true),
        (0u32.wrapping_sub(0x80_0001), false),
    ] {
        let after = predicted(Arch::None, field::RELATIVE32, 0x80_0000, &distance.to_le_bytes());
        let expected = if is_one { distance.wrapping_add(0x100) } else { distance };
        assert_eq!(after, expected.to_le_bytes(), "{distance:x}");
    }
}

/// The instructions that a host passes over quickly start at aligned addresses, as those do that it looks at.
#[test]
fn a_pointer_behind_a_piece_that_starts_askew_is_found() {
    let pointer = 0x4000_2000u32.to_le_bytes();
    for from in 0u32..8 {
        let ahead = (from.wrapping_neg() & 3) as usize;
        for arch in [Arch::None, Arch::Arm, Arch::AArch64] {
            let before = [&[0; 3][..ahead], &pointer, &[0; 12]].concat();
            let after = predicted(arch, field::POINTER32, from, &before);
            assert_eq!(after[ahead..ahead + 4], 0x4000_2100u32.to_le_bytes(), "{arch:?} from {from}");
        }
    }
}

/// A64: ADRP's users are followed until one overwrites the register; a store of the register itself does not.
#[test]
fn a_store_of_the_register_that_it_goes_by_does_not_end_an_adrps_users() {
    let adrp = 0xb000_0000u32; // ADRP x0, one page on
    let store = 0xf900_0000 | (0x10 / 8) << 10; // STR x0, [x0, #0x10]
    let add = 0x9100_0000 | 0x18 << 10; // ADD x0, x0, #0x18
    let load = 0xf940_0000 | (0x20 / 8) << 10; // LDR x0, [x0, #0x20]: what x0 holds then is no page
    let before: Vec<u8> = [adrp, store, add, load].iter().flat_map(|word| word.to_le_bytes()).collect();
    let after = predicted(Arch::AArch64, field::PAIR, 0x1000, &before);
    let store = 0xf900_0000 | (0x110 / 8) << 10;
    let add = 0x9100_0000 | 0x118 << 10;
    let expected: Vec<u8> = [adrp, store, add, load].iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(after, expected);
}

#[test]
fn a_region_ends_before_its_length() {
    let regions = [region(0x1000, 0x100), region(0x2000, 0x10)];
    let map = AddressMap::new(0, &regions, &[], &[]);
    for (address, inside) in [
        (0xfff, false),
        (0x1000, true),
        (0x10ff, true),
        (0x1100, false),
        (0x1fff, false),
        (0x200f, true),
        (0x2010, false),
    ] {
        assert_eq!(map.contains(address), inside, "{address:x}");
    }
}

/// Regions that touch are looked at as one: it begins where the first does, and ends where the last does.
#[test]
fn regions_without_a_gap_are_one_and_no_more_than_they_are() {
    for regions in [
        vec![region(0x1000, 0x1100)],
        vec![region(0x1000, 0x100), region(0x1100, 0x1000)],
        // A region of nothing, at the end and within.
        vec![region(0x1000, 0x1100), region(0x2100, 0)],
        vec![region(0x1000, 0x1100), region(0x1800, 0)],
    ] {
        let map = AddressMap::new(0, &regions, &[], &[]);
        for (address, inside) in [
            (0, false),
            (0xfff, false),
            (0x1000, true),
            (0x1800, true),
            (0x20ff, true),
            (0x2100, false),
            (0x2101, false),
        ] {
            assert_eq!(map.contains(address), inside, "{address:x} in {regions:x?}");
        }
    }
}

/// The first region that has it, by where the target is linked; RAM is in no image.
#[test]
fn an_offset_of_the_target_falls_into_the_region_it_is_linked_in() {
    let ram = Region { base: None, ..region(0x8000, 0x100) };
    let code = Region { target_bias: 0x1000, ..region(0x1000, 0x100) };
    let data = Region { target_bias: 0x1f00, ..region(0x2000, 0x10) };
    let regions = [Region { target_bias: 0x8000, ..ram }, code, data];
    let map = AddressMap::new(0, &regions, &[0x1000], &[4]);
    for (offset, found) in
        [(0, Some(code)), (0xff, Some(code)), (0x100, Some(data)), (0x10f, Some(data)), (0x110, None)]
    {
        assert_eq!(map.target_region(offset).copied(), found, "{offset:x}");
    }
    let unmoved = map.unmoved();
    assert_eq!((map.moved(0x1000), unmoved.moved(0x1000)), (0x1004, 0x1000));
    assert_eq!((unmoved.regions, unmoved.contains(0x10ff)), (&regions[..], true));
}
