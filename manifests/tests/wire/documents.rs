//! One document of every type, with every field in it, as the tree the schema describes: written here by hand from
//! `schema.cddl`, not by the code under test.

use sealift_manifests::report::{Report, SignedReport};
use sealift_manifests::{DecodeError, Envelope, Role, Root, Snapshot, Targets, Timestamp};

use crate::tree::Tree;

/// The types that are decoded as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Root,
    Timestamp,
    Snapshot,
    Targets,
    Envelope,
    Report,
    SignedReport,
}

impl Kind {
    pub(crate) fn of(role: Role) -> Kind {
        match role {
            Role::Root => Kind::Root,
            Role::Timestamp => Kind::Timestamp,
            Role::Snapshot => Kind::Snapshot,
            Role::Targets => Kind::Targets,
        }
    }
}

/// Decodes, what an envelope or signed report carries too, and encodes again: the bytes that came out.
pub(crate) fn recode(kind: Kind, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    match kind {
        Kind::Envelope => {
            let payload = Envelope::decode(bytes)?.payload;
            assert_eq!(recode(Kind::of(Role::peek(payload)?), payload)?, payload);
        }
        Kind::SignedReport => {
            let payload = SignedReport::decode(bytes)?.payload;
            assert_eq!(recode(Kind::Report, payload)?, payload);
        }
        _ => {}
    }
    Ok(match kind {
        Kind::Root => Root::decode(bytes)?.encode(),
        Kind::Timestamp => Timestamp::decode(bytes)?.encode(),
        Kind::Snapshot => Snapshot::decode(bytes)?.encode(),
        Kind::Targets => Targets::decode(bytes)?.encode(),
        Kind::Envelope => Envelope::decode(bytes)?.encode(),
        Kind::Report => Report::decode(bytes)?.encode(),
        Kind::SignedReport => SignedReport::decode(bytes)?.encode(),
    })
}

/// The rule of `schema.cddl` for a type.
pub(crate) fn rule(kind: Kind) -> &'static str {
    match kind {
        Kind::Root => "root",
        Kind::Timestamp => "timestamp",
        Kind::Snapshot => "snapshot",
        Kind::Targets => "targets",
        Kind::Envelope => "role-file",
        Kind::Report => "report",
        Kind::SignedReport => "signed-report",
    }
}

pub(crate) fn uint(value: u64) -> Tree {
    Tree::Uint(value)
}

pub(crate) fn text(value: &str) -> Tree {
    Tree::Text(value.into())
}

pub(crate) fn bytes(value: impl AsRef<[u8]>) -> Tree {
    Tree::Bytes(value.as_ref().into())
}

pub(crate) fn array<const N: usize>(items: [Tree; N]) -> Tree {
    Tree::Array(items.into())
}

pub(crate) fn map<const N: usize>(entries: [(u64, Tree); N]) -> Tree {
    Tree::Map(entries.into_iter().map(|(key, value)| (Tree::Uint(key), value)).collect())
}

pub(crate) fn digest(fill: u8) -> Tree {
    bytes([fill; 32])
}

pub(crate) fn extensions() -> Tree {
    array([array([uint(1), bytes(b"first")]), array([uint(300), bytes(b"")])])
}

pub(crate) fn public_key(fill: u8) -> Tree {
    Tree::Map(vec![(uint(1), uint(1)), (Tree::Negative(0), uint(6)), (Tree::Negative(1), digest(fill))])
}

fn with_header<const N: usize>(role: u64, own: [(u64, Tree); N]) -> Tree {
    let head = [(1, uint(role)), (2, uint(1)), (3, bytes([7; 16])), (4, uint(5)), (5, uint(1_900_000_000))];
    let tail = [(22, extensions()), (23, extensions())];
    let entries = head.into_iter().chain(own).chain(tail);
    Tree::Map(entries.map(|(key, value)| (Tree::Uint(key), value)).collect())
}

fn role_keys(threshold: u64, keys: &[u64]) -> Tree {
    array([uint(threshold), Tree::Array(keys.iter().map(|key| uint(*key)).collect())])
}

