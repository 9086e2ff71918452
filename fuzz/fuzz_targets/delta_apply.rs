//! Any patch on any base: output within bounds and in order, reads inside of base and output, no panic, and the same result
//! whatever the pieces, wherever the decoder's memory is (the device's own, or the host's, which is lent) and whatever it did before.
//!
//! Input: length of the base in 256ths of the rest, length of a piece, base, patch. Lengths and digests in the patch's header
//! are taken for the signed ones, so that fuzzing gets past that check; lengths are brought within bounds first.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use sealift_fuzz::decode::{MOST, decode};
use sealift_verifier::delta::{Codec, Decoder24K, DecoderIn, Header, Lent, Payload, RamClass};

/// Bytes that the host copies at a time: more than the device, so that its pieces end elsewhere.
const WORK: usize = 1000;

/// The device's decoder, used again and again, and memory for one of the host's, of the same class.
struct Used {
    own: Box<Decoder24K>,
    memory: Vec<u8>,
    work: Vec<u8>,
    keys: Vec<u32>,
    shifts: Vec<u32>,
}

impl Used {
    fn new() -> Self {
        let limits = RamClass::Ram24K.limits();
        let entries = limits.shifts.into();
        Used {
            own: Box::new(Decoder24K::new()),
            memory: vec![0; limits.memory as usize],
            work: vec![0; WORK],
            keys: vec![0; entries],
            shifts: vec![0; entries],
        }
    }

    /// Both: one with what it did before in its memory, one that is new in memory full of something else.
    fn both(&mut self) -> (&mut Decoder24K, DecoderIn<'_>) {
        let Used { own, memory, work, keys, shifts } = self;
        memory.fill(0xa5);
        work.fill(0x5a);
        keys.fill(0xa5a5_a5a5);
        shifts.fill(0x5a5a_5a5a);
        (own, DecoderIn::new(Lent { memory, work, keys, shifts }).expect("room to work in"))
    }
}

thread_local! {
    static USED: RefCell<Used> = RefCell::new(Used::new());
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
    let (pieces, whole) = USED.with_borrow_mut(|used| {
        let (own, mut lent) = used.both();
        // Each takes the pieces, and the whole, every other time.
        let piece = usize::from(*piece);
        if piece & 1 == 0 {
            (decode(own, &payload, base, &patch, piece), decode(&mut lent, &payload, base, &patch, patch.len()))
        } else {
            (decode(&mut lent, &payload, base, &patch, piece), decode(own, &payload, base, &patch, patch.len()))
        }
    });
    assert_eq!(pieces.1, whole.1, "the outcome depends on the pieces, the decoder, or on what was decoded before");
    // Short of input, or before an error, one may have written more than the other: more of the same.
    let both = pieces.0.len().min(whole.0.len());
    assert!(
        pieces.0[..both] == whole.0[..both],
        "the output depends on the pieces, the decoder, or on what was decoded before"
    );
    assert!(whole.1 != Ok(true) || pieces.0.len() == whole.0.len());
});
