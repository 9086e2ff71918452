//! Every bound of `bounds.rs`: what is at it is read, what is one above it is refused, and the schema says the same.

use sealift_manifests::Fault;
use sealift_manifests::bounds::*;

use crate::documents::{self, Kind, array, bytes, digest, public_key, recode, rule, text, uint};
use crate::schema;
use crate::tree::Tree;

/// A bound, and how to write a document that has so many.
struct Bound {
    what: &'static str,
    most: usize,
    kind: Kind,
    with: fn(usize) -> Tree,
    /// Fewer than one are refused as [`Fault::Empty`].
    not_empty: bool,
}

fn numbered(count: usize, item: impl Fn(usize) -> Tree) -> Tree {
    Tree::Array((0..count).map(item).collect())
}

fn number(index: usize) -> Tree {
    uint(index as u64)
}

fn names(count: usize) -> Tree {
    numbered(count, |index| text(&format!("name-{index:03}")))
}

fn set(mut document: Tree, field: u64, value: Tree) -> Tree {
    *document.field(field) = value;
    document
}

fn with_target(field: u64, value: Tree) -> Tree {
    set(documents::delegated_targets(), 7, array([set(documents::target("p"), field, value)]))
}

fn with_delegation(field: u64, value: Tree) -> Tree {
    let mut targets = documents::top_level_targets();
    *targets.field(9).items()[0].field(field) = value;
    targets
}

fn extension(number: usize, length: usize) -> Tree {
    array([uint(number as u64), bytes(vec![7; length])])
}

/// Roles that use key 0 alone, so that any number of keys will do.
fn root_with_keys(count: usize) -> Tree {
    let one = || array([uint(1), array([uint(0)])]);
    let roles = documents::map([(1, one()), (2, one()), (3, one()), (4, one())]);
    let keys = numbered(count, |index| public_key(index as u8));
    set(set(documents::root(), 7, roles), 6, keys)
}

fn root_with_role_keys(count: usize) -> Tree {
    let mut root = root_with_keys(16);
    *root.field(7).field(3) = array([uint(1), numbered(count, number)]);
    root
}

fn targets_with_keys(count: usize) -> Tree {
    let mut targets = documents::top_level_targets();
    *targets.field(8) = numbered(count, |index| public_key(index as u8));
    for delegation in targets.field(9).items() {
        *delegation.field(2) = array([uint(1), array([uint(0)])]);
    }
    targets
}

fn delegations(count: usize) -> Tree {
    let one = documents::top_level_targets().field(9).items()[0].clone();
    let all = numbered(count, |index| set(one.clone(), 1, text(&format!("role-{index:03}"))));
    set(documents::top_level_targets(), 9, all)
}

fn delegated(count: usize) -> Tree {
    let one = documents::snapshot().field(7).items()[0].clone();
    let all = numbered(count, |index| {
        let mut entry = one.clone();
        entry.items()[0] = text(&format!("role-{index:03}"));
        entry
    });
    set(documents::snapshot(), 7, all)
}

fn signatures(count: usize) -> Tree {
    let mut file = documents::envelope_of(documents::timestamp());
    *file.at(&[0, 3]) = numbered(count, |index| documents::signature(index as u8));
    file
}

fn bounds() -> Vec<Bound> {
    let list = |what, most, kind, with| Bound { what, most, kind, with, not_empty: true };
    let size = |what, most, kind, with| Bound { what, most, kind, with, not_empty: false };
    vec![
        list("root's keys", MAX_KEYS, Kind::Root, root_with_keys),
        list("keys of a role", MAX_ROLE_KEYS, Kind::Root, root_with_role_keys),
        list("targets' keys", MAX_KEYS, Kind::Targets, targets_with_keys),
        list("delegations", MAX_DELEGATIONS, Kind::Targets, delegations),
        list("pinned delegated files", MAX_DELEGATIONS, Kind::Snapshot, delegated),
        list("products of a delegation", MAX_PRODUCTS, Kind::Targets, |n| with_delegation(3, names(n))),
        list("targets", MAX_TARGETS, Kind::Targets, |n| {
            set(documents::delegated_targets(), 7, numbered(n, |_| documents::target("p")))
        }),
        list("hardware ids", MAX_HARDWARE, Kind::Targets, |n| with_target(3, names(n))),
        list("payloads", MAX_PAYLOADS, Kind::Targets, |n| with_target(8, numbered(n, |_| documents::payload(2)))),
        list("critical extensions", MAX_EXTENSIONS, Kind::Root, |n| {
            set(documents::root(), 22, numbered(n, |index| extension(index, 3)))
        }),
        list("extensions of a target", MAX_EXTENSIONS, Kind::Targets, |n| {
            with_target(23, numbered(n, |index| extension(index, 3)))
        }),
        size("bytes of an extension", MAX_EXTENSION_VALUE, Kind::Timestamp, |n| {
            set(documents::timestamp(), 23, array([extension(1, n)]))
        }),
        list("signatures", MAX_SIGNATURES, Kind::Envelope, signatures),
        size("characters of a name", MAX_NAME, Kind::Targets, |n| with_target(1, text(&"a".repeat(n.max(1))))),
        size("bytes of a pinned file", MAX_ENVELOPE, Kind::Timestamp, |n| {
            set(documents::timestamp(), 7, array([uint(1), number(n.max(1)), digest(1)]))
        }),
        size("bytes of an image", MAX_IMAGE as usize, Kind::Targets, |n| {
            with_target(7, array([number(n.max(1)), digest(1)]))
        }),
        list("characters of a thing name", 128, Kind::Report, |n| set(documents::report(), 3, text(&"a".repeat(n)))),
        list("characters of a job id", 64, Kind::Report, |n| set(documents::report(), 4, text(&"a".repeat(n)))),
    ]
}

