//! From a signed release to an image that runs, on flash of several geometries, with the power cut at every write and erase.

mod flash;
mod fleet;

use std::cell::RefCell;
use std::rc::Rc;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use flash::*;
use fleet::*;
use sealift_manifests::{Codec, Payload, Version};
use sealift_verifier::Error;
use sealift_verifier::boot::{BootControl, Booted, DeviceState, FactoryImage, Outcome, RecordId, Records, Trial};
use sealift_verifier::image::*;
use sealift_verifier::session::slot_record::SLOT_RECORD_MAX;
use sealift_verifier::session::{Approved, DeviceFacts, Session, TrustState};
use sealift_verifier::trust::{Policy, Time};

const OLD: [u32; 3] = [1, 0, 0];
const NEW: [u32; 3] = [1, 1, 0];
const CAPACITY: usize = 16 * 1024;
const LIMITS: Limits = Limits { decoder_ram: 0, window_log: 0, slot: CAPACITY as u64, delta_only: false };

fn image(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ seed).collect()
}

fn new_image() -> Vec<u8> {
    image(2, 5_003)
}

/// A release whose payload is the raw image.
fn release(image: &[u8]) -> Fleet {
    let mut fleet = Fleet::default();
    let mut release = Release::new(NEW);
    release.payloads = vec![Release::raw(image)];
    release.image = image.to_vec();
    release.security_counter = 5;
    fleet.targets = vec![release];
    fleet
}

