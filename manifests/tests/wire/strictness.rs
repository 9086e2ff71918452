//! Each fault by its name, put into every place of every document where it fits.

use sealift_manifests::*;

use crate::documents::{self, Kind, array, bytes, digest, map, public_key, recode, text, uint};
use crate::tree::{Heads, Tree};

fn fault(kind: Kind, bytes: &[u8]) -> Option<Fault> {
    recode(kind, bytes).err().map(|error| error.fault())
}

fn fault_of(kind: Kind, document: &Tree) -> Option<Fault> {
    fault(kind, &document.bytes())
}

/// A document that was changed by hand.
fn changed(mut document: Tree, change: impl FnOnce(&mut Tree)) -> Tree {
    change(&mut document);
    document
}

/// Every document with `change` made at every path where it applies: the change says whether it did.
fn everywhere(change: impl Fn(&mut Tree) -> bool) -> Vec<(Kind, Vec<usize>, Tree)> {
    let mut all = Vec::new();
    for (kind, document) in documents::all() {
        for path in document.paths() {
            let mut copy = document.clone();
            if change(copy.at(&path)) {
                all.push((kind, path, copy));
            }
        }
    }
    assert!(all.len() > 30, "the fault fits only {} places", all.len());
    all
}

/// Algorithm headers and public keys are constants of the format: a fault inside one shows as a wrong constant.
const IN_A_CONSTANT: Fault = Fault::BadValue;

/// A constant is compared as a whole.
fn has_constants(kind: Kind) -> bool {
    matches!(kind, Kind::Root | Kind::Targets | Kind::Envelope | Kind::SignedReport)
}

fn every_head(heads: fn(usize) -> Heads, expected: Fault) {
    for (kind, document) in documents::all() {
        let mut tried = 0;
        for number in 0..1000 {
            let (written, hit) = document.bytes_with(heads(number));
            if !hit {
                continue;
            }
            tried += 1;
            let found = fault(kind, &written);
            let constant = found == Some(IN_A_CONSTANT) && has_constants(kind);
            assert!(found == Some(expected) || constant, "{kind:?}, head {number}: {found:?}");
        }
        assert!(tried > 4, "{kind:?}: only {tried} heads");
    }
}

#[test]
fn a_head_that_is_not_shortest_is_refused() {
    every_head(Heads::OneTooLong, Fault::NotShortest);
}

#[test]
fn an_item_of_indefinite_length_is_refused() {
    every_head(Heads::OneIndefinite, Fault::Indefinite);
}

#[test]
fn a_document_cut_at_any_byte_is_refused() {
    for (kind, document) in documents::all() {
        let written = document.bytes();
        for length in 0..written.len() {
            assert_eq!(fault(kind, &written[..length]), Some(Fault::Truncated), "{kind:?} cut to {length} bytes");
        }
    }
}

#[test]
fn a_byte_after_the_end_is_refused() {
    for (kind, document) in documents::all() {
        for extra in 0..=u8::MAX {
            let written = [document.bytes(), vec![extra]].concat();
            assert_eq!(fault(kind, &written), Some(Fault::TrailingBytes), "{kind:?} with {extra:#04x} behind it");
        }
    }
}

#[test]
fn a_map_key_that_stands_twice_is_refused() {
    let doubled = everywhere(|item| match item {
        Tree::Map(entries) if !entries.is_empty() => {
            entries.push(entries.last().unwrap().clone());
            true
        }
        _ => false,
    });
    for (kind, path, document) in doubled {
        let found = fault_of(kind, &document);
        // A map of a fixed number of entries is refused by its head.
        let fixed = matches!(found, Some(Fault::TooLarge | IN_A_CONSTANT));
        assert!(found == Some(Fault::NotAscending) || fixed, "{kind:?} at {path:?}: {found:?}");
    }
    let twice = changed(documents::target("p"), |target| target.entries().insert(1, (uint(1), text("q"))));
    let targets = changed(documents::delegated_targets(), |all| *all.field(7) = array([twice]));
    assert_eq!(fault_of(Kind::Targets, &targets), Some(Fault::NotAscending));
}

#[test]
fn map_keys_out_of_order_are_refused() {
    let swapped = everywhere(|item| match item {
        Tree::Map(entries) if entries.len() > 1 => {
            let last = entries.len() - 1;
            entries.swap(last - 1, last);
            true
        }
        _ => false,
    });
    for (kind, path, document) in swapped {
        // The key that should stand first is missed, or an optional one comes too late.
        let found = fault_of(kind, &document);
        let expected = [Fault::NotAscending, Fault::MissingField, Fault::UnknownField, IN_A_CONSTANT];
        assert!(found.is_some_and(|found| expected.contains(&found)), "{kind:?} at {path:?}: {found:?}");
    }
}

