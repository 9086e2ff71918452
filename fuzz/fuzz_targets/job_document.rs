//! Job documents and the messages of AWS IoT Jobs: what is read is within its bounds, and is written back as the same thing.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| {
    sealift_fuzz::jobs::document(bytes);
    sealift_fuzz::jobs::messages(bytes);
    sealift_fuzz::jobs::names(bytes);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sealift_fuzz::text::json(data, size, max_size, seed)
});
