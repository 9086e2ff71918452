//! Damaged and hostile patches: each byte changed, each truncation, random blocks. The decoder ends in an error or in an image whose
//! hash is wrong; it never writes beyond the declared length, never reads outside of the base, never loops, never panics.

#[path = "support/decoding.rs"]
mod decoding;

use decoding::{Base, Slot, decode_with, promised};
use proptest::prelude::*;
use sealift_manifests::delta_format::HEADER_LEN;
use sealift_signer::delta::{self, CreateOptions, RamClass};
use sealift_verifier::delta::{Decoder16K, Decoder24K, DeltaError, Fault, Payload};

/// Decodes whatever it is, in the 24 KiB class.
fn run(old: &[u8], payload: &Payload, patch: &[u8]) -> Result<Vec<u8>, DeltaError> {
    decode_with(&mut Box::new(Decoder24K::new()), old, payload, patch)
}

/// Thumb-like code: calls among functions, pointers, text; and the same with something inserted.
fn firmware(shift: usize) -> Vec<u8> {
    let mut image = Vec::new();
    for function in 0..160u32 {
        if function == 50 {
            image.extend((0..shift).map(|n| (n * 37) as u8));
        }
        for step in 0..(8 + function % 11) {
            // BL to one of the functions, as they lie without the insertion.
            let target = (function * 7 + step * 13) % 160 * 60;
            let target = if target > 3000 { target + shift as u32 } else { target };
            let distance = (target as i32 - image.len() as i32 - 4) as u32;
            let (s, i1, i2) = (distance >> 24 & 1, distance >> 23 & 1, distance >> 22 & 1);
            let first = 0xf000 | s << 10 | distance >> 12 & 0x3ff;
            let second = 0xd000 | (i1 ^ s ^ 1) << 13 | (i2 ^ s ^ 1) << 11 | distance >> 1 & 0x7ff;
            image.extend_from_slice(&(first as u16).to_le_bytes());
            image.extend_from_slice(&(second as u16).to_le_bytes());
            image.extend_from_slice(&(0x2000 | (step * 5 + function) as u16 & 0xff).to_le_bytes());
        }
    }
    image
}

/// Words of a small language: images of them have many short stretches in common, and no long ones.
fn words(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed;
    let word = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let place = *state >> 24;
        (0..4 + place % 5)
            .map(|at| b'a' + (place.wrapping_mul(0x9e37_79b1) >> (4 * at)) as u8 % 26)
            .collect::<Vec<u8>>()
    };
    (0..count).flat_map(|_| [word(&mut state), b" ".to_vec()].concat()).collect()
}

#[test]
fn a_changed_byte_never_gets_past_the_hash_nor_out_of_bounds() {
    for (name, old, new, ram) in [
        ("code", firmware(0), firmware(24), RamClass::Ram24K),
        ("text", b"all work and no play ".repeat(120), b"all work and a play! ".repeat(150), RamClass::Ram16K),
        ("one frame", words(1, 900), words(2, 2200), RamClass::Ram16K),
    ] {
        let options = CreateOptions { ram, resume_interval: 1024, ..Default::default() };
        let created = delta::create(&old, &new, &options).unwrap();
        assert_eq!(created.header.is_frame(), name != "code", "{name}");
        let payload = promised(&created.patch, &created.header);
        assert_eq!(run(&old, &payload, &created.patch).as_ref(), Ok(&new));
        let (mut refused, mut wrong, mut harmless) = (0, 0, 0);
        for at in 0..created.patch.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut bad = created.patch.clone();
                bad[at] ^= flip;
                match run(&old, &payload, &bad) {
                    Err(_) => refused += 1,
                    // Some bits tell nothing that matters: the class, a window larger than needed, a frame's last-block flag.
                    Ok(image) if image == new => harmless += 1,
                    Ok(_) => wrong += 1,
                }
            }
        }
        println!("{name}: {refused} refused, {wrong} wrong images, {harmless} without effect");
        // A section's recent offsets are three numbers that need not be used.
        let few = if created.header.is_frame() { 8 } else { 20 };
        assert!(refused > 0 && wrong > 0 && harmless * few < refused + wrong, "{name}: {refused}, {wrong}, {harmless}");
    }
}

