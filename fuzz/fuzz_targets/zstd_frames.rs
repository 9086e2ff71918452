//! Our bounded zstd decoder against the reference. Input: a byte that chooses, then data.
//!
//! Even: the data are frames. What the reference decodes, ours decodes to the same bytes or calls too large; the reference is
//! told to pass over checksums, as ours does. Odd: the reference compresses the data into a small window, and ours must
//! give them back.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use sealift_fuzz::decode::{MOST, decode};
use sealift_verifier::delta::{Codec, Decoder24K, DeltaError, Payload};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, DParameter};

thread_local! {
    static OURS: RefCell<Box<Decoder24K>> = RefCell::new(Box::new(Decoder24K::new()));
}

fn ours(frames: &[u8], target_len: usize, piece: usize) -> (Vec<u8>, Result<bool, DeltaError>) {
    let payload = Payload::of_full(Codec::Zstd, frames.len() as u32, target_len as u32);
    OURS.with_borrow_mut(|ours| decode(ours, &payload, &[], frames, piece))
}

/// Frames that ours refuses by design: skippable ones, and any that names a dictionary, even dictionary 0.
fn outside_of_scope(frames: &[u8]) -> bool {
    frames.windows(4).any(|magic| magic[0] & 0xf0 == 0x50 && magic[1..] == [0x2a, 0x4d, 0x18])
        || frames.windows(5).any(|start| start[..4] == [0x28, 0xb5, 0x2f, 0xfd] && start[4] & 0x03 != 0)
}

fuzz_target!(|input: &[u8]| {
    let [choice, data @ ..] = input else { return };
    let piece = 1 + usize::from(choice >> 1) * 5;
    if choice & 1 == 0 {
        let mut reference = Decompressor::new().expect("a decompressor");
        reference.set_parameter(DParameter::ForceIgnoreChecksum(true)).expect("a parameter");
        let expected = reference.decompress(data, MOST as usize).ok();
        let (written, ended) = ours(data, expected.as_ref().map_or(4096, Vec::len), piece);
        let Some(expected) = expected else { return };
        // Frames without content leave open where the payload ends.
        if expected.is_empty() || outside_of_scope(data) || ended == Err(DeltaError::TooLarge) {
            return;
        }
        // Ours is done with the last byte of content; empty frames and blocks behind it are refused.
        if ended == Err(DeltaError::Trailing) || ended == Ok(false) {
            assert!(written == expected[..written.len()]);
            return;
        }
        assert_eq!(ended, Ok(true), "the reference decodes {} bytes", expected.len());
        assert!(written == expected, "the reference decodes other bytes");
    } else {
        let mut compressor = Compressor::new([1, 3, 9, 19][usize::from(choice >> 1) % 4]).expect("a compressor");
        let window = 10 + u32::from(choice >> 3) % 3;
        compressor.set_parameter(CParameter::WindowLog(window)).expect("a parameter");
        compressor.set_parameter(CParameter::ContentSizeFlag(choice & 0x40 == 0)).expect("a parameter");
        compressor.set_parameter(CParameter::ChecksumFlag(choice & 0x20 == 0)).expect("a parameter");
        let frame = compressor.compress(data).expect("compresses");
        let (written, ended) = ours(&frame, data.len(), piece);
        // A frame that states its content may ask for a window as large as that.
        if ended != Err(DeltaError::TooLarge) && !data.is_empty() {
            assert_eq!(ended, Ok(true));
            assert!(written == data);
        }
    }
});
