//! The fault model: each security-relevant branch negated in turn, one at a time, and still nothing forged is accepted.
//!
//! `RUSTFLAGS='--cfg sealift_fault_model' cargo test -p sealift-verifier --test fault_model --target-dir target/fault-model`
//!
//! What it shows: no single wrong turn of a branch that decides over trust lets a forgery through. Those are all branches that
//! `verifier/src/certain.rs` guards: counting a signature and reaching the threshold; root succession, repository, thresholds and
//! example keys; pinned lengths, hashes and versions; floors, whether they still bind, and second contents under one version;
//! expiry, and the signed lower bound of the time; delegation; identity, counters, ceilings, bridge releases, the clock's
//! policy; the record beside a slot, the image's hash, and that what boots is a slot that checked. A check's refusal on its way
//! up (`?`) is a branch too, and guarded by a second look wherever the check returns nothing else.
//!
//! The forgeries are held to the source: every guarded place had something to refuse in one of them, or stands in
//! [`SECOND_LOOKS`] with the reason why no single fault leads there.
//!
//! What it can't show: faults in data or in two places at once; faults within the signature check and the hash themselves; a
//! `?` or a `match` on a value, which a fault would turn into use of memory that nobody wrote; branches that a compiler makes of
//! anything else; and how a real processor fails. Not guarded: parsing (what it lets through wrongly must still be signed), the
//! order of a session's calls and its bound on roots (they refuse no forgery), which of two slots that check is run, and the
//! choice and decoding of payloads (what comes of it is read back and hashed).
#![cfg(sealift_fault_model)]

mod flash;
mod fleet;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use flash::*;
use fleet::*;
use sealift_manifests::envelope::Signature;
use sealift_manifests::{
    DelegatedMeta, Delegation, Digest, Envelope, Extensions, Header, List, Meta, RepositoryId, Role, RoleKeys, Root,
    Snapshot, Targets, Timestamp, Version,
};
use sealift_verifier::boot::{BootControl, DeviceState, FactoryImage, RecordId, Records, STATE_RECORD_MAX};
use sealift_verifier::certain::fault;
use sealift_verifier::cose::CoseFile;
use sealift_verifier::image::{Slot, Slots, VerifiedImage};
use sealift_verifier::session::slot_record::{self, SLOT_RECORD_MAX};
use sealift_verifier::session::{DeviceFacts, Identity, Session, TrustState};
use sealift_verifier::trust::{Policy, Signers, Time, Verified};

static FORGERIES: AtomicUsize = AtomicUsize::new(0);
static NEGATED: AtomicUsize = AtomicUsize::new(0);

/// Negates each branch that an attempt passes, one at a time. `accepts` says whether the forgery got through.
fn no_single_fault_helps(what: &str, accepts: impl Fn() -> bool) {
    fault::negate(usize::MAX);
    assert!(!accepts(), "{what}: accepted without any fault");
    let mut most = fault::passed();
    let mut number = 0;
    while number < most {
        fault::negate(number);
        let accepted = accepts();
        assert!(!accepted, "{what}: accepted when branch {number} of {most} was negated");
        // A wrong turn may lead past more branches than the right way.
        most = most.max(fault::passed());
        number += 1;
    }
    fault::negate(usize::MAX);
    println!("{what}: {number} branches negated, one at a time");
    FORGERIES.fetch_add(1, Relaxed);
    NEGATED.fetch_add(number, Relaxed);
}

/// The attacker's own signature under the name of the right keys.
fn forge(payload: &[u8], ring: &Keyring) -> Vec<u8> {
    let made = [0x5a; 64];
    let mut signatures: Vec<_> =
        ring.keys.iter().map(|key| Signature { key_id: public(key).id(), signature: &made }).collect();
    signatures.sort_by_key(|signature| signature.key_id);
    Envelope { payload, signatures: List::new(&signatures) }.encode()
}

/// What an attacker finds: a device, and what it is offered.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    root: &'a [u8],
    bundle: &'a [u8],
    state: TrustState,
    time: Time,
    policy: Policy,
    identity: Identity<'a>,
    facts: DeviceFacts,
    digest: Digest,
}

