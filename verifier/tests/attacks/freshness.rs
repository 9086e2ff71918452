//! Cases 16 to 27: what was good once, what is too old, too far ahead, or too much.

use sealift_manifests::bounds::{MAX_BUNDLE_ROOTS, MAX_ENVELOPE};
use sealift_manifests::{DelegatedMeta, Header, List, Meta, Role, Snapshot};
use sealift_verifier::session::{DeviceFacts, Fetch, Freshness, Session, slot_record};
use sealift_verifier::trust::{Policy, Time};
use sealift_verifier::{Disposition, Error};

use crate::fleet::*;
use crate::world::*;

/// CVE-2022-29173.
#[test]
fn attack_16_an_older_signed_version_is_refused_in_every_role() {
    let mut old = Fleet::default();
    old.bump();
    let mut new = old.clone();
    new.bump();
    let device = up_to_date(&new);
    // The whole old repository.
    refuses(&mut device.clone(), &old.files().bundle(), Error::Rollback(Role::Timestamp));
    // One old role at a time, freshly pinned by whoever holds the keys of those that pin it.
    let forged = Fleet { timestamp_version: 9, snapshot_version: old.snapshot_version, ..new.clone() };
    refuses_at(&mut device.clone(), &forged.files().bundle(), Error::Rollback(Role::Snapshot));
    let forged =
        Fleet { timestamp_version: 9, snapshot_version: 9, targets_version: old.targets_version, ..new.clone() };
    refuses_at(&mut device.clone(), &forged.files().bundle(), Error::Rollback(Role::Targets));
    let forged =
        Fleet { timestamp_version: 9, snapshot_version: 9, product_version: old.product_version, ..new.clone() };
    refuses_at(&mut device.clone(), &forged.files().bundle(), Error::Rollback(Role::Targets));
}

/// The version alone is not enough: what was signed under it must stay the same.
#[test]
fn attack_16_a_second_content_under_an_accepted_version_is_refused_in_every_role() {
    let fleet = Fleet::default();
    let device = up_to_date(&fleet);
    let cases: [(Fleet, Role); 4] = [
        (Fleet { issued: fleet.issued + 1, ..fleet.clone() }, Role::Timestamp),
        (Fleet { timestamp_version: 2, snapshot_expires: NOW + 8 * DAY, ..fleet.clone() }, Role::Snapshot),
        (
            Fleet { timestamp_version: 2, snapshot_version: 2, targets_expires: NOW + 91 * DAY, ..fleet.clone() },
            Role::Targets,
        ),
        (
            Fleet { timestamp_version: 2, snapshot_version: 2, product_expires: NOW + 31 * DAY, ..fleet.clone() },
            Role::Targets,
        ),
    ];
    for (changed, role) in cases {
        refuses_at(&mut device.clone(), &changed.files().bundle(), Error::VersionReused(role));
    }
}

/// CVE-2025-2887: the holder of timestamp and snapshot keys drops a role from the snapshot.
#[test]
fn attack_17_a_delegated_role_that_was_there_cannot_be_taken_away() {
    let fleet = Fleet::default();
    let mut device = up_to_date(&fleet);
    let next = Fleet { timestamp_version: 2, snapshot_version: 2, ..fleet.clone() };
    let files = next.files();
    let without = |delegated: &[DelegatedMeta<'_>]| {
        let snapshot = Snapshot {
            header: Header::new(REPOSITORY, 2, NOW + DAY),
            targets: Meta::of(1, &files.targets).unwrap(),
            delegated: List::new(delegated),
        };
        sign(&snapshot.encode(), &next.roles[2].all())
    };
    let other = [DelegatedMeta { name: "other", meta: Meta::of(1, &files.product).unwrap() }];
    for snapshot in [without(&[]), without(&other)] {
        let timestamp = sign(&next.timestamp_payload(&snapshot), &next.roles[1].all());
        let wanted = fleet.targets[0].digest();
        // With the file that is no longer listed, and without it.
        let with = [&timestamp[..], &snapshot, &files.targets, &files.product].concat();
        refuses_at(&mut device.clone(), &with, Error::NotInSnapshot);
        let alone = [&timestamp[..], &snapshot, &files.targets].concat();
        assert_eq!(device.clone().select(&alone, Some(wanted)).map(drop), Err(Error::NotInSnapshot));
        // Asked for file by file, as a device downloads.
        let root = device.root.clone();
        let mut session = Session::new(IDENTITY, &root, device.state, device.time, device.policy).unwrap();
        session.no_newer_root().unwrap();
        session.supply(&timestamp).unwrap();
        session.supply(&snapshot).unwrap();
        assert_eq!(session.supply(&files.targets).map(drop), Err(Error::NotInSnapshot));
    }
    // The honest repository goes on.
    assert_eq!(device.take(&next.files().bundle()), Ok(()));
}

