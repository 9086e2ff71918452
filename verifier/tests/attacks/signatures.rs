//! Cases 1 to 8, 15: who signed, how often, over what.

use ed25519_dalek::SigningKey;
use sealift_manifests::{Digest, PublicKey, Role, example_keys};
use sealift_verifier::Error;
use sealift_verifier::cose::CoseFile;
use sealift_verifier::trust::format::Authority;
use sealift_verifier::trust::{Policy, Signers, count_signatures};

use crate::fleet::*;
use crate::world::*;

#[test]
fn attack_01_a_bad_or_missing_signature_is_refused_for_every_role() {
    let fleet = Fleet::default();
    let other = key(99);
    for (role, payload, keys) in [
        (Role::Timestamp, fleet.timestamp_payload(&fleet.files().snapshot), &fleet.roles[1]),
        (Role::Snapshot, fleet.snapshot_payload(&fleet.files().targets, &fleet.files().product), &fleet.roles[2]),
        (Role::Targets, fleet.targets_payload(), &fleet.roles[3]),
        (Role::Targets, fleet.product_payload(), &fleet.product),
    ] {
        let (id, good) = signature(&keys.keys[0], &message(&payload));
        let mut flipped = good;
        flipped[10] ^= 1;
        for (what, made) in [
            ("one bit flipped", vec![(id, flipped)]),
            ("zeros", vec![(id, [0; 64])]),
            ("of another message", vec![signature(&keys.keys[0], b"another message")]),
            ("of another key alone", vec![signature(&other, &message(&payload))]),
        ] {
            let file = envelope(&payload, &made);
            let mut forgery = Forgery::of(&fleet);
            match role {
                Role::Timestamp => forgery.timestamp = Some(file),
                Role::Snapshot => forgery.snapshot = Some(file),
                _ if payload == fleet.product_payload() => forgery.product = Some(file),
                _ => forgery.targets = Some(file),
            }
            let bundle = forgery.files().bundle();
            assert_eq!(provisioned(&fleet).take(&bundle), Err(Error::ThresholdNotMet(role)), "{role}: {what}");
        }
    }
}

#[test]
fn attack_01_a_root_that_lacks_either_threshold_is_refused() {
    let before = Fleet::default();
    let after = Fleet { root_version: 2, ..before.clone() };
    let mut rotated = after.clone();
    rotated.roles[0] = Keyring::of(2, &[21, 22]);
    let payload = rotated.root_payload();
    let (old, new) = (before.roles[0].all(), rotated.roles[0].all());
    for (what, signers) in [
        ("the new keys alone", new.clone()),
        ("the old keys alone", old.clone()),
        ("one old key and both new ones", [&old[..1], &new[..]].concat()),
        ("both old keys and one new one", [&old[..2], &new[..1]].concat()),
    ] {
        let bundle = [sign(&payload, &signers), rotated.files().bundle()].concat();
        let mut device = up_to_date(&before);
        let kept = device.root.clone();
        assert_eq!(device.take(&bundle), Err(Error::ThresholdNotMet(Role::Root)), "{what}");
        assert_eq!(device.root, kept, "{what}");
    }
    let bundle = [sign(&payload, &[&old[..2], &new[..]].concat()), rotated.files().bundle()].concat();
    assert_eq!(up_to_date(&before).take(&bundle), Ok(()));
}

#[test]
fn attack_02_a_key_that_is_not_authorised_for_the_role_does_not_count() {
    let fleet = Fleet::default();
    let all: Vec<&SigningKey> = fleet.roles.iter().flat_map(|ring| ring.keys.iter()).collect();
    // Every key of the repository signs the timestamp, but for the one that may.
    let files = fleet.files();
    let others: Vec<&SigningKey> = all
        .into_iter()
        .filter(|key| public(key) != public(&fleet.roles[1].keys[0]))
        .chain(fleet.product.all())
        .collect();
    let forged = sign(&fleet.timestamp_payload(&files.snapshot), &others);
    let bundle = Forgery { timestamp: Some(forged), ..Forgery::of(&fleet) }.files().bundle();
    refuses(&mut up_to_date(&fleet), &bundle, Error::ThresholdNotMet(Role::Timestamp));
}

/// CVE-2020-15093, CVE-2026-6966.
#[test]
fn attack_03_a_key_that_signs_twice_counts_once() {
    let mut fleet = Fleet::default();
    fleet.roles[3] = Keyring::of(2, &[6, 16]);
    let payload = fleet.targets_payload();
    let key = &fleet.roles[3].keys[0];
    let (id, good) = signature(key, &message(&payload));
    // Under its own id twice: the encoding has no place for it.
    let twice = envelope(&payload, &[(id, good), (id, good)]);
    let bundle = Forgery { targets: Some(twice), ..Forgery::of(&fleet) }.files().bundle();
    let error = provisioned(&fleet).take(&bundle).unwrap_err();
    assert!(matches!(error, Error::Malformed(..)), "{error}");
    // Under the other key's id.
    let other = public(&fleet.roles[3].keys[1]).id();
    let borrowed = envelope(&payload, &[(id, good), (other, good)]);
    let bundle = Forgery { targets: Some(borrowed), ..Forgery::of(&fleet) }.files().bundle();
    refuses_at(&mut provisioned(&fleet), &bundle, Error::ThresholdNotMet(Role::Targets));
}