impl<'a> Attempt<'a> {
    fn of(root: &'a [u8], bundle: &'a [u8], fleet: &Fleet) -> Self {
        Attempt {
            root,
            bundle,
            state: TrustState::default(),
            time: Time::AtLeast(NOW),
            policy: Policy::production(),
            identity: IDENTITY,
            facts: DEVICE,
            digest: fleet.targets[0].digest(),
        }
    }

    fn approved(&self) -> bool {
        let Ok(mut session) = Session::new(self.identity, self.root, self.state, self.time, self.policy) else {
            return false;
        };
        session.supply_bundle(self.bundle, |_| Ok(())).is_ok() && session.select(&self.digest, &self.facts).is_ok()
    }

    /// Refused, and with any one fault still refused.
    fn never(&self, what: &str) {
        no_single_fault_helps(what, || self.approved());
    }
}

fn approves(root: &[u8], bundle: &[u8], state: TrustState, fleet: &Fleet) -> bool {
    Attempt { state, ..Attempt::of(root, bundle, fleet) }.approved()
}

/// Everything is one test: the switch is one for the whole program.
#[test]
fn no_single_negated_branch_accepts_a_forgery() {
    let genuine = Fleet::default();
    let root = genuine.root();
    let none = TrustState::default();
    let mut evil = genuine.clone();
    evil.targets = vec![Release::new([6, 6, 6])];
    // A whole bundle in which the file of one role is forged, and the others pin it as their thief would have them.
    let forged = |role: usize| {
        let signed = |at: usize, payload: Vec<u8>, ring: &Keyring| {
            if at == role { forge(&payload, ring) } else { sign(&payload, &ring.all()) }
        };
        let product = signed(4, evil.product_payload(), &evil.product);
        let targets = signed(3, evil.targets_payload(), &evil.roles[3]);
        let snapshot = signed(2, evil.snapshot_payload(&targets, &product), &evil.roles[2]);
        let timestamp = signed(1, evil.timestamp_payload(&snapshot), &evil.roles[1]);
        [timestamp, snapshot, targets, product].concat()
    };
    for (role, name) in [(1, "timestamp"), (2, "snapshot"), (3, "targets"), (4, "delegated targets")] {
        let bundle = forged(role);
        no_single_fault_helps(&format!("{name} forged"), || approves(&root, &bundle, none, &evil));
    }

    let next = Fleet { root_version: 2, ..evil.clone() };
    let mut thief = next.clone();
    thief.roles = std::array::from_fn(|_| Keyring::of(1, &[99]));
    let chain = [forge(&thief.root_payload(), &genuine.roles[0]), thief.files().bundle()].concat();
    no_single_fault_helps("root forged", || approves(&root, &chain, none, &thief));

    let old = genuine.files().bundle();
    let mut newer = genuine.clone();
    newer.bump();
    let mut device = Device::provisioned(root.clone());
    device.take(&newer.files().bundle()).expect("the newer bundle is good");
    no_single_fault_helps("rolled back", || approves(&root, &old, device.state, &genuine));

    let mut swapped = genuine.files();
    let mut other = evil.clone();
    other.timestamp_version = 9;
    swapped.product = other.files().product;
    let mixed = swapped.bundle();
    no_single_fault_helps("mixed", || approves(&root, &mixed, none, &evil));

    type Change = fn(&mut Release);
    let wrong: [(&str, Change); 4] = [
        ("other hardware", |release| release.hardware = vec!["board-b"]),
        ("other component", |release| release.component = "radio"),
        ("counter too low", |release| release.security_counter = 2),
        ("counter above the ceiling", |release| release.security_counter = 11),
    ];
    for (what, change) in wrong {
        let mut fleet = genuine.clone();
        change(&mut fleet.targets[0]);
        let bundle = fleet.files().bundle();
        no_single_fault_helps(what, || approves(&root, &bundle, none, &fleet));
    }

    roots(&genuine, &root);
    pins(&genuine, &root);
    freshness(&genuine, &root);
    policies(&genuine, &root);
    at_boot(&genuine, &root);
    example_keys(&genuine);
    unknown_extensions(&genuine, &root);
    out_of_turn(&genuine, &root);
    let (forgeries, negated) = (FORGERIES.load(Relaxed), NEGATED.load(Relaxed));
    println!("in all: {forgeries} forgeries, {negated} negated branches, none accepted");
    assert!(forgeries >= 80 && negated > 8_500, "the model has lost branches");
    every_guarded_place_had_something_to_refuse();
}