/// A product that was never released has no file yet: its devices learn that nothing is listed, and go on.
#[test]
fn attack_17_a_delegated_role_that_was_never_there_is_no_error() {
    let fleet = Fleet::default();
    let files = fleet.files();
    let snapshot = Snapshot {
        header: Header::new(REPOSITORY, 1, NOW + DAY),
        targets: Meta::of(1, &files.targets).unwrap(),
        delegated: List::new(&[]),
    };
    let snapshot = sign(&snapshot.encode(), &fleet.roles[2].all());
    let timestamp = sign(&fleet.timestamp_payload(&snapshot), &fleet.roles[1].all());
    let bundle = [&timestamp[..], &snapshot, &files.targets].concat();
    let wanted = fleet.targets[0].digest();
    refuses_target(&mut provisioned(&fleet), &bundle, wanted, Error::TargetNotListed);
}

/// CVE-2025-2888.
#[test]
fn attack_18_refused_metadata_is_not_persisted() {
    let fleet = Fleet::default();
    let mut forged = Fleet { timestamp_version: 50, issued: NOW + DAY - 1, ..fleet.clone() };
    forged.roles[1] = Keyring::of(1, &[77]);
    let mut device = up_to_date(&fleet);
    refuses(&mut device, &forged.files().bundle(), Error::ThresholdNotMet(Role::Timestamp));
    // A role whose refusal comes after its signatures: expired, wrong version, unknown extension.
    let expired = Fleet { timestamp_version: 50, timestamp_expires: NOW - 1, ..fleet.clone() };
    refuses(&mut device, &expired.files().bundle(), Error::Expired(Role::Timestamp));
    let mut next = fleet.clone();
    next.bump();
    assert_eq!(device.take(&next.files().bundle()), Ok(()), "version 2 is not below anything that was kept");
}

#[test]
fn attack_19_expired_metadata_is_reported_as_stale_and_the_device_goes_on() {
    type Expire = fn(&mut Fleet);
    let cases: [(Expire, Role); 5] = [
        (|fleet| fleet.root_expires = NOW - 1, Role::Root),
        (|fleet| fleet.timestamp_expires = NOW - 1, Role::Timestamp),
        (|fleet| fleet.snapshot_expires = NOW, Role::Snapshot),
        (|fleet| fleet.targets_expires = NOW - DAY, Role::Targets),
        (|fleet| fleet.product_expires = 0, Role::Targets),
    ];
    for (expire, role) in cases {
        let mut fleet = Fleet::default();
        expire(&mut fleet);
        let mut device = provisioned(&fleet);
        let error = device.take(&fleet.files().bundle()).unwrap_err();
        assert_eq!(error, Error::Expired(role));
        assert_eq!(error.disposition(), Disposition::Stale, "to be tried again, not an attack");
    }
}

/// A frozen repository: the attacker replays the last good files for ever.
#[test]
fn attack_19_a_frozen_repository_is_refused_once_it_expires_and_the_slot_still_boots() {
    let fleet = Fleet::default();
    let (bundle, wanted) = (fleet.files().bundle(), fleet.targets[0].digest());
    let mut device = up_to_date(&fleet);
    let mut session = Session::new(IDENTITY, &device.root, device.state, device.time, device.policy).unwrap();
    session.supply_bundle(&bundle, |_| Ok(())).unwrap();
    let mut record = [0; slot_record::SLOT_RECORD_MAX];
    let length = session.select(&wanted, &DEVICE).unwrap().slot_record(&mut record).unwrap();
    device.time = Time::AtLeast(NOW + 1000 * DAY);
    refuses(&mut device, &bundle, Error::Expired(Role::Root));
    assert!(slot_record::verify(&record[..length], &IDENTITY).is_ok(), "what was installed goes on running");
}

