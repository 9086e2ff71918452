//! Cases 29 to 36: malformed input, met by the session as a whole. The format's own tests put each fault everywhere.

use sealift_manifests::{Extensions, Fault, Header, List, Meta, Role, Targets, Timestamp};
use sealift_verifier::Error;
use sealift_verifier::session::{Session, TRUST_RECORD_MAX, TrustState};
use sealift_verifier::trust::{Policy, Time};

use crate::fleet::*;
use crate::world::*;

/// A timestamp that is validly signed, whatever its bytes.
fn signed(payload: &[u8]) -> Result<(), Error> {
    let fleet = Fleet::default();
    let timestamp = sign(payload, &fleet.roles[1].all());
    provisioned(&fleet).take(&Forgery { timestamp: Some(timestamp), ..Forgery::of(&fleet) }.files().bundle())
}

fn timestamp() -> Vec<u8> {
    let fleet = Fleet::default();
    fleet.timestamp_payload(&fleet.files().snapshot)
}

#[track_caller]
fn malformed(payload: &[u8], expected: Fault) {
    match signed(payload) {
        Err(Error::Malformed(_, why)) => assert_eq!(why.fault(), expected, "at byte {}", why.offset()),
        other => panic!("{other:?}"),
    }
}

/// The bytes with the first occurrence of `from` replaced.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

/// RFC 8949, section 4.2.1.
#[test]
fn attack_29_integers_that_are_not_shortest_and_keys_out_of_order_are_refused_though_signed() {
    let good = timestamp();
    assert_eq!(signed(&good), Ok(()));
    // Format version 1 in two bytes, in three, in nine.
    for longer in [&[0x18, 1][..], &[0x19, 0, 1], &[0x1b, 0, 0, 0, 0, 0, 0, 0, 1]] {
        malformed(&replaced(&good, &[2, 1, 3, 0x50], &[&[2], longer, &[3, 0x50]].concat()), Fault::NotShortest);
    }
    // Role and format version swapped.
    malformed(&replaced(&good, &[1, 2, 2, 1], &[2, 1, 1, 2]), Fault::MissingField);
}

#[test]
fn attack_30_a_map_key_that_stands_twice_is_refused_though_signed() {
    let good = timestamp();
    let mut twice = replaced(&good, &[1, 2, 2, 1], &[1, 2, 1, 3, 2, 1]);
    twice[0] += 1;
    malformed(&twice, Fault::NotAscending);
}

/// RUSTSEC-2019-0025.
#[test]
fn attack_31_deep_nesting_costs_no_stack() {
    for nested in [vec![0x81; 3_500], vec![0xd8; 3_500], vec![0xa1; 3_500], [0xc1; 3_500].to_vec()] {
        let error = signed(&nested).unwrap_err();
        assert!(matches!(error, Error::Malformed(..)), "{error}");
        let error = provisioned(&Fleet::default()).take(&nested).unwrap_err();
        assert!(matches!(error, Error::Malformed(..)), "{error}");
    }
}

#[test]
fn attack_32_items_of_indefinite_length_are_refused_though_signed() {
    let good = timestamp();
    let mut open = good.clone();
    open[0] = 0xbf;
    open.push(0xff);
    malformed(&open, Fault::Indefinite);
    malformed(&replaced(&good, &[3, 0x50], &[3, 0x5f, 0x50]), Fault::Indefinite);
}

#[test]
fn attack_33_a_length_of_2_to_the_64_less_1_is_refused_without_overflow() {
    let huge = |major: u8| [vec![major | 27], vec![0xff; 8]].concat();
    for (at, major) in [(0, 0x40u8), (0, 0x60), (0, 0x80), (0, 0xa0)] {
        let _ = at;
        // As the payload, and as the envelope itself.
        assert!(signed(&huge(major)).is_err());
        assert!(provisioned(&Fleet::default()).take(&huge(major)).is_err());
        assert!(
            provisioned(&Fleet::default()).take(&[&[0xd8, 98, 0x84, 0x40, 0xa0][..], &huge(major)].concat()).is_err()
        );
    }
    malformed(&replaced(&timestamp(), &[3, 0x50], &[&[3][..], &huge(0x40)].concat()), Fault::Truncated);
}