#[test]
fn list_items_out_of_order_or_twice_are_refused() {
    let file = |role: Tree| documents::envelope_of(role);
    let sorted: [(&str, Kind, Tree, Vec<usize>); 9] = [
        ("root's keys", Kind::Root, documents::root(), vec![11]),
        ("a role's key indexes", Kind::Root, documents::root(), vec![13, 1, 1]),
        ("critical extensions", Kind::Root, documents::root(), vec![17]),
        ("delegated files", Kind::Snapshot, documents::snapshot(), vec![13]),
        ("targets' keys", Kind::Targets, documents::top_level_targets(), vec![13]),
        ("delegations", Kind::Targets, documents::top_level_targets(), vec![15]),
        ("a delegation's products", Kind::Targets, documents::top_level_targets(), vec![15, 0, 5]),
        ("a target's hardware", Kind::Targets, documents::delegated_targets(), vec![13, 0, 5]),
        ("signatures", Kind::Envelope, file(documents::timestamp()), vec![0, 3]),
    ];
    for (what, kind, document, path) in sorted {
        let swapped = changed(document.clone(), |all| all.at(&path).items().swap(0, 1));
        assert_eq!(fault_of(kind, &swapped), Some(Fault::NotAscending), "{what} swapped");
        let twice = changed(document.clone(), |all| {
            let items = all.at(&path).items();
            items[1] = items[0].clone();
        });
        assert_eq!(fault_of(kind, &twice), Some(Fault::NotAscending), "{what} twice");
    }
}

#[test]
fn a_field_that_the_format_does_not_know_is_refused() {
    for unknown in [0, 10, 21, 24, 255, u64::MAX] {
        let added = everywhere(|item| match item {
            Tree::Map(entries) => {
                entries.push((uint(unknown), uint(0)));
                entries.sort_by_key(|(key, _)| if let Tree::Uint(key) = key { *key } else { u64::MAX });
                true
            }
            _ => false,
        });
        for (kind, path, document) in added {
            assert!(fault_of(kind, &document).is_some(), "{kind:?} takes field {unknown} at {path:?}");
        }
    }
    for (kind, role) in [
        (Kind::Root, documents::root()),
        (Kind::Timestamp, documents::timestamp()),
        (Kind::Snapshot, documents::snapshot()),
        (Kind::Targets, documents::top_level_targets()),
        (Kind::Targets, documents::delegated_targets()),
        (Kind::Report, documents::report()),
    ] {
        let longer = changed(role, |all| all.entries().push((uint(24), uint(0))));
        assert_eq!(fault_of(kind, &longer), Some(Fault::UnknownField), "{kind:?}");
    }
}

#[test]
fn a_required_field_that_is_missing_is_refused() {
    let required: [(Kind, Tree, &[u64]); 6] = [
        (Kind::Root, documents::root(), &[1, 2, 3, 4, 5, 6, 7, 8]),
        (Kind::Timestamp, documents::timestamp(), &[1, 2, 3, 4, 5, 6, 7]),
        (Kind::Snapshot, documents::snapshot(), &[1, 2, 3, 4, 5, 6]),
        (Kind::Targets, documents::top_level_targets(), &[1, 2, 3, 4, 5, 9]),
        (Kind::Targets, documents::delegated_targets(), &[1, 2, 3, 4, 5]),
        (Kind::Report, documents::report(), &[1, 2, 3, 4, 5, 6, 7, 8]),
    ];
    for (kind, document, fields) in required {
        for field in fields {
            let without = changed(document.clone(), |all| all.entries().retain(|(key, _)| *key != uint(*field)));
            assert_eq!(fault_of(kind, &without), Some(Fault::MissingField), "{kind:?} without field {field}");
        }
    }
    for field in [1, 2, 3, 4, 5, 7, 8] {
        let target = changed(documents::target("p"), |all| all.entries().retain(|(key, _)| *key != uint(field)));
        let without = changed(documents::delegated_targets(), |all| *all.field(7) = array([target]));
        assert_eq!(fault_of(Kind::Targets, &without), Some(Fault::MissingField), "target without field {field}");
    }
}

