//! The transitions with their writes, each before what it permits.

use embedded_storage::nor_flash::ReadNorFlash;

use super::check::{check_slot, read_record};
use super::ports::{RecordId, Records, SecurityCounter};
use super::state::{DeviceState, STATE_RECORD_MAX, Trial};
use crate::certain::{require, surely};
use crate::error::Error;
use crate::image::{Slot, Slots, VerifiedImage};
use crate::session::Identity;
use crate::session::slot_record::BootTarget;

/// Boot and installation over a device's records and counter. Calls that check signatures or write a slot's record take a
/// scratch buffer of [`SLOT_RECORD_MAX`](crate::session::slot_record::SLOT_RECORD_MAX) bytes.
#[derive(Debug)]
pub struct BootControl<R, C> {
    records: R,
    counter: C,
}

/// What a boot decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booted {
    /// The slot to run.
    pub slot: Slot,
    /// What it holds.
    pub target: BootTarget,
    /// Whether it runs on trial and has to confirm itself.
    pub trial: bool,
    /// The state as it is recorded, or as it would be if the storage took writes.
    pub state: DeviceState,
    /// Whether every write that fell due was done. If not, the next boot tries again.
    pub recorded: bool,
}

const fn bit(slot: Slot) -> u8 {
    1 << slot as u8
}

/// [`check_slot`], whose yes is also noted.
#[inline(never)]
fn check_and_note<F: ReadNorFlash>(
    records: &mut impl Records,
    slots: &mut Slots<F>,
    slot: Slot,
    identity: &Identity<'_>,
    counter: u64,
    scratch: &mut [u8],
    passed: &mut u8,
) -> Result<BootTarget, Error> {
    let found = check_slot(records, slots, slot, identity, counter, scratch);
    if surely(found.is_ok()) {
        *passed |= bit(slot);
    }
    found
}

impl<R: Records, C: SecurityCounter> BootControl<R, C> {
    /// Works on a device's records and counter.
    pub const fn new(records: R, counter: C) -> Self {
        BootControl { records, counter }
    }

    /// The records.
    pub fn records(&mut self) -> &mut R {
        &mut self.records
    }

    /// The security counter that holds: the raised one, or one that was confirmed and is still to be raised.
    pub fn security_counter(&mut self) -> Result<u64, Error> {
        let owed = self.state().map_or(0, |state| state.counter);
        Ok(self.counter.read()?.max(owed))
    }

    /// The state as it is recorded.
    pub fn state(&mut self) -> Result<DeviceState, Error> {
        let mut buffer = [0; STATE_RECORD_MAX];
        match self.records.read(RecordId::Boot, &mut buffer)? {
            Some(record) => DeviceState::decode(record),
            None => Err(Error::StateCorrupt),
        }
    }

    /// What the record beside a slot says, once its signatures were checked; the slot itself is not hashed.
    pub fn recorded(&mut self, slot: Slot, identity: &Identity<'_>, scratch: &mut [u8]) -> Result<BootTarget, Error> {
        read_record(&mut self.records, slot, identity, scratch)
    }

    fn write(&mut self, state: &DeviceState) -> Result<(), Error> {
        let mut buffer = [0; STATE_RECORD_MAX];
        let length = state.encode(&mut buffer)?;
        self.records.replace(RecordId::Boot, buffer.get(..length).unwrap_or(&buffer))
    }

    /// The boot stage: decides what runs, and records first what must be recorded. Run nothing else than what it returns.
    pub fn boot<F: ReadNorFlash>(
        &mut self,
        identity: &Identity<'_>,
        slots: &mut Slots<F>,
        scratch: &mut [u8],
    ) -> Result<Booted, Error> {
        let known = self.state().ok();
        // A counter that can't be read fails closed.
        let raised = self.counter.read()?;
        let floor = known.map_or(0, |state| state.counter).max(raised);
        // Completes a raise that a cut interrupted, before anything runs. If the storage won't take it, the state's own
        // number goes on to bind.
        let mut recorded = raised >= floor || self.counter.raise(floor).is_ok();
        // Which slots checked, noted apart from the answers: what the plan runs is held to it below.
        let mut passed = 0;
        let records = &mut self.records;
        let mut check = |slot| check_and_note(records, slots, slot, identity, floor, scratch, &mut passed);
        let state = match known {
            Some(state) => state,
            None => DeviceState::recovered(floor, &mut check)?,
        };
        let mut plan = state.boot(&mut check)?;
        if known != Some(plan.state) && self.write(&plan.state).is_err() {
            recorded = false;
            if plan.trial {
                // A trial that isn't recorded would be tried for ever: run what is known to be well.
                let untried = DeviceState { trial: Trial::None, ..state };
                let records = &mut self.records;
                plan =
                    untried.boot(|slot| check_and_note(records, slots, slot, identity, floor, scratch, &mut passed))?;
            }
        }
        require!(passed & bit(plan.run) != 0, Error::NothingBootable);
        Ok(Booted { slot: plan.run, target: plan.target, trial: plan.trial, state: plan.state, recorded })
    }

    /// Before anything is written to a slot: gives up what was pending and removes the spare slot's record, so that no boot
    /// looks at it. Returns the slot to write to.
    pub fn prepare(&mut self) -> Result<Slot, Error> {
        let state = self.state()?;
        let prepared = state.prepare()?;
        if prepared != state {
            self.write(&prepared)?;
        }
        self.records.remove(RecordId::slot(prepared.spare()))?;
        Ok(prepared.spare())
    }

    /// The next boot tries a verified image.
    pub fn activate(&mut self, image: VerifiedImage<'_>, scratch: &mut [u8]) -> Result<(), Error> {
        let state = self.state()?.activate(image.slot(), image.approved().digest())?;
        let length = image.approved().slot_record(scratch)?;
        let record = scratch.get(..length).ok_or(Error::BufferTooSmall)?;
        self.records.replace(RecordId::slot(image.slot()), record)?;
        self.write(&state)?;
        self.records.remove(RecordId::Resume)
    }

    /// The image that runs, in the slot that [`Booted::slot`] named, found itself well: recorded first, then the counter is
    /// raised. Where that slot is not on trial there is nothing to do. (After a revert that could not be recorded the state
    /// still says that the other slot is: what runs must not confirm that one in its place.)
    pub fn confirm(
        &mut self,
        running: Slot,
        identity: &Identity<'_>,
        scratch: &mut [u8],
    ) -> Result<DeviceState, Error> {
        let state = self.state()?;
        if !matches!(state.trial, Trial::Running(_)) || state.running() != running {
            return Ok(state);
        }
        let target = read_record(&mut self.records, state.running(), identity, scratch)?;
        let confirmed = state.confirm(&target)?;
        self.write(&confirmed)?;
        // Cut here, the next boot raises it.
        self.counter.raise(confirmed.counter)?;
        Ok(confirmed)
    }

    /// At the factory: `slot` holds an image, and `record` says so ([`super::FactoryImage::encode`], or the record of an
    /// approved target). The state comes last: without it nothing is provisioned.
    pub fn provision(
        &mut self,
        slot: Slot,
        record: &[u8],
        identity: &Identity<'_>,
        scratch: &mut [u8],
    ) -> Result<BootTarget, Error> {
        self.records.replace(RecordId::slot(slot), record)?;
        let target = read_record(&mut self.records, slot, identity, scratch)?;
        self.counter.raise(target.security_counter)?;
        self.write(&DeviceState::factory(slot, target.security_counter))?;
        Ok(target)
    }
}