/// Guarded places that have nothing to refuse in any run with one fault, by file and code, and why they are there.
const SECOND_LOOKS: &[(&str, &str, &str)] = &[
    (
        "boot/control.rs",
        "require!(passed",
        "a match on the check's answer refused: for who goes the wrong way through it",
    ),
    (
        "trust/verified.rs",
        "require!(reaches(&signers",
        "the count before it has refused, in two branches: for who skips its `?`",
    ),
    (
        "trust/verified.rs",
        "require!(reaches(&own",
        "the count before it has refused, in two branches: for who skips its `?`",
    ),
    (
        "session/slot_record.rs",
        "require!(threshold > 0",
        "the count before it has refused, in two branches: for who skips its `?`",
    ),
    (
        "trust/verified.rs",
        "require!(pin.length_matches",
        "the session has refused the length, in two branches: for other callers",
    ),
    (
        "trust/verified.rs",
        "require!(self.role == role",
        "a COSE file of another role has not been decoded: for other formats",
    ),
];

/// Holds the forgeries to the source: a guarded place that none of them was ever brought to would be negated in vain.
fn every_guarded_place_had_something_to_refuse() {
    let refused = fault::refusals();
    let (mut places, mut idle) = (0, Vec::new());
    let mut open = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            continue;
        }
        if path.ends_with("certain.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("source");
        for (line, code) in (1u32..).zip(text.lines()) {
            let guards = ["require!(", "pass!(", "surely(", "possibly("];
            if code.trim_start().starts_with("//") || !guards.iter().any(|guard| code.contains(guard)) {
                continue;
            }
            places += 1;
            let found =
                refused.iter().any(|(file, at)| *at == line && path.ends_with(file.trim_start_matches("verifier/")));
            let second = SECOND_LOOKS.iter().any(|(file, guard, _)| path.ends_with(file) && code.contains(guard));
            if found == second {
                idle.push(format!("{}:{line}: {}", path.display(), code.trim()));
            }
        }
    }
    println!(
        "{places} guarded places: {} had something to refuse, and these are second looks:",
        places - SECOND_LOOKS.len()
    );
    SECOND_LOOKS.iter().for_each(|(file, code, why)| println!("  {file}, `{code}...`: {why}"));
    assert!(places > 50, "{places} guarded places: the source was not found");
    assert!(idle.is_empty(), "no forgery comes to these, or they are no second looks: {idle:#?}");
}

/// The succession of roots, and what a root may say.
fn roots(genuine: &Fleet, root: &[u8]) {
    let next = Fleet { root_version: 2, ..genuine.clone() };
    let good = [next.root_after(genuine), next.files().bundle()].concat();
    fault::negate(usize::MAX);
    assert!(Attempt::of(root, &good, &next).approved(), "what is genuine is approved");

    let succession = |what: &str, next: &Fleet, file: Vec<u8>| {
        let bundle = [file, next.files().bundle()].concat();
        Attempt::of(root, &bundle, next).never(what);
    };
    let third = Fleet { root_version: 3, ..genuine.clone() };
    succession("root that skips a version", &third, third.root_after(genuine));
    let mut thief = next.clone();
    thief.roles = std::array::from_fn(|_| Keyring::of(1, &[99]));
    succession("root signed by its own keys alone", &thief, thief.root());
    let mut unsigned = next.clone();
    unsigned.roles[0] = Keyring::of(2, &[97, 98]);
    succession("root signed by the old keys alone", &unsigned, sign(&unsigned.root_payload(), &genuine.roles[0].all()));
    let elsewhere = Fleet { repository: RepositoryId([9; 16]), ..next.clone() };
    succession("root of another repository", &elsewhere, elsewhere.root_after(genuine));
    for (what, threshold) in [("root with a threshold of 0", 0), ("root with a threshold beyond its keys", 4)] {
        let mut odd = next.clone();
        odd.roles[1].threshold = threshold;
        succession(what, &odd, odd.root_after(genuine));
    }
    let expired = Fleet { root_expires: NOW - 1, ..next.clone() };
    succession("root that has expired", &expired, expired.root_after(genuine));
    let bundle = genuine.files().bundle();
    let identity = Identity { repository: RepositoryId([9; 16]), ..IDENTITY };
    Attempt { identity, ..Attempt::of(root, &bundle, genuine) }.never("root kept for another repository");
}

