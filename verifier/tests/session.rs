//! The update session from a device's side: what it accepts, what it remembers, and in which order.

mod fleet;

use fleet::*;
use sealift_manifests::{Digest, Header, Meta, PublicKey, Role, Root, Snapshot, Timestamp, Version};
use sealift_verifier::boot::{FactoryImage, STATE_RECORD_MAX};
use sealift_verifier::cose::CoseFile;
use sealift_verifier::image::HINT_RECORD_MAX;
use sealift_verifier::record::RecordWriter;
use sealift_verifier::session::slot_record::SLOT_RECORD_MAX;
use sealift_verifier::session::{Fetch, Identity, Session, TRUST_RECORD_MAX, TrustState, slot_record};
use sealift_verifier::trust::format::{Authority, VerificationKey};
use sealift_verifier::trust::{Floor, Policy, SignerSet, Signers, Time, Verified};
use sealift_verifier::{Disposition, Error};

#[test]
fn a_release_signed_by_its_keys_is_approved() {
    let fleet = Fleet::default();
    let files = fleet.files();
    let mut device = Device::provisioned(files.root.clone());
    let wanted = fleet.targets[0].digest();
    assert_eq!(device.select(&files.bundle(), Some(wanted)), Ok(Some(wanted.0)));
    // The same bundle again, after a reboot, is no rollback.
    assert_eq!(device.select(&files.bundle(), Some(wanted)), Ok(Some(wanted.0)));
}

#[test]
fn files_are_asked_for_by_stable_names_and_exact_lengths() {
    let files = Fleet::default().files();
    let mut session =
        Session::new(IDENTITY, &files.root, TrustState::default(), Time::AtLeast(NOW), Policy::production()).unwrap();
    assert_eq!(session.next().unwrap().to_string(), "2.root");
    session.no_newer_root().unwrap();
    assert_eq!(session.next(), Some(Fetch::timestamp()));
    session.supply(&files.timestamp).unwrap();
    let fetch = session.next().unwrap();
    assert_eq!(fetch.to_string(), format!("{}.snapshot", sealift_manifests::sha256(&files.snapshot)));
    assert_eq!(fetch.max_length, files.snapshot.len());
    session.supply(&files.snapshot).unwrap();
    session.supply(&files.targets).unwrap();
    assert_eq!(session.next().unwrap().to_string(), format!("{}.targets", sealift_manifests::sha256(&files.product)));
    session.supply(&files.product).unwrap();
    assert_eq!(session.next(), None);
    assert_eq!(session.candidates().count(), 1);
}

#[test]
fn an_older_timestamp_is_a_rollback_and_a_changed_one_of_the_same_version_is_refused() {
    let mut fleet = Fleet::default();
    let old = fleet.files();
    let mut device = Device::provisioned(old.root.clone());
    fleet.bump();
    device.take(&fleet.files().bundle()).unwrap();
    assert_eq!(device.take(&old.bundle()), Err(Error::Rollback(Role::Timestamp)));
    fleet.issued += 1;
    assert_eq!(device.take(&fleet.files().bundle()), Err(Error::VersionReused(Role::Timestamp)));
}

#[test]
fn a_device_that_took_a_thiefs_timestamp_tries_again_and_is_well_with_the_next_genuine_one() {
    let mut fleet = Fleet::default();
    let mut device = Device::provisioned(fleet.root());
    device.take(&fleet.files().bundle()).unwrap();
    // The thief signs the next timestamp first, with the key that the repository's owner will sign it with too.
    fleet.bump();
    let thief = Fleet { issued: fleet.issued + 1, ..fleet.clone() };
    device.take(&thief.files().bundle()).unwrap();
    let refusal = device.take(&fleet.files().bundle()).unwrap_err();
    assert_eq!(refusal, Error::VersionReused(Role::Timestamp));
    // AWS never retries what is REJECTED, and this comes right: with the next version, or with a root that revokes the thief.
    assert_eq!(refusal.disposition(), Disposition::Stale);
    fleet.bump();
    assert_eq!(device.take(&fleet.files().bundle()), Ok(()));
}

