//! Arm's MPS2 board with the AN385 (Cortex-M3) or AN386 (Cortex-M4) FPGA image, as QEMU emulates them.

use core::arch::{asm, global_asm};

/// CMSDK APB UART 0.
const UART0: usize = 0x4000_4000;
const DATA: usize = UART0;
const STATE: usize = UART0 + 0x4;
const CTRL: usize = UART0 + 0x8;
const BAUDDIV: usize = UART0 + 0x10;
/// Armv7-M CPUID register.
const CPUID: usize = 0xe000_ed00;
const CPUID_PART: u32 = 0xfff0;
const EXPECTED_PART: u32 = if cfg!(feature = "board-an386") { 0xc240 } else { 0xc230 };

global_asm!(
    ".section .vector_table, \"a\"",
    ".word __stack_top",
    ".word reset_handler",
    ".rept 14",
    ".word fault_handler",
    ".endr",
    ".section .text.reset_handler, \"ax\"",
    ".global reset_handler",
    ".type reset_handler, %function",
    ".thumb_func",
    "reset_handler:",
    "ldr r0, =__bss_start",
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
    "4: bl station_main",
    "b .",
    ".section .text.fault_handler, \"ax\"",
    ".global fault_handler",
    ".type fault_handler, %function",
    ".thumb_func",
    "fault_handler:",
    "b .",
);

fn read(address: usize) -> u32 {
    // SAFETY: only the register addresses above are passed; they are always mapped on this board.
    unsafe { (address as *const u32).read_volatile() }
}

fn write(address: usize, value: u32) {
    // SAFETY: as in `read`; writing these registers has no effect on memory.
    unsafe { (address as *mut u32).write_volatile(value) }
}

/// 38,400 baud at 25 MHz, transmitter and receiver on.
pub fn uart_start() {
    write(BAUDDIV, 651);
    write(CTRL, 0b11);
}

/// Sends one byte, waiting for room.
pub fn uart_send(byte: u8) {
    while read(STATE) & 1 != 0 {}
    write(DATA, u32::from(byte));
}

/// A received byte, if one waits.
pub fn uart_receive() -> Option<u8> {
    (read(STATE) & 2 != 0).then(|| read(DATA) as u8)
}

/// True on the CPU that this image was built for.
pub fn is_expected_cpu() -> bool {
    read(CPUID) & CPUID_PART == EXPECTED_PART
}

/// Leaves the emulator through semihosting's SYS_EXIT_EXTENDED; on hardware without a debugger this ends in the fault loop,
/// where the watchdog bites.
pub fn leave(code: u32) -> ! {
    const SYS_EXIT_EXTENDED: u32 = 0x20;
    const APPLICATION_EXIT: u32 = 0x2_0026;
    let block = [APPLICATION_EXIT, code];
    // SAFETY: the semihosting call only reads the two words of `block`.
    unsafe { asm!("bkpt #0xab", in("r0") SYS_EXIT_EXTENDED, in("r1") block.as_ptr(), options(nostack)) };
    loop {}
}
