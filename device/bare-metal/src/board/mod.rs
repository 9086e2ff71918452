//! What differs from board to board.

#[cfg(target_arch = "arm")]
mod mps2;
#[cfg(target_arch = "arm")]
pub use mps2::*;

#[cfg(target_arch = "riscv32")]
mod virt;
#[cfg(target_arch = "riscv32")]
pub use virt::*;

/// Reads a register of the board.
fn read(address: usize) -> u32 {
    // SAFETY: only the boards' modules call this, with addresses of registers that are always mapped.
    unsafe { (address as *const u32).read_volatile() }
}

/// Writes a register of the board.
fn write(address: usize, value: u32) {
    // SAFETY: as in `read`; writing these registers changes no memory that Rust knows of.
    unsafe { (address as *mut u32).write_volatile(value) }
}

unsafe extern "C" {
    static __bss_end: u8;
    static __stack_top: u8;
}

/// What the reset handler painted the stack with.
pub const PAINT: u32 = 0xa5a5_a5a5;

/// Bytes of stack that were ever used since the reset: everything above the paint that is left.
pub fn stack_used() -> u64 {
    let bottom = (&raw const __bss_end as usize).next_multiple_of(4);
    let top = &raw const __stack_top as usize;
    // SAFETY: between the two there is nothing but the stack; it is only read.
    let used = (bottom..top).step_by(4).find(|place| unsafe { (*place as *const u32).read_volatile() } != PAINT);
    (top - used.unwrap_or(top)) as u64
}