#[test]
fn a_stolen_key_that_fast_forwarded_is_recovered_from_by_rotation() {
    let mut fleet = Fleet::default();
    let root = fleet.root();
    let mut device = Device::provisioned(root);
    let mut forged = fleet.clone();
    (forged.timestamp_version, forged.snapshot_version) = (u64::MAX, u64::MAX);
    (forged.targets_version, forged.product_version) = (u64::MAX, u64::MAX);
    device.take(&forged.files().bundle()).unwrap();
    fleet.bump();
    assert_eq!(device.take(&fleet.files().bundle()), Err(Error::Rollback(Role::Timestamp)));
    // New keys for all four roles in root version 2: every floor falls, and versions go on from where they were.
    let before = fleet.clone();
    fleet.root_version = 2;
    for (role, seed) in [(1, 14), (2, 15), (3, 16)] {
        fleet.roles[role] = Keyring::of(1, &[seed]);
    }
    fleet.product = Keyring::of(1, &[17]);
    let bundle = [fleet.root_after(&before), fleet.files().bundle()].concat();
    let wanted = fleet.targets[0].digest();
    assert_eq!(device.select(&bundle, Some(wanted)), Ok(Some(wanted.0)));
}

#[test]
fn adding_a_key_lowers_no_floor() {
    let mut fleet = Fleet::default();
    let old = fleet.files();
    let mut device = Device::provisioned(old.root.clone());
    fleet.bump();
    device.take(&fleet.files().bundle()).unwrap();
    let before = fleet.clone();
    fleet.root_version = 2;
    fleet.roles[1].keys.push(key(24));
    device.take(&[fleet.root_after(&before), fleet.files().bundle()].concat()).unwrap();
    assert_eq!(device.take(&old.bundle()), Err(Error::Rollback(Role::Timestamp)));
}

#[test]
fn a_device_without_a_clock_takes_the_signed_lower_bound() {
    let mut fleet = Fleet { timestamp_expires: NOW + 10, ..Fleet::default() };
    let files = fleet.files();
    let mut device = Device { time: Time::Unknown, ..Device::provisioned(files.root.clone()) };
    device.take(&files.bundle()).unwrap();
    fleet.bump();
    (fleet.issued, fleet.timestamp_expires) = (NOW + 40 * DAY, NOW + 50 * DAY);
    // The new timestamp itself says that the delegated targets have expired.
    assert_eq!(device.take(&fleet.files().bundle()), Err(Error::Expired(Role::Snapshot)));
}

#[test]
fn the_slot_record_proves_the_image_at_every_boot_and_only_on_this_device() {
    let fleet = Fleet::default();
    let files = fleet.files();
    let mut session =
        Session::new(IDENTITY, &files.root, TrustState::default(), Time::AtLeast(NOW), Policy::production()).unwrap();
    let bundle = files.bundle();
    session.supply_bundle(&bundle, |_| Ok(())).unwrap();
    let approved = session.select(&fleet.targets[0].digest(), &DEVICE).unwrap();
    let mut record = [0; slot_record::SLOT_RECORD_MAX];
    let length = approved.slot_record(&mut record).unwrap();
    let record = &mut record[..length];
    let target = slot_record::verify(record, &IDENTITY).unwrap();
    assert_eq!(target.image, image_of(&fleet.targets[0].image));
    let other = sealift_verifier::session::Identity { hardware: "board-b", ..IDENTITY };
    assert_eq!(slot_record::verify(record, &other), Err(Error::WrongHardware));
    for at in 0..record.len() {
        record[at] ^= 1;
        assert!(slot_record::verify(record, &IDENTITY).is_err(), "byte {at}");
        record[at] ^= 1;
    }
}

/// A floor names who set it. For a root those are the keys of that root, by which it will be judged, and not the ones before.
#[test]
fn the_floor_of_a_new_root_names_the_new_roots_signers() {
    let old = Fleet::default();
    let mut new = old.clone();
    new.root_version += 1;
    new.roles[0] = Keyring::of(2, &[0x71, 0x72, 0x73]);
    let (first, next) = (old.root(), new.root_after(&old));
    let policy = Policy::production();
    let root = Verified::<Root<'_>, Signers>::stored_root(&CoseFile::new(&first).unwrap(), &policy).unwrap();
    let signers = root.next_root(&CoseFile::new(&next).unwrap(), &policy).unwrap().floor().signers;
    let mut expected: Vec<Digest> = new.roles[0].keys.iter().map(|key| public(key).id()).collect();
    let mut named: Vec<Digest> = signers.iter().copied().collect();
    expected.sort_unstable();
    named.sort_unstable();
    assert_eq!(named, expected);
}

