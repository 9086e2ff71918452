//! Whether a slot may run: asked at every boot, of the record beside it and of its whole content.

use embedded_storage::nor_flash::ReadNorFlash;

use super::factory::{self, FactoryImage};
use super::ports::{RecordId, Records};
use crate::certain::require;
use crate::error::Error;
use crate::image::{Slot, SlotReader, Slots};
use crate::session::Identity;
use crate::session::slot_record::{self, BootTarget};

/// Reads the record beside a slot and checks who signed it and for whom; the image is not looked at.
pub(super) fn read_record(
    records: &mut impl Records,
    slot: Slot,
    identity: &Identity<'_>,
    scratch: &mut [u8],
) -> Result<BootTarget, Error> {
    let record = records.read(RecordId::slot(slot), scratch)?.ok_or(Error::StateCorrupt)?;
    match record.first() {
        Some(&factory::VERSION) => FactoryImage::decode(record, identity),
        _ => slot_record::verify(record, identity),
    }
}

/// Checks one slot: the record's signatures, repository, product, component and hardware; the security counter, which must
/// not be below `counter`; and the hash over the whole image.
pub fn check_slot<F: ReadNorFlash>(
    records: &mut impl Records,
    slots: &mut Slots<F>,
    slot: Slot,
    identity: &Identity<'_>,
    counter: u64,
    scratch: &mut [u8],
) -> Result<BootTarget, Error> {
    let target = read_record(records, slot, identity, scratch)?;
    require!(target.security_counter >= counter, Error::CounterTooLow);
    require!(SlotReader::new(slots.of(slot)).holds(&target.image)?, Error::ImageHash);
    Ok(target)
}