#[test]
fn an_item_of_another_type_is_refused_wherever_it_stands() {
    let others: [(&str, Vec<u8>); 8] = [
        ("false", vec![0xf4]),
        ("null", vec![0xf6]),
        ("undefined", vec![0xf7]),
        ("a simple value", vec![0xf8, 0xff]),
        ("a half float", vec![0xf9, 0x3c, 0x00]),
        ("a double", vec![0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
        ("a break", vec![0xff]),
        ("a tagged integer", vec![0xc1, 0x01]),
    ];
    for (what, raw) in others {
        for (kind, path, document) in everywhere(|item| {
            *item = Tree::Raw(raw.clone());
            true
        }) {
            assert!(fault_of(kind, &document).is_some(), "{kind:?} takes {what} at {path:?}");
        }
    }
}

#[test]
fn a_negative_integer_is_never_taken_for_an_unsigned_one() {
    for (kind, path, document) in everywhere(|item| match item {
        Tree::Uint(value) => {
            *item = Tree::Negative(*value);
            true
        }
        _ => false,
    }) {
        let found = fault_of(kind, &document);
        assert!(matches!(found, Some(Fault::WrongType | IN_A_CONSTANT)), "{kind:?} at {path:?}: {found:?}");
    }
}

#[test]
fn nesting_does_not_cost_stack() {
    for nested in [vec![0x81; 100_000], vec![0xc1; 100_000], [0xa1, 0x01].repeat(50_000)] {
        for (kind, path, document) in everywhere(|item| {
            *item = Tree::Raw(nested.clone());
            true
        }) {
            assert!(fault_of(kind, &document).is_some(), "{kind:?} takes a deep nest at {path:?}");
        }
    }
}

#[test]
fn a_length_of_the_largest_number_is_refused_without_overflow_or_allocation() {
    for length in [u64::from(u32::MAX), 1 << 63, u64::MAX - 1, u64::MAX] {
        for (kind, path, document) in everywhere(|item| {
            let major = match item {
                Tree::Bytes(_) | Tree::Wrapped(_) => 0x5b,
                Tree::Text(_) => 0x7b,
                Tree::Array(_) => 0x9b,
                Tree::Map(_) => 0xbb,
                _ => return false,
            };
            let rest = item.bytes();
            *item = Tree::Raw([vec![major], length.to_be_bytes().to_vec(), rest].concat());
            true
        }) {
            let found = fault_of(kind, &document);
            // u32::MAX in eight bytes is also not shortest.
            let expected = [Fault::TooLarge, Fault::Truncated, Fault::NotShortest, IN_A_CONSTANT];
            assert!(found.is_some_and(|found| expected.contains(&found)), "{kind:?} at {path:?}: {found:?}");
        }
    }
}

#[test]
fn a_role_is_never_read_as_another() {
    let roles = [
        (Kind::Root, documents::root()),
        (Kind::Timestamp, documents::timestamp()),
        (Kind::Snapshot, documents::snapshot()),
        (Kind::Targets, documents::top_level_targets()),
    ];
    for (kind, document) in &roles {
        for (other, _) in &roles {
            let expected = (kind != other).then_some(Fault::WrongRole);
            assert_eq!(fault_of(*other, document), expected, "{kind:?} read as {other:?}");
        }
    }
    for number in [0, 5, u64::MAX] {
        let unknown = changed(documents::timestamp(), |all| *all.field(1) = uint(number));
        assert_eq!(fault_of(Kind::Timestamp, &unknown), Some(Fault::WrongRole));
        assert_eq!(Role::peek(&unknown.bytes()).unwrap_err().fault(), Fault::BadValue);
    }
}

#[test]
fn another_format_version_is_refused() {
    for version in [0, 2, 255, u64::MAX] {
        for (kind, document) in documents::all() {
            let field = match kind {
                Kind::Envelope | Kind::SignedReport => continue,
                Kind::Report => 1,
                _ => 2,
            };
            let other = changed(document, |all| *all.field(field) = uint(version));
            assert_eq!(fault_of(kind, &other), Some(Fault::UnknownVersion), "{kind:?} of format {version}");
        }
    }
}

#[test]
fn a_role_of_version_0_is_refused() {
    for (kind, document) in documents::all() {
        if matches!(kind, Kind::Root | Kind::Timestamp | Kind::Snapshot | Kind::Targets) {
            let zero = changed(document, |all| *all.field(4) = uint(0));
            assert_eq!(fault_of(kind, &zero), Some(Fault::BadValue), "{kind:?}");
        }
    }
    let pinned = changed(documents::timestamp(), |all| all.field(7).items()[0] = uint(0));
    assert_eq!(fault_of(Kind::Timestamp, &pinned), Some(Fault::BadValue));
}

#[test]
fn the_name_of_a_top_level_role_is_refused_for_a_delegated_one() {
    for taken in ["root", "timestamp", "snapshot", "targets"] {
        let file = changed(documents::delegated_targets(), |all| *all.field(6) = text(taken));
        assert_eq!(fault_of(Kind::Targets, &file), Some(Fault::BadText), "{taken} names a file");
        let delegation = changed(documents::top_level_targets(), |all| {
            let first = &mut all.field(9).items()[0];
            *first.field(1) = text(taken);
        });
        assert_eq!(fault_of(Kind::Targets, &delegation), Some(Fault::BadText), "{taken} names a delegation");
        let pinned = changed(documents::snapshot(), |all| all.field(7).items()[0].items()[0] = text(taken));
        assert_eq!(fault_of(Kind::Snapshot, &pinned), Some(Fault::BadText), "{taken} names a pinned file");
    }
}

#[test]
fn an_envelope_that_is_not_our_cose_sign_is_refused() {
    let file = documents::envelope_of(documents::timestamp());
    let Tree::Tag(_, body) = file.clone() else { unreachable!() };
    assert_eq!(fault_of(Kind::Envelope, &body), Some(Fault::WrongType), "untagged");
    for tag in [18, 96, 97, 55_799] {
        assert_eq!(fault_of(Kind::Envelope, &Tree::Tag(tag, body.clone())), Some(Fault::BadValue), "tag {tag}");
    }
    let algorithm = |header: Tree| Tree::Wrapped(Box::new(header));
    let eddsa = || Tree::Map(vec![(uint(1), Tree::Negative(7))]);
    let refused: Vec<(&str, Tree)> = vec![
        ("a protected body header", changed(file.clone(), |all| *all.at(&[0, 0]) = algorithm(eddsa()))),
        ("an unprotected body header", changed(file.clone(), |all| *all.at(&[0, 1]) = map([(4, digest(1))]))),
        ("a detached payload", changed(file.clone(), |all| *all.at(&[0, 2]) = Tree::Raw(vec![0xf6]))),
        ("a signer without an algorithm", changed(file.clone(), |all| *all.at(&[0, 3, 0, 0]) = bytes(b""))),
        (
            "algorithm -19",
            changed(file.clone(), |all| {
                *all.at(&[0, 3, 0, 0]) = algorithm(Tree::Map(vec![(uint(1), Tree::Negative(18))]));
            }),
        ),
        (
            "algorithm ES256",
            changed(file.clone(), |all| {
                *all.at(&[0, 3, 0, 0]) = algorithm(Tree::Map(vec![(uint(1), Tree::Negative(6))]));
            }),
        ),
        (
            "a critical header",
            changed(file.clone(), |all| {
                let header = Tree::Map(vec![(uint(1), Tree::Negative(7)), (uint(2), array([uint(33)]))]);
                *all.at(&[0, 3, 0, 0]) = algorithm(header);
            }),
        ),
        (
            "the algorithm unprotected",
            changed(file.clone(), |all| {
                *all.at(&[0, 3, 0, 0]) = bytes(b"");
                let header = all.at(&[0, 3, 0, 1]);
                header.entries().insert(0, (uint(1), Tree::Negative(7)));
            }),
        ),
        ("a key id as text", changed(file.clone(), |all| *all.at(&[0, 3, 0, 1]) = map([(4, text("key"))]))),
        ("a key id of 31 bytes", changed(file.clone(), |all| *all.at(&[0, 3, 0, 1]) = map([(4, bytes([1; 31]))]))),
        ("a signature of 63 bytes", changed(file.clone(), |all| *all.at(&[0, 3, 0, 2]) = bytes([1; 63]))),
        ("a signature of 65 bytes", changed(file.clone(), |all| *all.at(&[0, 3, 0, 2]) = bytes([1; 65]))),
        ("no signature", changed(file.clone(), |all| *all.at(&[0, 3]) = array([]))),
        ("a fifth item", changed(file, |all| all.at(&[0]).items().push(uint(0)))),
    ];
    for (what, document) in refused {
        assert!(fault_of(Kind::Envelope, &document).is_some(), "{what} is accepted");
    }
}

#[test]
fn a_key_that_is_not_ed25519_is_refused() {
    let pair = |key: Tree, value: Tree| (key, value);
    let x = || (Tree::Negative(1), digest(1));
    let ec2 = vec![
        pair(uint(1), uint(2)),
        (Tree::Negative(0), uint(1)),
        (Tree::Negative(1), digest(1)),
        (Tree::Negative(2), digest(2)),
    ];
    let keys = [
        ("an elliptic curve key", Tree::Map(ec2)),
        ("X25519", Tree::Map(vec![pair(uint(1), uint(1)), (Tree::Negative(0), uint(4)), x()])),
        ("Ed448", Tree::Map(vec![pair(uint(1), uint(1)), (Tree::Negative(0), uint(7)), x()])),
        (
            "a key with an id",
            Tree::Map(vec![(uint(1), uint(1)), (uint(2), bytes(b"id")), (Tree::Negative(0), uint(6)), x()]),
        ),
        (
            "a private key",
            Tree::Map(vec![(uint(1), uint(1)), (Tree::Negative(0), uint(6)), x(), (Tree::Negative(3), digest(9))]),
        ),
        (
            "a short key",
            Tree::Map(vec![(uint(1), uint(1)), (Tree::Negative(0), uint(6)), (Tree::Negative(1), bytes([1; 31]))]),
        ),
    ];
    let ours = changed(documents::root(), |all| all.field(6).items()[0] = public_key(0));
    assert_eq!(fault_of(Kind::Root, &ours), None);
    for (what, key) in keys {
        let root = changed(documents::root(), |all| all.field(6).items()[0] = key);
        assert_eq!(fault_of(Kind::Root, &root), Some(Fault::BadValue), "{what}");
    }
}

#[test]
fn a_key_index_beyond_the_keys_is_refused() {
    for index in [3, 32, u64::MAX] {
        let root = changed(documents::root(), |all| all.field(7).field(2).items()[1] = array([uint(index)]));
        assert_eq!(fault_of(Kind::Root, &root), Some(Fault::BadValue), "root names key {index}");
    }
    for index in [2, 31, 32, u64::MAX] {
        let targets = changed(documents::top_level_targets(), |all| {
            let first = &mut all.field(9).items()[0];
            first.field(2).items()[1] = array([uint(index)]);
        });
        assert_eq!(fault_of(Kind::Targets, &targets), Some(Fault::BadValue), "a delegation names key {index}");
    }
}

/// A threshold of 0 is for the verifier to refuse: the format carries what was signed, so that the refusal can be told.
#[test]
fn an_absurd_threshold_is_well_formed() {
    for threshold in [0, 9, u64::MAX] {
        let root = changed(documents::root(), |all| all.field(7).field(1).items()[0] = uint(threshold));
        assert_eq!(fault_of(Kind::Root, &root), None);
        assert_eq!(Root::decode(&root.bytes()).unwrap().role(Role::Root).threshold, threshold);
    }
}

#[test]
fn a_delegated_file_that_delegates_is_refused() {
    let keys = (uint(8), array([public_key(1)]));
    let delegations = (uint(9), documents::top_level_targets().field(9).clone());
    let deeper = changed(documents::delegated_targets(), |all| {
        let at = all.entries().len() - 2;
        all.entries().splice(at..at, [keys, delegations]);
    });
    assert_eq!(fault_of(Kind::Targets, &deeper), Some(Fault::UnknownField));
}

#[test]
fn a_payload_without_what_its_codec_needs_is_refused() {
    let without = |codec: u64, field: u64| {
        changed(documents::payload(codec), |all| all.entries().retain(|(key, _)| *key != uint(field)))
    };
    let base = || (uint(4), array([uint(800), digest(5)]));
    let refused = [
        ("a raw image with a base", changed(documents::payload(0), |all| all.entries().push(base()))),
        (
            "a raw image with a decoder",
            changed(documents::payload(0), |all| all.entries().extend([(uint(5), uint(1)), (uint(6), uint(10))])),
        ),
        ("zstd with a base", changed(documents::payload(1), |all| all.entries().insert(3, base()))),
        ("a delta without a base", without(2, 4)),
        ("zstd without a window", without(1, 6)),
        ("zstd without its RAM", without(1, 5)),
        ("zstd with RAM of 0", changed(documents::payload(1), |all| *all.field(5) = uint(0))),
        ("zstd with a window of 1 byte", changed(documents::payload(1), |all| *all.field(6) = uint(0))),
        ("zstd with a window of 4 GiB", changed(documents::payload(1), |all| *all.field(6) = uint(32))),
        ("a payload of no bytes", changed(documents::payload(0), |all| *all.field(2) = uint(0))),
    ];
    for (what, payload) in refused {
        let targets = changed(documents::delegated_targets(), |all| {
            *all.field(7).items()[0].field(8) = array([payload]);
        });
        assert!(fault_of(Kind::Targets, &targets).is_some(), "{what} is accepted");
    }
}

#[test]
fn an_error_names_the_byte_and_says_it_in_words() {
    let mut written = documents::timestamp().bytes();
    written.push(0);
    let error = Timestamp::decode(&written).unwrap_err();
    assert_eq!(error.offset(), written.len() - 1);
    assert_eq!(error.to_string(), format!("bytes follow the end (at byte {})", written.len() - 1));
}