/// What devices have set memory and flash aside for.
#[test]
fn records_are_no_longer_than_devices_were_built_for() {
    assert_eq!((TRUST_RECORD_MAX, SLOT_RECORD_MAX), (1_291, 5_606));
    assert_eq!((STATE_RECORD_MAX, HINT_RECORD_MAX, FactoryImage::RECORD_MAX), (94, 130, 279));
    // And the longest record of the factory's is as long.
    let longest = "a".repeat(64);
    let identity = Identity { product: &longest, component: &longest, hardware: &longest, ..IDENTITY };
    let image = FactoryImage { image: image_of(b"image"), version: Version([1, 2, 3]), security_counter: u64::MAX };
    let mut record = vec![0; FactoryImage::RECORD_MAX];
    assert_eq!(image.encode(&identity, &mut record), Ok(FactoryImage::RECORD_MAX));
    record.pop();
    assert_eq!(image.encode(&identity, &mut record), Err(Error::BufferTooSmall));
}

/// A session past its timestamp, over files that were just signed.
fn offers_snapshot(device: &Device, fleet: &Fleet, before: Option<&Fleet>) -> Result<(), Error> {
    let (files, root) = (fleet.files(), device.root.clone());
    let next = before.map(|before| fleet.root_after(before));
    let mut session = Session::new(IDENTITY, &root, device.state, device.time, device.policy)?;
    if let Some(next) = &next {
        session.supply(next)?;
    }
    session.no_newer_root()?;
    session.supply(&files.timestamp)?;
    session.supply(&files.snapshot).map(drop)
}

/// Before the targets themselves are asked for: the snapshot alone says so, and is not kept.
#[test]
fn a_snapshot_that_lists_older_targets_is_refused_itself() {
    let mut fleet = Fleet { targets_version: 5, ..Fleet::default() };
    let mut device = Device::provisioned(fleet.root());
    device.take(&fleet.files().bundle()).unwrap();
    (fleet.timestamp_version, fleet.snapshot_version, fleet.targets_version) = (2, 2, 4);
    assert_eq!(offers_snapshot(&device, &fleet, None), Err(Error::Rollback(Role::Targets)));
    fleet.targets_version = 5;
    assert_eq!(offers_snapshot(&device, &fleet, None), Ok(()));
}

#[test]
fn the_version_listed_for_targets_binds_no_longer_than_their_signers_do() {
    let before = Fleet { targets_version: 5, ..Fleet::default() };
    let mut device = Device::provisioned(before.root());
    device.take(&before.files().bundle()).unwrap();
    let mut fleet = before.clone();
    (fleet.root_version, fleet.timestamp_version, fleet.snapshot_version, fleet.targets_version) = (2, 2, 2, 4);
    // The snapshot's key is the same: its own floor holds.
    fleet.roles[3] = Keyring::of(1, &[16]);
    assert_eq!(offers_snapshot(&device, &fleet, Some(&before)), Ok(()));
    // And so does everything else's: with the same key for the targets, the listed version binds.
    fleet.roles[3] = before.roles[3].clone();
    assert_eq!(offers_snapshot(&device, &fleet, Some(&before)), Err(Error::Rollback(Role::Targets)));
}

#[test]
fn the_snapshot_version_that_a_timestamp_named_binds_while_the_signers_of_both_speak_for_their_roles() {
    let before = Fleet { snapshot_version: 5, ..Fleet::default() };
    let mut device = Device::provisioned(before.root());
    device.take(&before.files().bundle()).unwrap();
    let offers = |rotated: &[(usize, u8)]| {
        let mut fleet = before.clone();
        (fleet.root_version, fleet.timestamp_version, fleet.snapshot_version) = (2, 2, 4);
        for (role, seed) in rotated {
            fleet.roles[*role] = Keyring::of(1, &[*seed]);
        }
        device.clone().take(&[fleet.root_after(&before), fleet.files().bundle()].concat())
    };
    assert_eq!(offers(&[]), Err(Error::Rollback(Role::Snapshot)));
    assert_eq!(offers(&[(2, 15)]), Ok(()));
    // The timestamp no longer says it; the snapshot's own floor still does.
    assert_eq!(offers(&[(1, 14)]), Err(Error::Rollback(Role::Snapshot)));
    assert_eq!(offers(&[(1, 14), (2, 15)]), Ok(()));
}

