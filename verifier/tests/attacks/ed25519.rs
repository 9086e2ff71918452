//! Cases 37 and 38: signatures at the edges of Ed25519, on which libraries disagree.
//!
//! The constructions are those of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020, section 5), made here with
//! point arithmetic from keys of our own. Each vector states which of the two verification equations it satisfies, so a test
//! that refuses it refuses it for the right reason.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, IsIdentity};
use sealift_verifier::ed25519::verify;
use sha2::{Digest, Sha512};

/// L, the order of the base point (RFC 8032, section 5.1), little-endian.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// A public key, a message and a signature, and the equations it satisfies.
struct Vector {
    key: [u8; 32],
    message: Vec<u8>,
    signature: [u8; 64],
    /// `[S]B = R + [k]A`.
    cofactorless: bool,
    /// `[8][S]B = [8]R + [8][k]A`.
    cofactored: bool,
}

impl Vector {
    fn accepted(&self) -> bool {
        verify(&self.key, &[&self.message], &self.signature)
    }
}

fn scalar(seed: u8) -> Scalar {
    Scalar::from_bytes_mod_order([seed; 32])
}

fn challenge(r: &[u8; 32], a: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(r).chain_update(a).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

/// The torsion component of a point, as a multiple of the generator of the eight.
fn torsion(index: usize) -> EdwardsPoint {
    EIGHT_TORSION[index % 8]
}

/// What a vector is made of: the secret parts and torsion parts of A and R, encodings in place of the canonical ones, and
/// whether the cofactorless equation is to hold.
#[derive(Default)]
struct Recipe {
    a: u8,
    a_torsion: usize,
    r: u8,
    r_torsion: usize,
    a_encoding: Option<[u8; 32]>,
    r_encoding: Option<[u8; 32]>,
    cofactorless: bool,
    /// How often L is added to S.
    s_plus_l: usize,
}

impl Recipe {
    /// Searches a message for which the equation holds, or does not.
    fn make(&self) -> Vector {
        let part = |seed: u8| if seed == 0 { Scalar::ZERO } else { scalar(seed) };
        let (a, r) = (part(self.a), part(self.r));
        let (a_point, r_point) = (B * a + torsion(self.a_torsion), B * r + torsion(self.r_torsion));
        let key = self.a_encoding.unwrap_or(a_point.compress().0);
        let r_bytes = self.r_encoding.unwrap_or(r_point.compress().0);
        for number in 0..10_000u32 {
            let message = number.to_be_bytes().to_vec();
            let k = challenge(&r_bytes, &key, &message);
            let s = r + k * a;
            let cofactorless = B * s == r_point + a_point * k;
            if cofactorless != self.cofactorless {
                continue;
            }
            let difference = B * s - (r_point + a_point * k);
            let mut s_bytes = s.to_bytes();
            (0..self.s_plus_l).for_each(|_| s_bytes = plus_l(s_bytes));
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&r_bytes);
            signature[32..].copy_from_slice(&s_bytes);
            let cofactored = difference.mul_by_cofactor().is_identity();
            return Vector { key, message, signature, cofactorless, cofactored };
        }
        panic!("no message makes it");
    }
}