/// Verifies the fleet's one target and passes the proof on.
fn approved<R>(fleet: &Fleet, use_it: impl FnOnce(Approved<'_>) -> R) -> R {
    let files = fleet.files();
    let bundle = files.bundle();
    let mut session =
        Session::new(IDENTITY, &files.root, TrustState::default(), Time::AtLeast(NOW), Policy::production()).unwrap();
    session.supply_bundle(&bundle, |_| Ok(())).unwrap();
    let facts = DeviceFacts { security_counter: 3, installed: Some(Version(OLD)) };
    use_it(session.select(&fleet.targets[0].digest(), &facts).unwrap())
}

/// A device: slots, records, counter, all on one power line.
#[derive(Clone)]
struct World<const R: usize, const W: usize, const E: usize> {
    power: Power,
    slots: Slots<Flash<R, W, E>>,
    records: MemoryRecords,
    counter: MemoryCounter,
}

impl<const R: usize, const W: usize, const E: usize> World<R, W, E> {
    fn factory() -> Self {
        let power = Power::default();
        let mut slots = Slots { a: Flash::new(&power, CAPACITY), b: Flash::new(&power, CAPACITY) };
        let old = image(1, 4_100);
        slots.a.put(&old);
        let mut world = World {
            slots,
            records: MemoryRecords { power: power.clone(), ..Default::default() },
            counter: MemoryCounter { power: power.clone(), value: 0 },
            power,
        };
        let factory = FactoryImage { image: image_of(&old), version: Version(OLD), security_counter: 3 };
        let mut record = [0; FactoryImage::RECORD_MAX];
        let length = factory.encode(&IDENTITY, &mut record).unwrap();
        let mut scratch = [0; SLOT_RECORD_MAX];
        world.control().provision(Slot::A, &record[..length], &IDENTITY, &mut scratch).unwrap();
        world
    }

    /// The same state on a power line of its own.
    fn copy(&self) -> Self {
        let mut copy = self.clone();
        let mut power = Power::default();
        power.glitch = self.power.glitch;
        copy.slots.a.power = power.clone();
        copy.slots.b.power = power.clone();
        copy.records.power = power.clone();
        copy.counter.power = power.clone();
        copy.power = power;
        copy
    }

    fn control(&mut self) -> BootControl<&mut MemoryRecords, &mut MemoryCounter> {
        BootControl::new(&mut self.records, &mut self.counter)
    }

    fn boot(&mut self) -> Result<Booted, Error> {
        let mut scratch = [0; SLOT_RECORD_MAX];
        let World { slots, records, counter, .. } = self;
        BootControl::new(records, counter).boot(&IDENTITY, slots, &mut scratch)
    }

    fn confirm(&mut self) -> Result<DeviceState, Error> {
        let running = self.control().state()?.running();
        self.control().confirm(running, &IDENTITY, &mut [0; SLOT_RECORD_MAX])
    }

    /// What an agent does with an approved target, in pieces, keeping the hint as it goes. A hint that doesn't hold is
    /// dropped, and the installation starts over.
    fn install(&mut self, fleet: &Fleet) -> Result<(), Error> {
        let mut buffer = [0; HINT_RECORD_MAX];
        let hint = self.records.read(RecordId::Resume, &mut buffer)?.map(<[u8]>::to_vec);
        match hint {
            None => self.install_from(fleet, None),
            Some(hint) => match self.install_from(fleet, Some(&hint)) {
                Err(_) if !self.power.was_cut() => {
                    self.records.remove(RecordId::Resume)?;
                    self.install_from(fleet, None)
                }
                result => result,
            },
        }
    }

    fn install_from(&mut self, fleet: &Fleet, hint: Option<&[u8]>) -> Result<(), Error> {
        approved(fleet, |approved| {
            let slot = self.control().prepare()?;
            let choice = choose_payload(approved.target(), None, &LIMITS)?;
            let World { slots, records, .. } = self;
            let (flash, base) = slots.split(slot);
            let mut install = Install::<_, _, _, 64>::begin(
                approved,
                &choice,
                slot,
                &mut *flash,
                Some(&mut *base),
                RawDecoder::default(),
                hint,
            )?;
            let payload = &fleet.targets[0].image;
            let mut hinted = install.hinted();
            while (install.next_offset() as usize) < payload.len() {
                let from = install.next_offset() as usize;
                install.push(&payload[from..payload.len().min(from + 100)])?;
                if install.hinted() >= hinted + 700 {
                    hinted = install.hinted();
                    let mut record = [0; HINT_RECORD_MAX];
                    if let Some(length) = install.hint(&mut record)? {
                        records.replace(RecordId::Resume, &record[..length])?;
                    }
                }
            }
            let verified = install.finish()?;
            self.control().activate(verified, &mut [0; SLOT_RECORD_MAX])
        })
    }

    /// Boots, and goes on with whatever is to be done until the new image is confirmed.
    fn update(&mut self, fleet: &Fleet) -> Result<(), Error> {
        for _ in 0..3 {
            let booted = self.boot()?;
            if booted.trial {
                self.confirm()?;
            }
            if self.control().state()?.outcome == Outcome::Confirmed(fleet.targets[0].digest()) {
                return Ok(());
            }
            self.install(fleet)?;
        }
        Err(Error::WrongState)
    }
}

#[test]
fn a_new_image_is_tried_once_confirmed_and_raises_the_counter() {
    let mut world = World::<1, 4, 1024>::factory();
    let fleet = release(&new_image());
    assert!(!world.boot().unwrap().trial);
    world.install(&fleet).unwrap();
    assert_eq!(world.counter.value, 3);
    let booted = world.boot().unwrap();
    assert_eq!((booted.slot, booted.trial, booted.target.version), (Slot::B, true, Version(NEW)));
    assert_eq!(world.counter.value, 3, "the counter waits for the confirmation");
    world.confirm().unwrap();
    assert_eq!(world.counter.value, 5);
    let booted = world.boot().unwrap();
    assert_eq!((booted.slot, booted.trial), (Slot::B, false));
    // The old image is below the counter now.
    world.slots.b.cells[17] ^= 1;
    assert_eq!(world.boot().unwrap_err(), Error::NothingBootable);
}

#[test]
fn an_image_that_does_not_confirm_itself_is_reverted_and_said_so() {
    let mut world = World::<1, 4, 1024>::factory();
    let fleet = release(&new_image());
    world.install(&fleet).unwrap();
    assert!(world.boot().unwrap().trial);
    let booted = world.boot().unwrap();
    assert_eq!((booted.slot, booted.trial), (Slot::A, false));
    assert_eq!(booted.state.outcome, Outcome::Reverted(fleet.targets[0].digest(), Error::Reverted.code()));
    assert_eq!(world.counter.value, 3);
    // It is not tried again by itself, and can be installed again.
    assert!(!world.boot().unwrap().trial);
    world.update(&fleet).unwrap();
}

#[test]
fn a_normal_boot_writes_nothing() {
    let mut world = World::<1, 4, 1024>::factory();
    world.update(&release(&new_image())).unwrap();
    world.power.on(None);
    for _ in 0..10 {
        world.boot().unwrap();
    }
    assert_eq!(world.power.operations(), 0);
}

#[test]
fn a_slot_altered_after_activation_is_never_run() {
    let mut world = World::<1, 4, 1024>::factory();
    let fleet = release(&new_image());
    world.install(&fleet).unwrap();
    world.slots.b.cells[5_002] ^= 0x80;
    let booted = world.boot().unwrap();
    assert_eq!((booted.slot, booted.trial), (Slot::A, false));
    assert_eq!(booted.state.outcome, Outcome::Reverted(fleet.targets[0].digest(), Error::ImageHash.code()));
}

#[test]
fn bit_rot_in_the_active_slot_falls_back_to_an_image_of_the_same_counter() {
    let mut world = World::<1, 4, 1024>::factory();
    let mut fleet = release(&new_image());
    fleet.targets[0].security_counter = 3;
    world.update(&fleet).unwrap();
    world.slots.b.cells[0] ^= 1;
    let booted = world.boot().unwrap();
    assert_eq!((booted.slot, booted.state.outcome), (Slot::A, Outcome::FellBack(Error::ImageHash.code())));
    // And goes on from there: the rotten slot takes the update again.
    world.update(&fleet).unwrap();
    assert_eq!(world.boot().unwrap().slot, Slot::B);
}

#[test]
fn a_lost_boot_record_is_recovered_from_what_the_slots_hold() {
    let mut world = World::<1, 4, 1024>::factory();
    let mut fleet = release(&new_image());
    fleet.targets[0].security_counter = 3;
    world.update(&fleet).unwrap();
    let record = world.records.records.get_mut(&(RecordId::Boot as u8)).unwrap();
    record[3] ^= 1;
    let booted = world.boot().unwrap();
    assert_eq!((booted.slot, booted.trial), (Slot::B, true), "the newer one, on trial");
    assert_eq!(world.boot().unwrap().slot, Slot::A, "and back if it does not confirm itself");
    world.records.records.remove(&(RecordId::Boot as u8));
    world.slots.b.cells[9] ^= 1;
    assert_eq!(world.boot().unwrap().slot, Slot::A, "the only one that checks");
}

#[test]
fn a_slot_record_for_other_hardware_or_of_other_keys_does_not_boot() {
    let mut world = World::<1, 4, 1024>::factory();
    let fleet = release(&new_image());
    world.install(&fleet).unwrap();
    let (state, mut scratch) = (world.records.clone(), [0; SLOT_RECORD_MAX]);
    for other in [
        sealift_verifier::session::Identity { hardware: "board-b", ..IDENTITY },
        sealift_verifier::session::Identity { product: "boiler", ..IDENTITY },
        sealift_verifier::session::Identity { repository: sealift_manifests::RepositoryId([9; 16]), ..IDENTITY },
    ] {
        let World { slots, records, counter, .. } = &mut world;
        assert_eq!(
            BootControl::new(records, counter).boot(&other, slots, &mut scratch).unwrap_err(),
            Error::NothingBootable
        );
    }
    world.records = state;
    let record = world.records.records.get_mut(&(RecordId::SlotB as u8)).unwrap();
    let length = record.len();
    record[length - 9 - 10] ^= 1; // in the signature
    let body = sealift_manifests::sha256(&record[..length - 8]).0;
    record[length - 8..].copy_from_slice(&body[..8]);
    assert_eq!(world.boot().unwrap().slot, Slot::A);
}

#[test]
fn storage_that_takes_no_write_still_boots_what_is_confirmed() {
    let fleet = release(&new_image());
    let mut world = World::<1, 4, 1024>::factory();
    world.install(&fleet).unwrap();
    world.power.on(Some(0));
    let _ = world.records.replace(RecordId::Trust, b""); // dead from here on
    let booted = world.boot().unwrap();
    assert_eq!((booted.slot, booted.trial, booted.recorded), (Slot::A, false, false));
}

#[test]
fn no_update_begins_or_is_activated_while_a_trial_runs() {
    let mut world = World::<1, 4, 1024>::factory();
    let fleet = release(&new_image());
    world.install(&fleet).unwrap();
    world.boot().unwrap();
    assert_eq!(world.install(&fleet).unwrap_err(), Error::WrongState);
    assert!(matches!(world.control().state().unwrap().trial, Trial::Running(_)));
}

#[test]
fn payload_faults_are_refused_for_what_they_are() {
    let new = new_image();
    let fleet = release(&new);
    let run = |payload: &[u8]| {
        let mut flash = Flash::<1, 4, 1024>::new(&Power::default(), CAPACITY);
        approved(&fleet, |approved| {
            let choice = choose_payload(approved.target(), None, &LIMITS)?;
            let base = None::<Flash<1, 4, 1024>>;
            let mut install = Install::<_, _, _, 64>::begin(
                approved,
                &choice,
                Slot::B,
                &mut flash,
                base,
                RawDecoder::default(),
                None,
            )?;
            for piece in payload.chunks(97) {
                install.push(piece)?;
            }
            install.finish().map(|_| ())
        })
    };
    assert_eq!(run(&new), Ok(()));
    assert_eq!(run(&new[..new.len() - 1]), Err(Error::PayloadTruncated));
    assert_eq!(run(&[&new[..], b"x"].concat()), Err(Error::PayloadTooLong));
    let mut altered = new.clone();
    altered[4000] ^= 1;
    assert_eq!(run(&altered), Err(Error::PayloadHash));
    assert_eq!(run(&[]), Err(Error::PayloadTruncated));
}

/// A payload that doesn't decode is taken to its end, so that altered bytes can be told from those that were signed as they are.
#[test]
fn a_payload_that_does_not_decode_is_asked_for_to_its_end_and_then_judged_by_its_hash() {
    let image = new_image();
    let limits = Limits { decoder_ram: 24 * 1024, window_log: 14, ..LIMITS };
    let signed = vec![0x5a; 400];
    let mut fleet = release(&image);
    fleet.targets[0].payloads =
        vec![Payload { codec: Codec::ZSTD, decoder_ram: 1, window_log: 10, ..Release::raw(&signed) }];
    let run = |payload: &[u8]| {
        approved(&fleet, |approved| {
            let mut flash = Flash::<1, 4, 1024>::new(&Power::default(), CAPACITY);
            let choice = choose_payload(approved.target(), None, &limits).unwrap();
            let base = None::<Flash<1, 4, 1024>>;
            let mut decoder = Box::new(sealift_verifier::delta::Decoder24K::new());
            let mut install =
                Install::<_, _, _, 64>::begin(approved, &choice, Slot::B, &mut flash, base, &mut *decoder, None)
                    .unwrap();
            for (number, piece) in payload.chunks(100).enumerate() {
                let expected = if number < 3 { Next::More } else { Next::Done };
                assert_eq!(install.push(piece), Ok(expected), "piece {number}");
                assert_eq!(install.next_offset() as usize, (number + 1) * 100);
            }
            assert_eq!(install.written(), 0, "nothing of it is written");
            install.finish().map(|_| ()).unwrap_err()
        })
    };
    assert_eq!(run(&signed), Error::PayloadCorrupt);
    let mut altered = signed.clone();
    altered[399] ^= 1;
    assert_eq!(run(&altered), Error::PayloadHash);
}

/// Where a payload stopped decoding there is no place to go on from: the next session begins anew.
#[test]
fn a_payload_that_failed_leaves_no_hint() {
    // A frame of three stored blocks of 1 KiB, and then none.
    let block = [&[1024u32.wrapping_shl(3) as u8, (1024u32 >> 5) as u8, 0][..], &[0x33; 1024]].concat();
    let mut frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00][..], &block, &block, &block].concat();
    let last = frame.len() - 1027;
    frame[last] |= 1;
    let signed = [&frame[..], &[0xee; 40]].concat();
    let mut fleet = release(&new_image());
    fleet.targets[0].payloads =
        vec![Payload { codec: Codec::ZSTD, decoder_ram: 1, window_log: 10, ..Release::raw(&signed) }];
    let limits = Limits { decoder_ram: 24 * 1024, window_log: 14, ..LIMITS };
    approved(&fleet, |approved| {
        let mut flash = Flash::<1, 4, 1024>::new(&Power::default(), CAPACITY);
        let choice = choose_payload(approved.target(), None, &limits).unwrap();
        let mut decoder = Box::new(sealift_verifier::delta::Decoder24K::new());
        let base = None::<Flash<1, 4, 1024>>;
        let mut install =
            Install::<_, _, _, 64>::begin(approved, &choice, Slot::B, &mut flash, base, &mut *decoder, None).unwrap();
        let mut hint = [0; HINT_RECORD_MAX];
        assert_eq!(install.hint(&mut hint), Ok(None), "nothing is written yet");
        assert_eq!(install.push(&signed[..frame.len()]), Ok(Next::More));
        assert!(install.hint(&mut hint).unwrap().is_some(), "behind the first frame");
        assert_eq!((install.hinted(), install.written()), (3072, 3072));
        assert_eq!(install.push(&signed[frame.len()..]), Ok(Next::Done));
        assert_eq!(install.hint(&mut hint), Ok(None), "it failed");
        assert_eq!(install.finish().map(|_| ()), Err(Error::PayloadCorrupt));
    });
}

