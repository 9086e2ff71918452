//! The application: says who it is, confirms itself when it is on trial and well, and takes updates over its UART.
#![no_std]
#![no_main]

use core::cell::UnsafeCell;

use sealift_bare_metal::{board, console, device, flash::SLOT, handover::Handover, link};
use sealift_manifests::Digest;
use sealift_verifier::Error;
use sealift_verifier::boot::{RecordId, Records};
use sealift_verifier::delta::Decoder24K;
use sealift_verifier::image::{Choice, HINT_RECORD_MAX, Install, Limits, Next, Slot, VerifiedImage, choose_payload};
use sealift_verifier::session::{Approved, DeviceFacts, Record, Session, TRUST_RECORD_MAX, TrustState};
use sealift_verifier::trust::{Policy, Time};

/// What this release calls itself.
const NAME: &str = if cfg!(feature = "release-1-1") { "weather station 1.1" } else { "weather station 1.0" };
/// Bytes of image between two resume hints.
const HINT_EVERY: u32 = 8 * 1024;
/// Bytes of image that are gathered before they are written.
const GATHER: usize = 256;

/// What is too large for a small stack.
struct Buffers {
    root: [u8; device::ROOT],
    bundle: [u8; device::BUNDLE],
    scratch: [u8; device::SCRATCH],
}

struct Static(UnsafeCell<Buffers>);
// SAFETY: there is one thread and no interrupt that uses it.
unsafe impl Sync for Static {}

static BUFFERS: Static = Static(UnsafeCell::new(Buffers {
    root: [0; device::ROOT],
    bundle: [0; device::BUNDLE],
    scratch: [0; device::SCRATCH],
}));

/// Entered from the reset handler with `.data` and `.bss` in place.
#[unsafe(no_mangle)]
extern "C" fn sealift_main() -> ! {
    // SAFETY: entered once.
    let buffers = unsafe { &mut *BUFFERS.0.get() };
    board::uart_start();
    console::text("app: ");
    console::line(NAME);
    if cfg!(feature = "fault-hang") && core::hint::black_box(true) {
        loop {
            core::hint::spin_loop();
        }
    }
    let Some(handover) = Handover::take() else {
        console::line("app: started without a bootloader");
        board::reset()
    };
    if cfg!(feature = "fault-unwell") && core::hint::black_box(true) {
        console::line("app: not well");
        board::reset();
    }
    if let Err(error) = confirm(handover, buffers) {
        console::error("app: can't confirm", error);
    }
    loop {
        console::line("app: ready");
        let mut room = [0; 96];
        let command = loop {
            if let Some(line) = link::line(&mut room) {
                break line;
            }
        };
        // `update <target digest> <bundle length>`
        let mut words = command.split(|byte| *byte == b' ');
        match (words.next(), words.next().and_then(link::digest), words.next().and_then(link::number)) {
            (Some(b"update"), Some(target), Some(length)) => match update(handover.slot, &target, length, buffers) {
                Ok(()) => {
                    console::line("app: installed; resetting into the trial");
                    board::reset()
                }
                Err(error) => console::error("app: refused", error),
            },
            (Some(b"reset"), ..) => board::reset(),
            _ => console::line("app: commands are `update DIGEST LENGTH` and `reset`"),
        }
    }
}

fn confirm(handover: Handover, buffers: &mut Buffers) -> Result<(), Error> {
    let store = device::store()?;
    let mut control = store.control();
    let identity = device::identity()?;
    if handover.trial {
        control.confirm(handover.slot, &identity, &mut buffers.scratch)?;
        board::watchdog_stop();
        console::line("app: confirmed");
    }
    let target = control.recorded(handover.slot, &identity, &mut buffers.scratch)?;
    console::text("app: slot ");
    console::text(handover.slot.name());
    console::text(", version ");
    console::version(target.version);
    console::text(", security counter ");
    console::number(control.security_counter()?);
    console::end();
    Ok(())
}

