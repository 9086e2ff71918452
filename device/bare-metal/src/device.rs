//! Who this device is: what is compiled in, and what the factory wrote.

use embedded_storage::nor_flash::ReadNorFlash;
use sealift_manifests::RepositoryId;
use sealift_verifier::Error;
use sealift_verifier::image::Slots;
use sealift_verifier::session::Identity;
use sealift_verifier::storage::DeviceStore;

use crate::board::HARDWARE;
use crate::flash::Nor;

/// Bytes for the greatest record that this device takes. The format allows more (5,606); a repository with few keys and one
/// product a file stays far below, and a larger record is refused as SL-705, before anything is changed.
pub const SCRATCH: usize = 3 * 1024;
/// Bytes for a root file, likewise.
pub const ROOT: usize = 1024;
/// Bytes for an update bundle, likewise.
pub const BUNDLE: usize = 4 * 1024;

/// First bytes of the factory's page.
pub const FACTORY_MAGIC: [u8; 8] = *b"SLFACTRY";

/// The device's identity. The repository id is the factory's.
pub fn identity() -> Result<Identity<'static>, Error> {
    let mut page = [0; 24];
    Nor::factory().read(0, &mut page).map_err(|_| Error::Storage)?;
    let (magic, repository) = page.split_first_chunk().ok_or(Error::StateCorrupt)?;
    if *magic != FACTORY_MAGIC {
        return Err(Error::StateCorrupt);
    }
    let repository = RepositoryId(repository.try_into().map_err(|_| Error::StateCorrupt)?);
    Ok(Identity { repository, product: "weather-station", component: "main", hardware: HARDWARE })
}

/// Its slots.
pub fn slots() -> Slots<Nor> {
    Slots { a: Nor::slot_a(), b: Nor::slot_b() }
}

/// Its records and counter.
pub fn store() -> Result<DeviceStore<Nor>, Error> {
    DeviceStore::open(Nor::store())
}
