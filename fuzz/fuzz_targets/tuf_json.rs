//! Standard TUF metadata (JSON): the parser against two other libraries, and the client before a repository that lies.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| {
    sealift_fuzz::tuf::parse(bytes);
    // What opens like a repository is one: cheaper than a client for each number and word.
    if bytes.starts_with(b"{\"f") {
        sealift_fuzz::tuf::run(bytes);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sealift_fuzz::text::json(data, size, max_size, seed)
});
