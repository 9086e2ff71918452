//! Sequences of operations on a device: `sealift_fuzz::script` says which, and what must hold.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| {
    sealift_fuzz::script::run(script);
});
