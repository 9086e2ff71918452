//! The update bundle: a CBOR sequence (RFC 8742) of role files. Newer roots in ascending order, then timestamp, snapshot,
//! top-level targets, and the delegated targets of one product.

use crate::bounds::MAX_BUNDLE_ROOTS;
use crate::cbor::{DecodeError, Fault, Reader};
use crate::envelope::Envelope;

/// Most files in one bundle.
pub const MAX_FILES: usize = MAX_BUNDLE_ROOTS + 4;

/// The files of a bundle, each as its own bytes, in order. After an error nothing follows.
pub fn files(bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], DecodeError>> {
    let mut reader = Reader::new(bundle);
    let mut count = 0;
    let mut failed = false;
    core::iter::from_fn(move || {
        if failed || (reader.is_at_end() && count > 0) {
            return None;
        }
        count += 1;
        let start = reader.position();
        let file = match Envelope::decode_next(&mut reader) {
            Ok(_) if count > MAX_FILES => Err(DecodeError::new(Fault::TooLarge, start)),
            read => read.map(|_| reader.since(start)),
        };
        failed = file.is_err();
        Some(file)
    })
}
