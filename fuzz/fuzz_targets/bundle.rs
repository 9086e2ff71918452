//! Update bundles and install files: both decoders see the same files and payloads up to the same fault.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bundle: &[u8]| {
    sealift_fuzz::agree::on_bundle(bundle);
    sealift_fuzz::agree::on_install_file(bundle);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sealift_fuzz::mutate::cbor(data, size, max_size, seed)
});
