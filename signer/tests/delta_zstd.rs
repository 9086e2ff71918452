//! Our zstd decoder and the reference one: what the reference makes, ours reads; what ours accepts, the reference reads alike.

use proptest::prelude::*;
use sealift_signer::delta::{Codec, RamClass, full_image};
use sealift_verifier::delta::{Decoder64K, HostDecoder, NoBase, Payload, State, walk_frame};
use zstd::{bulk::Compressor, zstd_safe::CParameter};

/// Data of many textures: noise, runs, text, tables, all in one, so that every kind of block and table turns up.
fn textures(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 11
    };
    let mut data: Vec<u8> = Vec::new();
    while data.len() < len {
        let run = 1 + next() as usize % 3000;
        match next() % 7 {
            0 => data.extend((0..run).map(|_| next() as u8)),
            1 => data.extend(std::iter::repeat_n(next() as u8, run)),
            2 => data.extend((0..run).map(|_| b"etaoin shrdlu"[next() as usize % 13])),
            3 => data.extend((0..run as u32).flat_map(|n| (n * 4 + 0x0800_0000).to_le_bytes())),
            4 => data.extend((0..run).map(|_| (next() % 3) as u8)),
            5 => {
                let from = next() as usize % (data.len() + 1);
                let copied: Vec<u8> = data[from..].iter().copied().take(run).collect();
                data.extend(copied);
            }
            _ => data.extend((0..run).map(|_| (((next() % 256) * (next() % 256)) >> 8) as u8)),
        }
    }
    data.truncate(len);
    data
}

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

#[test]
fn a_zstd_file_of_several_frames_is_a_payload_and_the_zstd_tool_reads_ours() {
    let image = textures(5, 700_000);
    for ram in [RamClass::Ram16K, RamClass::Ram24K, RamClass::Ram64K, RamClass::Host] {
        let full = full_image(&image, ram, 19).unwrap();
        assert_eq!(full.codec, Codec::Zstd);
        assert!(zstd::decode_all(&full.bytes[..]).unwrap() == image, "{}", ram.name());
    }
    let full = full_image(&image, RamClass::Ram64K, 19).unwrap();
    let payload = Payload {
        codec: Codec::Zstd,
        len: full.bytes.len() as u32,
        sha256: [0; 32],
        base_len: 0,
        base_sha256: [0; 32],
        target_len: image.len() as u32,
        target_sha256: [0; 32],
    };
    for piece in [1, 1000, usize::MAX] {
        let mut decoder = Box::new(Decoder64K::new());
        decoder.start(&payload, None).unwrap();
        let mut slot = vec![0; image.len()];
        let mut state = State::NeedInput;
        for piece in full.bytes.chunks(piece) {
            state = decoder.push(piece, &mut NoBase, &mut &mut slot[..]).unwrap().state;
        }
        assert_eq!(state, State::Done);
        assert!(slot == image);
    }
    // An image that is longer than promised stops at the promised length.
    let short = Payload { target_len: payload.target_len - 1, ..payload };
    let mut decoders: Vec<HostDecoder> = Vec::with_capacity(1);
    decoders.resize_with(1, HostDecoder::new);
    decoders[0].start(&short, None).unwrap();
    let mut slot = vec![0; image.len() - 1];
    assert!(decoders[0].push(&full.bytes, &mut NoBase, &mut &mut slot[..]).is_err());
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