#[test]
fn no_truncation_is_taken_for_the_whole() {
    for (old, new) in [(firmware(0), firmware(24)), (words(1, 300), words(2, 1500))] {
        let created = delta::create(&old, &new, &CreateOptions::default()).unwrap();
        let payload = promised(&created.patch, &created.header);
        for len in 0..created.patch.len() {
            assert!(run(&old, &payload, &created.patch[..len]).is_err(), "{len} bytes");
        }
        let longer = [&created.patch[..], &[0]].concat();
        assert_eq!(run(&old, &payload, &longer), Err(DeltaError::Trailing));
    }
}

#[test]
fn a_patch_for_a_larger_class_is_refused_before_anything_is_written() {
    let (old, new) = (firmware(0), firmware(24));
    let created = delta::create(&old, &new, &CreateOptions { ram: RamClass::Host, ..Default::default() }).unwrap();
    let mut decoder = Box::new(Decoder16K::new());
    decoder.start(&promised(&created.patch, &created.header), None).unwrap();
    let mut slot = Slot { bytes: Vec::new(), len: new.len() };
    let refused = decoder.push(&created.patch, &mut Base(&old), &mut slot);
    assert_eq!(refused, Err(Fault::Payload(DeltaError::TooLarge)));
    assert!(slot.bytes.is_empty());
}

#[test]
fn a_header_that_names_other_images_than_the_signed_ones_is_refused() {
    let (old, new) = (firmware(0), firmware(24));
    let created = delta::create(&old, &new, &CreateOptions::default()).unwrap();
    let payload = promised(&created.patch, &created.header);
    for wrong in [
        Payload { base_sha256: [1; 32], ..payload },
        Payload { target_sha256: [1; 32], ..payload },
        Payload { base_len: payload.base_len + 1, ..payload },
        Payload { target_len: payload.target_len + 1, ..payload },
    ] {
        assert_eq!(run(&old, &wrong, &created.patch), Err(DeltaError::WrongImages));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A true header before random bytes: whatever they say, the decoder stays in bounds and ends.
    #[test]
    fn random_bodies_stay_in_bounds(body in prop::collection::vec(any::<u8>(), 0..2000), window in 10u8..13) {
        let (old, new) = (firmware(0), firmware(24));
        let created = delta::create(&old, &new, &CreateOptions { predict: delta::Predict::Off, ..Default::default() }).unwrap();
        let mut header = created.header;
        header.window_logs = [10, window.min(11), 10, 10, 11, 11, 11];
        header.body = HEADER_LEN as u32;
        let mut patch = header.to_bytes().to_vec();
        patch.extend_from_slice(&body);
        prop_assert!(run(&old, &promised(&patch, &header), &patch).is_err());
    }

    /// A good patch with a stretch overwritten.
    #[test]
    fn overwritten_stretches_stay_in_bounds(
        at in 0usize..4000,
        junk in prop::collection::vec(any::<u8>(), 1..40),
        frame in any::<bool>(),
    ) {
        let (old, new) = if frame { (words(3, 200), words(4, 900)) } else { (firmware(0), firmware(24)) };
        let created = delta::create(&old, &new, &CreateOptions::default()).unwrap();
        let payload = promised(&created.patch, &created.header);
        let mut bad = created.patch.clone();
        let at = HEADER_LEN + at % (bad.len() - HEADER_LEN);
        let end = bad.len().min(at + junk.len());
        bad[at..end].copy_from_slice(&junk[..end - at]);
        let _ = run(&old, &payload, &bad);
    }
}
