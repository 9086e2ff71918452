//! Counts instructions and stack of each step: run by `cargo xtask bench device` with `-icount shift=0`.
//!
//! The input is in the folder that SEALIFT_MEASURE named at build time: a root, a bundle with four signatures, an image, its
//! former version and the delta between them.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::mem::MaybeUninit;

use ed25519_dalek::{Signature, VerifyingKey};
use sealift_bare_metal::flash::{Nor, SLOT};
use sealift_bare_metal::{board, console, device};
use sealift_manifests::{Codec, Digest, Image, Payload, RepositoryId, sha256};
use sealift_verifier::Error;
use sealift_verifier::delta::Decoder24K;
use sealift_verifier::image::{BaseReader, Choice, Decode, Limits, Output, Slot, Slots, choose_payload};
use sealift_verifier::session::{DeviceFacts, Identity, Session, TrustState};
use sealift_verifier::storage::DeviceStore;
use sealift_verifier::trust::{Policy, Time};

static ROOT: &[u8] = include_bytes!(concat!(env!("SEALIFT_MEASURE"), "/root.cbor"));
static BUNDLE: &[u8] = include_bytes!(concat!(env!("SEALIFT_MEASURE"), "/bundle"));
static REPOSITORY: &[u8; 16] = include_bytes!(concat!(env!("SEALIFT_MEASURE"), "/repository-id"));
static TARGET: &[u8; 32] = include_bytes!(concat!(env!("SEALIFT_MEASURE"), "/target-digest"));
static OLD: &[u8] = include_bytes!(concat!(env!("SEALIFT_MEASURE"), "/old.bin"));
static NEW: &[u8] = include_bytes!(concat!(env!("SEALIFT_MEASURE"), "/new.bin"));
static DELTA: &[u8] = include_bytes!(concat!(env!("SEALIFT_MEASURE"), "/delta"));

/// Key, message and signature of RFC 8032, section 7.1, test 3.
const KEY: [u8; 32] = *include_bytes!("../rfc8032/key");
const SIGNATURE: [u8; 64] = *include_bytes!("../rfc8032/signature");
const MESSAGE: [u8; 2] = [0xaf, 0x82];

unsafe extern "C" {
    static __bss_end: u8;
}

const PAINT: u32 = 0xa5a5_a5a5;

/// Runs a step; prints its instructions and how deep the stack went below this function's own frame.
#[inline(never)]
fn step(name: &str, act: impl FnOnce() -> Result<(), Error>) {
    let mark = 0u32;
    let top = (&raw const mark as usize) - 512;
    let bottom = (&raw const __bss_end as usize).next_multiple_of(4);
    for place in (bottom..top).step_by(4) {
        // SAFETY: below this frame and above everything static there is nothing but unused stack.
        unsafe { (place as *mut u32).write_volatile(PAINT) };
    }
    board::count_start();
    let begun = board::count();
    let done = act();
    let count = board::count() - begun;
    // SAFETY: as above.
    let used = (bottom..top).step_by(4).find(|place| unsafe { (*place as *const u32).read_volatile() } != PAINT);
    console::text("measured ");
    console::text(name);
    console::text(" ");
    console::number(count.into());
    console::text(" ");
    console::number((&raw const mark as usize - used.unwrap_or(top)) as u64);
    match done {
        Ok(()) => console::end(),
        Err(error) => console::error(" FAILED", error),
    }
}

/// The whole memory behind the flash, without its rules: the decoder is measured, not a flash.
struct Memory {
    at: usize,
}

impl Output for Memory {
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        // SAFETY: memory that nothing else uses while this runs; the image fits it.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), (self.at + offset as usize) as *mut u8, bytes.len()) };
        Ok(())
    }
    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        // SAFETY: as above.
        unsafe {
            core::ptr::copy_nonoverlapping((self.at + offset as usize) as *const u8, bytes.as_mut_ptr(), bytes.len())
        };
        Ok(())
    }
}

struct Base;

impl BaseReader for Base {
    fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let from = OLD.get(offset as usize..).and_then(|rest| rest.get(..bytes.len())).ok_or(Error::BaseMismatch)?;
        bytes.copy_from_slice(from);
        Ok(())
    }
}