/// A slot that somebody else can write to as well: DMA, a debugger, a second core.
#[derive(Clone)]
struct SharedFlash(Rc<RefCell<Flash<1, 4, 1024>>>);

impl ErrorType for SharedFlash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for SharedFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.borrow_mut().read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        CAPACITY
    }
}

impl NorFlash for SharedFlash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 1024;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.0.borrow_mut().erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.borrow_mut().write(offset, bytes)
    }
}

/// RAUC verified a file and installed what stood there a moment later (CVE-2020-25860).
#[test]
fn attack_55_bytes_that_change_after_they_were_written_are_never_activated() {
    let new = new_image();
    let fleet = release(&new);
    // In the middle of the transfer, and after its last byte.
    for (after, at) in [(3_000, 0), (3_000, 1_500), (new.len(), 0), (new.len(), 4_900)] {
        let flash = SharedFlash(Rc::new(RefCell::new(Flash::new(&Power::default(), CAPACITY))));
        let outcome = approved(&fleet, |approved| {
            let choice = choose_payload(approved.target(), None, &LIMITS)?;
            let base = None::<Flash<1, 4, 1024>>;
            let decoder = RawDecoder::default();
            let mut install =
                Install::<_, _, _, 64>::begin(approved, &choice, Slot::B, flash.clone(), base, decoder, None)?;
            install.push(&new[..after])?;
            flash.0.borrow_mut().disturb(at);
            if after < new.len() {
                install.push(&new[after..])?;
            }
            install.finish().map(|_| ())
        });
        // Each byte that arrived was the signed one; what stands in the slot is not.
        assert_eq!(outcome, Err(Error::ImageHash), "byte {at} after {after}");
    }
}

