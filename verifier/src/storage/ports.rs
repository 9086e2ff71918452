//! The ports of boot and installation, kept in a [`FlashRecords`].

use core::cell::RefCell;

use embedded_storage::nor_flash::NorFlash;
use sealift_manifests::bounds::MAX_ENVELOPE;

use super::log::FlashRecords;
use crate::boot::{RecordId, Records, STATE_RECORD_MAX, SecurityCounter};
use crate::error::Error;
use crate::image::HINT_RECORD_MAX;
use crate::session::TRUST_RECORD_MAX;
use crate::session::slot_record::SLOT_RECORD_MAX;

/// Key of the security counter; the records' own numbers are the other keys.
const COUNTER: u8 = 15;

impl<F: NorFlash> FlashRecords<F> {
    /// Bytes that half of a device's store must have, so that every record fits at its greatest length: about 19 KiB. A store
    /// with larger halves is rewritten less often within one power cycle.
    pub const DEVICE_HALF: usize = {
        let values = [MAX_ENVELOPE, TRUST_RECORD_MAX, SLOT_RECORD_MAX, SLOT_RECORD_MAX];
        let [root, trust, slot_a, slot_b] = values;
        Self::first_entry()
            + Self::room_for(root)
            + Self::room_for(trust)
            + Self::room_for(slot_a)
            + Self::room_for(slot_b)
            + Self::room_for(STATE_RECORD_MAX)
            + Self::room_for(HINT_RECORD_MAX)
            + Self::room_for(8)
    };

    /// Opens a device's store, which takes the whole of `flash`: at least twice [`FlashRecords::DEVICE_HALF`], rounded up to
    /// sectors, else [`Error::BufferTooSmall`].
    pub fn of_device(flash: F) -> Result<Self, Error> {
        Self::open(flash, Self::DEVICE_HALF)
    }
}

impl<F: NorFlash> Records for FlashRecords<F> {
    fn read<'r>(&mut self, id: RecordId, buffer: &'r mut [u8]) -> Result<Option<&'r [u8]>, Error> {
        match FlashRecords::read(self, id as u8, buffer)? {
            Some(length) => buffer.get(..length).map(Some).ok_or(Error::BufferTooSmall),
            None => Ok(None),
        }
    }

    fn replace(&mut self, id: RecordId, record: &[u8]) -> Result<(), Error> {
        self.write(id as u8, record)
    }

    fn remove(&mut self, id: RecordId) -> Result<(), Error> {
        FlashRecords::remove(self, id as u8)
    }
}

/// A counter as safe as the flash it stands in: whoever can write the flash can lower it. Where the part has fuses, an RPMB or
/// a secure element, implement the port over those.
impl<F: NorFlash> SecurityCounter for FlashRecords<F> {
    fn read(&mut self) -> Result<u64, Error> {
        let mut number = [0; 8];
        match FlashRecords::read(self, COUNTER, &mut number)? {
            Some(8) => Ok(u64::from_be_bytes(number)),
            Some(_) => Err(Error::StateCorrupt),
            None => Ok(0),
        }
    }

    fn raise(&mut self, to: u64) -> Result<(), Error> {
        if to <= SecurityCounter::read(self)? {
            return Ok(());
        }
        self.write(COUNTER, &to.to_be_bytes())
    }
}

/// Shared: records and counter in one store, which [`BootControl`](crate::boot::BootControl) takes apart.
impl<F: NorFlash> Records for &RefCell<FlashRecords<F>> {
    fn read<'r>(&mut self, id: RecordId, buffer: &'r mut [u8]) -> Result<Option<&'r [u8]>, Error> {
        Records::read(&mut *self.try_borrow_mut().map_err(|_| Error::Storage)?, id, buffer)
    }

    fn replace(&mut self, id: RecordId, record: &[u8]) -> Result<(), Error> {
        self.try_borrow_mut().map_err(|_| Error::Storage)?.replace(id, record)
    }

    fn remove(&mut self, id: RecordId) -> Result<(), Error> {
        Records::remove(&mut *self.try_borrow_mut().map_err(|_| Error::Storage)?, id)
    }
}

/// As above.
impl<F: NorFlash> SecurityCounter for &RefCell<FlashRecords<F>> {
    fn read(&mut self) -> Result<u64, Error> {
        SecurityCounter::read(&mut *self.try_borrow_mut().map_err(|_| Error::Storage)?)
    }

    fn raise(&mut self, to: u64) -> Result<(), Error> {
        self.try_borrow_mut().map_err(|_| Error::Storage)?.raise(to)
    }
}