/// What one file says of another.
fn pins(genuine: &Fleet, root: &[u8]) {
    let [_, timestamp, snapshot, targets] = &genuine.roles;
    let files = genuine.files();
    // A pin of another version than the file's, of another file, and of another length, for each role that is pinned.
    let with_snapshot = |snapshot_file: &[u8], pinned: Meta| {
        let payload = Timestamp {
            header: Header::new(genuine.repository, 1, genuine.timestamp_expires),
            issued: genuine.issued,
            snapshot: pinned,
        };
        [&sign(&payload.encode(), &timestamp.all())[..], snapshot_file, &files.targets, &files.product].concat()
    };
    let meta = |version, file: &[u8]| Meta::of(version, file).expect("in bounds");
    let with_targets = |pinned: Meta, product: Meta| {
        let delegated = [DelegatedMeta { name: "team", meta: product }];
        let header = Header::new(genuine.repository, 1, genuine.snapshot_expires);
        let payload = Snapshot { header, targets: pinned, delegated: List::new(&delegated) };
        let file = sign(&payload.encode(), &snapshot.all());
        with_snapshot(&file, meta(1, &file))
    };
    let (right_targets, right_product) = (meta(1, &files.targets), meta(1, &files.product));
    fault::negate(usize::MAX);
    let good = with_targets(right_targets, right_product);
    assert!(Attempt::of(root, &good, genuine).approved(), "what is genuine is approved");
    let changes: [(&str, fn(&mut Meta)); 3] = [
        ("version", |meta| meta.version += 1),
        ("length", |meta| meta.length += 1),
        ("hash", |meta| meta.digest.0[0] ^= 1),
    ];
    for (what, change) in changes {
        let changed = |mut meta: Meta| {
            change(&mut meta);
            meta
        };
        let bundles = [
            ("snapshot", with_snapshot(&files.snapshot, changed(meta(1, &files.snapshot)))),
            ("targets", with_targets(changed(right_targets), right_product)),
            ("delegated targets", with_targets(right_targets, changed(right_product))),
        ];
        for (role, bundle) in bundles {
            Attempt::of(root, &bundle, genuine).never(&format!("{role} of another {what} than pinned"));
        }
    }
    // One key for every role, and the file of one where the other's is wanted.
    let same = Fleet { product: targets.clone(), ..genuine.clone() };
    let mut mixed = same.files();
    let swapped = [DelegatedMeta { name: "team", meta: meta(1, &mixed.targets) }];
    let header = Header::new(genuine.repository, 1, genuine.snapshot_expires);
    let payload = Snapshot { header, targets: meta(1, &mixed.targets), delegated: List::new(&swapped) };
    mixed.snapshot = sign(&payload.encode(), &snapshot.all());
    mixed.timestamp = sign(&same.timestamp_payload(&mixed.snapshot), &timestamp.all());
    mixed.product = mixed.targets.clone();
    let bundle = mixed.bundle();
    Attempt { digest: genuine.targets[0].digest(), ..Attempt::of(root, &bundle, &same) }
        .never("top-level targets in the delegated ones' place");
}

