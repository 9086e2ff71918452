//! The signer's zstd payloads: the reference reads them, and so does the device's decoder, whatever the pieces. (What the decoder makes of
//! zstd at large is held to the reference in `verifier/tests/zstd_reference`.)

#[path = "../../verifier/tests/zstd_reference/textures.rs"]
mod textures;

use sealift_signer::delta::{Codec, RamClass, full_image};
use sealift_verifier::delta::{Decoder64K, HostDecoder, NoBase, Payload, State};
use textures::textures;

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
