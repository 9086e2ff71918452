//! The deltas that the verifier's tests apply (`verifier/tests/delta_rules`) are deltas of the signer's, and still apply for it.
//!
//! They are frozen: a signer of today may make better ones, a device of today has to apply those of yesterday. `SEALIFT_WRITE=1 cargo
//! test -p xtask --test delta_vectors` writes those that are missing, and none anew.

#[path = "../../signer/tests/support/programs.rs"]
mod programs;

use std::{fs, path::Path};

use programs::{Dice, Field, Program, Set};
use sealift_manifests::delta_format::{Arch, RamClass};
use sealift_signer::delta::{CreateOptions, Hints, ImageHint, Segment, apply, create};

struct Vector {
    name: &'static str,
    old: Vec<u8>,
    new: Vec<u8>,
    options: CreateOptions,
}

/// A program whose functions moved: code at one address, its last third as data at another one.
fn moved(set: Set, field: Field, arch: Arch, ram: RamClass, name: &'static str) -> Vector {
    let program = Program::of(36, set, field, 150);
    let (old, new) = (program.link(0x2040_0000, &[]), program.link(0x2040_0000, &[(4, 40), (17, 124), (29, 8)]));
    let hint = |image: &[u8]| {
        let code = (image.len() / 3 * 2) & !7;
        let segment =
            |offset: usize, address, len, code| Segment { offset: offset as u32, address, len: len as u32, code };
        let segments = vec![
            segment(0, 0x2040_0000, code, true),
            segment(code, 0x2040_0000 + code as u64, image.len() - code, true),
        ];
        Some(ImageHint { arch: Some(arch), wide: field == Field::Pointer64, segments })
    };
    let hints = Hints { base: hint(&old), target: hint(&new) };
    let options = CreateOptions { ram, hints, resume_interval: 2048, ..CreateOptions::default() };
    Vector { name, old, new, options }
}

/// Random blocks of `len` bytes in an order: those that the old one has not are new.
fn blocks(len: usize, order: &[u64]) -> Vec<u8> {
    order.iter().flat_map(|&seed| Dice(0x9e37_79b9 * (seed + 3)).bytes(len)).collect()
}

/// Words of a language of 400, some of which are common: many short matches, near and far.
fn words(seed: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice(77);
    let language: Vec<Vec<u8>> =
        (0..400).map(|at| dice.bytes(3 + at % 7).iter().map(|b| b % 26 + 97).collect()).collect();
    let mut dice = Dice(seed);
    let mut text = Vec::new();
    while text.len() < len {
        let common = 1 + dice.roll(400);
        text.extend_from_slice(&language[dice.roll(common) as usize]);
        text.push(b" \n,"[dice.roll(3) as usize]);
    }
    text
}

fn vectors() -> Vec<Vector> {
    let plain =
        |ram, resume_interval, read_back| CreateOptions { ram, resume_interval, read_back, ..CreateOptions::default() };
    // A new block that comes twice, far enough behind the first time to be read back.
    let mut repeated: Vec<u64> = (1..10).collect();
    repeated.extend([50, 51, 9, 8, 7, 6, 5, 4, 50, 51, 3, 60, 50]);
    let old = blocks(900, &(1..10).collect::<Vec<_>>());
    let mut changed = old.clone();
    changed.iter_mut().step_by(53).for_each(|byte| *byte = byte.wrapping_mul(3));
    // Literals that compress: every kind of zstd block.
    let text: Vec<u8> =
        (0..9_000u32).flat_map(|at| [b"sealift "[at as usize % 8], (at / 97) as u8, (at % 3) as u8]).collect();
    vec![
        moved(Set::Thumb, Field::ThumbMovwMovt, Arch::Thumb, RamClass::Ram24K, "thumb_pairs_and_calls_that_moved"),
        moved(Set::Riscv, Field::RiscvLuiAddi, Arch::RiscV, RamClass::Ram16K, "risc_v_pairs_that_moved"),
        moved(Set::A64, Field::Pointer64, Arch::AArch64, RamClass::Ram64K, "pointers_of_64_bits_that_moved"),
        moved(Set::Xtensa, Field::XtensaL32r, Arch::Xtensa, RamClass::Host, "xtensa_literals_that_moved"),
        Vector {
            name: "blocks_read_back_from_the_target",
            old: old.clone(),
            new: blocks(900, &repeated),
            options: plain(RamClass::Ram24K, 512, true),
        },
        Vector {
            name: "sparse_changes_in_many_sections",
            old,
            new: changed,
            options: plain(RamClass::Ram16K, 512, false),
        },
        Vector {
            name: "new_bytes_that_compress",
            old: text[..2_000].to_vec(),
            new: [&text[..], &text[1_000..2_000], &blocks(64, &[70; 40])].concat(),
            options: plain(RamClass::Ram16K, 700, false),
        },
        Vector {
            name: "nothing_of_something",
            old: vec![1, 2, 3],
            new: vec![],
            options: plain(RamClass::Ram16K, 512, false),
        },
        Vector {
            name: "something_of_nothing",
            old: vec![],
            new: text[..300].to_vec(),
            options: plain(RamClass::Ram16K, 512, true),
        },
        Vector {
            name: "words_in_another_order_as_one_frame",
            old: words(5, 9_000),
            new: [words(9, 21_000), blocks(300, &[7]), vec![0; 700], words(11, 9_000)].concat(),
            options: plain(RamClass::Ram24K, 1_024, true),
        },
        Vector {
            name: "words_of_nothing_as_one_frame",
            old: vec![],
            new: words(13, 30_000),
            options: plain(RamClass::Ram16K, 1_024, true),
        },
    ]
}

#[test]
fn the_checked_in_deltas_apply() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifier/tests/delta_rules/vectors");
    for Vector { name, old, new, options } in vectors() {
        let [base, delta] = ["old", "sld"].map(|ending| folder.join(format!("{name}.{ending}")));
        if std::env::var_os("SEALIFT_WRITE").is_some() && !delta.exists() {
            fs::write(&base, &old).expect("the base is written");
            fs::write(&delta, create(&old, &new, &options).expect("a delta").patch).expect("the delta is written");
        }
        let [base, delta] = [base, delta].map(|path| fs::read(path).expect("the file is there: see this file's text"));
        assert!(base == old, "{name}: another base");
        assert!(apply(&base, &delta).expect("it applies") == new, "{name}");
    }
}