/// CVE-2026-6967.
#[test]
fn attack_20_delegated_files_get_every_check_of_the_top_level_ones() {
    let fleet = Fleet::default();
    let files = fleet.files();
    let mut device = provisioned(&fleet);
    let mut with = |product: &[u8], expected| {
        let bundle = [&files.timestamp[..], &files.snapshot, &files.targets, product].concat();
        refuses_at(&mut device, &bundle, expected);
    };
    // Length, then hash: a validly signed file that is not the pinned one.
    let longer = Fleet { targets: vec![Release::new([1, 1, 0]), Release::new([1, 2, 0])], ..fleet.clone() };
    with(&longer.files().product, Error::LengthMismatch(Role::Targets));
    let other = Fleet { product_version: 2, ..fleet.clone() };
    with(&other.files().product, Error::HashMismatch(Role::Targets));
    // Version, expiry and signatures, under correct pins.
    let mismatch = sign(&other.product_payload(), &fleet.product.all());
    let bundle = Forgery { product: Some(mismatch), ..Forgery::of(&fleet) }.files().bundle();
    refuses_at(&mut provisioned(&fleet), &bundle, Error::VersionMismatch(Role::Targets));
    let expired = Fleet { product_expires: NOW, ..fleet.clone() };
    refuses_at(&mut provisioned(&fleet), &expired.files().bundle(), Error::Expired(Role::Targets));
    let unsigned = sign(&fleet.product_payload(), &[&key(90)]);
    let bundle = Forgery { product: Some(unsigned), ..Forgery::of(&fleet) }.files().bundle();
    refuses_at(&mut provisioned(&fleet), &bundle, Error::ThresholdNotMet(Role::Targets));
}

#[test]
fn attack_21_files_of_different_moments_do_not_mix() {
    let mut fleet = Fleet::default();
    let old = fleet.files();
    fleet.bump();
    fleet.targets[0] = Release::new([2, 0, 0]);
    let new = fleet.files();
    let device = provisioned(&fleet);
    let mixes: [(&str, [&Vec<u8>; 4], Role); 6] = [
        ("old snapshot", [&new.timestamp, &old.snapshot, &new.targets, &new.product], Role::Snapshot),
        ("new snapshot", [&old.timestamp, &new.snapshot, &new.targets, &new.product], Role::Snapshot),
        ("old targets", [&new.timestamp, &new.snapshot, &old.targets, &new.product], Role::Targets),
        ("new targets", [&old.timestamp, &old.snapshot, &new.targets, &old.product], Role::Targets),
        ("old delegated targets", [&new.timestamp, &new.snapshot, &new.targets, &old.product], Role::Targets),
        ("new delegated targets", [&old.timestamp, &old.snapshot, &old.targets, &new.product], Role::Targets),
    ];
    for (what, files, role) in mixes {
        let bundle: Vec<u8> = files.into_iter().flatten().copied().collect();
        let error = device.clone().take(&bundle).unwrap_err();
        assert!([Error::HashMismatch(role), Error::LengthMismatch(role)].contains(&error), "{what}: {error}");
    }
}

#[test]
fn attack_22_a_fast_forward_of_one_role_is_recovered_from_by_rotating_its_keys() {
    let jumps: [fn(&mut Fleet); 4] = [
        |forged| forged.timestamp_version = u64::MAX,
        |forged| (forged.timestamp_version, forged.snapshot_version) = (u64::MAX, u64::MAX),
        |forged| {
            (forged.timestamp_version, forged.snapshot_version) = (u64::MAX, u64::MAX);
            forged.targets_version = u64::MAX;
        },
        // The signed time, to the end of time.
        |forged| {
            (forged.timestamp_version, forged.issued, forged.timestamp_expires) = (u64::MAX, u64::MAX - 1, u64::MAX);
        },
    ];
    for jump in jumps {
        let honest = Fleet::default();
        let mut device = up_to_date(&honest);
        let mut forged = honest.clone();
        jump(&mut forged);
        // Whatever of it is accepted stays: the keys are stolen.
        let _ = device.take(&forged.files().bundle());
        let mut next = honest.clone();
        next.bump();
        assert!(device.take(&next.files().bundle()).is_err(), "before the rotation the device is held back");
        next.root_version = 2;
        for (role, seed) in [(1, 51), (2, 52), (3, 53)] {
            next.roles[role] = Keyring::of(1, &[seed]);
        }
        let bundle = [next.root_after(&honest), next.files().bundle()].concat();
        assert_eq!(device.take(&bundle), Ok(()), "after it the device goes on, without a new root of trust");
        // And the stolen keys are worth nothing any more.
        forged.root_version = 2;
        refuses_at(&mut device, &forged.files().bundle(), Error::ThresholdNotMet(Role::Timestamp));
    }
}

