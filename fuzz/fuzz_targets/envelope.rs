//! COSE envelopes: strict and slow decoder agree, byte for byte both ways; and on the role inside.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|file: &[u8]| {
    if let Some(payload) = sealift_fuzz::agree::on_envelope(file) {
        sealift_fuzz::agree::on_role(&payload);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sealift_fuzz::mutate::cbor(data, size, max_size, seed)
});
