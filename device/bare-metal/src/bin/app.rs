//! The application: says who it is, confirms itself when it is on trial and well, and takes updates over its UART.
#![no_std]
#![no_main]

use sealift_bare_metal::update::{self, Buffers, Link};
use sealift_bare_metal::{board, console, handover::Handover, link};
use sealift_manifests::Digest;
use sealift_verifier::Error;
use sealift_verifier::image::Choice;
use sealift_verifier::session::Approved;

/// What this release calls itself.
const NAME: &str = if cfg!(feature = "release-1-1") { "weather station 1.1" } else { "weather station 1.0" };

/// Entered from the reset handler with `.data` and `.bss` in place.
#[unsafe(no_mangle)]
extern "C" fn sealift_main() -> ! {
    // SAFETY: entered once.
    let buffers = unsafe { update::buffers() };
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
    if let Err(error) = start(handover) {
        console::error("app: can't confirm", error);
    }
    loop {
        console::text("app: ready; stack used, at most ");
        console::number(board::stack_used());
        console::line(" bytes");
        command(handover, buffers);
    }
}

/// Confirms the trial, and says what runs.
#[inline(never)]
fn start(handover: Handover) -> Result<(), Error> {
    if handover.trial {
        update::confirm(handover.slot)?;
        board::watchdog_stop();
        console::line("app: confirmed");
    }
    let (target, counter) = update::running(handover.slot)?;
    console::text("app: slot ");
    console::text(handover.slot.name());
    console::text(", version ");
    console::version(target.version);
    console::text(", security counter ");
    console::number(counter);
    console::end();
    Ok(())
}

/// Waits for one command and carries it out.
#[inline(never)]
fn command(handover: Handover, buffers: &mut Buffers) {
    let mut room = [0; 96];
    let line = loop {
        if let Some(line) = link::line(&mut room) {
            break line;
        }
    };
    // `update <target digest> <bundle length>`
    let mut words = line.split(|byte| *byte == b' ');
    match (words.next(), words.next().and_then(link::digest), words.next().and_then(link::number)) {
        (Some(b"update"), Some(target), Some(length)) => {
            match update::update(handover.slot, &target, length, buffers, &mut Uart) {
                Ok(()) => {
                    console::text("app: installed; stack used, at most ");
                    console::number(board::stack_used());
                    console::line(" bytes; resetting into the trial");
                    board::reset()
                }
                Err(error) => console::error("app: refused", error),
            }
        }
        (Some(b"reset"), ..) => board::reset(),
        _ => console::line("app: commands are `update DIGEST LENGTH` and `reset`"),
    }
}

/// The host at the other end of the UART.
struct Uart;

impl Link for Uart {
    fn bundle(&mut self, from: usize, room: &mut [u8]) -> Result<usize, Error> {
        link::bundle(from, room)
    }

    fn payload(&mut self, digest: &Digest, from: usize, room: &mut [u8]) -> Result<usize, Error> {
        link::payload(digest, from, room)
    }

    fn approved(&mut self, approved: &Approved<'_>, choice: &Choice) {
        console::text("app: verified; installs ");
        console::version(approved.target().version);
        console::text(" from ");
        console::number(choice.payload().length.into());
        console::line(" bytes");
    }
}