#[test]
fn attack_34_bytes_behind_the_end_are_refused() {
    let mut longer = timestamp();
    longer.push(0);
    malformed(&longer, Fault::TrailingBytes);
    // Behind an envelope, and behind a bundle.
    let fleet = Fleet::default();
    let files = fleet.files();
    let mut session =
        Session::new(IDENTITY, &files.root, Default::default(), Time::AtLeast(NOW), Policy::production()).unwrap();
    session.no_newer_root().unwrap();
    let padded = [&files.timestamp[..], &[0]].concat();
    assert_eq!(session.supply(&padded).unwrap_err().code(), 102);
    for extra in [&[0][..], &files.timestamp, &files.product] {
        let error = provisioned(&fleet).take(&[&files.bundle(), extra].concat()).unwrap_err();
        assert!(matches!(error, Error::Malformed(..) | Error::OutOfOrder(_)), "{error}");
    }
}

#[test]
fn attack_35_a_critical_extension_that_is_not_known_is_refused_and_an_ignorable_one_is_not() {
    let fleet = Fleet::default();
    let one = [(7, &b"value"[..])];
    let snapshot = fleet.files().snapshot;
    let header = Header::new(REPOSITORY, 1, NOW + DAY);
    let say = |header: Header<'_>| {
        let meta = Meta::of(1, &snapshot).unwrap();
        signed(&Timestamp { header, issued: NOW - 60, snapshot: meta }.encode())
    };
    assert_eq!(say(Header { extensions: Extensions::new(&one), ..header }), Ok(()));
    assert_eq!(say(Header { critical: Extensions::new(&one), ..header }), Err(Error::UnknownCritical(Role::Timestamp)));
    // In a delegated file, and in a root.
    let product = Targets {
        header: Header { critical: Extensions::new(&one), ..header },
        name: Some("team"),
        targets: List::new(&[]),
        keys: List::new(&[]),
        delegations: List::new(&[]),
    };
    let product = sign(&product.encode(), &fleet.product.all());
    let bundle = Forgery { product: Some(product), ..Forgery::of(&fleet) }.files().bundle();
    refuses_at(&mut provisioned(&fleet), &bundle, Error::UnknownCritical(Role::Targets));
    let next = Fleet { root_version: 2, ..fleet.clone() }.root_payload();
    let mut root = sealift_manifests::Root::decode(&next).unwrap();
    root.header.critical = Extensions::new(&one);
    let root = sign(&root.encode(), &fleet.roles[0].all());
    refuses(&mut up_to_date(&fleet), &root, Error::UnknownCritical(Role::Root));
    // In one target: that target alone.
    let mut fleet = fleet;
    fleet.targets.push(Release { critical: vec![(7, b"value")], ..Release::new([1, 2, 0]) });
    let bundle = fleet.files().bundle();
    let (plain, special) = (fleet.targets[0].digest(), fleet.targets[1].digest());
    refuses_target(&mut provisioned(&fleet), &bundle, special, Error::UnknownCritical(Role::Targets));
    assert!(provisioned(&fleet).select(&bundle, Some(plain)).is_ok());
}

/// CVE-2026-23991: nothing that comes before the signatures are counted can stop the device.
#[test]
fn attack_36_no_malformed_byte_or_cut_before_authentication_panics() {
    // Exactly as many signatures as are needed: none may be lost.
    let mut before = Fleet::default();
    before.roles[0] = Keyring::of(2, &[1, 2]);
    let after = Fleet { root_version: 2, ..before.clone() };
    let bundle = [after.root_after(&before), after.files().bundle()].concat();
    let device = provisioned(&before);
    assert_eq!(device.clone().take(&bundle), Ok(()));
    for length in 0..bundle.len() {
        assert!(device.clone().take(&bundle[..length]).is_err(), "cut to {length}");
    }
    // Every byte: flipped, zero, all ones, one more. No change of a signed bundle is ever accepted as a whole.
    for at in 0..bundle.len() {
        for value in [bundle[at] ^ 0x80, 0, 0xff, bundle[at].wrapping_add(1)] {
            let mut changed = bundle.clone();
            changed[at] = value;
            if changed != bundle {
                assert!(device.clone().take(&changed).is_err(), "byte {at} as {value:#04x}");
            }
        }
    }
}

/// A record of the device's own, damaged at any byte or cut anywhere, is refused and never panics.
#[test]
fn attack_36_a_damaged_trust_record_is_refused() {
    let device = up_to_date(&Fleet::default());
    let mut record = [0; TRUST_RECORD_MAX];
    let length = device.state.encode(&mut record).unwrap();
    for cut in 0..length {
        assert_eq!(TrustState::decode(&record[..cut]), Err(Error::StateCorrupt), "cut to {cut}");
    }
    for at in 0..length {
        for bit in 0..8 {
            record[at] ^= 1 << bit;
            assert_eq!(TrustState::decode(&record[..length]), Err(Error::StateCorrupt), "bit {bit} of byte {at}");
            record[at] ^= 1 << bit;
        }
    }
}
