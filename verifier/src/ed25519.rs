//! The one predicate by which Sealift accepts an Ed25519 signature, on host and device alike.
//!
//! RFC 8032, section 5.1.7, without the cofactor, and strict: S < L; A and R canonical and of large order. The message is
//! hashed in parts, so that nothing is copied together; that is why dalek's `verify_strict`, which wants it in one piece,
//! is spelled out here. A test holds the two equal.

use ed25519_dalek::{Signature, VerifyingKey};

/// Whether `signature` by `public_key` holds over the concatenated `parts`.
pub fn verify(public_key: &[u8; 32], parts: &[&[u8]], signature: &[u8; 64]) -> bool {
    // The signature's first half is R.
    let (Some(key), Some(_)) = (strict_point(public_key), signature.first_chunk().and_then(strict_point)) else {
        return false;
    };
    // Refuses S >= L.
    let Ok(mut verifier) = key.verify_stream(&Signature::from_bytes(signature)) else {
        return false;
    };
    for part in parts {
        verifier.update(part);
    }
    verifier.finalize_and_verify().is_ok()
}

/// A point of large order in its canonical encoding.
fn strict_point(encoded: &[u8; 32]) -> Option<VerifyingKey> {
    let point = VerifyingKey::from_bytes(encoded).ok()?;
    (is_canonical(encoded) && !point.is_weak()).then_some(point)
}

/// Whether y < p = 2^255 - 19. (A wrong sign bit is only possible with x = 0: small order.)
fn is_canonical(encoded: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = encoded;
    *first < 0xed || middle.iter().any(|byte| *byte != 0xff) || last & 0x7f != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No signature can show it: dalek refuses such an R too, and nobody knows the secret of a key whose y is below 19.
    #[test]
    fn an_encoding_is_canonical_below_p_and_not_from_p_on() {
        let with = |first: u8, middle: u8, last: u8| {
            let mut encoded = [middle; 32];
            (encoded[0], encoded[31]) = (first, last);
            encoded
        };
        for sign in [0, 0x80] {
            // p - 1, and what is smaller in one byte only.
            for canonical in [with(0xec, 0xff, 0x7f | sign), with(0xed, 0xff, 0x7e | sign), with(0, 0, sign)] {
                assert!(is_canonical(&canonical), "{canonical:02x?}");
            }
            for at in 1..31 {
                let mut canonical = with(0xff, 0xff, 0x7f | sign);
                canonical[at] = 0xfe;
                assert!(is_canonical(&canonical), "{canonical:02x?}");
            }
            // p itself, and all that follow.
            for first in 0xed..=0xff {
                assert!(!is_canonical(&with(first, 0xff, 0x7f | sign)), "{first:02x}, {sign:02x}");
            }
        }
    }
}