#[test]
fn what_is_at_a_bound_is_read() {
    for bound in bounds() {
        let written = (bound.with)(bound.most).bytes();
        assert_eq!(recode(bound.kind, &written).as_ref(), Ok(&written), "{} {}", bound.most, bound.what);
        assert_eq!(schema::check(rule(bound.kind), &written), Ok(()), "{} {}", bound.most, bound.what);
    }
}

#[test]
fn what_is_above_a_bound_is_refused_as_too_large() {
    for bound in bounds() {
        let written = (bound.with)(bound.most + 1).bytes();
        let found = recode(bound.kind, &written).map_err(|error| error.fault());
        assert_eq!(found, Err(Fault::TooLarge), "{} {}", bound.most + 1, bound.what);
        assert!(schema::check(rule(bound.kind), &written).is_err(), "{} {}", bound.most + 1, bound.what);
    }
}

#[test]
fn a_list_that_must_not_be_empty_is_refused_when_it_is() {
    for bound in bounds().into_iter().filter(|bound| bound.not_empty) {
        let written = (bound.with)(0).bytes();
        let found = recode(bound.kind, &written).map_err(|error| error.fault());
        assert_eq!(found, Err(Fault::Empty), "0 {}", bound.what);
        assert!(schema::check(rule(bound.kind), &written).is_err(), "0 {}", bound.what);
    }
}

fn envelope_with_payload(length: usize) -> Vec<u8> {
    let mut file = signatures(MAX_SIGNATURES);
    *file.at(&[0, 2]) = bytes(vec![0; length]);
    file.bytes()
}

/// Payloads have a bound of their own, that CDDL can't state beside the type of what they hold.
#[test]
fn the_largest_envelope_has_the_stated_size_and_a_larger_payload_is_refused() {
    let largest = envelope_with_payload(MAX_PAYLOAD);
    assert_eq!(largest.len(), MAX_ENVELOPE);
    assert!(sealift_manifests::Envelope::decode(&largest).is_ok());
    let larger = envelope_with_payload(MAX_PAYLOAD + 1);
    assert_eq!(sealift_manifests::Envelope::decode(&larger).unwrap_err().fault(), Fault::TooLarge);
}

#[test]
fn a_signing_service_can_sign_the_largest_payload() {
    let payload = vec![0; MAX_PAYLOAD];
    let message = sealift_manifests::envelope::SigStructure::new(&payload).to_vec();
    assert!(message.len() <= 4_096, "{} bytes", message.len());
}

#[test]
fn a_report_that_no_job_status_detail_can_hold_is_refused() {
    use sealift_manifests::report::{MAX_REPORT, SignedReport};
    let with = |length: usize| {
        let mut report = documents::signed_report();
        *report.at(&[0, 2]) = bytes(vec![0; length]);
        report.bytes()
    };
    let overhead = with(MAX_REPORT).len() - MAX_REPORT;
    assert!(SignedReport::decode(&with(MAX_REPORT - overhead)).is_ok());
    assert_eq!(SignedReport::decode(&with(MAX_REPORT - overhead + 1)).unwrap_err().fault(), Fault::TooLarge);
    assert!(MAX_REPORT.div_ceil(3) * 4 <= 1024, "its base64 fits");
}

#[test]
fn a_bundle_of_more_files_than_one_session_reads_is_refused() {
    let file = documents::envelope_of(documents::timestamp()).bytes();
    let count = |files: usize| {
        let bundle = file.repeat(files);
        sealift_manifests::bundle::files(&bundle).try_fold(0, |sum, file| file.map(|_| sum + 1))
    };
    assert_eq!(count(12), Ok(12));
    assert_eq!(count(13).unwrap_err().fault(), Fault::TooLarge);
}

/// Sizes that devices have set memory aside for.
#[test]
fn the_largest_files_are_as_large_as_devices_were_built_for() {
    assert_eq!((MAX_PAYLOAD, MAX_SIGNATURES, ENVELOPE_OVERHEAD), (3_584, 16, 9));
    assert_eq!((MAX_ENVELOPE, MAX_BUNDLE), (5_305, 63_660));
}
