//! Bodies of one frame against the reference: zstd with a base as its prefix. Input: a byte that chooses, a byte that says how much
//! of the rest is base, then base and data.
//!
//! Even: the data are blocks. What the reference makes of them as a frame over the base, ours makes as a delta's body. Odd: the
//! reference compresses the data over the base, and ours must give them back.
#![no_main]

use std::cell::RefCell;
use std::io::{Read, Write};

use libfuzzer_sys::fuzz_target;
use sealift_fuzz::decode::{MOST, decode};
use sealift_manifests::delta_format::{Arch, field};
use sealift_verifier::delta::{Decoder24K, DeltaError, Header, Payload, RamClass};
use zstd::stream::{read::Decoder, write::Encoder};
use zstd::zstd_safe::CParameter;

/// Magic number, a descriptor without anything, a window of 128 KiB: what a body does without.
const FRAME: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];

thread_local! {
    static OURS: RefCell<Box<Decoder24K>> = RefCell::new(Box::new(Decoder24K::new()));
}

/// What the blocks yield as the one section of a delta to `target_len` bytes.
fn ours(base: &[u8], blocks: &[u8], target_len: usize, piece: usize) -> (Vec<u8>, Result<bool, DeltaError>) {
    let header = Header {
        ram: RamClass::Ram24K,
        arch: Arch::None,
        fields: field::FRAME | field::READ_BACK,
        base_len: base.len() as u32,
        target_len: target_len as u32,
        base_sha256: [0; 32],
        target_sha256: [0; 32],
        window_logs: [12, 0, 0, 0, 0, 0, 0],
        shifts: 0,
        block: 9,
        regions: 0,
        body: 96,
    };
    let mut patch = header.to_bytes().to_vec();
    for number in [target_len as u32, 1, 4, 8] {
        patch.extend(number.to_le_bytes());
    }
    patch.extend(blocks);
    let payload = Payload::of_delta(&header, patch.len() as u32);
    OURS.with_borrow_mut(|ours| decode(ours, &payload, base, &patch, piece))
}

/// What the reference decodes, and how many bytes of `blocks` it left.
fn reference(base: &[u8], blocks: &[u8]) -> Option<(Vec<u8>, usize)> {
    let frame = [&FRAME[..], blocks].concat();
    let mut rest = &frame[..];
    let mut decoder = Decoder::with_ref_prefix(&mut rest, base).ok()?.single_frame();
    let mut written = Vec::new();
    (&mut decoder).take(u64::from(MOST)).read_to_end(&mut written).ok()?;
    drop(decoder);
    Some((written, rest.len()))
}

fuzz_target!(|input: &[u8]| {
    let [choice, share, rest @ ..] = input else { return };
    let (base, data) = rest.split_at(rest.len() * usize::from(*share) / 256);
    let piece = 1 + usize::from(choice >> 1) * 5;
    if choice & 1 == 0 {
        let Some((expected, left)) = reference(base, data) else { return };
        let (written, ended) = ours(base, data, expected.len(), piece);
        // Blocks behind the last one, or behind the last byte; contents that the class has no room for.
        if expected.is_empty() || left > 0 || matches!(ended, Err(DeltaError::TooLarge | DeltaError::Trailing)) {
            return;
        }
        if expected.len() == MOST as usize {
            return;
        }
        assert_eq!(ended, Ok(true), "the reference decodes {} bytes", expected.len());
        assert!(written == expected, "the reference decodes other bytes");
    } else if !data.is_empty() {
        let mut frame = Vec::new();
        let level = [1, 3, 9, 19][usize::from(choice >> 1) % 4];
        let mut encoder = Encoder::with_ref_prefix(&mut frame, level, base).expect("a compressor");
        // Tables no larger than the data are worth: they are cleared for each input.
        for parameter in [
            CParameter::WindowLog(17),
            CParameter::HashLog(12),
            CParameter::ChainLog(12),
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
        ] {
            encoder.set_parameter(parameter).expect("a parameter");
        }
        encoder.write_all(data).and_then(|()| encoder.flush()).expect("it takes the data");
        encoder.finish().expect("it compresses");
        let blocks = frame[FRAME.len()..].strip_suffix(&[1, 0, 0]).expect("an empty last block behind a flush");
        let (written, ended) = ours(base, blocks, data.len(), piece);
        assert_eq!(ended, Ok(true));
        assert!(written == data);
    }
});
