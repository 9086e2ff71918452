//! One update, from its bundle to an image that the next boot tries: what an application does, whatever its link is.
//!
//! Each phase is a function of its own and never inlined, so that its frame is gone when the next begins. The two deep ones,
//! the verification and the installation with its decoder, use the same stack one after the other: that is the whole of the
//! memory plan, and why the decoder is no `static`.

use core::cell::UnsafeCell;

use sealift_manifests::{Digest, Image};
use sealift_verifier::Error;
use sealift_verifier::boot::{RecordId, Records};
use sealift_verifier::delta::Decoder24K;
use sealift_verifier::image::{Choice, HINT_RECORD_MAX, Install, Limits, Next, Slot, VerifiedImage, choose_payload};
use sealift_verifier::session::slot_record::BootTarget;
use sealift_verifier::session::{Approved, DeviceFacts, Record, Session, TRUST_RECORD_MAX, TrustState};
use sealift_verifier::storage::DeviceStore;
use sealift_verifier::trust::{Policy, Time};

use crate::device;
use crate::flash::{Nor, SLOT};

/// Bytes of image between two resume hints.
const HINT_EVERY: u32 = 8 * 1024;
/// Bytes of image that are gathered before they are written.
const GATHER: usize = 256;
/// Bytes of payload that are asked for at a time.
pub const CHUNK: usize = 256;

/// Where an update comes from. Nothing of it is trusted.
pub trait Link {
    /// Fills `room`, or a first part of it, with the bundle's bytes from `from` on; returns how many.
    fn bundle(&mut self, from: usize, room: &mut [u8]) -> Result<usize, Error>;
    /// The same of a payload.
    fn payload(&mut self, digest: &Digest, from: usize, room: &mut [u8]) -> Result<usize, Error>;
    /// What was verified, and is installed now.
    fn approved(&mut self, approved: &Approved<'_>, choice: &Choice);
}

/// What must outlive the verification: what was approved borrows both.
pub struct Buffers {
    root: [u8; device::ROOT],
    bundle: [u8; device::BUNDLE],
}

struct Static(UnsafeCell<Buffers>);
// SAFETY: there is one thread and no interrupt that uses it.
unsafe impl Sync for Static {}

static BUFFERS: Static = Static(UnsafeCell::new(Buffers { root: [0; device::ROOT], bundle: [0; device::BUNDLE] }));

/// The application's buffers.
///
/// # Safety
/// Called once.
pub unsafe fn buffers() -> &'static mut Buffers {
    // SAFETY: the caller's promise.
    unsafe { &mut *BUFFERS.0.get() }
}

/// What the device is at, and where an update goes.
struct Device {
    installed: BootTarget,
    counter: u64,
}

/// Takes an update whose bundle has `length` bytes. After `Ok` a reset starts the trial.
pub fn update<L: Link>(
    running: Slot,
    target: &Digest,
    length: usize,
    buffers: &mut Buffers,
    link: &mut L,
) -> Result<(), Error> {
    let Buffers { root, bundle } = buffers;
    let bundle = bundle.get_mut(..length).ok_or(Error::BufferTooSmall)?;
    let mut have = 0;
    while have < length {
        have += link.bundle(have, bundle.get_mut(have..).unwrap_or_default())?;
    }
    let store = device::store()?;
    let device = facts(running, &store)?;
    let approved = verify(root, bundle, target, &device, &store)?;
    let choice = choose(&approved, &device.installed.image)?;
    link.approved(&approved, &choice);
    let slot = store.control().prepare()?;
    let verified = install(approved, &choice, slot, &store, link)?;
    activate(verified, &store)
}

#[inline(never)]
fn facts(running: Slot, store: &DeviceStore<Nor>) -> Result<Device, Error> {
    let mut control = store.control();
    let installed = control.recorded(running, &device::identity()?, &mut [0; device::SCRATCH])?;
    Ok(Device { installed, counter: control.security_counter()? })
}

