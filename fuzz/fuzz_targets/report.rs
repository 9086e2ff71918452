//! Device reports, signed and bare: both decoders agree.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| {
    sealift_fuzz::agree::on_report(bytes);
    sealift_fuzz::agree::on_report_payload(bytes);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sealift_fuzz::mutate::cbor(data, size, max_size, seed)
});
