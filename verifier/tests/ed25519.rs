//! The one signature predicate: equal to dalek's strict one on everything but non-canonical keys, which it refuses too.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sealift_verifier::ed25519::verify;

/// L, the order of the base point, little-endian (RFC 8032, section 5.1).
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn signed(seed: u8, message: &[u8]) -> ([u8; 32], [u8; 64]) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    (key.verifying_key().to_bytes(), key.sign(message).to_bytes())
}

#[test]
fn parts_are_hashed_as_one_message() {
    let (key, signature) = signed(1, b"one message");
    assert!(verify(&key, &[b"one message"], &signature));
    assert!(verify(&key, &[b"one", b"", b" message"], &signature));
    assert!(!verify(&key, &[b"one", b"message"], &signature));
}

#[test]
fn every_flipped_bit_is_refused_as_dalek_strict_refuses_it() {
    let message = b"flip me";
    let (key, signature) = signed(2, message);
    for bit in 0..96 * 8 {
        let (mut key, mut signature) = (key, signature);
        match bit / 8 {
            byte @ 0..32 => key[byte] ^= 1 << (bit % 8),
            byte => signature[byte - 32] ^= 1 << (bit % 8),
        }
        let strict = VerifyingKey::from_bytes(&key)
            .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(&signature)).is_ok());
        assert_eq!(verify(&key, &[message], &signature), strict, "bit {bit}");
        assert!(!strict);
    }
}

#[test]
fn s_plus_l_is_refused() {
    let message = b"malleable";
    let (key, mut signature) = signed(3, message);
    let mut carry = 0u16;
    for (s, l) in signature[32..].iter_mut().zip(L) {
        let sum = u16::from(*s) + u16::from(l) + carry;
        *s = sum as u8;
        carry = sum >> 8;
    }
    assert!(!verify(&key, &[message], &signature));
}

/// y-coordinates of the eight points of small order, and their non-canonical encodings.
fn small_order_points() -> Vec<[u8; 32]> {
    let p_plus = |add: u8| {
        let mut y = [0xff; 32];
        y[0] = 0xed + add;
        y[31] = 0x7f;
        y
    };
    let minus_one = {
        let mut y = p_plus(0);
        y[0] = 0xec;
        y
    };
    let order_8: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    let order_8_other: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    let one = {
        let mut y = [0; 32];
        y[0] = 1;
        y
    };
    let bare = [[0; 32], one, minus_one, p_plus(0), p_plus(1), order_8, order_8_other];
    bare.iter()
        .flat_map(|y| {
            [*y, {
                let mut signed = *y;
                signed[31] |= 0x80;
                signed
            }]
        })
        .collect()
}

#[test]
fn keys_and_commitments_of_small_order_are_refused_with_any_signature() {
    let (key, signature) = signed(4, b"m");
    for point in small_order_points() {
        // With A of small order and S = 0, R = A or the identity satisfies the cofactorless equation for some messages.
        for r in small_order_points() {
            let mut forged = [0; 64];
            forged[..32].copy_from_slice(&r);
            for message in 0..16u8 {
                assert!(!verify(&point, &[&[message]], &forged));
            }
        }
        let mut forged = signature;
        forged[..32].copy_from_slice(&point);
        assert!(!verify(&key, &[b"m"], &forged));
    }
}

#[test]
fn a_non_canonical_key_of_large_order_is_refused() {
    // y = p + 3 encodes the same point as y = 3; dalek decompresses it, we do not take it.
    let found = (2..19u8).filter_map(|add| {
        let mut y = [0xff; 32];
        y[0] = 0xed + add;
        y[31] = 0x7f;
        VerifyingKey::from_bytes(&y).ok().filter(|key| !key.is_weak()).map(|_| y)
    });
    let found: Vec<_> = found.collect();
    assert!(!found.is_empty());
    for key in found {
        let (_, signature) = signed(5, b"m");
        assert!(!verify(&key, &[b"m"], &signature));
    }
}
