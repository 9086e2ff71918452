//! The state record and its transitions, without any write.

use sealift_manifests::Digest;

use crate::error::Error;
use crate::image::Slot;
use crate::record::{CHECKSUM, RecordReader, RecordWriter};
use crate::session::slot_record::BootTarget;

/// Whether the spare slot is to be tried, or is being tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// No.
    None,
    /// The next boot tries the target of this digest.
    Pending(Digest),
    /// A boot was recorded and then tried it: unless it confirms itself, the next boot reverts it.
    Running(Digest),
}

/// How the last update ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was none.
    None,
    /// The target of this digest confirmed itself.
    Confirmed(Digest),
    /// The target of this digest was reverted; the code is that of an [`Error`]: 706 when it ran and didn't confirm itself.
    Reverted(Digest, u16),
    /// The active slot didn't check, for the reason of this code, and the other took over.
    FellBack(u16),
}

/// What a device keeps of boot and installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceState {
    /// What runs when nothing is on trial.
    pub active: Slot,
    /// What becomes of the other slot.
    pub trial: Trial,
    /// How the last update ended.
    pub outcome: Outcome,
    /// The security counter of what was confirmed last: the device's counter is raised to it.
    pub counter: u64,
    /// Boots that were recorded: trials, reverts and fall-backs. (A normal boot writes nothing, so it isn't counted.)
    pub boots: u64,
}

/// What a boot does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which slot runs.
    pub run: Slot,
    /// What it was found to hold.
    pub target: BootTarget,
    /// Whether this is a trial: it must be recorded before it runs.
    pub trial: bool,
    /// The state to record first.
    pub state: DeviceState,
}

const VERSION: u8 = 1;

/// Most bytes of a state record.
pub const STATE_RECORD_MAX: usize = 1 + 1 + 33 + 35 + 8 + 8 + CHECKSUM;

impl DeviceState {
    /// The state of a device that left the factory with an image in `active`.
    pub const fn factory(active: Slot, counter: u64) -> Self {
        DeviceState { active, trial: Trial::None, outcome: Outcome::None, counter, boots: 0 }
    }

    /// The slot that an update is written to.
    pub const fn spare(&self) -> Slot {
        self.active.other()
    }

    /// The slot that runs, once a boot was planned.
    pub const fn running(&self) -> Slot {
        match self.trial {
            Trial::Running(_) => self.active.other(),
            _ => self.active,
        }
    }

    /// An update begins: whatever was pending is given up. While a trial runs it must be confirmed first.
    pub fn prepare(self) -> Result<DeviceState, Error> {
        match self.trial {
            Trial::Running(_) => Err(Error::WrongState),
            _ => Ok(DeviceState { trial: Trial::None, ..self }),
        }
    }

    /// A verified image stands in `slot`: the next boot tries it.
    pub fn activate(self, slot: Slot, target: Digest) -> Result<DeviceState, Error> {
        match self.trial {
            Trial::Running(_) => Err(Error::WrongState),
            _ if slot == self.active => Err(Error::WrongState),
            _ => Ok(DeviceState { trial: Trial::Pending(target), ..self }),
        }
    }

    /// The trial that runs found itself well. The counter never falls.
    pub fn confirm(self, target: &BootTarget) -> Result<DeviceState, Error> {
        match self.trial {
            Trial::Running(digest) if digest == target.digest => Ok(DeviceState {
                active: self.spare(),
                trial: Trial::None,
                outcome: Outcome::Confirmed(digest),
                counter: self.counter.max(target.security_counter),
                ..self
            }),
            _ => Err(Error::WrongState),
        }
    }