#[test]
fn a_payload_that_another_target_lists_is_not_taken() {
    let fleet = release(&new_image());
    approved(&fleet, |approved| {
        let choice = Choice::Full(Release::raw(b"another image"));
        let base = None::<Flash<1, 4, 1024>>;
        let flash = Flash::<1, 4, 1024>::new(&Power::default(), CAPACITY);
        let begun = Install::<_, _, _, 64>::begin(approved, &choice, Slot::B, flash, base, RawDecoder::default(), None);
        assert_eq!(begun.unwrap_err(), Error::NoUsablePayload);
    });
}

#[test]
fn the_base_of_a_delta_is_hashed_before_the_first_write() {
    let mut fleet = release(&new_image());
    let base = image_of(&image(1, 4_100));
    let delta =
        Payload { codec: Codec::DELTA, base: Some(base), decoder_ram: 1, window_log: 1, ..Release::raw(b"delta") };
    fleet.targets[0].payloads = vec![delta];
    approved(&fleet, |approved| {
        let power = Power::default();
        let (flash, wrong) = (Flash::<1, 4, 1024>::new(&power, CAPACITY), Flash::<1, 4, 1024>::new(&power, CAPACITY));
        let begun = Install::<_, _, _, 64>::begin(
            approved,
            &Choice::Delta(delta),
            Slot::B,
            flash,
            Some(wrong),
            RawDecoder::default(),
            None,
        );
        assert_eq!(begun.unwrap_err(), Error::BaseMismatch);
        assert_eq!(power.operations(), 0);
    });
}