fn image(bytes: &[u8]) -> Image {
    Image { length: bytes.len() as u32, digest: sha256(bytes) }
}

fn identity() -> Identity<'static> {
    Identity {
        repository: RepositoryId(*REPOSITORY),
        product: "weather-station",
        component: "main",
        hardware: board::HARDWARE,
    }
}

fn session() -> Result<Session<'static>, Error> {
    let mut session = Session::new(identity(), ROOT, TrustState::default(), Time::Unknown, Policy::production())?;
    session.supply_bundle(BUNDLE, |_| Ok(()))?;
    Ok(session)
}

/// Entered from the reset handler with `.data` and `.bss` in place.
#[unsafe(no_mangle)]
extern "C" fn sealift_main() -> ! {
    board::uart_start();
    step("nothing", || Ok(()));
    step("dalek_verify_strict", || {
        let key = VerifyingKey::from_bytes(black_box(&KEY)).map_err(|_| Error::StateCorrupt)?;
        key.verify_strict(&MESSAGE, &Signature::from_bytes(black_box(&SIGNATURE))).map_err(|_| Error::StateCorrupt)
    });
    step("verify", || {
        let good = sealift_verifier::ed25519::verify(black_box(&KEY), &[&MESSAGE], black_box(&SIGNATURE));
        if good { Ok(()) } else { Err(Error::StateCorrupt) }
    });
    step("bundle", || session().map(|session| drop(black_box(session))));
    step("sha256_16k", || {
        black_box(sha256(black_box(NEW.get(..16 * 1024).ok_or(Error::SlotTooSmall)?)));
        Ok(())
    });
    delta();
    boot();
    console::line("measured end 0 0");
    board::leave(0)
}

fn delta() {
    static mut DECODER: MaybeUninit<Decoder24K> = MaybeUninit::zeroed();
    // SAFETY: called once.
    let decoder = unsafe { (*(&raw mut DECODER)).write(Decoder24K::new()) };
    let payload = Payload {
        codec: Codec::DELTA,
        length: DELTA.len() as u32,
        digest: sha256(DELTA),
        base: Some(image(OLD)),
        decoder_ram: 24 * 1024,
        window_log: 12,
    };
    let target = image(NEW);
    let mut output = Memory { at: board::FLASH };
    step("delta", || {
        Decode::start(decoder, &payload, &target, None)?;
        for piece in DELTA.chunks(256) {
            Decode::push(decoder, piece, &mut Base, &mut output)?;
        }
        Ok(())
    });
    // SAFETY: the decoder has filled this memory.
    let written = unsafe { core::slice::from_raw_parts(board::FLASH as *const u8, NEW.len()) };
    step("delta_is_right", || if sha256(written) == target.digest { Ok(()) } else { Err(Error::ImageHash) });
}

/// A boot of the image that the delta has left in slot A, beside its signed record.
fn boot() {
    let prepared = (|| {
        let session = session()?;
        let facts = DeviceFacts { security_counter: 0, installed: None };
        let approved = session.select(&Digest(*TARGET), &facts)?;
        let limits = Limits { decoder_ram: 0, window_log: 0, slot: SLOT as u64, delta_only: false };
        let Choice::Full(_) = choose_payload(approved.target(), None, &limits)? else {
            return Err(Error::NoUsablePayload);
        };
        let (mut record, mut scratch) = ([0; device::SCRATCH], [0; device::SCRATCH]);
        let length = approved.slot_record(&mut record)?;
        let store = DeviceStore::open(Nor::store())?;
        let record = record.get(..length).ok_or(Error::BufferTooSmall)?;
        store.control().provision(Slot::A, record, &identity(), &mut scratch)
    })();
    step("provisioned", || prepared.map(drop));
    let mut slots = Slots { a: Nor::slot_a(), b: Nor::slot_b() };
    step("boot_check", || {
        let store = DeviceStore::open(Nor::store())?;
        let mut scratch = [0; device::SCRATCH];
        store.control().boot(&identity(), &mut slots, &mut scratch).map(drop)
    });
}