/// Floors, expiry, time.
fn freshness(genuine: &Fleet, root: &[u8]) {
    fault::negate(usize::MAX);
    let mut newer = genuine.clone();
    newer.bump();
    let mut device = Device::provisioned(root.to_vec());
    device.take(&newer.files().bundle()).expect("the newer bundle is good");
    let state = device.state;
    let held = |what: &str, fleet: &Fleet| {
        let bundle = fleet.files().bundle();
        Attempt { state, ..Attempt::of(root, &bundle, fleet) }.never(what);
    };
    type Back = fn(&mut Fleet);
    let back: [(&str, Back); 4] = [
        ("timestamp rolled back", |fleet| fleet.timestamp_version -= 1),
        ("snapshot rolled back", |fleet| fleet.snapshot_version -= 1),
        ("targets rolled back", |fleet| fleet.targets_version -= 1),
        ("delegated targets rolled back", |fleet| fleet.product_version -= 1),
    ];
    for (what, back) in back {
        // Everything else goes on; only the one goes back.
        let mut fleet = newer.clone();
        fleet.bump();
        back(&mut fleet);
        back(&mut fleet);
        held(what, &fleet);
    }
    let again: [(&str, Back); 4] = [
        ("timestamp with a second content", |fleet| fleet.timestamp_expires += 1),
        ("snapshot with a second content", |fleet| {
            fleet.snapshot_expires += 1;
            fleet.timestamp_version += 1;
        }),
        ("targets with a second content", |fleet| {
            fleet.targets_expires += 1;
            fleet.timestamp_version += 1;
            fleet.snapshot_version += 1;
        }),
        ("delegated targets with a second content", |fleet| {
            fleet.product_expires += 1;
            fleet.timestamp_version += 1;
            fleet.snapshot_version += 1;
            fleet.targets_version += 1;
        }),
    ];
    for (what, change) in again {
        let mut fleet = newer.clone();
        change(&mut fleet);
        held(what, &fleet);
    }
    // A delegated role that was listed once, and is taken back.
    let mut without = newer.clone();
    without.bump();
    without.top_level = vec![Release::new([6, 6, 6])];
    let targets = sign(&without.targets_payload(), &without.roles[3].all());
    let header = Header::new(without.repository, without.snapshot_version, without.snapshot_expires);
    let meta = Meta::of(without.targets_version, &targets).expect("in bounds");
    let snapshot =
        sign(&Snapshot { header, targets: meta, delegated: List::new(&[]) }.encode(), &without.roles[2].all());
    let timestamp = sign(&without.timestamp_payload(&snapshot), &without.roles[1].all());
    let bundle = [timestamp, snapshot, targets].concat();
    let digest = without.top_level[0].digest();
    Attempt { state, digest, ..Attempt::of(root, &bundle, &without) }.never("delegated targets taken away");

    let expired: [(&str, Back); 5] = [
        ("timestamp expired", |fleet| fleet.timestamp_expires = NOW),
        ("timestamp signed after its own expiry", |fleet| fleet.issued = fleet.timestamp_expires),
        ("snapshot expired", |fleet| fleet.snapshot_expires = NOW),
        ("targets expired", |fleet| fleet.targets_expires = NOW),
        ("delegated targets expired", |fleet| fleet.product_expires = NOW),
    ];
    for (what, change) in expired {
        let mut fleet = genuine.clone();
        change(&mut fleet);
        let bundle = fleet.files().bundle();
        Attempt::of(root, &bundle, &fleet).never(what);
    }
    // No clock: the time that the accepted timestamp gave still holds.
    let mut frozen = newer.clone();
    frozen.bump();
    frozen.issued = NOW - 10 * DAY;
    frozen.timestamp_expires = NOW - 9 * DAY;
    let bundle = frozen.files().bundle();
    Attempt { state, time: Time::Unknown, ..Attempt::of(root, &bundle, &frozen) }
        .never("timestamp expired by the signed time, without a clock");
}

/// What a target says, held to the device.
fn policies(genuine: &Fleet, root: &[u8]) {
    type Change = fn(&mut Fleet);
    let wrong: [(&str, Change); 5] = [
        ("other product", |fleet| fleet.targets[0].product = "radiator"),
        ("product that is not delegated", |fleet| {
            fleet.targets[0].product = "valve";
            fleet.delegation_products = vec!["thermostat"];
        }),
        ("counter above the delegation's ceiling", |fleet| {
            fleet.targets[0].security_counter = 5;
            fleet.delegation_ceiling = 4;
        }),
        ("bridge release missing", |fleet| fleet.targets[0].minimum_version = Some(Version([1, 0, 5]))),
        ("extension that is not known", |fleet| fleet.targets[0].critical = vec![(77, b"x")]),
    ];
    for (what, change) in wrong {
        let mut fleet = genuine.clone();
        change(&mut fleet);
        let bundle = fleet.files().bundle();
        Attempt::of(root, &bundle, &fleet).never(what);
    }
    let bundle = genuine.files().bundle();
    let policy = Policy::production().with_clock_required();
    Attempt { time: Time::Unknown, policy, ..Attempt::of(root, &bundle, genuine) }.never("clock required, and none");
    Attempt { digest: Digest([7; 32]), ..Attempt::of(root, &bundle, genuine) }.never("target that is not listed");
    let short = [&genuine.files().timestamp[..], &genuine.files().snapshot].concat();
    Attempt::of(root, &short, genuine).never("bundle that ends early");
}

