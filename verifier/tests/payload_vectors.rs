//! Payloads that broke the decoder once, each named for its fault.

use sealift_verifier::delta::{Codec, Decoder24K, DeltaError, Fault, NoBase, Payload, Progress};

/// Pushes a zstd payload in one piece.
fn push(frames: &[u8], target_len: u32) -> Result<Progress, DeltaError> {
    let payload = Payload::of_full(Codec::Zstd, frames.len() as u32, target_len);
    let mut slot = vec![0; target_len as usize];
    let mut decoder = Box::new(Decoder24K::new());
    decoder.start(&payload, None)?;
    decoder.push(frames, &mut NoBase, &mut &mut slot[..]).map_err(|fault| match fault {
        Fault::Payload(error) => error,
        other => panic!("{other:?}"),
    })
}

/// Found by `zstd_frames`: rounding the window up to a power of two overflowed, and then asked for the logarithm of 0. The bytes
/// come before any hash can be checked, so whoever serves them could stop the device.
#[test]
fn a_frame_that_states_a_content_of_more_than_2_to_the_63_bytes_is_too_large() {
    for size in [(1u64 << 63) + 1, u64::MAX - 1, u64::MAX, 0xff6e_b001_0800_f855] {
        let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &size.to_le_bytes(), &[0x55; 40]].concat();
        assert_eq!(push(&frame, 4096), Err(DeltaError::TooLarge), "{size:#x}");
    }
}

/// The same by the window's own byte: its largest value is below 2^42.
#[test]
fn a_frame_with_the_largest_window_is_too_large() {
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 1, 0, 0];
    assert_eq!(push(&frame, 4096), Err(DeltaError::TooLarge));
}