/// Keys as a careless format would list them.
struct Listed(u64, Vec<PublicKey>);

impl Authority for Listed {
    type Key = PublicKey;
    fn threshold(&self) -> u64 {
        self.0
    }
    fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.1.iter().copied()
    }
}

/// CVE-2020-6174. The device encoding names keys by their thumbprint, so a key has one id; the function that counts does not
/// rely on it.
#[test]
fn attack_04_one_public_key_listed_twice_counts_once() {
    let fleet = Fleet::default();
    let files = fleet.files();
    let file = CoseFile::<sealift_manifests::Targets<'_>>::new(&files.targets).unwrap();
    let key = public(&fleet.roles[3].keys[0]);
    let count = |authority: Listed| count_signatures::<_, _, Signers>(&file, &authority, Role::Targets).map(drop);
    assert_eq!(count(Listed(1, vec![key])), Ok(()));
    assert_eq!(count(Listed(2, vec![key, key])), Err(Error::ThresholdNotMet(Role::Targets)));
    assert_eq!(count(Listed(2, vec![key; 20])), Err(Error::ThresholdNotMet(Role::Targets)));
}

/// CVE-2026-23992.
#[test]
fn attack_05_a_threshold_of_0_or_above_the_number_of_keys_is_refused_in_every_role() {
    for role in 0..4 {
        for threshold in [0, 4, u64::MAX] {
            let before = Fleet::default();
            let mut after = Fleet { root_version: 2, ..before.clone() };
            after.roles[role].threshold = threshold;
            let root = sign(&after.root_payload(), &before.roles[0].all());
            let mut device = up_to_date(&before);
            let error = device.take(&[root, before.files().bundle()].concat()).unwrap_err();
            let expected = [Error::ThresholdInvalid(Role::ALL[role]), Error::ThresholdNotMet(Role::Root)];
            assert!(expected.contains(&error), "{} with threshold {threshold}: {error}", Role::ALL[role]);
            assert_eq!(device.root, before.root());
        }
    }
    // In a delegation.
    for threshold in [0, 2, u64::MAX] {
        let mut fleet = Fleet::default();
        fleet.product.threshold = threshold;
        refuses_at(&mut provisioned(&fleet), &fleet.files().bundle(), Error::ThresholdInvalid(Role::Targets));
    }
}

/// Nobody counts signatures if a threshold of 0 slips through all the same.
#[test]
fn attack_05_a_threshold_of_0_is_not_met_by_no_signature() {
    let files = Fleet::default().files();
    let file = CoseFile::<sealift_manifests::Targets<'_>>::new(&files.targets).unwrap();
    let counted = count_signatures::<_, _, Signers>(&file, &Listed(0, vec![]), Role::Targets);
    assert_eq!(counted, Err(Error::ThresholdNotMet(Role::Targets)));
}

/// A key that no library can read must count for nothing, not for everything.
#[test]
fn attack_06_a_key_that_is_no_point_fails_closed() {
    let fleet = Fleet::default();
    let files = fleet.files();
    let file = CoseFile::<sealift_manifests::Targets<'_>>::new(&files.targets).unwrap();
    // y = 2 is on no point; y = 1 is the neutral point; p + 3 is not canonical.
    let mut not_canonical = [0xff; 32];
    (not_canonical[0], not_canonical[31]) = (0xf0, 0x7f);
    let bytes = |first: u8| {
        let mut y = [0; 32];
        y[0] = first;
        y
    };
    for unreadable in [bytes(2), bytes(1), bytes(0), [0xff; 32], not_canonical] {
        let key = PublicKey(unreadable);
        assert_eq!(
            count_signatures::<_, _, Signers>(&file, &Listed(1, vec![key]), Role::Targets),
            Err(Error::ThresholdNotMet(Role::Targets))
        );
        // Signatures of zeros, of the neutral point, under its id: still nothing.
        for signature in [[0; 64], {
            let mut neutral = [0; 64];
            neutral[0] = 1;
            neutral
        }] {
            let forged = envelope(&fleet.targets_payload(), &[(key.id(), signature)]);
            let file = CoseFile::<sealift_manifests::Targets<'_>>::new(&forged).unwrap();
            let counted = count_signatures::<_, _, Signers>(&file, &Listed(1, vec![key]), Role::Targets);
            assert_eq!(counted, Err(Error::ThresholdNotMet(Role::Targets)));
        }
    }
}