/// Keys that everybody has, in each role of the kept root, of the next root, and in the delegation.
fn example_keys(genuine: &Fleet) {
    let pem = include_str!("../../keys-example/EXAMPLE-INSECURE-targets.pem");
    let example = ed25519_dalek::SigningKey::from_bytes(&seed_of(pem));
    let with = |role: usize| {
        let mut fleet = genuine.clone();
        let ring = if role == 4 { &mut fleet.product } else { &mut fleet.roles[role] };
        ring.keys.push(example.clone());
        fleet
    };
    for (role, name) in ["root", "timestamp", "snapshot", "targets", "delegated targets"].into_iter().enumerate() {
        let fleet = with(role);
        let (root, bundle) = (fleet.root(), fleet.files().bundle());
        let attempt = Attempt::of(&root, &bundle, &fleet);
        fault::negate(usize::MAX);
        assert!(Attempt { policy: Policy::development(), ..attempt }.approved(), "it is good but for its example key");
        attempt.never(&format!("example key for {name}"));
        if role < 4 {
            let next = Fleet { root_version: 2, ..fleet };
            let bundle = [next.root_after(genuine), next.files().bundle()].concat();
            Attempt::of(&genuine.root(), &bundle, &next).never(&format!("new root with an example key for {name}"));
        }
    }
}

/// The seed at the end of an Ed25519 key in PKCS#8 (RFC 8410, section 7).
fn seed_of(pem: &str) -> [u8; 32] {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = pem.lines().filter(|line| !line.starts_with("-----")).flat_map(str::bytes);
    let bits = digits.filter_map(|digit| ALPHABET.iter().position(|known| *known == digit));
    let bits: Vec<bool> = bits.flat_map(|sextet| (0..6).rev().map(move |at| sextet >> at & 1 == 1)).collect();
    let bytes = bits.chunks_exact(8).map(|eight| eight.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit)));
    *bytes.collect::<Vec<u8>>().last_chunk().expect("a key")
}

/// What this device doesn't know and must not ignore, in each role.
fn unknown_extensions(genuine: &Fleet, root: &[u8]) {
    let unknown: [(u64, &[u8]); 1] = [(77, b"x")];
    let critical = |header: Header<'_>, payload: &mut dyn FnMut(Header<'_>) -> Vec<u8>| {
        payload(Header { critical: Extensions::new(&unknown), ..header })
    };
    let files = genuine.files();
    let [_, timestamp, snapshot, targets] = &genuine.roles;
    let resign = |payload: Vec<u8>, ring: &Keyring| sign(&payload, &ring.all());
    let header = |version, expires| Header::new(genuine.repository, version, expires);
    let odd_snapshot = critical(header(1, genuine.snapshot_expires), &mut |header| {
        let delegated = [DelegatedMeta { name: "team", meta: Meta::of(1, &files.product).expect("in bounds") }];
        let targets = Meta::of(1, &files.targets).expect("in bounds");
        Snapshot { header, targets, delegated: List::new(&delegated) }.encode()
    });
    let odd_snapshot = resign(odd_snapshot, snapshot);
    let over = resign(genuine.timestamp_payload(&odd_snapshot), timestamp);
    let bundle = [over, odd_snapshot, files.targets.clone(), files.product.clone()].concat();
    Attempt::of(root, &bundle, genuine).never("snapshot with an extension that is not known");

    let odd_timestamp = critical(header(1, genuine.timestamp_expires), &mut |header| {
        let snapshot = Meta::of(1, &files.snapshot).expect("in bounds");
        Timestamp { header, issued: genuine.issued, snapshot }.encode()
    });
    let odd_timestamp = resign(odd_timestamp, timestamp);
    let bundle = [&odd_timestamp[..], &files.snapshot, &files.targets, &files.product].concat();
    Attempt::of(root, &bundle, genuine).never("timestamp with an extension that is not known");

    // Two delegations of one product: which of them speaks is open to choice.
    let keys = [public(&genuine.product.keys[0])];
    let products = ["thermostat"];
    let indexes = [0];
    let delegation = |name| Delegation {
        name,
        keys: RoleKeys { threshold: 1, keys: List::new(&indexes) },
        products: List::new(&products),
        counter_ceiling: 10,
    };
    let (one, two) = ([delegation("team")], [delegation("team"), delegation("team-2")]);
    for (what, delegations) in [("", &one[..]), ("two delegations of one product", &two[..])] {
        let header = header(1, genuine.targets_expires);
        let payload = Targets {
            header,
            name: None,
            targets: List::new(&[]),
            keys: List::new(&keys),
            delegations: List::new(delegations),
        };
        let file = resign(payload.encode(), targets);
        let over = resign(genuine.snapshot_payload(&file, &files.product), snapshot);
        let first = resign(genuine.timestamp_payload(&over), timestamp);
        let bundle = [first, over, file, files.product.clone()].concat();
        if delegations.len() == 1 {
            fault::negate(usize::MAX);
            assert!(Attempt::of(root, &bundle, genuine).approved(), "one delegation is as it should be");
        } else {
            Attempt::of(root, &bundle, genuine).never(what);
        }
    }
}