/// Whoever may pin can pin a length that is not the file's: the hash alone would let it pass.
#[test]
fn a_file_has_the_length_that_its_pin_says() {
    let fleet = Fleet::default();
    let files = fleet.files();
    for (length, expected) in [(0, Ok(())), (1, Err(Error::LengthMismatch(Role::Snapshot)))] {
        let mut meta = Meta::of(fleet.snapshot_version, &files.snapshot).unwrap();
        meta.length += length;
        let header = Header::new(REPOSITORY, fleet.timestamp_version, fleet.timestamp_expires);
        let timestamp = Timestamp { header, issued: fleet.issued, snapshot: meta };
        let timestamp = sign(&timestamp.encode(), &fleet.roles[1].all());
        let mut session =
            Session::new(IDENTITY, &files.root, TrustState::default(), Time::AtLeast(NOW), Policy::production())
                .unwrap();
        session.no_newer_root().unwrap();
        session.supply(&timestamp).unwrap();
        assert_eq!(session.supply(&files.snapshot).map(drop), expected);
        // And whoever asks for the file in another way than a session's.
        let root: Verified<Root<'_>, Signers> =
            Verified::stored_root(&CoseFile::new(&files.root).unwrap(), &Policy::production()).unwrap();
        let time = Time::AtLeast(NOW);
        let timestamp = root.timestamp(&CoseFile::<Timestamp<'_>>::new(&timestamp).unwrap(), None, None, time).unwrap();
        let snapshot = CoseFile::<Snapshot<'_>>::new(&files.snapshot).unwrap();
        assert_eq!(root.snapshot(&timestamp, &snapshot, None, None, time).map(drop), expected);
    }
}

/// At boot, too, a role that two must sign for is not satisfied by one.
#[test]
fn a_slot_record_needs_as_many_signatures_as_its_role() {
    let fleet = Fleet { product: Keyring::of(2, &[7, 8]), ..Fleet::default() };
    let files = fleet.files();
    let bundle = files.bundle();
    let mut session =
        Session::new(IDENTITY, &files.root, TrustState::default(), Time::AtLeast(NOW), Policy::production()).unwrap();
    session.supply_bundle(&bundle, |_| Ok(())).unwrap();
    let approved = session.select(&fleet.targets[0].digest(), &DEVICE).unwrap();
    let mut record = [0; SLOT_RECORD_MAX];
    let length = approved.slot_record(&mut record).unwrap();
    assert!(slot_record::verify(&record[..length], &IDENTITY).is_ok());
    // The same record around a file that one of the two signed.
    let lesser = sign(&fleet.product_payload(), &fleet.product.all()[..1]);
    let mut writer = RecordWriter::new(&mut record, 1);
    writer.bytes(&approved.digest().0).u8(2).u8(2);
    fleet.product.keys.iter().for_each(|key| {
        writer.bytes(&public(key).0);
    });
    writer.sized(&lesser);
    let length = writer.finish().unwrap();
    assert_eq!(slot_record::verify(&record[..length], &IDENTITY), Err(Error::ThresholdNotMet(Role::Targets)));
}

/// Nobody asks for no signature at all; should a format allow it, such a role's floor binds nothing.
#[test]
fn a_floor_holds_under_no_threshold_of_zero() {
    struct Nobody(u64);
    impl Authority for Nobody {
        type Key = PublicKey;
        fn threshold(&self) -> u64 {
            self.0
        }
        fn keys(&self) -> impl Iterator<Item = PublicKey> {
            [public(&key(5))].into_iter()
        }
    }
    let mut floor = Floor::<Signers>::default();
    floor.signers.insert(VerificationKey::fingerprint(&public(&key(5))));
    assert!(floor.holds(&Nobody(1)));
    assert!(!floor.holds(&Nobody(2)));
    assert!(!floor.holds(&Nobody(0)));
}

#[test]
fn a_remembered_file_sets_the_floor_that_it_set_when_it_was_accepted() {
    let fleet = Fleet { timestamp_version: 8, ..Fleet::default() };
    let files = fleet.files();
    let root: Verified<Root<'_>, Signers> =
        Verified::stored_root(&CoseFile::new(&files.root).unwrap(), &Policy::production()).unwrap();
    let file = CoseFile::<Timestamp<'_>>::new(&files.timestamp).unwrap();
    let accepted = root.timestamp(&file, None, None, Time::AtLeast(NOW)).unwrap();
    let remembered = root.remembered::<Timestamp<'_>, _>(&file, Role::Timestamp).unwrap();
    assert_eq!(remembered.floor(), accepted.floor());
    assert_eq!(remembered.floor().version, 8);
    assert!(remembered.floor().signers.contains(&VerificationKey::fingerprint(&public(&key(4)))));
}
