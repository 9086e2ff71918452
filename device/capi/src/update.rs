//! One update, from a bundle to an image that the next boot tries.

use core::mem::MaybeUninit;

use sealift_manifests::Digest;
use sealift_verifier::Error;
use sealift_verifier::boot::{RecordId, Records};
use sealift_verifier::delta::Decoder24K;
use sealift_verifier::image::{HINT_RECORD_MAX, Install, Limits, Next, choose_payload};
use sealift_verifier::session::{DeviceFacts, Identity, Record, Session, TRUST_RECORD_MAX, TrustState};
use sealift_verifier::trust::{Policy, Time};

use crate::device::{SealiftDevice, bytes_mut, code, slot_of};
use crate::flash::SealiftFlash;

/// The time is not known.
pub const SEALIFT_NO_TIME: u64 = 0;
/// More of the payload is wanted: sealift_update_wants says from where.
pub const SEALIFT_MORE: i32 = 0;
/// Every byte is there: call sealift_update_finish.
pub const SEALIFT_DONE: i32 = -1;
/// What an interrupted update had left can't be gone on from, and was dropped: call sealift_update_begin again.
pub const SEALIFT_AGAIN: i32 = -2;
/// Bytes of image between two resume records.
const HINT_EVERY: u32 = 8 * 1024;
/// Bytes of image that are gathered before they are written.
const GATHER: usize = 256;
/// Most bytes of the trusted root.
const ROOT: usize = 2048;

type Running = Install<'static, SealiftFlash, SealiftFlash, &'static mut Decoder24K, GATHER>;

/// An update under way, in the memory that sealift_update_memory asks for.
struct Update {
    device: SealiftDevice,
    root: [u8; ROOT],
    decoder: Decoder24K,
    install: Option<Running>,
    payload: Digest,
    hinted: u32,
    resumed: bool,
}

/// What stands in the slot is not the image: nothing to go on from. If it was a record that led there, the fault may be the
/// record's.
fn dropped(device: &SealiftDevice, resumed: bool, error: Error) -> Result<i32, Error> {
    device.store()?.records().remove(RecordId::Resume)?;
    if resumed { Ok(SEALIFT_AGAIN) } else { Err(error) }
}

/// # Safety
/// `bytes` points to `length` bytes that nobody changes while `'d` lasts.
pub(crate) unsafe fn bytes<'d>(bytes: *const u8, length: usize) -> Result<&'d [u8], Error> {
    if bytes.is_null() {
        return Err(Error::BufferTooSmall);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { core::slice::from_raw_parts(bytes, length) })
}

/// Bytes of memory that an update needs, aligned to 8: about 27 KiB, most of it the delta decoder's.
#[unsafe(no_mangle)]
pub extern "C" fn sealift_update_memory() -> usize {
    size_of::<Update>()
}

/// # Safety
/// `memory` is what sealift_update_begin got, and nobody else uses it.
unsafe fn update<'m>(memory: *mut u8) -> Result<&'m mut Update, Error> {
    if memory.is_null() || !memory.cast::<Update>().is_aligned() {
        return Err(Error::BufferTooSmall);
    }
    // SAFETY: the caller's promise; begin has filled it.
    Ok(unsafe { &mut *memory.cast() })
}