/// CVE-2026-34155.
#[test]
fn attack_07_a_signature_over_less_than_the_payload_is_refused() {
    let fleet = Fleet::default();
    let payload = fleet.targets_payload();
    let key = &fleet.roles[3].keys[0];
    let structure = message(&payload);
    for (what, signed) in [
        ("the payload without its structure", payload.clone()),
        ("the structure without its last byte", structure[..structure.len() - 1].to_vec()),
        ("the structure without its context", structure[12..].to_vec()),
        ("the first half", structure[..structure.len() / 2].to_vec()),
        ("nothing", vec![]),
    ] {
        let file = envelope(&payload, &[signature(key, &signed)]);
        let bundle = Forgery { targets: Some(file), ..Forgery::of(&fleet) }.files().bundle();
        assert_eq!(provisioned(&fleet).take(&bundle), Err(Error::ThresholdNotMet(Role::Targets)), "{what}");
    }
    // Every byte of the signed bytes is covered: changing any of them breaks the signature or the format.
    let honest = sign(&payload, &[key]);
    let start = honest.windows(payload.len()).position(|window| window == payload).unwrap();
    for at in start..start + payload.len() {
        let mut changed = honest.clone();
        changed[at] ^= 1;
        let bundle = Forgery { targets: Some(changed), ..Forgery::of(&fleet) }.files().bundle();
        let error = provisioned(&fleet).take(&bundle).unwrap_err();
        assert_eq!(error, Error::ThresholdNotMet(Role::Targets), "byte {at}");
    }
}

/// CVE-2024-32883: what is outside of the signed bytes decides nothing.
#[test]
fn attack_08_nothing_outside_of_the_signed_bytes_is_believed() {
    let fleet = Fleet::default();
    let honest = fleet.files().targets;
    let payload = fleet.targets_payload();
    let start = honest.windows(payload.len()).position(|window| window == payload).unwrap();
    // Any byte around the payload: heads, headers, key id, signature.
    for at in (0..start).chain(start + payload.len()..honest.len()) {
        for bit in 0..8 {
            let mut changed = honest.clone();
            changed[at] ^= 1 << bit;
            let bundle = Forgery { targets: Some(changed), ..Forgery::of(&fleet) }.files().bundle();
            assert!(provisioned(&fleet).take(&bundle).is_err(), "bit {bit} of byte {at}");
        }
    }
    // The key id is not covered, and need not be: naming another key only loses the signature.
    let (_, good) = signature(&fleet.roles[3].keys[0], &message(&payload));
    let renamed = envelope(&payload, &[(Digest([7; 32]), good)]);
    let bundle = Forgery { targets: Some(renamed), ..Forgery::of(&fleet) }.files().bundle();
    refuses_at(&mut provisioned(&fleet), &bundle, Error::ThresholdNotMet(Role::Targets));
}

/// GHSA-gcxh-546h-phg4.
#[test]
fn attack_15_the_repositorys_example_keys_are_refused_in_production() {
    assert!(!example_keys::EXAMPLE_KEY_IDS.is_empty());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../keys-example");
    let mut tried = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        tried += 1;
        let seed = seed_of(&std::fs::read_to_string(&path).unwrap());
        for role in 0..5 {
            let mut fleet = Fleet::default();
            let ring = if role == 4 { &mut fleet.product } else { &mut fleet.roles[role] };
            ring.keys.push(SigningKey::from_bytes(&seed));
            let expected = Error::ExampleKey(if role == 4 { Role::Targets } else { Role::ALL[role] });
            let mut device = provisioned(&fleet);
            assert_eq!(device.take(&fleet.files().bundle()), Err(expected), "{}", path.display());
            device.policy = Policy::development();
            assert_eq!(device.take(&fleet.files().bundle()), Ok(()));
        }
    }
    assert_eq!(tried, example_keys::EXAMPLE_KEY_IDS.len());
}

/// The seed at the end of an Ed25519 key in PKCS#8 (RFC 8410, section 7): base64 by hand, to need no library for it.
fn seed_of(pem: &str) -> [u8; 32] {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = pem.lines().filter(|line| !line.starts_with("-----")).flat_map(str::bytes);
    let sextets: Vec<u8> =
        digits.filter_map(|digit| ALPHABET.iter().position(|known| *known == digit)).map(|at| at as u8).collect();
    let bytes: Vec<u8> = sextets
        .chunks_exact(4)
        .flat_map(|four| {
            let joined = four.iter().fold(0u32, |sum, sextet| sum << 6 | u32::from(*sextet));
            joined.to_be_bytes()[1..].to_vec()
        })
        .collect();
    *bytes.last_chunk().expect("a key")
}
