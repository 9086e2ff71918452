//! The deltas of the power-cut simulator are what the signer's engine makes of their images.
//!
//! `SEALIFT_WRITE=1 cargo test -p xtask --test power_cut_delta` writes all files anew.

use std::{fs, path::Path};

use sealift_manifests::delta_format::RamClass;
use sealift_signer::delta::{CreateOptions, create};

/// Random blocks, some of them changed, moved or new: so that the delta has literals, copies and differences.
fn images() -> [Vec<u8>; 2] {
    let block = |seed: u32| {
        (0..250u32).map(move |at| {
            let mixed = (at + seed * 977).wrapping_mul(2_654_435_761);
            ((mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519) >> 24) as u8
        })
    };
    let old: Vec<u8> = (1..48).flat_map(block).collect();
    // Every third block is new, and two have changed places.
    let new_block = |index: u32| match index {
        7 => 8,
        8 => 7,
        index if index % 3 == 0 => index + 200,
        index => index,
    };
    let mut new: Vec<u8> = (1..52).map(new_block).flat_map(block).collect();
    new.iter_mut().step_by(97).for_each(|byte| *byte = byte.wrapping_add(3));
    [old, new]
}

/// Words of 1,200, in any order: two such images have little in common.
fn texts() -> [Vec<u8>; 2] {
    let mix = |at: u32| (at ^ (at >> 15)).wrapping_mul(2_246_822_519).rotate_left(13).wrapping_mul(2_654_435_761);
    let text = |seed: u32, words: u32| -> Vec<u8> {
        let word = |word: u32| (0..3 + word % 6).map(move |at| (mix(word * 8 + at) >> 24) as u8);
        (0..words).flat_map(|at| word(mix(at + seed) % 1_200)).collect()
    };
    [text(1, 1_500), text(90_001, 2_700)]
}

#[test]
fn the_checked_in_deltas_are_what_the_signer_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifier/tests/power_cut/delta");
    for (kind, [old, new], resume_interval) in [("", images(), 300), ("frame-", texts(), 1024)] {
        let options = CreateOptions { ram: RamClass::Ram24K, resume_interval, ..CreateOptions::default() };
        let made = create(&old, &new, &options).expect("a delta");
        assert_eq!(made.header.is_frame(), !kind.is_empty());
        assert!(made.sections > 1, "{kind}{} bytes without a place to resume from", made.patch.len());
        for (name, bytes) in [("old.bin", old), ("new.bin", new), ("patch.sld", made.patch)] {
            let path = folder.join(format!("{kind}{name}"));
            if std::env::var_os("SEALIFT_WRITE").is_some() {
                fs::write(&path, &bytes).expect("the file is written");
            }
            let there = fs::read(&path).expect("the file is there");
            assert!(there == bytes, "{} is out of date: see this file's text", path.display());
        }
    }
}
