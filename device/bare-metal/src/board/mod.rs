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
