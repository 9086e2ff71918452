//! What bootloader and application share: the board, the memory that stands for flash, what the factory wrote, the link.
//!
//! Flash is memory here: QEMU's Arm board emulates none. [`flash::Nor`] holds that memory to the rules of NOR flash, and QEMU
//! keeps it in a file, so that it outlives a killed emulator as flash outlives a power cut.
#![no_std]

pub mod board;
pub mod console;
pub mod device;
pub mod flash;
pub mod handover;
pub mod link;
pub mod update;

/// Nothing in here panics, and a test finds no trace of panicking in the linked programs; the language wants a handler.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    board::reset()
}
