//! The signer's encoder against the device's decoder, on pairs of images that the input describes.
//!
//! Input: options, length of the base in 256ths, base, then edits: each takes a byte for what and two for how much.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_fuzz::decode::{MOST, decode};
use sealift_fuzz::delta::{CreateOptions, RamClass, create};
use sealift_verifier::delta::{Codec, Decoder16K, Decoder24K, Decoder64K, Payload};

/// The new image: pieces of the old one, moved, repeated and sprinkled, and new bytes.
fn edited(old: &[u8], mut edits: &[u8]) -> Vec<u8> {
    let mut new = Vec::new();
    while let [what, a, b, rest @ ..] = edits {
        edits = rest;
        let (from, count) = (usize::from(*a) * old.len() / 256, usize::from(*b) * 16);
        let copied = &old[from..(from + count).min(old.len())];
        match what % 5 {
            0 => new.extend(copied),
            1 => new.extend(
                copied.iter().enumerate().map(|(at, byte)| if at % 7 == 0 { byte.wrapping_add(*what) } else { *byte }),
            ),
            2 => {
                let (literal, rest) = edits.split_at(usize::from(*b).min(edits.len()));
                new.extend(literal);
                edits = rest;
            }
            3 => new.extend(std::iter::repeat_n(*a, count)),
            _ => {
                let from = new.len() * usize::from(*a) / 256;
                let copied = new[from..(from + count).min(new.len())].to_vec();
                new.extend(copied);
            }
        }
        if new.len() > MOST as usize / 4 {
            break;
        }
    }
    new
}

fuzz_target!(|input: &[u8]| {
    let [choice, share, rest @ ..] = input else { return };
    let (old, edits) = rest.split_at(rest.len() * usize::from(*share) / 256);
    let new = edited(old, edits);
    let ram = [RamClass::Ram16K, RamClass::Ram24K, RamClass::Ram64K][usize::from(choice & 15) % 3];
    let options = CreateOptions {
        ram,
        resume_interval: [512, 4096, 32 * 1024][usize::from(choice >> 4) % 3],
        read_back: choice & 0x40 == 0,
        level: 3,
        ..CreateOptions::default()
    };
    let made = create(old, &new, &options).expect("every pair has a delta");
    let payload = Payload {
        codec: Codec::Delta,
        len: made.patch.len() as u32,
        sha256: [0; 32],
        base_len: made.header.base_len,
        base_sha256: made.header.base_sha256,
        target_len: made.header.target_len,
        target_sha256: made.header.target_sha256,
    };
    let piece = 1 + usize::from(*share);
    let (written, ended) = match ram {
        RamClass::Ram16K => decode(&mut Box::new(Decoder16K::new()), &payload, old, &made.patch, piece),
        RamClass::Ram24K => decode(&mut Box::new(Decoder24K::new()), &payload, old, &made.patch, piece),
        _ => decode(&mut Box::new(Decoder64K::new()), &payload, old, &made.patch, piece),
    };
    assert_eq!(ended, Ok(true));
    assert!(written == new);
});
