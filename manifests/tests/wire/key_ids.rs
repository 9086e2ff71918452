//! Key ids are COSE key thumbprints (RFC 9679): the RFC's own example through an independent CBOR encoder, then our keys
//! through the very same function.

use proptest::prelude::*;
use sealift_manifests::example_keys::{EXAMPLE_KEY_IDS, is_example};
use sealift_manifests::{PublicKey, sha256};
use serde_cbor::Value;

/// RFC 9679, section 3: the required parameters alone, deterministically encoded, hashed.
fn thumbprint(parameters: Vec<(i128, Value)>) -> String {
    let map = parameters.into_iter().map(|(label, value)| (Value::Integer(label), value)).collect();
    hex::encode(sha256(&serde_cbor::to_vec(&Value::Map(map)).unwrap()).0)
}

fn okp(x: &[u8]) -> Vec<(i128, Value)> {
    vec![(1, Value::Integer(1)), (-1, Value::Integer(6)), (-2, Value::Bytes(x.into()))]
}

/// RFC 9679, section 6.
#[test]
fn the_example_of_rfc_9679_gives_its_thumbprint() {
    let x = hex::decode("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d").unwrap();
    let y = hex::decode("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c").unwrap();
    let key = vec![(1, Value::Integer(2)), (-1, Value::Integer(1)), (-2, Value::Bytes(x)), (-3, Value::Bytes(y))];
    assert_eq!(thumbprint(key), "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec");
}

/// The public key of RFC 8032, section 7.1, test 1.
#[test]
fn an_ed25519_key_has_the_thumbprint_of_its_cose_key() {
    let x = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
    let key = PublicKey(x.clone().try_into().unwrap());
    assert_eq!(key.id().to_string(), thumbprint(okp(&x)));
}

#[test]
fn the_keys_that_everybody_has_are_known_and_no_other() {
    assert_eq!(EXAMPLE_KEY_IDS.len(), 5);
    for id in EXAMPLE_KEY_IDS {
        assert!(is_example(id), "{id}");
        let mut other = *id;
        other.0[31] ^= 1;
        assert!(!is_example(&other), "{other}");
    }
}

proptest! {
    #[test]
    fn every_key_id_is_the_thumbprint_of_its_key(x in any::<[u8; 32]>()) {
        let key = PublicKey(x);
        prop_assert_eq!(key.id().to_string(), thumbprint(okp(&x)));
        prop_assert_eq!(sha256(&key.cose_key()), key.id());
    }
}
