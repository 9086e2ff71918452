//! Sealift's verifier for firmware in C (Zephyr, FreeRTOS, ESP-IDF): a static library and a generated header.
//!
//! Flash and counter come in through callbacks; the memory is the caller's; nothing is allocated. `unsafe` is here and nowhere
//! else in what a device runs of Sealift. Every function returns 0, or the number of an error (the table of error codes).
#![no_std]

pub mod device;
pub mod flash;
pub mod update;

/// Nothing in here panics; the language wants a handler.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