    /// Plans a boot. `check` tells what a slot holds and whether it may run; it is asked no more than needed, since it
    /// hashes whole images.
    pub fn boot(self, mut check: impl FnMut(Slot) -> Result<BootTarget, Error>) -> Result<Plan, Error> {
        let mut state = self;
        match self.trial {
            Trial::None => {}
            Trial::Pending(digest) => match check(self.spare()) {
                Ok(target) if target.digest == digest => {
                    state.trial = Trial::Running(digest);
                    state.boots = state.boots.saturating_add(1);
                    return Ok(Plan { run: self.spare(), target, trial: true, state });
                }
                checked => {
                    let why = checked.err().unwrap_or(Error::StateCorrupt);
                    state = state.reverted(digest, why);
                }
            },
            Trial::Running(digest) => state = state.reverted(digest, Error::Reverted),
        }
        let why = match check(state.active) {
            Ok(target) => return Ok(Plan { run: state.active, target, trial: false, state }),
            Err(why) => why,
        };
        match check(state.spare()) {
            Ok(target) => {
                // What an update ended with is kept, for its report: only a device without one says that it fell back.
                let outcome = match state.outcome {
                    Outcome::Reverted(..) => state.outcome,
                    _ => Outcome::FellBack(why.code()),
                };
                let boots = state.boots.saturating_add(1);
                let state = DeviceState { active: state.spare(), outcome, boots, ..state };
                Ok(Plan { run: state.active, target, trial: false, state })
            }
            Err(_) => Err(Error::NothingBootable),
        }
    }

    /// The state to go on with when its record is lost: a trial of the newer of two images that check, so that one which
    /// never confirmed itself can still be reverted; else the only one.
    pub fn recovered(
        counter: u64,
        mut check: impl FnMut(Slot) -> Result<BootTarget, Error>,
    ) -> Result<DeviceState, Error> {
        let state = |active| DeviceState::factory(active, counter);
        let rank = |target: &BootTarget| (target.security_counter, target.version);
        match (check(Slot::A), check(Slot::B)) {
            (Ok(a), Ok(b)) if a.digest == b.digest => Ok(state(Slot::A)),
            (Ok(a), Ok(b)) => {
                let (older, newer) = if rank(&b) >= rank(&a) { (Slot::A, b) } else { (Slot::B, a) };
                Ok(DeviceState { trial: Trial::Pending(newer.digest), ..state(older) })
            }
            (Ok(_), Err(_)) => Ok(state(Slot::A)),
            (Err(_), Ok(_)) => Ok(state(Slot::B)),
            (Err(_), Err(_)) => Err(Error::NothingBootable),
        }
    }

    fn reverted(self, digest: Digest, why: Error) -> DeviceState {
        let boots = self.boots.saturating_add(1);
        DeviceState { trial: Trial::None, outcome: Outcome::Reverted(digest, why.code()), boots, ..self }
    }

    /// Writes the record; returns its length.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut writer = RecordWriter::new(out, VERSION);
        writer.u8(self.active as u8);
        match &self.trial {
            Trial::None => writer.u8(0),
            Trial::Pending(digest) => writer.u8(1).bytes(&digest.0),
            Trial::Running(digest) => writer.u8(2).bytes(&digest.0),
        };
        match &self.outcome {
            Outcome::None => writer.u8(0),
            Outcome::Confirmed(digest) => writer.u8(1).bytes(&digest.0),
            Outcome::Reverted(digest, code) => writer.u8(2).bytes(&digest.0).bytes(&code.to_be_bytes()),
            Outcome::FellBack(code) => writer.u8(3).bytes(&code.to_be_bytes()),
        };
        writer.u64(self.counter).u64(self.boots);
        writer.finish()
    }

    /// Reads the record.
    pub fn decode(record: &[u8]) -> Result<Self, Error> {
        let mut reader = RecordReader::new(record, VERSION)?;
        let active = match reader.u8() {
            0 => Slot::A,
            1 => Slot::B,
            _ => return Err(Error::StateCorrupt),
        };
        let trial = match reader.u8() {
            0 => Trial::None,
            1 => Trial::Pending(reader.digest()),
            2 => Trial::Running(reader.digest()),
            _ => return Err(Error::StateCorrupt),
        };
        let outcome = match reader.u8() {
            0 => Outcome::None,
            1 => Outcome::Confirmed(reader.digest()),
            2 => Outcome::Reverted(reader.digest(), u16::from_be_bytes(reader.array())),
            3 => Outcome::FellBack(u16::from_be_bytes(reader.array())),
            _ => return Err(Error::StateCorrupt),
        };
        let (counter, boots) = (reader.u64(), reader.u64());
        reader.done(DeviceState { active, trial, outcome, counter, boots })
    }
}
