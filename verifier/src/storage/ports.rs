//! The ports of boot and installation, kept in a [`FlashRecords`].

use core::cell::RefCell;
use core::fmt;

use embedded_storage::nor_flash::NorFlash;
use sealift_manifests::bounds::MAX_ENVELOPE;

use super::log::FlashRecords;
use crate::boot::{BootControl, RecordId, Records, STATE_RECORD_MAX, SecurityCounter};
use crate::error::Error;
use crate::image::HINT_RECORD_MAX;
use crate::session::TRUST_RECORD_MAX;
use crate::session::slot_record::SLOT_RECORD_MAX;

/// Key of the security counter; the records' own numbers are the other keys.
const COUNTER: u8 = 15;

/// Everything a device keeps, in one region of flash: its records and a security counter.
#[derive(Debug)]
pub struct DeviceStore<F> {
    records: RefCell<FlashRecords<F>>,
}

impl<F: NorFlash> DeviceStore<F> {
    /// Bytes that half of the store must have, so that every record fits at its greatest length: about 19 KiB. A store with
    /// larger halves is rewritten less often within one power cycle.
    pub const HALF: usize = FlashRecords::<F>::first_entry()
        + FlashRecords::<F>::room_for(MAX_ENVELOPE)
        + FlashRecords::<F>::room_for(TRUST_RECORD_MAX)
        + 2 * FlashRecords::<F>::room_for(SLOT_RECORD_MAX)
        + FlashRecords::<F>::room_for(STATE_RECORD_MAX)
        + FlashRecords::<F>::room_for(HINT_RECORD_MAX)
        + FlashRecords::<F>::room_for(8);

    /// Opens the store that takes the whole of `flash`: at least twice [`DeviceStore::HALF`], each half rounded up to sectors,
    /// else [`Error::BufferTooSmall`]. Nothing is written.
    pub fn open(flash: F) -> Result<Self, Error> {
        Ok(DeviceStore { records: RefCell::new(FlashRecords::open(flash, Self::HALF)?) })
    }

    /// The records.
    pub const fn records(&self) -> StoredRecords<'_, F> {
        StoredRecords { store: self }
    }

    /// The security counter.
    pub const fn counter(&self) -> StoredCounter<'_, F> {
        StoredCounter { store: self }
    }

    /// Boot and installation over both.
    pub const fn control(&self) -> BootControl<StoredRecords<'_, F>, StoredCounter<'_, F>> {
        BootControl::new(self.records(), self.counter())
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.records.into_inner().into_flash()
    }

    fn with<R>(&self, act: impl FnOnce(&mut FlashRecords<F>) -> Result<R, Error>) -> Result<R, Error> {
        // Nothing is called back while it is borrowed, so this never fails; and if it did, it would not panic.
        act(&mut *self.records.try_borrow_mut().map_err(|_| Error::Storage)?)
    }
}

/// The records of a [`DeviceStore`].
#[derive(Clone, Copy)]
pub struct StoredRecords<'s, F> {
    store: &'s DeviceStore<F>,
}

/// The security counter of a [`DeviceStore`]: as safe as the flash it stands in, which whoever can write can lower. Where the
/// part has fuses, an RPMB or a secure element, implement [`SecurityCounter`] over those instead.
#[derive(Clone, Copy)]
pub struct StoredCounter<'s, F> {
    store: &'s DeviceStore<F>,
}

impl<F> fmt::Debug for StoredRecords<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredRecords")
    }
}

impl<F> fmt::Debug for StoredCounter<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredCounter")
    }
}

impl<F: NorFlash> Records for StoredRecords<'_, F> {
    fn read<'r>(&mut self, id: RecordId, buffer: &'r mut [u8]) -> Result<Option<&'r [u8]>, Error> {
        match self.store.with(|store| store.read(id as u8, buffer))? {
            Some(length) => buffer.get(..length).map(Some).ok_or(Error::BufferTooSmall),
            None => Ok(None),
        }
    }

    fn replace(&mut self, id: RecordId, record: &[u8]) -> Result<(), Error> {
        self.store.with(|store| store.write(id as u8, record))
    }

    fn remove(&mut self, id: RecordId) -> Result<(), Error> {
        self.store.with(|store| store.remove(id as u8))
    }
}

impl<F: NorFlash> SecurityCounter for StoredCounter<'_, F> {
    fn read(&mut self) -> Result<u64, Error> {
        let mut number = [0; 8];
        match self.store.with(|store| store.read(COUNTER, &mut number))? {
            Some(8) => Ok(u64::from_be_bytes(number)),
            Some(_) => Err(Error::StateCorrupt),
            None => Ok(0),
        }
    }

    fn raise(&mut self, to: u64) -> Result<(), Error> {
        if to <= self.read()? {
            return Ok(());
        }
        self.store.with(|store| store.write(COUNTER, &to.to_be_bytes()))
    }
}