/// Verifies a bundle and begins to install its target: the slot that does not run is written from now on.
///
/// `running` is the slot that sealift_boot said, `time` seconds since 1970 or SEALIFT_NO_TIME. Returns 0, or the number of the
/// error; nothing is changed then but what the trust state learnt from files that were accepted.
///
/// # Safety
/// `memory` has sealift_update_memory() bytes, aligned to 8; it, the bundle and whatever the device points to stay as they are
/// until the update is finished or given up. `target` has 32 bytes, `scratch` has `length`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealift_update_begin(
    memory: *mut u8,
    device: *const SealiftDevice,
    running: u32,
    target: *const [u8; 32],
    bundle: *const u8,
    bundle_length: usize,
    time: u64,
    scratch: *mut u8,
    length: usize,
) -> i32 {
    let act = || {
        // SAFETY: the caller's promises. The memory is filled field by field, with no large value on the stack.
        let (update, target, bundle, scratch) = unsafe {
            let device = device.as_ref().ok_or(Error::WrongState)?;
            if memory.is_null() || !memory.cast::<Update>().is_aligned() {
                return Err(Error::BufferTooSmall);
            }
            let place = memory.cast::<MaybeUninit<Update>>();
            let fields = (*place).as_mut_ptr();
            (&raw mut (*fields).device).write(*device);
            (&raw mut (*fields).root).write_bytes(0, 1);
            (&raw mut (*fields).decoder).write(Decoder24K::new());
            (&raw mut (*fields).install).write(None);
            (&raw mut (*fields).payload).write(Digest([0; 32]));
            (&raw mut (*fields).hinted).write(0);
            (&raw mut (*fields).resumed).write(false);
            let target = target.as_ref().ok_or(Error::WrongState)?;
            (&mut *fields, target, bytes::<'static>(bundle, bundle_length)?, bytes_mut(scratch, length)?)
        };
        begin(update, running, &Digest(*target), bundle, time, scratch)
    };
    code(act())
}

fn begin(
    update: &'static mut Update,
    running: u32,
    target: &Digest,
    bundle: &'static [u8],
    time: u64,
    scratch: &mut [u8],
) -> Result<(), Error> {
    let Update { device, root, decoder, install: place, payload, hinted, resumed } = update;
    // SAFETY: the caller of sealift_update_begin has promised that the texts stay.
    let identity: Identity<'static> = unsafe { device.identity()? };
    let store = device.store()?;
    let mut records = store.records();
    let mut control = device.control(&store);
    let installed = control.recorded(slot_of(running)?, &identity, scratch)?;
    let security_counter = control.security_counter()?;
    let mut trust = [0; TRUST_RECORD_MAX];
    let state = match records.read(RecordId::Trust, &mut trust)? {
        Some(record) => TrustState::decode(record)?,
        None => TrustState::default(),
    };
    let root = records.read(RecordId::Root, root)?.ok_or(Error::StateCorrupt)?;
    let time = if time == SEALIFT_NO_TIME { Time::Unknown } else { Time::AtLeast(time) };
    let mut session = Session::new(identity, root, state, time, Policy::production())?;
    session.supply_bundle(bundle, |record| match record {
        Record::Root(file) => records.replace(RecordId::Root, file),
        Record::Trust(state) => {
            let length = state.encode(&mut trust)?;
            records.replace(RecordId::Trust, trust.get(..length).unwrap_or_default())
        }
    })?;
    let approved = session.select(target, &DeviceFacts { security_counter, installed: Some(installed.version) })?;
    let limits =
        Limits { decoder_ram: 24 * 1024, window_log: 13, slot: device.slot_b.length.into(), delta_only: false };
    let choice = choose_payload(approved.target(), Some(&installed.image), &limits)?;
    *payload = choice.payload().digest;
    let slot = control.prepare()?;
    let mut slots = device.slots();
    let (flash, base) = slots.split(slot);
    let mut buffer = [0; HINT_RECORD_MAX];
    let hint = records.read(RecordId::Resume, &mut buffer).unwrap_or(None);
    // A hint of another installation is dropped: the decoder is started anew either way.
    let begun = match hint {
        None => None,
        Some(_) => {
            let decoder: *mut Decoder24K = &raw mut *decoder;
            // SAFETY: the one reference made here is gone again when the installation was not begun with it.
            let again = unsafe { &mut *decoder };
            Install::begin(approved, &choice, slot, *flash, Some(*base), again, hint).ok()
        }
    };
    let begun = match begun {
        Some(install) => install,
        None => {
            records.remove(RecordId::Resume)?;
            Install::begin(approved, &choice, slot, *flash, Some(*base), decoder, None)?
        }
    };
    *hinted = begun.hinted();
    *resumed = *hinted > 0;
    *place = Some(begun);
    Ok(())
}

/// Says which bytes are wanted next: the payload of this SHA-256, from this offset on, up to this many.
///
/// # Safety
/// `memory` is that of an update that was begun; the others are valid, `payload` for 32 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealift_update_wants(
    memory: *mut u8,
    payload: *mut [u8; 32],
    offset: *mut u32,
    left: *mut u32,
) -> i32 {
    let act = || {
        // SAFETY: the caller's promises.
        let (update, payload, offset, left) = unsafe {
            let places = (payload.as_mut(), offset.as_mut(), left.as_mut());
            let (Some(payload), Some(offset), Some(left)) = places else { return Err(Error::WrongState) };
            (update(memory)?, payload, offset, left)
        };
        let install = update.install.as_ref().ok_or(Error::WrongState)?;
        *payload = update.payload.0;
        *offset = install.next_offset();
        *left = install.payload().length.saturating_sub(install.next_offset());
        Ok(())
    };
    code(act())
}

/// Takes bytes of the payload, from the wanted offset on, in pieces of any size. Returns SEALIFT_MORE, SEALIFT_DONE,
/// SEALIFT_AGAIN, or the number of the error. When the link breaks, just stop: the next update of this target goes on from
/// what the flash has.
///
/// # Safety
/// `memory` is that of an update that was begun; `piece` has `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealift_update_push(memory: *mut u8, piece: *const u8, length: usize) -> i32 {
    let act = || {
        // SAFETY: the caller's promises.
        let (update, piece) = unsafe { (update(memory)?, bytes(piece, length)?) };
        let install = update.install.as_mut().ok_or(Error::WrongState)?;
        match install.push(piece) {
            Ok(Next::Done) => return Ok(SEALIFT_DONE),
            Ok(_) => {}
            Err(error) => return dropped(&update.device, update.resumed, error),
        }
        if install.hinted() >= update.hinted.saturating_add(HINT_EVERY) {
            update.hinted = install.hinted();
            let mut record = [0; HINT_RECORD_MAX];
            if let Some(length) = install.hint(&mut record)? {
                let store = update.device.store()?;
                store.records().replace(RecordId::Resume, record.get(..length).unwrap_or_default())?;
            }
        }
        Ok(SEALIFT_MORE)
    };
    act().unwrap_or_else(|error: Error| i32::from(error.code()))
}

/// Reads the whole slot back, and has the next boot try it. Reset the device after a 0. The update is over either way; after
/// SEALIFT_AGAIN it is worth beginning again.
///
/// # Safety
/// `memory` is that of an update that was begun; `scratch` has `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealift_update_finish(memory: *mut u8, scratch: *mut u8, length: usize) -> i32 {
    let act = || {
        // SAFETY: the caller's promises.
        let (update, scratch) = unsafe { (update(memory)?, bytes_mut(scratch, length)?) };
        let install = update.install.take().ok_or(Error::WrongState)?;
        let store = update.device.store()?;
        match install.finish() {
            Ok(verified) => update.device.control(&store).activate(verified, scratch).map(|()| 0),
            Err(error) => dropped(&update.device, update.resumed, error),
        }
    };
    act().unwrap_or_else(|error: Error| i32::from(error.code()))
}