/// The recovery is no way down: a rotation that leaves a floor's signers their threshold leaves the floor.
#[test]
fn attack_22_a_rotation_that_keeps_enough_signers_keeps_the_floor() {
    let mut fleet = Fleet::default();
    fleet.roles[1] = Keyring::of(1, &[4, 61]);
    let old = fleet.files();
    let mut device = provisioned(&fleet);
    fleet.bump();
    device.take(&fleet.files().bundle()).unwrap();
    let before = fleet.clone();
    fleet.root_version = 2;
    fleet.roles[1] = Keyring::of(1, &[61, 62]);
    device.take(&[fleet.root_after(&before), fleet.files().bundle()].concat()).unwrap();
    refuses(&mut device, &old.bundle(), Error::Rollback(Role::Timestamp));
}

#[test]
fn attack_23_the_security_counter_never_wraps_and_never_goes_beyond_its_ceilings() {
    let counter = |root, delegation, target| {
        let mut fleet = Fleet { counter_ceiling: root, delegation_ceiling: delegation, ..Fleet::default() };
        fleet.targets[0].security_counter = target;
        fleet
    };
    for (root, delegation, target, expected) in [
        (10, 10, 10, Ok(())),
        (10, 20, 11, Err(Error::CounterAboveCeiling)),
        (20, 10, 11, Err(Error::CounterAboveCeiling)),
        (10, 10, u64::MAX, Err(Error::CounterAboveCeiling)),
        (u64::MAX, u64::MAX, u64::MAX, Ok(())),
        (10, 10, 2, Err(Error::CounterTooLow)),
        (10, 10, 0, Err(Error::CounterTooLow)),
    ] {
        let fleet = counter(root, delegation, target);
        let (bundle, wanted) = (fleet.files().bundle(), fleet.targets[0].digest());
        assert_eq!(
            provisioned(&fleet).select(&bundle, Some(wanted)).map(drop),
            expected,
            "{root} {delegation} {target}"
        );
    }
    // At the end of the numbers nothing lower comes after.
    let fleet = counter(u64::MAX, u64::MAX, 0);
    let (bundle, wanted) = (fleet.files().bundle(), fleet.targets[0].digest());
    let mut device = provisioned(&fleet);
    device.facts = DeviceFacts { security_counter: u64::MAX, ..DEVICE };
    refuses_target(&mut device, &bundle, wanted, Error::CounterTooLow);
}

#[test]
fn attack_24_without_a_clock_counters_and_floors_still_protect() {
    for time in [Time::Unknown, Time::AtLeast(0), Time::AtLeast(1)] {
        let mut fleet = Fleet::default();
        let old = fleet.files();
        fleet.bump();
        let mut device = provisioned(&fleet);
        device.time = time;
        device.take(&fleet.files().bundle()).unwrap();
        refuses(&mut device, &old.bundle(), Error::Rollback(Role::Timestamp));
        let mut low = fleet.clone();
        low.bump();
        low.targets[0].security_counter = DEVICE.security_counter - 1;
        let (bundle, wanted) = (low.files().bundle(), low.targets[0].digest());
        refuses_target(&mut device, &bundle, wanted, Error::CounterTooLow);
    }
}

/// What a timestamp said stays when the clock is set back, and a spoofed clock is never remembered.
#[test]
fn attack_24_a_clock_that_goes_back_or_far_ahead_leaves_nothing_behind() {
    let mut fleet = Fleet { timestamp_expires: NOW + DAY, ..Fleet::default() };
    let frozen = fleet.files();
    let mut device = provisioned(&fleet);
    // One spoofed reply, far ahead: refused as stale, nothing kept.
    device.time = Time::AtLeast(u64::MAX);
    refuses(&mut device, &frozen.bundle(), Error::Expired(Role::Root));
    device.time = Time::AtLeast(NOW);
    assert_eq!(device.take(&frozen.bundle()), Ok(()));
    // A newer timestamp gives a signed lower bound ...
    fleet.bump();
    (fleet.issued, fleet.timestamp_expires) = (NOW + 6 * DAY, NOW + 9 * DAY);
    device.time = Time::AtLeast(NOW + 6 * DAY);
    device.take(&fleet.files().bundle()).unwrap();
    // ... which holds with the clock in 1970 and with none.
    for time in [Time::AtLeast(0), Time::Unknown] {
        device.time = time;
        let mut next = fleet.clone();
        next.bump();
        next.snapshot_expires = NOW + 5 * DAY;
        refuses_at(&mut device.clone(), &next.files().bundle(), Error::Expired(Role::Snapshot));
    }
}

