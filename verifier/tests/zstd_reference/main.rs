//! Our zstd decoder and the reference one: what the reference makes, ours reads; what ours accepts, the reference reads alike.

mod frames;
mod textures;

use proptest::prelude::*;
use sealift_verifier::delta::walk_frame;
use textures::textures;
use zstd::{bulk::Compressor, zstd_safe::CParameter};

fn compressed(data: &[u8], window_log: u32, level: i32) -> Vec<u8> {
    let mut compressor = Compressor::new(level).unwrap();
    compressor.set_parameter(CParameter::WindowLog(window_log)).unwrap();
    compressor.set_parameter(CParameter::ContentSizeFlag(false)).unwrap();
    compressor.compress(data).unwrap()
}

/// Decodes a frame with our decoder.
fn ours(frame: &[u8], window_log: u32) -> Option<Vec<u8>> {
    let mut window = vec![0; 1 << window_log];
    let mut data = Vec::new();
    walk_frame(frame, &mut window, |_, bytes| data.extend_from_slice(bytes)).ok()?;
    Some(data)
}

#[test]
fn what_the_reference_compresses_comes_out_the_same_at_every_level_and_window() {
    for seed in 0..12 {
        let data = textures(seed, 60_000 + seed as usize * 777);
        for level in [-5, 1, 3, 6, 9, 13, 17, 19, 22] {
            for window_log in [10, 11, 13, 17] {
                let frame = compressed(&data, window_log, level);
                assert!(
                    ours(&frame, window_log).as_deref() == Some(&data),
                    "seed {seed}, level {level}, window {window_log}"
                );
            }
        }
    }
}

#[test]
fn headers_with_sizes_checksums_and_single_segments_are_read() {
    let data = textures(99, 40_000);
    for (size, checksum) in [(false, false), (true, false), (false, true), (true, true)] {
        for len in [0, 1, 255, 256, 1000, 40_000] {
            let mut compressor = Compressor::new(9).unwrap();
            compressor.set_parameter(CParameter::ContentSizeFlag(size)).unwrap();
            compressor.set_parameter(CParameter::ChecksumFlag(checksum)).unwrap();
            let frame = compressor.compress(&data[..len]).unwrap();
            assert!(ours(&frame, 16).as_deref() == Some(&data[..len]), "size {size}, checksum {checksum}, {len} bytes");
        }
    }
}

/// The reference's verdict on a frame.
fn reference(frame: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::decompress(frame, 1 << 20).ok()
}

#[test]
fn every_changed_byte_of_a_frame_is_judged_like_the_reference_judges_it() {
    // The reference's fast loops don't look whether a Huffman stream was used up to its last bit, as RFC 8878 section 4.2.2 asks; ours
    // does. What both accept is the same, and ours accepts nothing that the reference refuses.
    let data = textures(7, 6000);
    let frame = compressed(&data, 12, 19);
    let (mut alike, mut stricter) = (0, 0);
    for at in 6..frame.len() {
        for flip in [1, 4, 0x20, 0x80] {
            let mut bad = frame.clone();
            bad[at] ^= flip;
            match (ours(&bad, 12), reference(&bad)) {
                (Some(ours), Some(theirs)) => {
                    assert!(ours == theirs, "byte {at} ^ {flip:#x}: both accept, differently");
                    alike += 1;
                }
                (Some(_), None) => panic!("byte {at} ^ {flip:#x}: ours accepts what the reference refuses"),
                (None, Some(_)) => stricter += 1,
                (None, None) => alike += 1,
            }
        }
    }
    println!("{alike} judged alike, {stricter} refused by ours alone");
    assert!(alike > stricter);
}

/// RFC 8878, section 4.2.2: a Huffman stream is used up to its last bit. One literal fewer than there are bits for is corrupt.
#[test]
fn a_huffman_stream_with_bits_left_over_is_refused() {
    // Few letters in an order that has no repeats worth a match: literals alone.
    let mut state = 7u32;
    let data: Vec<u8> = (0..200)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"aaaaabbbccdefgh"[(state >> 16) as usize % 15]
        })
        .collect();
    let frame = compressed(&data, 10, 1);
    assert!(ours(&frame, 10).as_deref() == Some(&data));
    // Magic, descriptor, window, block header; then the literals' header: Huffman with its own table, one stream, ten bits of size.
    let head = u32::from_le_bytes([frame[9], frame[10], frame[11], 0]);
    assert_eq!((head & 3, head >> 2 & 3), (2, 0), "another block than this test is about");
    for (fewer, good) in [(0, true), (1, false), (2, false), (100, false)] {
        let mut bad = frame.clone();
        bad[9..12].copy_from_slice(&(head - (fewer << 4)).to_le_bytes()[..3]);
        assert_eq!(ours(&bad, 10).is_some(), good, "{fewer} fewer");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_data_comes_back(data in prop::collection::vec(any::<u8>(), 0..5000), level in 1i32..22, window_log in 10u32..14) {
        let frame = compressed(&data, window_log, level);
        prop_assert_eq!(ours(&frame, window_log), Some(data));
    }

    #[test]
    fn random_blocks_are_judged_like_the_reference_judges_them(mut frame in prop::collection::vec(any::<u8>(), 0..300)) {
        // A frame header with a window of 4 KiB, then whatever comes.
        frame.splice(0..0, [0x28, 0xb5, 0x2f, 0xfd, 0, 2 << 3]);
        if let Some(ours) = ours(&frame, 12) {
            prop_assert_eq!(Some(ours), reference(&frame));
        }
    }
}