#[test]
fn a_delta_is_chosen_only_for_its_own_base_and_only_if_it_fits() {
    let fleet = {
        let mut fleet = release(&new_image());
        let base = image_of(b"installed");
        let delta = Payload {
            codec: Codec::DELTA,
            base: Some(base),
            decoder_ram: 20_000,
            window_log: 12,
            ..Release::raw(b"delta")
        };
        fleet.targets[0].payloads.insert(0, delta);
        fleet
    };
    fleet.targets[0].with(|target| {
        let installed = image_of(b"installed");
        let able = Limits { decoder_ram: 24_576, window_log: 12, ..LIMITS };
        let other = image_of(b"other");
        let choose = |installed, limits: &Limits| choose_payload(&target, installed, limits);
        assert!(matches!(choose(Some(&installed), &able), Ok(Choice::Delta(_))));
        assert!(matches!(choose(Some(&other), &able), Ok(Choice::Full(_))));
        assert!(matches!(choose(None, &able), Ok(Choice::Full(_))));
        assert!(matches!(choose(Some(&installed), &Limits { decoder_ram: 16_384, ..able }), Ok(Choice::Full(_))));
        assert!(matches!(choose(Some(&installed), &Limits { window_log: 11, ..able }), Ok(Choice::Full(_))));
        let metered = Limits { delta_only: true, ..able };
        assert!(matches!(choose(Some(&installed), &metered), Ok(Choice::Delta(_))));
        assert_eq!(choose(None, &metered), Err(Error::NoUsablePayload));
        assert_eq!(choose(None, &Limits { slot: 5_002, ..able }), Err(Error::SlotTooSmall));
    });
}

