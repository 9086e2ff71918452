//! Arm's MPS2 board with the AN385 (Cortex-M3) or AN386 (Cortex-M4) FPGA image, as QEMU emulates them.

use core::arch::{asm, global_asm};

use super::{read, write};

/// Hardware id in signed metadata.
pub const HARDWARE: &str = if cfg!(feature = "board-an386") { "mps2-an386" } else { "mps2-an385" };
/// Where the memory stands that is flash here.
pub const FLASH: usize = 0x2100_0000;
/// Where applications run.
pub const RUN: usize = 0x0010_0000;
/// Where the hand-over stands.
pub const HANDOVER: usize = 0x2000_ff00;

const UART0: usize = 0x4000_4000;
const STATE: usize = UART0 + 0x4;
const CTRL: usize = UART0 + 0x8;
const BAUDDIV: usize = UART0 + 0x10;
const WATCHDOG: usize = 0x4000_8000;
const WATCHDOG_CTRL: usize = WATCHDOG + 0x8;
const WATCHDOG_LOCK: usize = WATCHDOG + 0xc00;
const WATCHDOG_KEY: u32 = 0x1acc_e551;
/// Armv7-M's CPUID register, and its field that names the CPU.
const CPUID: usize = 0xe000_ed00;
const CPUID_PART: u32 = 0xfff0;
const EXPECTED_PART: u32 = if cfg!(feature = "board-an386") { 0xc240 } else { 0xc230 };
const VTOR: usize = 0xe000_ed08;
const AIRCR: usize = 0xe000_ed0c;
const SYST_CSR: usize = 0xe000_e010;
const SYST_RVR: usize = 0xe000_e014;
const SYST_CVR: usize = 0xe000_e018;
/// Cycles a second.
const CLOCK: u32 = 25_000_000;

global_asm!(
    ".section .vector_table, \"a\"",
    ".word __stack_top",
    ".word reset_handler",
    ".rept 14",
    ".word fault_handler",
    ".endr",
    ".section .text.entry, \"ax\"",
    ".global reset_handler",
    ".type reset_handler, %function",
    ".thumb_func",
    "reset_handler:",
    // Paint the stack, for the measurement of its depth.
    "ldr r0, =__bss_end",
    "mov r1, sp",
    "ldr r2, =0xa5a5a5a5",
    "5: cmp r0, r1",
    "bhs 6f",
    "str r2, [r0], #4",
    "b 5b",
    "6: ldr r0, =__bss_start",
    "ldr r1, =__bss_end",
    "movs r2, #0",
    "1: cmp r0, r1",
    "bhs 2f",
    "str r2, [r0], #4",
    "b 1b",
    "2: ldr r0, =__data_start",
    "ldr r1, =__data_end",
    "ldr r2, =__data_load",
    "3: cmp r0, r1",
    "bhs 4f",
    "ldr r3, [r2], #4",
    "str r3, [r0], #4",
    "b 3b",
    "4: bl sealift_main",
    "b .",
    // Also the watchdog's warning (NMI): whoever comes here waits for its bite.
    ".global fault_handler",
    ".type fault_handler, %function",
    ".thumb_func",
    "fault_handler:",
    "b .",
);

/// Starts the UART: transmitter and receiver on.
pub fn uart_start() {
    write(BAUDDIV, 16);
    write(CTRL, 0b11);
}

/// Sends one byte.
pub fn uart_send(byte: u8) {
    while read(STATE) & 1 != 0 {}
    write(UART0, u32::from(byte));
}

/// A received byte, if one waits.
pub fn uart_receive() -> Option<u8> {
    (read(STATE) & 2 != 0).then(|| read(UART0) as u8)
}

/// Whether this is the CPU that the program was built for.
pub fn is_expected_cpu() -> bool {
    read(CPUID) & CPUID_PART == EXPECTED_PART
}

/// Starts the watchdog: it resets the board in twice this many seconds.
pub fn watchdog_start(seconds: u32) {
    write(WATCHDOG_LOCK, WATCHDOG_KEY);
    write(WATCHDOG, CLOCK.saturating_mul(seconds));
    write(WATCHDOG_CTRL, 0b11);
    write(WATCHDOG_LOCK, 0);
}

/// Stops the watchdog.
pub fn watchdog_stop() {
    write(WATCHDOG_LOCK, WATCHDOG_KEY);
    write(WATCHDOG_CTRL, 0);
    write(WATCHDOG_LOCK, 0);
}

/// Resets the board.
pub fn reset() -> ! {
    write(AIRCR, 0x05fa_0004);
    loop {}
}

/// Runs what stands at [`RUN`].
pub fn run() -> ! {
    write(VTOR, RUN as u32);
    let (stack, entry) = (read(RUN), read(RUN + 4));
    // SAFETY: the image was verified, and begins with a vector table as every image for this board does.
    unsafe { asm!("msr msp, {0}", "bx {1}", in(reg) stack, in(reg) entry, options(noreturn)) }
}

/// Starts to count.
pub fn count_start() {
    write(SYST_RVR, 0x00ff_ffff);
    write(SYST_CVR, 0);
    write(SYST_CSR, 0b101);
    // It counts from its next tick on.
    while read(SYST_CVR) == 0 {}
}

/// Instructions since the start, in steps of 40 (`-icount shift=0`, a tick a 25 MHz cycle); at most 671 million.
pub fn count() -> u32 {
    (0x00ff_ffff - (read(SYST_CVR) & 0x00ff_ffff)) * 40
}

/// Ends the emulation through semihosting's SYS_EXIT_EXTENDED; without a debugger this is a fault, and then the watchdog bites.
pub fn leave(code: u32) -> ! {
    let block = [0x2_0026, code];
    // SAFETY: the call only reads the two words of `block`.
    unsafe { asm!("bkpt #0xab", in("r0") 0x20, in("r1") block.as_ptr(), options(nostack)) };
    reset()
}
