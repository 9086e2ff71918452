//! The verifier with everything and nothing else, for `cargo xtask bench device` to weigh: every call of a boot stage and of
//! an application, with memory in place of a link, and no text. Its whole code counts, this file's included.
#![no_std]
#![no_main]

use sealift_bare_metal::update::{self, Link};
use sealift_bare_metal::{board, device};
use sealift_manifests::Digest;
use sealift_verifier::Error;
use sealift_verifier::image::{Choice, Slot};
use sealift_verifier::session::Approved;

/// What a host would have left in memory, and where the outcome goes.
const MAILBOX: usize = board::FLASH + 0x10_0000;

#[repr(C)]
struct Mailbox {
    command: u32,
    outcome: u32,
    target: [u8; 32],
    length: usize,
    bytes: [u8; 4096],
}

struct Memory<'m>(&'m Mailbox);

impl Memory<'_> {
    fn part(&self, from: usize, room: &mut [u8]) -> Result<usize, Error> {
        let bytes = self.0.bytes.get(from..).and_then(|rest| rest.get(..room.len())).ok_or(Error::PayloadTruncated)?;
        room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(room.len())
    }
}

impl Link for Memory<'_> {
    fn bundle(&mut self, from: usize, room: &mut [u8]) -> Result<usize, Error> {
        self.part(from, room)
    }

    fn payload(&mut self, _: &Digest, from: usize, room: &mut [u8]) -> Result<usize, Error> {
        self.part(from, room)
    }

    fn approved(&mut self, _: &Approved<'_>, _: &Choice) {}
}

/// Entered from the reset handler with `.data` and `.bss` in place.
#[unsafe(no_mangle)]
extern "C" fn sealift_main() -> ! {
    // SAFETY: memory that nothing else uses; entered once.
    let (mailbox, outcome, buffers) = unsafe {
        let outcome = (MAILBOX + 4) as *mut u32;
        (&*(MAILBOX as *const Mailbox), outcome, update::buffers())
    };
    if cfg!(feature = "control-panics") {
        core::hint::black_box(mailbox.bytes[core::hint::black_box(mailbox.length)]);
    }
    let done = match mailbox.command {
        0 => boot(),
        1 => update::confirm(Slot::A),
        _ => update::update(Slot::A, &Digest(mailbox.target), mailbox.length, buffers, &mut Memory(mailbox)),
    };
    // SAFETY: as above.
    unsafe { outcome.write_volatile(done.map_or_else(|error| error.code().into(), |()| 0)) };
    board::reset()
}

#[inline(never)]
fn boot() -> Result<(), Error> {
    let store = device::store()?;
    let booted = store.control().boot(&device::identity()?, &mut device::slots(), &mut [0; device::SCRATCH])?;
    // SAFETY: as above.
    unsafe { ((MAILBOX + 4) as *mut u32).write_volatile(booted.slot as u32) };
    Ok(())
}
