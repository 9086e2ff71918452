//! Ed25519 verification from RFC 8032, section 5.1.7, and nothing but point arithmetic: without the cofactor, S below L, A and
//! R canonical and of large order.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use sha2::{Digest, Sha512};

/// L = 2^252 + 27742317777372353535851937790883648493 (RFC 8032, section 5.1), big-endian.
const L: [u8; 32] = [
    0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0xde, 0xf9, 0xde, 0xa2, 0xf7, 0x9c, 0xd6, 0x58, 0x12,
    0x63, 0x1a, 0x5c, 0xf5, 0xd3, 0xed,
];

/// A point whose encoding is the one that it would be given, and that is not one of the eight of small order.
fn point(encoded: [u8; 32]) -> Option<EdwardsPoint> {
    let point = CompressedEdwardsY(encoded).decompress()?;
    let canonical = point.compress().0 == encoded;
    let mut times_eight = point;
    for _ in 0..3 {
        times_eight = times_eight + times_eight;
    }
    (canonical && times_eight != EdwardsPoint::identity()).then_some(point)
}

/// Whether the signature holds.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let (r, s) = signature.split_at(32);
    let (r, s): ([u8; 32], [u8; 32]) = (r.try_into().unwrap(), s.try_into().unwrap());
    let mut s_big_endian = s;
    s_big_endian.reverse();
    if s_big_endian >= L {
        return false;
    }
    let (Some(a), Some(r_point)) = (point(*public), point(r)) else { return false };
    let hash = Sha512::new().chain_update(r).chain_update(public).chain_update(message).finalize();
    let k = Scalar::from_bytes_mod_order_wide(&hash.into());
    let s = Scalar::from_bytes_mod_order(s);
    EdwardsPoint::mul_base(&s) == r_point + k * a
}