pub(crate) fn root() -> Tree {
    let roles =
        map([(1, role_keys(2, &[0, 1])), (2, role_keys(1, &[2])), (3, role_keys(1, &[2])), (4, role_keys(1, &[1]))]);
    with_header(1, [(6, array([public_key(1), public_key(2), public_key(3)])), (7, roles), (8, uint(1000))])
}

fn meta(version: u64) -> Tree {
    array([uint(version), uint(700), digest(9)])
}

pub(crate) fn timestamp() -> Tree {
    with_header(2, [(6, uint(1_800_000_000)), (7, meta(4))])
}

pub(crate) fn snapshot() -> Tree {
    let delegated = array([array([text("team-a"), meta(2)]), array([text("team-b"), meta(70_000)])]);
    with_header(3, [(6, meta(3)), (7, delegated)])
}

pub(crate) fn payload(codec: u64) -> Tree {
    let mut entries = vec![(uint(1), uint(codec)), (uint(2), uint(90_000)), (uint(3), digest(4))];
    if codec > 1 {
        entries.push((uint(4), array([uint(800), digest(5)])));
    }
    if codec > 0 {
        entries.extend([(uint(5), uint(24_576)), (uint(6), uint(12))]);
    }
    Tree::Map(entries)
}

pub(crate) fn target(product: &str) -> Tree {
    map([
        (1, text(product)),
        (2, text("main")),
        (3, array([text("board-a"), text("board-b")])),
        (4, array([uint(1), uint(2), uint(3)])),
        (5, uint(4)),
        (6, array([uint(1), uint(0), uint(0)])),
        (7, array([uint(1000), digest(6)])),
        (8, array([payload(2), payload(1), payload(0), payload(9)])),
        (9, digest(8)),
        (22, extensions()),
        (23, extensions()),
    ])
}

fn delegation(name: &str, product: &str) -> Tree {
    let products = array([text(product), text("zz-last")]);
    map([(1, text(name)), (2, role_keys(1, &[0, 1])), (3, products), (4, uint(50))])
}

pub(crate) fn top_level_targets() -> Tree {
    let delegations = array([delegation("team-a", "heater"), delegation("team-b", "valve")]);
    let keys = array([public_key(4), public_key(5)]);
    with_header(4, [(7, array([target("thermostat")])), (8, keys), (9, delegations)])
}

pub(crate) fn delegated_targets() -> Tree {
    with_header(4, [(6, text("team-a")), (7, array([target("heater"), target("heater")]))])
}

fn algorithm() -> Tree {
    Tree::Wrapped(Box::new(Tree::Map(vec![(uint(1), Tree::Negative(7))])))
}

pub(crate) fn signature(key: u8) -> Tree {
    array([algorithm(), map([(4, digest(key))]), bytes([key; 64])])
}

pub(crate) fn envelope_of(payload: Tree) -> Tree {
    let signatures = array([signature(1), signature(2)]);
    let body = array([bytes(b""), map([]), Tree::Wrapped(Box::new(payload)), signatures]);
    Tree::Tag(98, Box::new(body))
}

pub(crate) fn report() -> Tree {
    map([
        (1, uint(1)),
        (2, bytes([7; 16])),
        (3, text("thermostat-0001")),
        (4, text("sealift-1_2_3")),
        (5, uint(2)),
        (6, uint(41)),
        (7, digest(6)),
        (8, uint(4)),
    ])
}

pub(crate) fn signed_report() -> Tree {
    let body = array([algorithm(), map([(4, digest(3))]), Tree::Wrapped(Box::new(report())), bytes([3; 64])]);
    Tree::Tag(18, Box::new(body))
}

/// Every document, under the type that reads it.
pub(crate) fn all() -> Vec<(Kind, Tree)> {
    vec![
        (Kind::Root, root()),
        (Kind::Timestamp, timestamp()),
        (Kind::Snapshot, snapshot()),
        (Kind::Targets, top_level_targets()),
        (Kind::Targets, delegated_targets()),
        (Kind::Envelope, envelope_of(timestamp())),
        (Kind::Report, report()),
        (Kind::SignedReport, signed_report()),
    ]
}

#[test]
fn a_document_written_by_hand_from_the_schema_reads_and_writes_back_byte_for_byte() {
    for (kind, document) in all() {
        let written = document.bytes();
        assert_eq!(recode(kind, &written).as_ref(), Ok(&written), "{kind:?}");
    }
}
