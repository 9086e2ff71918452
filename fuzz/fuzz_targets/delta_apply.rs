//! Any patch on any base: output within bounds and in order, reads inside of base and output, no panic, and the same result
//! whatever the pieces and whatever the decoder did before.
//!
//! Input: length of the base in 256ths of the rest, length of a piece, base, patch. Lengths and digests in the patch's header
//! are taken for the signed ones, so that fuzzing gets past that check; lengths are brought within bounds first.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use sealift_fuzz::decode::{MOST, decode};
use sealift_verifier::delta::{Codec, Decoder24K, Header, Payload};

thread_local! {
    static USED: RefCell<Box<Decoder24K>> = RefCell::new(Box::new(Decoder24K::new()));
}

fuzz_target!(|input: &[u8]| {
    let [share, piece, rest @ ..] = input else { return };
    let (base, patch) = rest.split_at(rest.len() * usize::from(*share) / 256);
    let mut patch = patch.to_vec();
    let mut payload = Payload {
        codec: Codec::Delta,
        len: patch.len() as u32,
        sha256: [0; 32],
        base_len: base.len() as u32,
        base_sha256: [0; 32],
        target_len: 4096,
        target_sha256: [0; 32],
    };
    if let Ok(mut header) = Header::parse(&patch) {
        header.base_len = header.base_len.min(base.len() as u32);
        header.target_len = header.target_len.min(MOST);
        patch[..sealift_manifests::delta_format::HEADER_LEN].copy_from_slice(&header.to_bytes());
        (payload.base_len, payload.target_len) = (header.base_len, header.target_len);
        (payload.base_sha256, payload.target_sha256) = (header.base_sha256, header.target_sha256);
    }
    let pieces = USED.with_borrow_mut(|used| decode(used, &payload, base, &patch, usize::from(*piece)));
    let whole = decode(&mut Box::new(Decoder24K::new()), &payload, base, &patch, patch.len());
    assert_eq!(pieces.1, whole.1, "the outcome depends on the pieces or on what was decoded before");
    // An error may come before or after what the same piece could still have written.
    if whole.1.is_ok() {
        assert!(pieces.0 == whole.0, "the output depends on the pieces or on what was decoded before");
    }
});