/// Cuts at every operation of an update, then at every further operation of what follows when `twice` says so.
fn cut_everywhere<const R: usize, const W: usize, const E: usize>(twice: bool) -> u64 {
    let fleet = release(&new_image());
    let factory = World::<R, W, E>::factory();
    let mut cuts = 0;
    for first in 0.. {
        let mut world = factory.copy();
        world.power.on(Some(first));
        let result = world.update(&fleet);
        if !world.power.was_cut() {
            result.unwrap();
            break;
        }
        cuts += 1;
        check_and_complete(world.copy(), &fleet, first);
        // Every seventh: `power_cut` takes them all.
        for second in (first % 7..).step_by(7).take_while(|_| twice) {
            let mut again = world.copy();
            again.power.on(Some(second));
            let _ = again.update(&fleet);
            if !again.power.was_cut() {
                break;
            }
            cuts += 1;
            check_and_complete(again.copy(), &fleet, first);
        }
    }
    cuts
}

/// After a cut the old or the new image boots, the counter did not fall, and the update completes.
fn check_and_complete<const R: usize, const W: usize, const E: usize>(
    mut world: World<R, W, E>,
    fleet: &Fleet,
    cut: u64,
) {
    let booted = world.copy().boot().unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
    assert!([Version(OLD), Version(NEW)].contains(&booted.target.version));
    assert!(world.counter.value >= 3);
    world.power.on(None);
    // A trial that the cut ended is reverted first, and the update is installed again.
    world.update(fleet).unwrap_or_else(|error| panic!("cut at {cut}, then: {error}"));
    assert_eq!(world.counter.value, 5);
    let booted = world.boot().unwrap();
    assert_eq!(booted.target.version, Version(NEW));
    let slot = world.slots.of(booted.slot);
    assert_eq!(slot.cells[..5_003], new_image());
}

