//! Boot states and their writes.

use sealift_manifests::{Digest, Version};
use sealift_verifier::Error;
use sealift_verifier::boot::{BootControl, DeviceState, Outcome, RecordId, Records, STATE_RECORD_MAX, Trial};
use sealift_verifier::image::Slot;
use sealift_verifier::session::slot_record::BootTarget;

use crate::flash::{MemoryCounter, MemoryRecords};
use crate::fleet::image_of;

const OLD: Digest = Digest([1; 32]);
const NEW: Digest = Digest([2; 32]);

fn target(digest: Digest, security_counter: u64) -> BootTarget {
    BootTarget { digest, image: image_of(&digest.0), security_counter, version: Version([1, 0, 0]) }
}

fn with(trial: Trial, outcome: Outcome) -> DeviceState {
    DeviceState { trial, outcome, ..DeviceState::factory(Slot::A, 3) }
}

/// Of these two slots.
fn holding(a: Result<Digest, Error>, b: Result<Digest, Error>) -> impl FnMut(Slot) -> Result<BootTarget, Error> {
    move |slot| match slot {
        Slot::A => a.map(|digest| target(digest, 3)),
        Slot::B => b.map(|digest| target(digest, 5)),
    }
}

#[test]
fn an_image_in_the_slot_that_runs_is_not_activated() {
    let state = with(Trial::None, Outcome::None);
    assert_eq!(state.activate(Slot::A, NEW), Err(Error::WrongState));
    assert_eq!(state.activate(Slot::B, NEW), Ok(with(Trial::Pending(NEW), Outcome::None)));
}

#[test]
fn only_the_target_that_is_on_trial_is_confirmed() {
    let state = with(Trial::Running(NEW), Outcome::None);
    assert_eq!(state.confirm(&target(OLD, 5)), Err(Error::WrongState));
    let confirmed = state.confirm(&target(NEW, 5)).unwrap();
    let outcome = Outcome::Confirmed(NEW);
    assert_eq!(confirmed, DeviceState { active: Slot::B, outcome, counter: 5, ..DeviceState::factory(Slot::A, 3) });
    // The counter never falls.
    assert_eq!(state.confirm(&target(NEW, 2)).unwrap().counter, 3);
}

/// A good image, but not the one that was activated.
#[test]
fn another_target_than_the_pending_one_is_not_tried() {
    let state = with(Trial::Pending(NEW), Outcome::None);
    let plan = state.boot(holding(Ok(OLD), Ok(OLD))).unwrap();
    let outcome = Outcome::Reverted(NEW, Error::StateCorrupt.code());
    assert_eq!((plan.run, plan.trial, plan.state.trial, plan.state.outcome), (Slot::A, false, Trial::None, outcome));
    assert_eq!(plan.state.boots, 1);
    let plan = state.boot(holding(Ok(OLD), Ok(NEW))).unwrap();
    assert_eq!((plan.run, plan.trial, plan.state.trial), (Slot::B, true, Trial::Running(NEW)));
    assert_eq!(plan.state.boots, 1);
}

/// The report of a revert is owed still; a device without one says that it fell back.
#[test]
fn a_fall_back_does_not_overwrite_the_outcome_of_a_revert() {
    let reverted = Outcome::Reverted(NEW, Error::Reverted.code());
    let fell = Outcome::FellBack(Error::ImageHash.code());
    for (before, after) in [(Outcome::None, fell), (Outcome::Confirmed(OLD), fell), (reverted, reverted)] {
        let plan = with(Trial::None, before).boot(holding(Err(Error::ImageHash), Ok(OLD))).unwrap();
        assert_eq!((plan.run, plan.state.active, plan.state.outcome), (Slot::B, Slot::B, after));
        assert_eq!((plan.trial, plan.state.boots), (false, 1));
    }
    let state = with(Trial::None, Outcome::None);
    let nothing = state.boot(holding(Err(Error::ImageHash), Err(Error::ImageHash)));
    assert_eq!(nothing, Err(Error::NothingBootable));
}

#[test]
fn every_state_is_read_as_it_was_written() {
    for trial in [Trial::None, Trial::Pending(NEW), Trial::Running(NEW)] {
        for outcome in [Outcome::None, Outcome::Confirmed(OLD), Outcome::Reverted(OLD, 706), Outcome::FellBack(503)] {
            for active in Slot::ALL {
                let state = DeviceState { active, trial, outcome, counter: 0x0102_0304_0506_0708, boots: 9 };
                let mut record = [0; STATE_RECORD_MAX];
                let length = state.encode(&mut record).unwrap();
                assert_eq!(DeviceState::decode(&record[..length]), Ok(state));
            }
        }
    }
}

/// Otherwise the next boot would try an image of which a part was overwritten, and report it as reverted.
#[test]
fn preparing_a_slot_gives_up_what_was_pending_and_writes_nothing_without_need() {
    let mut records = MemoryRecords::default();
    let mut record = [0; STATE_RECORD_MAX];
    let length = with(Trial::Pending(NEW), Outcome::None).encode(&mut record).unwrap();
    records.replace(RecordId::Boot, &record[..length]).unwrap();
    records.replace(RecordId::SlotB, b"what it held").unwrap();
    assert_eq!(BootControl::new(&mut records, MemoryCounter::default()).prepare(), Ok(Slot::B));
    assert_eq!(DeviceState::decode(&records.records[&(RecordId::Boot as u8)]).unwrap().trial, Trial::None);
    assert!(!records.records.contains_key(&(RecordId::SlotB as u8)), "no boot looks at it");
    let written = records.replaced;
    assert_eq!(BootControl::new(&mut records, MemoryCounter::default()).prepare(), Ok(Slot::B));
    assert_eq!(records.replaced, written);
}

#[test]
fn records_and_slots_have_names_of_their_own() {
    let names = RecordId::ALL.map(RecordId::name);
    assert_eq!(names, ["root", "trust", "slot-a", "slot-b", "boot", "resume"]);
    assert_eq!(Slot::ALL.map(Slot::name), ["a", "b"]);
    assert_eq!(Slot::ALL.map(|slot| slot.to_string()), ["a", "b"]);
}