#[test]
fn attack_24_no_clock_is_said_so_and_can_be_refused() {
    let fleet = Fleet::default();
    let (bundle, wanted) = (fleet.files().bundle(), fleet.targets[0].digest());
    let device = up_to_date(&fleet);
    let select = |policy: Policy, time: Time| {
        let mut session = Session::new(IDENTITY, &device.root, device.state, time, policy).unwrap();
        session.supply_bundle(&bundle, |_| Ok(())).unwrap();
        session.select(&wanted, &DEVICE).map(|approved| approved.freshness())
    };
    assert_eq!(select(Policy::production(), Time::AtLeast(NOW)), Ok(Freshness::Known));
    assert_eq!(select(Policy::production(), Time::Unknown), Ok(Freshness::Unknown));
    assert_eq!(select(Policy::production().with_clock_required(), Time::Unknown), Err(Error::ClockRequired));
    assert_eq!(Error::ClockRequired.disposition(), Disposition::Transient);
}

/// CVE-2024-28183, at the record by which every boot checks the slot; `install_and_boot.rs` swaps the image itself.
#[test]
fn attack_25_a_slot_record_of_another_release_or_keys_is_refused_at_boot() {
    let fleet = Fleet::default();
    let device = up_to_date(&fleet);
    let bundle = fleet.files().bundle();
    let mut session = Session::new(IDENTITY, &device.root, device.state, device.time, device.policy).unwrap();
    session.supply_bundle(&bundle, |_| Ok(())).unwrap();
    let mut record = [0; slot_record::SLOT_RECORD_MAX];
    let length = session.select(&fleet.targets[0].digest(), &DEVICE).unwrap().slot_record(&mut record).unwrap();
    let good = slot_record::verify(&record[..length], &IDENTITY).unwrap();
    assert_eq!(good.image, image_of(&fleet.targets[0].image));
    // Cut anywhere, or grown.
    for cut in 0..length {
        assert!(slot_record::verify(&record[..cut], &IDENTITY).is_err(), "cut to {cut}");
    }
    assert!(slot_record::verify(&record[..length + 1], &IDENTITY).is_err());
}

/// What is not pinned has the format's cap, what is pinned its exact length: nobody has to read on.
#[test]
fn attack_27_endless_data_is_stopped_by_length_before_anything_else() {
    let fleet = Fleet::default();
    let files = fleet.files();
    assert_eq!(Fetch::timestamp().max_length, MAX_ENVELOPE);
    assert_eq!(Fetch::root(2).max_length, MAX_ENVELOPE);
    let mut session =
        Session::new(IDENTITY, &files.root, Default::default(), Time::AtLeast(NOW), Policy::production()).unwrap();
    session.no_newer_root().unwrap();
    let endless = vec![0xd8; 1 << 20];
    assert!(matches!(session.supply(&endless).unwrap_err(), Error::Malformed(Role::Timestamp, _)));
    session.supply(&files.timestamp).unwrap();
    assert_eq!(session.next().unwrap().max_length, files.snapshot.len());
    let mut longer = files.snapshot.clone();
    longer.extend(&endless);
    assert_eq!(session.supply(&longer).map(drop), Err(Error::LengthMismatch(Role::Snapshot)));
    session.supply(&files.snapshot).unwrap();
    assert_eq!(session.supply(&endless).map(drop), Err(Error::LengthMismatch(Role::Targets)));
}

/// An endless chain of roots costs a session no more than its bound, and loses nothing: the next one goes on.
#[test]
fn attack_27_an_endless_chain_of_roots_is_bounded_work_in_a_session_and_reached_in_the_next() {
    let mut fleet = Fleet::default();
    let mut device = up_to_date(&fleet);
    let mut roots = Vec::new();
    for version in 2..=MAX_BUNDLE_ROOTS as u64 + 3 {
        let before = fleet.clone();
        fleet.root_version = version;
        roots.push(fleet.root_after(&before));
    }
    let mut sessions = 0;
    loop {
        sessions += 1;
        let root = device.root.clone();
        let mut session = Session::new(IDENTITY, &root, device.state, device.time, device.policy).unwrap();
        let outcome = loop {
            let Some(file) = roots.get(session.root_version() as usize - 1) else { break Ok(()) };
            match session.supply(file) {
                Ok(_) => device.root = file.clone(),
                Err(why) => break Err(why),
            }
        };
        match outcome {
            Ok(()) => break,
            Err(why) => assert_eq!(why, Error::TooManyRoots),
        }
    }
    assert_eq!(sessions, 2);
    assert_eq!(device.take(&fleet.files().bundle()), Ok(()));
}