/// The whole chain of trust, and each record of it kept before the next step.
#[inline(never)]
fn verify<'b>(
    root: &'b mut [u8],
    bundle: &'b [u8],
    target: &Digest,
    device: &Device,
    store: &DeviceStore<Nor>,
) -> Result<Approved<'b>, Error> {
    let mut records = store.records();
    let state = trust_state(store)?;
    let root = records.read(RecordId::Root, root)?.ok_or(Error::StateCorrupt)?;
    // This board has no clock.
    let mut session = Session::new(device::identity()?, root, state, Time::Unknown, Policy::production())?;
    session.supply_bundle(bundle, |record| match record {
        Record::Root(file) => records.replace(RecordId::Root, file),
        Record::Trust(state) => keep(state, store),
    })?;
    let facts = DeviceFacts { security_counter: device.counter, installed: Some(device.installed.version) };
    session.select(target, &facts)
}

#[inline(never)]
fn trust_state(store: &DeviceStore<Nor>) -> Result<TrustState, Error> {
    match store.records().read(RecordId::Trust, &mut [0; TRUST_RECORD_MAX])? {
        Some(record) => TrustState::decode(record),
        None => Ok(TrustState::default()),
    }
}

#[inline(never)]
fn keep(state: &TrustState, store: &DeviceStore<Nor>) -> Result<(), Error> {
    let mut record = [0; TRUST_RECORD_MAX];
    let length = state.encode(&mut record)?;
    store.records().replace(RecordId::Trust, record.get(..length).unwrap_or_default())
}

fn choose(approved: &Approved<'_>, installed: &Image) -> Result<Choice, Error> {
    let limits = Limits { decoder_ram: 24 * 1024, window_log: 13, slot: SLOT as u64, delta_only: false };
    choose_payload(approved.target(), Some(installed), &limits)
}

/// Fetches the payload and writes the slot.
#[inline(never)]
fn install<'b, L: Link>(
    approved: Approved<'b>,
    choice: &Choice,
    slot: Slot,
    store: &DeviceStore<Nor>,
    link: &mut L,
) -> Result<VerifiedImage<'b>, Error> {
    let mut records = store.records();
    let mut decoder = Decoder24K::new();
    let mut slots = device::slots();
    let (flash, base) = slots.split(slot);
    let mut record = [0; HINT_RECORD_MAX];
    let mut hint = records.read(RecordId::Resume, &mut record).unwrap_or(None);
    let mut chunk = [0; CHUNK];
    loop {
        let attempt = (|| {
            let (flash, base) = (&mut *flash, Some(&mut *base));
            let mut install =
                Install::<_, _, _, GATHER>::begin(approved, choice, slot, flash, base, &mut decoder, hint)?;
            let mut hinted = install.hinted();
            loop {
                let from = install.next_offset();
                let left = install.payload().length.saturating_sub(from) as usize;
                let wanted = chunk.get_mut(..left.min(CHUNK)).unwrap_or_default();
                let count = link.payload(&choice.payload().digest, from as usize, wanted)?;
                if install.push(wanted.get(..count).unwrap_or_default())? == Next::Done {
                    return install.finish();
                }
                if install.hinted() >= hinted.saturating_add(HINT_EVERY) {
                    hinted = install.hinted();
                    let mut record = [0; HINT_RECORD_MAX];
                    if let Some(length) = install.hint(&mut record)? {
                        records.replace(RecordId::Resume, record.get(..length).unwrap_or_default())?;
                    }
                }
            }
        })();
        match attempt {
            // The link broke: the next update goes on from the hint.
            Err(Error::PayloadTruncated) => return attempt,
            // What stands in the slot is not the image. If it was a hint that led there, the fault may be the hint's.
            Err(_) => records.remove(RecordId::Resume)?,
            Ok(_) => return attempt,
        }
        if hint.take().is_none() {
            return attempt;
        }
    }
}

#[inline(never)]
fn activate(verified: VerifiedImage<'_>, store: &DeviceStore<Nor>) -> Result<(), Error> {
    store.control().activate(verified, &mut [0; device::SCRATCH])
}

/// Confirms what runs in `running`.
#[inline(never)]
pub fn confirm(running: Slot) -> Result<(), Error> {
    let store = device::store()?;
    store.control().confirm(running, &device::identity()?, &mut [0; device::SCRATCH]).map(drop)
}

/// What runs in `running`, and the security counter that holds.
#[inline(never)]
pub fn running(running: Slot) -> Result<(BootTarget, u64), Error> {
    facts(running, &device::store()?).map(|device| (device.installed, device.counter))
}
