//! Whatever any decoder of the format reads, it writes back byte for byte. Without the slow decoder, so much faster.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use sealift_manifests::report::{Report, SignedReport};
use sealift_manifests::{Envelope, Root, Snapshot, Targets, Timestamp, sha256};

macro_rules! round_trip {
    ($bytes:expr, $($type:ident),*) => {$(
        if let Ok(read) = $type::decode($bytes) {
            let written = read.encode();
            assert_eq!(written, $bytes, stringify!($type));
            assert_eq!($type::decode(&written), Ok(read));
        }
    )*};
}

fuzz_target!(|bytes: &[u8]| {
    round_trip!(bytes, Root, Timestamp, Snapshot, Targets, Envelope, Report, SignedReport);
    if let Ok(targets) = Targets::decode(bytes) {
        for (target, encoded) in targets.targets.entries() {
            assert_eq!(target.encoded(), encoded);
            assert_eq!(targets.find(&sha256(encoded)), Some(target));
        }
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sealift_fuzz::mutate::cbor(data, size, max_size, seed)
});
