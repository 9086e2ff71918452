//! QEMU's RISC-V 32 `virt` machine.

use core::arch::global_asm;

/// 16550 UART.
const UART0: usize = 0x1000_0000;
const LINE_STATUS: usize = UART0 + 5;
/// SiFive test finisher.
const FINISHER: usize = 0x10_0000;

global_asm!(
    ".section .text.entry, \"ax\"",
    ".global _start",
    "_start:",
    "la sp, __stack_top",
    "la t0, fault",
    "csrw mtvec, t0",
    "la t0, __bss_start",
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
    "4: call station_main",
    ".balign 4",
    "fault: j fault",
);

fn read(address: usize) -> u8 {
    // SAFETY: only the UART's registers are passed; the machine always maps them.
    unsafe { (address as *const u8).read_volatile() }
}

/// QEMU's UART needs no set-up.
pub fn uart_start() {}

/// Sends one byte, waiting for room.
pub fn uart_send(byte: u8) {
    while read(LINE_STATUS) & 0x20 == 0 {}
    // SAFETY: the UART's transmit register.
    unsafe { (UART0 as *mut u8).write_volatile(byte) }
}

/// A received byte, if one waits.
pub fn uart_receive() -> Option<u8> {
    (read(LINE_STATUS) & 1 != 0).then(|| read(UART0))
}

/// The machine has one CPU; nothing to compare.
pub fn is_expected_cpu() -> bool {
    true
}

/// Leaves the emulator through the test finisher.
pub fn leave(code: u32) -> ! {
    let word = if code == 0 { 0x5555 } else { code << 16 | 0x3333 };
    // SAFETY: the finisher's register; the write ends the machine.
    unsafe { (FINISHER as *mut u32).write_volatile(word) };
    loop {}
}