/// Calls that a device's own loop doesn't make, or makes of what it kept: the TUF client does, and who integrates it wrongly.
fn out_of_turn(genuine: &Fleet, root: &[u8]) {
    type Trusted<R> = Verified<R, Signers>;
    let files = genuine.files();
    let policy = Policy::production();
    let trusted = || Trusted::<Root<'_>>::stored_root(&CoseFile::new(root).expect("a file"), &policy);
    fault::negate(usize::MAX);
    let kept = trusted().expect("it is good");

    // Selected before the last file was there, and its refusal overlooked.
    let short = &files.bundle()[..files.bundle().len() - files.product.len()];
    no_single_fault_helps("target selected out of turn", || {
        let session = Session::new(IDENTITY, root, TrustState::default(), Time::AtLeast(NOW), policy);
        session.is_ok_and(|mut session| {
            let _ = session.supply_bundle(short, |_| Ok(()));
            session.select(&genuine.targets[0].digest(), &DEVICE).is_ok()
        })
    });

    // A kept file of another repository.
    let elsewhere = Fleet { repository: RepositoryId([9; 16]), ..genuine.clone() }.files();
    let remembered = |file: &[u8]| {
        kept.remembered::<Timestamp<'_>, _>(&CoseFile::new(file).expect("a file"), Role::Timestamp).is_ok()
    };
    fault::negate(usize::MAX);
    assert!(remembered(&files.timestamp), "what is genuine is remembered");
    no_single_fault_helps("kept file of another repository", || remembered(&elsewhere.timestamp));

    // A delegated role that was listed once.
    let file = CoseFile::new(&files.timestamp).expect("a file");
    fault::negate(usize::MAX);
    let timestamp: Trusted<Timestamp<'_>> = kept.timestamp(&file, None, None, Time::Unknown).expect("it is good");
    let file = CoseFile::<Snapshot<'_>>::new(&files.snapshot).expect("a file");
    let floor =
        kept.snapshot::<_, Snapshot<'_>, _>(&timestamp, &file, None, [], Time::Unknown).expect("it is good").floor();
    let goes_on = |name: &str| {
        let listed = [(Some(name), 1)];
        kept.snapshot::<_, Snapshot<'_>, _>(&timestamp, &file, Some(&floor), listed, Time::Unknown).is_ok()
    };
    assert!(goes_on("team"), "what is still listed was not taken away");
    no_single_fault_helps("listed role taken away", || goes_on("other-team"));

    // What stands in the slot after the last write is not what was approved.
    let bundle = files.bundle();
    fault::negate(usize::MAX);
    let mut session =
        Session::new(IDENTITY, root, TrustState::default(), Time::AtLeast(NOW), policy).expect("it is good");
    session.supply_bundle(&bundle, |_| Ok(())).expect("it is good");
    let approved = session.select(&genuine.targets[0].digest(), &DEVICE).expect("it is good");
    let holds = |image: &[u8]| {
        let mut flash = Flash::<1, 4, 1024>::new(&Power::default(), 4096);
        flash.put(image);
        VerifiedImage::read_back(approved, Slot::A, flash).is_ok()
    };
    let mut image = genuine.targets[0].image.clone();
    assert!(holds(&image), "what is genuine is activated");
    image[3] ^= 1;
    no_single_fault_helps("image altered on its way into the slot", || holds(&image));
}

