//! The factory's programmer: it makes the first content of a device's flash, with the verifier's own code.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use sealift_manifests::{Image, RepositoryId, Version, sha256};
use sealift_verifier::{
    boot::{FactoryImage, RecordId, Records},
    image::Slot,
    session::{Identity, slot_record::SLOT_RECORD_MAX},
    storage::DeviceStore,
};

/// Bytes of a slot, as in device/bare-metal/src/flash.rs; the others are too.
pub(super) const SLOT: usize = 256 * 1024;
const STORE: usize = 64 * 1024;
const WORD: usize = 8;
const SECTOR: usize = 4096;
/// Bytes of the whole flash.
pub(super) const FLASH: usize = 2 * SLOT + STORE + SECTOR;

/// The store's part of the flash, in memory.
struct Partition(Vec<u8>);

impl ErrorType for Partition {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Partition {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for Partition {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        self.0[from as usize..to as usize].fill(0xff);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

/// The flash of a device that leaves the factory with `image` in slot A.
pub(super) fn flash(
    hardware: &str,
    repository: RepositoryId,
    root: &[u8],
    image: &[u8],
    version: Version,
    security_counter: u64,
) -> Result<Vec<u8>, sealift_verifier::Error> {
    let identity = Identity { repository, product: super::release::PRODUCT, component: "main", hardware };
    let store = DeviceStore::open(Partition(vec![0xff; STORE]))?;
    store.records().replace(RecordId::Root, root)?;
    let length = u32::try_from(image.len()).map_err(|_| sealift_verifier::Error::SlotTooSmall)?;
    let factory = FactoryImage { image: Image { length, digest: sha256(image) }, version, security_counter };
    let (mut record, mut scratch) = ([0; FactoryImage::RECORD_MAX], [0; SLOT_RECORD_MAX]);
    let length = factory.encode(&identity, &mut record)?;
    store.control().provision(Slot::A, &record[..length], &identity, &mut scratch)?;

    let mut flash = vec![0xff; FLASH];
    if image.len() > SLOT {
        return Err(sealift_verifier::Error::SlotTooSmall);
    }
    flash[..image.len()].copy_from_slice(image);
    flash[2 * SLOT..][..STORE].copy_from_slice(&store.into_flash().0);
    let page = [&b"SLFACTRY"[..], &repository.0].concat();
    flash[2 * SLOT + STORE..][..page.len()].copy_from_slice(&page);
    Ok(flash)
}
