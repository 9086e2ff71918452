//! The device as C describes it, and the calls of its boot stage.

use core::ffi::{CStr, c_char};

use sealift_manifests::RepositoryId;
use sealift_verifier::Error;
use sealift_verifier::boot::BootControl;
use sealift_verifier::image::{Slot, Slots};
use sealift_verifier::session::Identity;
use sealift_verifier::storage::{DeviceStore, StoredRecords};

use crate::flash::{Counter, SealiftCounter, SealiftFlash};
use sealift_verifier::storage::StoredCounter;

/// Bytes that a scratch buffer needs for every record that the format allows. A smaller one is refused (705) when a record is
/// larger, before anything is changed.
pub const SEALIFT_SCRATCH: usize = 5606;
/// Slot A.
pub const SEALIFT_SLOT_A: u32 = 0;
/// Slot B.
pub const SEALIFT_SLOT_B: u32 = 1;

/// A device. It, and everything it points to, must outlive each use of it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SealiftDevice {
    /// Id of the one repository that it listens to.
    pub repository: [u8; 16],
    /// Its product id, ending in a zero byte.
    pub product: *const c_char,
    /// The component that is updated.
    pub component: *const c_char,
    /// Its hardware id.
    pub hardware: *const c_char,
    /// Slot A.
    pub slot_a: SealiftFlash,
    /// Slot B.
    pub slot_b: SealiftFlash,
    /// The record store: two halves of whole sectors, each of at least 19 KiB.
    pub store: SealiftFlash,
    /// The security counter.
    pub counter: SealiftCounter,
}

/// What a boot decided.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SealiftBooted {
    /// The slot to run: SEALIFT_SLOT_A or SEALIFT_SLOT_B.
    pub slot: u32,
    /// Whether it runs on trial: start the watchdog, and have it call sealift_confirm.
    pub trial: bool,
    /// Bytes of the image.
    pub length: u32,
    /// SHA-256 of the image: check what you run against it, if it is a copy.
    pub digest: [u8; 32],
    /// Version: major, minor, patch.
    pub version: [u32; 3],
}

pub(crate) type Store = DeviceStore<SealiftFlash>;
pub(crate) type Control<'s> = BootControl<StoredRecords<'s, SealiftFlash>, Counter<StoredCounter<'s, SealiftFlash>>>;

/// # Safety
/// `text` points to a text that ends in a zero byte and outlives `'d`, or is null.
unsafe fn text<'d>(text: *const c_char) -> Result<&'d str, Error> {
    if text.is_null() {
        return Err(Error::WrongState);
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| Error::WrongState)
}

impl SealiftDevice {
    /// # Safety
    /// The device's texts outlive `'d`.
    pub(crate) unsafe fn identity<'d>(&self) -> Result<Identity<'d>, Error> {
        // SAFETY: the caller's promise.
        let [product, component, hardware] =
            unsafe { [text(self.product)?, text(self.component)?, text(self.hardware)?] };
        Ok(Identity { repository: RepositoryId(self.repository), product, component, hardware })
    }

    pub(crate) fn store(&self) -> Result<Store, Error> {
        DeviceStore::open(self.store)
    }

    pub(crate) fn slots(&self) -> Slots<SealiftFlash> {
        Slots { a: self.slot_a, b: self.slot_b }
    }

    pub(crate) fn control<'s>(&self, store: &'s Store) -> Control<'s> {
        BootControl::new(store.records(), Counter { own: self.counter, stored: store.counter() })
    }
}

pub(crate) fn code(done: Result<(), Error>) -> i32 {
    match done {
        Ok(()) => 0,
        Err(error) => i32::from(error.code()),
    }
}

/// # Safety
/// `bytes` points to `length` bytes that nobody else uses while `'d` lasts.
pub(crate) unsafe fn bytes_mut<'d>(bytes: *mut u8, length: usize) -> Result<&'d mut [u8], Error> {
    if bytes.is_null() {
        return Err(Error::BufferTooSmall);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { core::slice::from_raw_parts_mut(bytes, length) })
}

