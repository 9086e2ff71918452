//! Each kind of address field that is predicted, on programs made for it: moved code costs almost nothing, and comes back.

#[path = "support/programs.rs"]
mod programs;

use programs::{Field, Program, Set};
use sealift_signer::delta::{self, Arch, CreateOptions, Hints, ImageHint, Predict, RamClass, Segment, field};

/// Functions grow at these places, in bytes.
const INSERTED: [(usize, usize); 7] = [(5, 40), (21, 124), (48, 8), (70, 260), (88, 16), (101, 52), (120, 4)];

/// Links a program twice and compares the delta with and without prediction. `hinted`: its address is told, as an ELF file tells it.
fn pays(set: Set, kind: Field, arch: Arch, bit: u8, address: u32, hinted: bool) {
    let count = if matches!(kind, Field::Pointer32 | Field::Pointer64 | Field::Distance32) { 1500 } else { 1200 };
    let program = Program::new(set, kind, count);
    let (old, new) = (program.link(address, &[]), program.link(address, &INSERTED));
    let hint = |image: &[u8]| ImageHint {
        arch: Some(arch),
        wide: kind == Field::Pointer64,
        segments: vec![Segment { offset: 0, address: address.into(), len: image.len() as u32, code: true }],
    };
    let hints = if hinted { Hints { base: Some(hint(&old)), target: Some(hint(&new)) } } else { Hints::default() };
    let options = CreateOptions { hints, ..Default::default() };
    let plain = delta::create(&old, &new, &CreateOptions { predict: Predict::Off, ..Default::default() }).unwrap();
    let predicted = delta::create(&old, &new, &options).unwrap();
    let (with, without) = (predicted.patch.len(), plain.patch.len());
    println!("{kind:?}: {with} bytes, {without} without prediction; {:x?}", predicted.tried);
    assert_eq!(predicted.header.arch, arch, "{kind:?}: {:?}", predicted.tried);
    assert!(predicted.header.fields & bit != 0, "{kind:?}: fields {:02x}", predicted.header.fields);
    assert!(with * 2 < without, "{kind:?}: {with} bytes, {without} without prediction");
    for patch in [&plain.patch, &predicted.patch] {
        assert!(delta::apply(&old, patch).unwrap() == new, "{kind:?}");
    }
    // The other way round, everything moves down.
    let back = delta::create(&new, &old, &CreateOptions { ram: RamClass::Ram64K, ..options }).unwrap();
    assert!(back.patch.len() * 2 < without, "{kind:?}, back: {} bytes", back.patch.len());
    assert!(delta::apply(&new, &back.patch).unwrap() == old, "{kind:?}, back");
}

macro_rules! kinds {
    ($($name:ident: $set:ident, $field:ident, $arch:ident, $bit:ident, $address:literal, $hinted:literal;)*) => {$(
        #[test]
        fn $name() {
            pays(Set::$set, Field::$field, Arch::$arch, field::$bit, $address, $hinted);
        }
    )*};
}

