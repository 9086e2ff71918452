//! A device's flash with anything in it, through cuts and rot: no panic, values as they were written, and what boots was checked.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| {
    sealift_fuzz::journal::run(script);
});
