//! The reach of deltas on real firmware: every pair comes back from the class's own decoder, and stays below the best known tool's size.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use sealift_signer::delta::{self, CreateOptions, RamClass};

/// Executable pairs: the smallest patch of all peers measured (bsdiff, xdelta3, zstd --patch-from, detools, HDiffPatch), and bsdiff's.
const PAIRS: [(&str, f64, f64); 6] = [
    ("stm32f4_upy", 32_233.0, 40_694.0),
    ("esp8266_upy", 65_927.0, 75_985.0),
    ("esp32_tasmota", 25_376.0, 25_376.0),
    ("opensbi_rv64", 67_196.0, 78_131.0),
    ("atf_imx8mp", 9_747.0, 11_304.0),
    ("uboot_rpi4", 98_465.0, 105_452.0),
];

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/firmware");
    let dir = std::env::var_os("SEALIFT_FIRMWARE").map_or(beside, PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    let required = std::env::var_os("SEALIFT_REQUIRE_FIRMWARE").is_some_and(|value| value == "1");
    assert!(!required, "no firmware in {}, and SEALIFT_REQUIRE_FIRMWARE is set", dir.display());
    println!("LEFT OUT: no firmware in {} (set SEALIFT_FIRMWARE)", dir.display());
    None
}

#[test]
fn deltas_of_real_firmware_reach_their_sizes() {
    let Some(corpus) = corpus() else { return };
    for (ram, against_best, against_bsdiff) in [(RamClass::Ram24K, 0.70, 0.60), (RamClass::Ram64K, 0.62, 0.60)] {
        let (mut best, mut bsdiff) = (0.0, 0.0);
        for (pair, peer, plain) in PAIRS {
            let [old, new] = ["old", "new"].map(|file| std::fs::read(corpus.join(pair).join(file)).unwrap());
            let created = delta::create(&old, &new, &CreateOptions { ram, ..Default::default() }).unwrap();
            assert!(delta::apply(&old, &created.patch).unwrap() == new, "{pair}");
            let len = created.patch.len() as f64;
            println!("{:6} {pair:14} {:6} bytes, {:.3} of the best peer", ram.name(), created.patch.len(), len / peer);
            assert!(ram != RamClass::Ram64K || len <= peer, "{pair}: {len} bytes, the best peer {peer}");
            best += (len / peer).ln() / PAIRS.len() as f64;
            bsdiff += (len / plain).ln() / PAIRS.len() as f64;
        }
        let (best, bsdiff) = (best.exp(), bsdiff.exp());
        println!("{:6} mean {best:.3} of the best peer, {bsdiff:.3} of bsdiff", ram.name());
        assert!(best <= against_best && bsdiff <= against_bsdiff);
    }
}

/// Bases and targets that have nothing in common, the same image twice, and one that was compressed already.
const UNLIKE: [(&str, &str); 6] = [
    ("stm32f4_upy/old", "esp8266_upy/new"),
    ("opensbi_rv64/old", "uboot_rpi4/new"),
    ("uboot_rpi4/old", "atf_imx8mp/new"),
    ("esp8266_upy/new", "esp8266_upy/new"),
    ("tasmota8266_gz/old", "tasmota8266_gz/new"),
    ("esp8266_upy/old", "tasmota8266_gz/new"),
];

/// The smallest of `zstd -22`, `zstd -22 --patch-from` and bsdiff with the best that compresses its output.
fn best_of_the_others(old: &[u8], new: &[u8]) -> usize {
    let zstd = |prefix: &[u8]| {
        let mut bytes = Vec::new();
        let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(&mut bytes, 22, prefix).unwrap();
        encoder.window_log(24).unwrap();
        encoder.set_pledged_src_size(Some(new.len() as u64)).unwrap();
        encoder.write_all(new).unwrap();
        encoder.finish().unwrap();
        bytes.len()
    };
    let mut raw = Vec::new();
    bsdiff::diff(old, new, &mut raw).unwrap();
    zstd(&[]).min(zstd(old)).min(zstd::bulk::compress(&raw, 22).unwrap().len())
}

#[test]
fn images_that_have_nothing_in_common_are_never_much_worse_than_with_any_other_tool() {
    let Some(corpus) = corpus() else { return };
    for (from, to) in UNLIKE {
        let [old, new] = [from, to].map(|file| std::fs::read(corpus.join(file)).unwrap());
        let best = best_of_the_others(&old, &new);
        for ram in [RamClass::Ram24K, RamClass::Ram64K] {
            let created = delta::create(&old, &new, &CreateOptions { ram, ..Default::default() }).unwrap();
            let full = delta::full_image(&new, ram, 22).unwrap().bytes.len();
            let len = created.patch.len().min(full);
            println!("{} {from} to {to}: {len} bytes (full image {full}), the best other {best}", ram.name());
            assert!(len <= best + best / 100 + 200, "{from} to {to}: {len} bytes, {best}");
            assert!(delta::apply(&old, &created.patch).unwrap() == new, "{from} to {to}");
        }
    }
}