/// Decides what runs, and records what must be recorded first. Run nothing else. Returns 0, or the number of the error.
///
/// # Safety
/// `device` and `booted` are valid; `scratch` has `length` bytes, best SEALIFT_SCRATCH.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealift_boot(
    device: *const SealiftDevice,
    scratch: *mut u8,
    length: usize,
    booted: *mut SealiftBooted,
) -> i32 {
    let act = || {
        // SAFETY: the caller's promises.
        let (device, identity, scratch, out) = unsafe {
            let device = device.as_ref().ok_or(Error::WrongState)?;
            let out = booted.as_mut().ok_or(Error::WrongState)?;
            (device, device.identity()?, bytes_mut(scratch, length)?, out)
        };
        let store = device.store()?;
        let found = device.control(&store).boot(&identity, &mut device.slots(), scratch)?;
        let image = found.target.image;
        *out = SealiftBooted {
            slot: found.slot as u32,
            trial: found.trial,
            length: image.length,
            digest: image.digest.0,
            version: found.target.version.0,
        };
        Ok(())
    };
    code(act())
}

/// The image in `slot`, which runs on trial, found itself well. Where that slot is not on trial nothing happens.
///
/// # Safety
/// `device` is valid; `scratch` has `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealift_confirm(
    device: *const SealiftDevice,
    slot: u32,
    scratch: *mut u8,
    length: usize,
) -> i32 {
    let act = || {
        // SAFETY: the caller's promises.
        let (device, identity, scratch) = unsafe {
            let device = device.as_ref().ok_or(Error::WrongState)?;
            (device, device.identity()?, bytes_mut(scratch, length)?)
        };
        let store = device.store()?;
        device.control(&store).confirm(slot_of(slot)?, &identity, scratch).map(drop)
    };
    code(act())
}

/// Whether these bytes are the image of this SHA-256: for a boot stage that runs a copy.
///
/// # Safety
/// `image` has `length` bytes; `digest` is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealift_is_image(image: *const u8, length: usize, digest: *const [u8; 32]) -> bool {
    // SAFETY: the caller's promises.
    let (image, digest) = unsafe { (crate::update::bytes(image, length), digest.as_ref()) };
    matches!((image, digest), (Ok(image), Some(digest)) if sealift_manifests::sha256(image).0 == *digest)
}

/// The security counter that holds: the raised one, or one that was confirmed and is still to be raised.
///
/// # Safety
/// `device` and `value` are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealift_security_counter(device: *const SealiftDevice, value: *mut u64) -> i32 {
    let act = || {
        // SAFETY: the caller's promises.
        let (device, value) =
            unsafe { (device.as_ref().ok_or(Error::WrongState)?, value.as_mut().ok_or(Error::WrongState)?) };
        let store = device.store()?;
        *value = device.control(&store).security_counter()?;
        Ok(())
    };
    code(act())
}

pub(crate) fn slot_of(slot: u32) -> Result<Slot, Error> {
    match slot {
        SEALIFT_SLOT_A => Ok(Slot::A),
        SEALIFT_SLOT_B => Ok(Slot::B),
        _ => Err(Error::WrongState),
    }
}

/// At the factory: `slot` holds an image of `image_length` bytes; `root` is the root to trust.
///
/// # Safety
/// `device` is valid; `root`, `version` (three numbers) and `scratch` have the bytes that are said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealift_provision(
    device: *const SealiftDevice,
    slot: u32,
    image_length: u32,
    version: *const [u32; 3],
    security_counter: u64,
    root: *const u8,
    root_length: usize,
    scratch: *mut u8,
    length: usize,
) -> i32 {
    use sealift_manifests::{Image, Version};
    use sealift_verifier::boot::{FactoryImage, RecordId, Records};
    use sealift_verifier::image::SlotReader;
    let act = || {
        // SAFETY: the caller's promises.
        let (device, identity, scratch, root, version) = unsafe {
            let device = device.as_ref().ok_or(Error::WrongState)?;
            let version = version.as_ref().ok_or(Error::WrongState)?;
            let root = crate::update::bytes(root, root_length)?;
            (device, device.identity()?, bytes_mut(scratch, length)?, root, version)
        };
        let slot = slot_of(slot)?;
        let digest = SlotReader::new(device.slots().of(slot)).digest(image_length)?;
        let image = Image { length: image_length, digest };
        let mut record = [0; FactoryImage::RECORD_MAX];
        let factory = FactoryImage { image, version: Version(*version), security_counter };
        let length = factory.encode(&identity, &mut record)?;
        let store = device.store()?;
        store.records().replace(RecordId::Root, root)?;
        let record = record.get(..length).ok_or(Error::BufferTooSmall)?;
        device.control(&store).provision(slot, record, &identity, scratch).map(drop)
    };
    code(act())
}
