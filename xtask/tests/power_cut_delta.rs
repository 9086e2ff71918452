//! The delta of the power-cut simulator is what the signer's engine makes of its two images.
//!
//! `SEALIFT_WRITE=1 cargo test -p xtask --test power_cut_delta` writes all three files anew.

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

#[test]
fn the_checked_in_delta_is_what_the_signer_makes() {
    let [old, new] = images();
    let options = CreateOptions { ram: RamClass::Ram24K, resume_interval: 300, ..CreateOptions::default() };
    let patch = create(&old, &new, &options).expect("a delta").patch;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifier/tests/power_cut/delta");
    for (name, bytes) in [("old.bin", old), ("new.bin", new), ("patch.sld", patch)] {
        let path = folder.join(name);
        if std::env::var_os("SEALIFT_WRITE").is_some() {
            fs::write(&path, &bytes).expect("the file is written");
        }
        assert!(fs::read(&path).expect("the file is there") == bytes, "{name} is out of date: see this file's text");
    }
}
