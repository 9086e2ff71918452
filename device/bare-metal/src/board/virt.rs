//! QEMU's RISC-V 32 `virt` machine.

use core::arch::{asm, global_asm};

use super::{read, write};

/// Hardware id in signed metadata.
pub const HARDWARE: &str = "qemu-virt-rv32";
/// Where the memory stands that is flash here.
pub const FLASH: usize = 0x8080_0000;
/// Where applications run.
pub const RUN: usize = 0x8010_0000;
/// Where the hand-over stands.
pub const HANDOVER: usize = 0x8004_ff00;

const UART0: usize = 0x1000_0000;
const LINE_STATUS: usize = UART0 + 5;
const FINISHER: usize = 0x10_0000;
const MTIMECMP: usize = 0x0200_4000;
const MTIME: usize = 0x0200_bff8;
/// Ticks of mtime a second.
const CLOCK: u64 = 10_000_000;

global_asm!(
    ".section .text.entry, \"ax\"",
    ".global _start",
    "_start:",
    "la sp, __stack_top",
    "la t0, __bss_end",
    "li t2, 0xa5a5a5a5",
    "5: bgeu t0, sp, 6f",
    "sw t2, 0(t0)",
    "addi t0, t0, 4",
    "j 5b",
    "6: la t0, __bss_start",
    "la t1, __bss_end",
    "1: bgeu t0, t1, 2f",
    "sw zero, 0(t0)",
    "addi t0, t0, 4",
    "j 1b",
    "2: la t0, __data_start",
    "la t1, __data_end",
    "la t2, __data_load",
    "3: bgeu t0, t1, 4f",
    "lw t3, 0(t2)",
    "sw t3, 0(t0)",
    "addi t0, t0, 4",
    "addi t2, t2, 4",
    "j 3b",
    "4: call sealift_main",
    // The machine has no watchdog: the timer stands for one. It bites here, through the bootloader's own trap vector, which
    // applications leave alone. Faults come here too.
    ".balign 4",
    ".global bite",
    "bite: li t0, 0x100000",
    "li t1, 0x7777",
    "sw t1, 0(t0)",
    "j bite",
);

fn read_byte(address: usize) -> u8 {
    // SAFETY: only the UART's registers are passed; the machine always maps them.
    unsafe { (address as *const u8).read_volatile() }
}

/// QEMU's UART needs no set-up.
pub fn uart_start() {}

/// Sends one byte.
pub fn uart_send(byte: u8) {
    while read_byte(LINE_STATUS) & 0x20 == 0 {}
    // SAFETY: the UART's transmit register.
    unsafe { (UART0 as *mut u8).write_volatile(byte) }
}

/// A received byte, if one waits.
pub fn uart_receive() -> Option<u8> {
    (read_byte(LINE_STATUS) & 1 != 0).then(|| read_byte(UART0))
}

fn time() -> u64 {
    loop {
        let (high, low) = (read(MTIME + 4), read(MTIME));
        if read(MTIME + 4) == high {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

fn alarm(at: u64) {
    write(MTIMECMP + 4, u32::MAX);
    write(MTIMECMP, at as u32);
    write(MTIMECMP + 4, (at >> 32) as u32);
}

/// The machine has one CPU; nothing to compare.
pub fn is_expected_cpu() -> bool {
    true
}

/// Starts the watchdog: it resets the machine in twice this many seconds.
pub fn watchdog_start(seconds: u32) {
    alarm(time().saturating_add(u64::from(seconds) * 2 * CLOCK));
    // SAFETY: the trap vector is set to code that resets the machine; then its one interrupt is let through.
    unsafe {
        asm!("la {0}, bite", "csrw mtvec, {0}", "li {0}, 0x80", "csrs mie, {0}", "csrsi mstatus, 8", out(reg) _);
    }
}

/// Stops the watchdog.
pub fn watchdog_stop() {
    alarm(u64::MAX);
}

/// Resets the machine.
pub fn reset() -> ! {
    loop {
        write(FINISHER, 0x7777);
    }
}

/// Runs what stands at [`RUN`].
pub fn run() -> ! {
    // SAFETY: the image was verified, and its first byte is its entry as in every image for this machine.
    unsafe { asm!("fence.i", "jr {0}", in(reg) RUN, options(noreturn)) }
}

/// Counting is done on the Arm board.
pub fn count_start() {}

/// Low word of the instruction counter.
pub fn count() -> u32 {
    let count: u32;
    // SAFETY: reads a counter.
    unsafe { asm!("csrr {0}, minstret", out(reg) count) };
    count
}

/// Ends the emulation through the test finisher.
pub fn leave(code: u32) -> ! {
    loop {
        write(FINISHER, if code == 0 { 0x5555 } else { code << 16 | 0x3333 });
    }
}