#[test]
fn a_cut_at_every_write_and_erase_leaves_the_old_or_the_new_image_and_the_update_completes() {
    let mut cuts = 0;
    cuts += cut_everywhere::<1, 1, 256>(false);
    cuts += cut_everywhere::<1, 4, 1024>(false);
    cuts += cut_everywhere::<4, 8, 512>(false);
    cuts += cut_everywhere::<1, 32, 4096>(false);
    cuts += cut_everywhere::<8, 16, 16_384>(false);
    println!("{cuts} cuts, 0 failures");
    assert!(cuts > 400);
}

#[test]
fn a_cut_after_a_cut_leaves_the_old_or_the_new_image_and_the_update_completes() {
    let cuts = cut_everywhere::<1, 32, 4096>(true);
    println!("{cuts} cuts and pairs of cuts, 0 failures");
    assert!(cuts > 1_000);
}

/// A write that fails once, with the power on: nothing is bricked, and trying again completes.
#[test]
fn a_failing_write_is_survived_anywhere() {
    let fleet = release(&new_image());
    let factory = World::<1, 4, 1024>::factory();
    for at in 0.. {
        let mut world = factory.copy();
        world.power.glitch = true;
        world = world.copy();
        world.power.on(Some(at));
        let _ = world.update(&fleet);
        if !world.power.was_cut() {
            assert!(at > 50);
            return;
        }
        world.power.glitch = false;
        check_and_complete(world.copy(), &fleet, at);
    }
}

#[test]
fn a_resumed_installation_goes_on_where_the_flash_stands() {
    let fleet = release(&new_image());
    let mut world = World::<1, 4, 1024>::factory();
    // Cut well into the payload.
    world.power.on(Some(60));
    assert_eq!(world.install(&fleet), Err(Error::Storage));
    world.power.on(None);
    let hint = world.records.records[&(RecordId::Resume as u8)].clone();
    let begin = |flash: Flash<1, 4, 1024>, slot, hint: &[u8]| {
        approved(&fleet, |approved| {
            let choice = choose_payload(approved.target(), None, &LIMITS)?;
            let base = None::<Flash<1, 4, 1024>>;
            Install::<_, _, _, 64>::begin(approved, &choice, slot, flash, base, RawDecoder::default(), Some(hint))
                .map(|install| install.next_offset())
        })
    };
    assert!(begin(world.slots.b.clone(), Slot::B, &hint).unwrap() > 2_000);
    // A hint of the other slot, or a damaged one, is not used.
    assert_eq!(begin(world.slots.b.clone(), Slot::A, &hint), Err(Error::StateCorrupt));
    for at in 0..hint.len() {
        let mut damaged = hint.clone();
        damaged[at] ^= 4;
        assert_eq!(begin(world.slots.b.clone(), Slot::B, &damaged), Err(Error::StateCorrupt), "byte {at}");
    }
    let erased = world.slots.b.erases;
    world.install(&fleet).unwrap();
    assert!(world.slots.b.erases - erased < 5, "no sector before the hint is erased again");
    assert!(world.boot().unwrap().trial);
}

#[test]
fn a_hint_that_lies_ends_in_a_refusal_and_a_fresh_start() {
    let fleet = release(&new_image());
    let mut world = World::<1, 4, 1024>::factory();
    world.power.on(Some(60));
    let _ = world.install(&fleet);
    world.power.on(None);
    // What was written before the hint is no longer what it was.
    world.slots.b.cells[100] ^= 1;
    world.install(&fleet).unwrap();
    assert!(world.boot().unwrap().trial);
}
