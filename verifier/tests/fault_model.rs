//! The fault model: each security-relevant branch negated in turn, one at a time, and still nothing forged is accepted.
//!
//! `RUSTFLAGS='--cfg sealift_fault_model' cargo test -p sealift-verifier --test fault_model --target-dir target/fault-model`
//!
//! What it shows: no single wrong turn of a branch that `certain::branch` guards (counting a signature, the threshold, floors,
//! pins, identity, counters, the image's hash) lets a forgery through. What it can't show: faults in data or in two places at
//! once, faults within the signature check and the hash themselves, branches that a compiler makes of anything else, and
//! how a real processor fails.
#![cfg(sealift_fault_model)]

mod flash;
mod fleet;

use flash::*;
use fleet::*;
use sealift_manifests::envelope::Signature;
use sealift_manifests::{Envelope, List, Version};
use sealift_verifier::boot::{RecordId, Records, check_slot};
use sealift_verifier::certain::fault;
use sealift_verifier::image::{Slot, Slots};
use sealift_verifier::session::slot_record::{self, SLOT_RECORD_MAX};
use sealift_verifier::session::{Identity, Session, TrustState};
use sealift_verifier::trust::{Policy, Time};

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
}

/// The attacker's own signature under the name of the right keys.
fn forge(payload: &[u8], ring: &Keyring) -> Vec<u8> {
    let made = [0x5a; 64];
    let mut signatures: Vec<_> =
        ring.keys.iter().map(|key| Signature { key_id: public(key).id(), signature: &made }).collect();
    signatures.sort_by_key(|signature| signature.key_id);
    Envelope { payload, signatures: List::new(&signatures) }.encode()
}

fn approves(root: &[u8], bundle: &[u8], state: TrustState, fleet: &Fleet) -> bool {
    let Ok(mut session) = Session::new(IDENTITY, root, state, Time::AtLeast(NOW), Policy::production()) else {
        return false;
    };
    session.supply_bundle(bundle, |_| Ok(())).is_ok() && session.select(&fleet.targets[0].digest(), &DEVICE).is_ok()
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

    at_boot(&genuine, &root);
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
        check_slot(&mut records, &mut slots, Slot::A, &identity, counter, &mut [0; SLOT_RECORD_MAX]).is_ok()
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

    // The last byte of the signature, and the checksum made good again.
    let mut unsigned = record.to_vec();
    unsigned[length - 9] ^= 1;
    let sum = sealift_manifests::sha256(&unsigned[..length - 8]).0;
    unsigned[length - 8..].copy_from_slice(&sum[..8]);
    assert_eq!(slot_record::verify(record, &IDENTITY).map(|target| target.version), Ok(Version([1, 1, 0])));
    no_single_fault_helps("record beside the slot forged", || boots(&unsigned, image, IDENTITY, 3));
}
