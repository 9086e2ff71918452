//! Role payloads under each of the four roles: strict and slow decoder agree on acceptance and on every field.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|payload: &[u8]| {
    sealift_fuzz::agree::on_role(payload);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sealift_fuzz::mutate::cbor(data, size, max_size, seed)
});
