//! What the boot stage needs of its storage.

use crate::error::Error;
use crate::image::Slot;

/// The records a device keeps, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordId {
    /// The root file that is trusted.
    Root = 0,
    /// The floors ([`crate::session::TrustState`]).
    Trust = 1,
    /// What slot A must hold.
    SlotA = 2,
    /// What slot B must hold.
    SlotB = 3,
    /// The boot state ([`super::DeviceState`]).
    Boot = 4,
    /// Where an interrupted installation may go on.
    Resume = 5,
}

impl RecordId {
    /// Every record.
    pub const ALL: [RecordId; 6] =
        [RecordId::Root, RecordId::Trust, RecordId::SlotA, RecordId::SlotB, RecordId::Boot, RecordId::Resume];

    /// The record beside a slot.
    pub const fn slot(slot: Slot) -> RecordId {
        match slot {
            Slot::A => RecordId::SlotA,
            Slot::B => RecordId::SlotB,
        }
    }

    /// A name for people and files.
    pub const fn name(self) -> &'static str {
        match self {
            RecordId::Root => "root",
            RecordId::Trust => "trust",
            RecordId::SlotA => "slot-a",
            RecordId::SlotB => "slot-b",
            RecordId::Boot => "boot",
            RecordId::Resume => "resume",
        }
    }
}

/// A store of records.
pub trait Records {
    /// Reads a record into `buffer`; `None` when there is none. A record longer than the buffer is
    /// [`Error::BufferTooSmall`].
    fn read<'r>(&mut self, id: RecordId, buffer: &'r mut [u8]) -> Result<Option<&'r [u8]>, Error>;

    /// Replaces a record. After a cut it is the old one or the new one; when this returns it is the new one for good.
    fn replace(&mut self, id: RecordId, record: &[u8]) -> Result<(), Error>;

    /// Removes a record, if there is one; as atomic and as durable as [`Records::replace`].
    fn remove(&mut self, id: RecordId) -> Result<(), Error>;
}

/// A counter that never goes down: fuses, RPMB, or flash.
pub trait SecurityCounter {
    /// The counter.
    fn read(&mut self) -> Result<u64, Error>;

    /// Raises it; a value at or below the present one changes nothing.
    fn raise(&mut self, to: u64) -> Result<(), Error>;
}

impl<R: Records> Records for &mut R {
    fn read<'r>(&mut self, id: RecordId, buffer: &'r mut [u8]) -> Result<Option<&'r [u8]>, Error> {
        R::read(self, id, buffer)
    }
    fn replace(&mut self, id: RecordId, record: &[u8]) -> Result<(), Error> {
        R::replace(self, id, record)
    }
    fn remove(&mut self, id: RecordId) -> Result<(), Error> {
        R::remove(self, id)
    }
}

impl<C: SecurityCounter> SecurityCounter for &mut C {
    fn read(&mut self) -> Result<u64, Error> {
        C::read(self)
    }
    fn raise(&mut self, to: u64) -> Result<(), Error> {
        C::raise(self, to)
    }
}