fn update(running: Slot, target: &Digest, length: usize, buffers: &mut Buffers) -> Result<(), Error> {
    let Buffers { root, bundle, scratch } = buffers;
    let bundle = bundle.get_mut(..length).ok_or(Error::BufferTooSmall)?;
    let mut have = 0;
    while have < length {
        have += link::bundle(have, bundle.get_mut(have..).unwrap_or_default())?;
    }
    let identity = device::identity()?;
    let store = device::store()?;
    let mut records = store.records();
    let mut control = store.control();
    let installed = control.recorded(running, &identity, scratch)?;
    let counter = control.security_counter()?;

    let mut trust = [0; TRUST_RECORD_MAX];
    let state = match records.read(RecordId::Trust, &mut trust)? {
        Some(record) => TrustState::decode(record)?,
        None => TrustState::default(),
    };
    let root = records.read(RecordId::Root, root)?.ok_or(Error::StateCorrupt)?;
    // This board has no clock.
    let mut session = Session::new(identity, root, state, Time::Unknown, Policy::production())?;
    session.supply_bundle(bundle, |record| match record {
        Record::Root(file) => records.replace(RecordId::Root, file),
        Record::Trust(state) => {
            let length = state.encode(&mut trust)?;
            records.replace(RecordId::Trust, trust.get(..length).unwrap_or_default())
        }
    })?;
    let facts = DeviceFacts { security_counter: counter, installed: Some(installed.version) };
    let approved = session.select(target, &facts)?;
    let limits = Limits { decoder_ram: 24 * 1024, window_log: 13, slot: SLOT as u64, delta_only: false };
    let choice = choose_payload(approved.target(), Some(&installed.image), &limits)?;
    console::text("app: verified; installs ");
    console::version(approved.target().version);
    console::text(" from ");
    console::number(choice.payload().length.into());
    console::line(" bytes");

    let slot = control.prepare()?;
    let verified = install(approved, &choice, slot, &mut records)?;
    control.activate(verified, scratch)
}

/// Fetches the payload and writes the slot. A function of its own, so that the decoder's memory is on the stack only when that
/// of the verification is not: the two are the device's peaks, and they do not add up.
#[inline(never)]
fn install<'b>(
    approved: Approved<'b>,
    choice: &Choice,
    slot: Slot,
    records: &mut impl Records,
) -> Result<VerifiedImage<'b>, Error> {
    let digest = choice.payload().digest;
    let mut decoder = Decoder24K::new();
    let mut slots = device::slots();
    let (flash, base) = slots.split(slot);
    let mut hint = [0; HINT_RECORD_MAX];
    let hint = records.read(RecordId::Resume, &mut hint).unwrap_or(None);
    let mut install = match Install::<_, _, _, GATHER>::begin(
        approved,
        choice,
        slot,
        &mut *flash,
        Some(&mut *base),
        &mut decoder,
        hint,
    ) {
        Err(Error::StateCorrupt) if hint.is_some() => {
            records.remove(RecordId::Resume)?;
            Install::begin(approved, choice, slot, flash, Some(base), &mut decoder, None)?
        }
        begun => begun?,
    };
    let mut hinted = install.hinted();
    let mut chunk = [0; link::CHUNK];
    loop {
        let from = install.next_offset();
        let left = install.payload().length.saturating_sub(from) as usize;
        let wanted = chunk.get_mut(..left.min(link::CHUNK)).unwrap_or_default();
        let count = link::payload(&digest, from as usize, wanted)?;
        if install.push(wanted.get(..count).unwrap_or_default())? == Next::Done {
            break;
        }
        if install.hinted() >= hinted.saturating_add(HINT_EVERY) {
            hinted = install.hinted();
            let mut record = [0; HINT_RECORD_MAX];
            if let Some(length) = install.hint(&mut record)? {
                records.replace(RecordId::Resume, record.get(..length).unwrap_or_default())?;
            }
        }
    }
    install.finish().or_else(|error| {
        // What stands in the slot is not the image: nothing to go on from.
        records.remove(RecordId::Resume)?;
        Err(error)
    })
}
