//! Memory held to the rules of NOR flash.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

use crate::board::FLASH;

/// Bytes of a slot.
pub const SLOT: usize = 256 * 1024;
/// Bytes of the record store.
pub const STORE: usize = 64 * 1024;

/// A partition. A word of 8 bytes is written once between two erasures; a sector has 4 KiB.
#[derive(Debug)]
pub struct Nor {
    from: usize,
    length: usize,
}

impl Nor {
    /// Slot A.
    pub const fn slot_a() -> Self {
        Nor { from: 0, length: SLOT }
    }

    /// Slot B.
    pub const fn slot_b() -> Self {
        Nor { from: SLOT, length: SLOT }
    }

    /// The record store.
    pub const fn store() -> Self {
        Nor { from: 2 * SLOT, length: STORE }
    }

    /// What the factory wrote once.
    pub const fn factory() -> Self {
        Nor { from: 2 * SLOT + STORE, length: Self::ERASE_SIZE }
    }

    fn cell(&self, offset: u32) -> *mut u8 {
        (FLASH + self.from + offset as usize) as *mut u8
    }

    fn byte(&self, offset: u32) -> u8 {
        // SAFETY: every caller has checked the offset against the partition; nothing else uses this memory.
        unsafe { self.cell(offset).read_volatile() }
    }

    fn put(&mut self, offset: u32, byte: u8) {
        // SAFETY: as in `byte`.
        unsafe { self.cell(offset).write_volatile(byte) }
    }
}

impl ErrorType for Nor {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        bytes.iter_mut().zip(offset..).for_each(|(to, at)| *to = self.byte(at));
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.length
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        (from..to).for_each(|at| self.put(at, 0xff));
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        // As a part with error correction: a word that isn't erased can't be written.
        if (offset..).take(bytes.len()).any(|at| self.byte(at) != 0xff) {
            return Err(NorFlashErrorKind::Other);
        }
        bytes.iter().zip(offset..).for_each(|(byte, at)| self.put(at, *byte));
        Ok(())
    }
}
