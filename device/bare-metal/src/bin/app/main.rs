//! The application: a weather station that confirms itself when it is on trial and well, and takes updates over its UART.
//!
//! It samples a thermistor and a humidity sensor (simulated: QEMU has none), filters them, watches limits, keeps a log and
//! answers commands. Started without a bootloader, as a bench does it, it runs [`CYCLES`] samples and its self-test, and leaves
//! the emulator with the verdict: 0 healthy, 1 unhealthy, 2 built for another CPU.
//!
//! While it takes an update the station stands still: its memory is given up first, and is the updater's.
#![no_std]
#![no_main]

mod calendar;
mod console;
mod crc;
mod filter;
mod humidity;
mod info;
mod journal;
mod limits;
mod report;
mod selftest;
mod sensor;
mod shell;
mod station;
mod text;
mod thermistor;

use sealift_bare_metal::update::{self, Buffers, Link};
use sealift_bare_metal::{board, console as plain, handover::Handover, link};
use sealift_manifests::Digest;
use sealift_verifier::Error;
use sealift_verifier::image::Choice;
use sealift_verifier::session::Approved;

use console::Console;
use station::Station;

/// Samples of a run without a bootloader, one a simulated second.
const CYCLES: u32 = 120;
/// Looks at an idle receiver between two samples: a second, about.
const IDLE: u32 = 4_000_000;

/// Entered from the reset handler with `.data` and `.bss` in place.
#[unsafe(no_mangle)]
extern "C" fn sealift_main() -> ! {
    // SAFETY: entered once.
    let buffers = unsafe { update::buffers() };
    board::uart_start();
    info::banner(&mut Console);
    if !board::is_expected_cpu() {
        plain::line("app: WRONG HARDWARE");
        board::leave(2);
    }
    if cfg!(feature = "fault-hang") && core::hint::black_box(true) {
        plain::line("app: waiting for a sensor that never answers");
        loop {
            core::hint::spin_loop();
        }
    }
    let Some(handover) = Handover::take() else { board::leave(u32::from(!on_the_bench())) };
    if let Err(error) = start(handover) {
        plain::error("app: can't confirm", error);
    }
    loop {
        plain::text("app: ready; stack used, at most ");
        plain::number(board::stack_used());
        plain::line(" bytes");
        match attend() {
            Order::Reset => board::reset(),
            Order::Update { target, length } => update(handover, &target, length, buffers),
        }
    }
}

/// A day in two minutes, and the self-test: without a bootloader there is no slot to confirm and nowhere to put an update.
#[inline(never)]
fn on_the_bench() -> bool {
    let mut station = Station::new();
    shell::run(&mut station, &mut Console, "help");
    for second in 0..CYCLES {
        station.step(second);
        if second % 30 == 29 {
            shell::run(&mut station, &mut Console, "status");
        }
    }
    shell::run(&mut station, &mut Console, "report");
    shell::run(&mut station, &mut Console, "log");
    selftest::run(&mut Console)
}

/// On trial: confirms itself if it is well, or starts again, which ends in a revert. Then says what runs.
#[inline(never)]
fn start(handover: Handover) -> Result<(), Error> {
    if handover.trial {
        if !selftest::run(&mut Console) {
            plain::line("app: not well");
            board::reset();
        }
        update::confirm(handover.slot)?;
        board::watchdog_stop();
        plain::line("app: confirmed");
    }
    let (target, counter) = update::running(handover.slot)?;
    plain::text("app: slot ");
    plain::text(handover.slot.name());
    plain::text(", version ");
    plain::version(target.version);
    plain::text(", security counter ");
    plain::number(counter);
    plain::end();
    Ok(())
}

/// What the station doesn't do by itself.
enum Order {
    /// `update <target digest> <bundle length>`
    Update {
        /// The target.
        target: Digest,
        /// Bytes of the bundle.
        length: usize,
    },
    /// `reset`
    Reset,
}

/// The station at work, until something else is asked of it.
#[inline(never)]
fn attend() -> Order {
    let mut station = Station::new();
    let (mut second, mut idle) = (0, 0);
    let mut room = [0; 96];
    loop {
        let Some(line) = link::line(&mut room) else {
            idle += 1;
            if idle == IDLE {
                station.step(second);
                (idle, second) = (0, second + 1);
            }
            continue;
        };
        let mut words = line.split(|byte| *byte == b' ');
        match (words.next(), words.next().and_then(link::digest), words.next().and_then(link::number)) {
            (Some(b"update"), Some(target), Some(length)) => return Order::Update { target, length },
            (Some(b"reset"), ..) => return Order::Reset,
            _ => shell::run(&mut station, &mut Console, core::str::from_utf8(line).unwrap_or("?")),
        }
    }
}

/// Takes an update; a reset into the trial is the end of it.
#[inline(never)]
fn update(handover: Handover, target: &Digest, length: usize, buffers: &mut Buffers) {
    match update::update(handover.slot, target, length, buffers, &mut Uart) {
        Ok(()) => {
            plain::text("app: installed; stack used, at most ");
            plain::number(board::stack_used());
            plain::line(" bytes; resetting into the trial");
            board::reset()
        }
        Err(error) => plain::error("app: refused", error),
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
        plain::text("app: verified; installs ");
        plain::version(approved.target().version);
        plain::text(" from ");
        plain::number(choice.payload().length.into());
        plain::line(" bytes");
    }
}