fn plus_l(mut s: [u8; 32]) -> [u8; 32] {
    let mut carry = 0u16;
    for (s, l) in s.iter_mut().zip(L) {
        let sum = u16::from(*s) + u16::from(l) + carry;
        (*s, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0, "S + L still fits 256 bits");
    s
}

/// p + `add`, little-endian: not canonical for y, below 2^255.
fn p_plus(add: u8) -> [u8; 32] {
    let mut y = [0xff; 32];
    (y[0], y[31]) = (0xed + add, 0x7f);
    y
}

#[test]
fn attack_37_an_honest_signature_is_accepted() {
    let vector = Recipe { a: 3, r: 5, cofactorless: true, ..Recipe::default() }.make();
    assert!(vector.cofactorless && vector.accepted());
}

/// S + L satisfies the equation as S does: whoever accepts it accepts two signatures for one.
#[test]
fn attack_37_s_of_l_or_more_is_refused() {
    for times in 1..=14 {
        let vector = Recipe { a: 3, r: 5, cofactorless: true, s_plus_l: times, ..Recipe::default() }.make();
        assert!(vector.cofactorless && !vector.accepted(), "S + {times} L");
    }
    // L itself, and the largest number there is.
    for s in [L, [0xff; 32]] {
        let mut vector = Recipe { a: 3, r: 5, cofactorless: true, ..Recipe::default() }.make();
        vector.signature[32..].copy_from_slice(&s);
        assert!(!vector.accepted());
    }
}

/// S = 0, A and R of small order: valid for many messages, under a key that nobody holds.
#[test]
fn attack_38_a_small_order_key_with_a_small_order_commitment_is_refused() {
    for (a_torsion, r_torsion) in (0..8).flat_map(|a| (0..8).map(move |r| (a, r))) {
        // A of order 1, 2 or 4 never meets some R; what can be made must be refused.
        let order = |index: usize| [1, 8, 4, 8, 2, 8, 4, 8][index];
        if order(r_torsion) > order(a_torsion) {
            continue;
        }
        let vector = Recipe { a_torsion, r_torsion, cofactorless: true, ..Recipe::default() }.make();
        assert_eq!(vector.signature[32..], [0; 32]);
        assert!(vector.cofactorless && !vector.accepted(), "A torsion {a_torsion}, R torsion {r_torsion}");
    }
}

#[test]
fn attack_38_a_small_order_key_with_a_mixed_order_commitment_is_refused() {
    for cofactorless in [true, false] {
        let vector = Recipe { a_torsion: 1, r: 5, r_torsion: 3, cofactorless, ..Recipe::default() }.make();
        assert!(vector.cofactored && !vector.accepted());
    }
}

#[test]
fn attack_38_a_mixed_order_key_with_a_small_order_commitment_is_refused() {
    for cofactorless in [true, false] {
        let vector = Recipe { a: 3, a_torsion: 1, r_torsion: 3, cofactorless, ..Recipe::default() }.make();
        assert!(vector.cofactored && !vector.accepted());
    }
}

/// The one edge that is accepted, as in RFC 8032 without the cofactor: A and R of mixed order, and the equation holds.
#[test]
fn attack_38_mixed_order_points_that_satisfy_the_cofactorless_equation_are_accepted() {
    let vector = Recipe { a: 3, a_torsion: 1, r: 5, r_torsion: 3, cofactorless: true, ..Recipe::default() }.make();
    assert!(vector.cofactorless && vector.accepted());
}

/// A batch verifier, which multiplies by the cofactor, would accept these: one host and one device would disagree.
#[test]
fn attack_38_what_satisfies_only_the_cofactored_equation_is_refused() {
    for r_torsion in [0, 3] {
        let vector = Recipe { a: 3, a_torsion: 1, r: 5, r_torsion, ..Recipe::default() }.make();
        assert!(vector.cofactored && !vector.cofactorless && !vector.accepted(), "R torsion {r_torsion}");
    }
}

/// The neutral point and the point of order 2, as y + p and with a sign bit that x = 0 has no use for.
fn not_canonical() -> Vec<([u8; 32], usize)> {
    let one_with_sign = {
        let mut y = [0; 32];
        (y[0], y[31]) = (1, 0x80);
        y
    };
    let minus_one_with_sign = {
        let mut y = p_plus(0);
        (y[0], y[31]) = (0xec, 0xff);
        y
    };
    let one_plus_p_with_sign = {
        let mut y = p_plus(1);
        y[31] |= 0x80;
        y
    };
    vec![(p_plus(1), 0), (one_with_sign, 0), (minus_one_with_sign, 4), (one_plus_p_with_sign, 0)]
}

#[test]
fn attack_38_a_commitment_that_is_not_canonical_is_refused_however_it_is_hashed() {
    for (encoding, r_torsion) in not_canonical() {
        // A of mixed order can meet the point of order 2 as well.
        let recipe = Recipe {
            a: 3,
            a_torsion: 1,
            r_torsion,
            r_encoding: Some(encoding),
            cofactorless: true,
            ..Recipe::default()
        };
        let vector = recipe.make();
        assert!(vector.cofactorless && !vector.accepted(), "{encoding:02x?}");
        // Hashed as if it were canonical.
        let mut reduced = Recipe { r_encoding: None, ..recipe }.make();
        reduced.signature[..32].copy_from_slice(&encoding);
        assert!(!reduced.accepted(), "{encoding:02x?}");
    }
}

#[test]
fn attack_38_a_key_that_is_not_canonical_is_refused_however_it_is_hashed() {
    for (encoding, a_torsion) in not_canonical() {
        let recipe = Recipe { a_torsion, r: 5, a_encoding: Some(encoding), cofactorless: true, ..Recipe::default() };
        let vector = recipe.make();
        assert!(vector.cofactorless && !vector.accepted(), "{encoding:02x?}");
        let reduced = Recipe { a_encoding: None, ..recipe }.make();
        assert!(!verify(&encoding, &[&reduced.message], &reduced.signature), "{encoding:02x?}");
    }
}

/// Every y from p to 2^255 - 1, with both signs, as A and as R.
#[test]
fn attack_38_no_y_of_p_or_more_is_taken_for_a_point() {
    let honest = Recipe { a: 3, r: 5, cofactorless: true, ..Recipe::default() }.make();
    for add in 0..19 {
        for sign in [0, 0x80] {
            let mut y = p_plus(add);
            y[31] |= sign;
            assert!(!verify(&y, &[&honest.message], &honest.signature));
            let mut signature = honest.signature;
            signature[..32].copy_from_slice(&y);
            assert!(!verify(&honest.key, &[&honest.message], &signature));
            // With the signature that fits the point it would decode to, S = 0.
            if let Some(point) = CompressedEdwardsY(y).decompress() {
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&EdwardsPoint::identity().compress().0);
                assert!(!verify(&y, &[b"m"], &signature));
                assert!(!verify(&point.compress().0, &[b"m"], &signature));
            }
        }
    }
}