/// The same at boot: whoever writes the flash forges the image, or the record beside it.
fn at_boot(genuine: &Fleet, root: &[u8]) {
    let bundle = genuine.files().bundle();
    let mut session =
        Session::new(IDENTITY, root, TrustState::default(), Time::AtLeast(NOW), Policy::production()).unwrap();
    fault::negate(usize::MAX);
    session.supply_bundle(&bundle, |_| Ok(())).unwrap();
    let approved = session.select(&genuine.targets[0].digest(), &DEVICE).unwrap();
    let mut record = [0; SLOT_RECORD_MAX];
    let length = approved.slot_record(&mut record).unwrap();
    let record = &record[..length];
    let boots = |record: &[u8], image: &[u8], identity: Identity<'_>, counter: u64| {
        let power = Power::default();
        let mut slots = Slots { a: Flash::<1, 4, 1024>::new(&power, 4096), b: Flash::new(&power, 4096) };
        slots.a.put(image);
        let mut records = MemoryRecords::default();
        records.replace(RecordId::SlotA, record).unwrap();
        let mut state = [0; STATE_RECORD_MAX];
        let length = DeviceState::factory(Slot::A, counter).encode(&mut state).unwrap();
        records.replace(RecordId::Boot, &state[..length]).unwrap();
        let mut control = BootControl::new(records, MemoryCounter { value: counter, ..MemoryCounter::default() });
        control.boot(&identity, &mut slots, &mut [0; SLOT_RECORD_MAX]).is_ok()
    };
    let image = &genuine.targets[0].image;
    fault::negate(usize::MAX);
    assert!(boots(record, image, IDENTITY, 3), "what is genuine boots");

    let mut altered = image.clone();
    altered[3] ^= 1;
    no_single_fault_helps("image altered in the slot", || boots(record, &altered, IDENTITY, 3));
    no_single_fault_helps("image below the counter", || boots(record, image, IDENTITY, 4));
    let elsewhere = Identity { hardware: "board-b", ..IDENTITY };
    no_single_fault_helps("image of other hardware", || boots(record, image, elsewhere, 3));
    let others = [
        ("repository", Identity { repository: RepositoryId([9; 16]), ..IDENTITY }),
        ("product", Identity { product: "radiator", ..IDENTITY }),
        ("component", Identity { component: "radio", ..IDENTITY }),
    ];
    for (what, identity) in others {
        no_single_fault_helps(&format!("image of another {what}"), || boots(record, image, identity, 3));
    }
    let factory = FactoryImage { image: image_of(image), version: Version([1, 1, 0]), security_counter: 3 };
    let mut own = [0; FactoryImage::RECORD_MAX];
    let factory_length = factory.encode(&IDENTITY, &mut own).unwrap();
    fault::negate(usize::MAX);
    assert!(boots(&own[..factory_length], image, IDENTITY, 3), "the factory's image boots");
    no_single_fault_helps("factory's image altered", || boots(&own[..factory_length], &altered, IDENTITY, 3));
    for (what, identity) in others.into_iter().chain([("hardware", elsewhere)]) {
        no_single_fault_helps(&format!("factory's image of another {what}"), || {
            boots(&own[..factory_length], image, identity, 3)
        });
    }

    // The last byte of the signature, and the checksum made good again.
    let mut unsigned = record.to_vec();
    unsigned[length - 9] ^= 1;
    let sum = sealift_manifests::sha256(&unsigned[..length - 8]).0;
    unsigned[length - 8..].copy_from_slice(&sum[..8]);
    assert_eq!(slot_record::verify(record, &IDENTITY).map(|target| target.version), Ok(Version([1, 1, 0])));
    no_single_fault_helps("record beside the slot forged", || boots(&unsigned, image, IDENTITY, 3));
}