kinds! {
    thumb_calls: Thumb, ThumbBranch, Thumb, BRANCH, 0x0800_0000, false;
    thumb_movw_with_movt: Thumb, ThumbMovwMovt, Thumb, PAIR, 0x0800_4000, true;
    arm_calls: Arm, ArmBranch, Arm, BRANCH, 0x8000, false;
    arm_movw_with_movt: Arm, ArmMovwMovt, Arm, PAIR, 0x4001_0000, true;
    aarch64_calls: A64, A64Branch, AArch64, BRANCH, 0x8_0000, false;
    aarch64_adrp_with_add: A64, A64AdrpAdd, AArch64, PAIR, 0x8_0000, false;
    aarch64_adrp_with_load: A64, A64AdrpLoad, AArch64, PAIR, 0x8_0000, false;
    aarch64_adr: A64, A64Adr, AArch64, PAIR, 0x8_0000, false;
    aarch64_load_literal: A64, A64Literal, AArch64, PAIR, 0x8_0000, false;
    riscv_jal: Riscv, RiscvJal, RiscV, BRANCH, 0x2040_0000, false;
    riscv_auipc_with_addi: Riscv, RiscvAuipcAddi, RiscV, PAIR, 0x2040_0000, false;
    riscv_auipc_with_jalr: Riscv, RiscvAuipcJalr, RiscV, PAIR, 0x2040_0000, false;
    riscv_lui_with_addi: Riscv, RiscvLuiAddi, RiscV, PAIR, 0x2040_0000, true;
    riscv_lui_with_store: Riscv, RiscvLuiStore, RiscV, PAIR, 0x2040_0000, true;
    xtensa_calls: Xtensa, XtensaCall, Xtensa, BRANCH, 0x4020_0000, false;
    xtensa_jumps: Xtensa, XtensaJump, Xtensa, BRANCH, 0x4020_0000, false;
    xtensa_l32r: Xtensa, XtensaL32r, Xtensa, PAIR, 0x4020_0000, false;
    pointers_of_32_bits_at_an_address_found_in_the_image: Thumb, Pointer32, Thumb, POINTER32, 0x0802_0000, false;
    pointers_of_32_bits_at_an_address_from_the_elf_file: Thumb, Pointer32, Thumb, POINTER32, 0x0802_0000, true;
    pointers_of_64_bits_at_an_address_found_in_the_image: A64, Pointer64, AArch64, POINTER64, 0x8_0000, false;
    pointers_of_64_bits_at_an_address_from_the_elf_file: A64, Pointer64, AArch64, POINTER64, 0x8_0000, true;
    distances_of_32_bits: A64, Distance32, AArch64, RELATIVE32, 0x8_0000, false;
}

/// Only the target is an ELF file, as when the base comes out of a repository: its address is taken for the base as well.
#[test]
fn what_is_known_of_one_image_serves_for_the_other() {
    let program = Program::new(Set::Riscv, Field::RiscvLuiAddi, 1200);
    let (old, new) = (program.link(0x2040_0000, &[]), program.link(0x2040_0000, &INSERTED));
    let segments = vec![Segment { offset: 0, address: 0x2040_0000, len: new.len() as u32, code: true }];
    let target = Some(ImageHint { arch: Some(Arch::RiscV), wide: false, segments });
    let hints = Hints { base: None, target };
    let told = delta::create(&old, &new, &CreateOptions { hints, ..Default::default() }).unwrap().patch;
    let guessed = delta::create(&old, &new, &CreateOptions::default()).unwrap().patch;
    assert!(told.len() * 3 < guessed.len() * 2, "{} bytes, {} without the address", told.len(), guessed.len());
    assert!(delta::apply(&old, &told).unwrap() == new);
}

/// A wrong architecture and a wrong address cost bytes at most.
#[test]
fn a_wrong_hint_never_costs_correctness() {
    let program = Program::new(Set::Thumb, Field::Pointer32, 800);
    let (old, new) = (program.link(0x0800_0000, &[]), program.link(0x0800_0000, &INSERTED));
    for arch in [Arch::None, Arch::Thumb, Arch::Arm, Arch::AArch64, Arch::RiscV, Arch::Xtensa] {
        for address in [0, 0x0800_0000, 0x7000_0123, 0xffff_fff0, 0xffff_ffff_ffff_f000] {
            let segments = vec![Segment { offset: 0, address, len: 1 << 20, code: true }];
            let hint = Some(ImageHint { arch: Some(arch), wide: address > u64::from(u32::MAX), segments });
            let hints = Hints { base: hint.clone(), target: hint };
            for predict in [Predict::All, Predict::Likeliest] {
                let options = CreateOptions { hints: hints.clone(), predict, ..Default::default() };
                let patch = delta::create(&old, &new, &options).unwrap().patch;
                assert!(delta::apply(&old, &patch).unwrap() == new, "{arch:?} at {address:#x}");
            }
        }
    }
}
