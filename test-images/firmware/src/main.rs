//! The weather station: Sealift's sample firmware.
//!
//! It samples a thermistor and a humidity sensor (simulated: QEMU has none), filters them, watches limits, keeps a log and
//! answers commands on its UART. After [`CYCLES`] samples it runs its health self-test, prints the verdict and leaves:
//! a trial boot under QEMU ends with exit code 0 (healthy) or 1.
#![no_std]
#![no_main]

mod board;
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

use core::fmt::Write;

use console::Console;
use station::Station;

/// Samples of one demonstration run, one a simulated second.
pub const CYCLES: u32 = 120;

/// Entered from the reset handler with `.data` and `.bss` in place.
#[unsafe(no_mangle)]
extern "C" fn station_main() -> ! {
    let mut console = Console::new();
    info::banner(&mut console);
    if !board::is_expected_cpu() {
        let _ = writeln!(console, "WRONG HARDWARE: this image was built for {}", info::HARDWARE);
        board::leave(2);
    }
    if cfg!(feature = "fault-hang") && core::hint::black_box(true) {
        let _ = writeln!(console, "waiting for a sensor that never answers");
        loop {
            core::hint::spin_loop();
        }
    }
    let mut station = Station::new();
    shell::run(&mut station, &mut console, "help");
    for second in 0..CYCLES {
        station.step(second);
        if second % 30 == 29 {
            shell::run(&mut station, &mut console, "status");
        }
        while let Some(line) = console.line() {
            shell::run(&mut station, &mut console, line.as_str());
        }
    }
    shell::run(&mut station, &mut console, "report");
    shell::run(&mut station, &mut console, "log");
    let healthy = selftest::run(&mut console);
    board::leave(u32::from(!healthy))
}

/// A panic is a failed boot: say where, and leave unhealthy.
#[panic_handler]
fn panic(why: &core::panic::PanicInfo<'_>) -> ! {
    let mut console = Console::new();
    let _ = writeln!(console, "PANIC: {why}");
    board::leave(3)
}
