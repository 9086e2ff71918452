//! NOR flash in memory, with what befalls one: cuts, rot, and whatever somebody wrote into it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// Bytes that are written at once.
pub const WORD: usize = 4;
/// Bytes that are erased at once.
pub const SECTOR: usize = 1024;

/// The supply of all parts of a device: how many more writes and erasures it lasts for.
#[derive(Clone, Debug, Default)]
pub struct Power(Rc<Cell<Option<u32>>>);

impl Power {
    /// It lasts for this many operations, or for ever. Parts must be told that it came back: [`Part::wake`].
    pub fn lasts(&self, operations: Option<u32>) {
        self.0.set(operations);
    }

    /// Whether it is there.
    pub fn is_on(&self) -> bool {
        self.0.get() != Some(u32::MAX)
    }

    /// Takes one operation: whether it is done whole (`Ok(true)`), half (`Ok(false)`), or not at all.
    fn spend(&self) -> Result<bool, NorFlashErrorKind> {
        match self.0.get() {
            None => Ok(true),
            Some(u32::MAX) => Err(NorFlashErrorKind::Other),
            Some(0) => {
                self.0.set(Some(u32::MAX));
                Ok(false)
            }
            Some(left) => {
                self.0.set(Some(left - 1));
                Ok(true)
            }
        }
    }
}

#[derive(Debug)]
struct Cells {
    bytes: Vec<u8>,
    /// Words that were erased since power came on, and not written since.
    clean: Vec<bool>,
    /// Whether writing any other word is a fault of the code under test.
    strict: bool,
}

/// A partition; clones are the same one.
#[derive(Clone, Debug)]
pub struct Part {
    cells: Rc<RefCell<Cells>>,
    power: Power,
}

impl Part {
    /// A partition that nobody ever wrote. `strict`: a word that was not erased in this power cycle must not be written.
    pub fn new(power: &Power, length: usize, strict: bool) -> Self {
        let cells = Cells { bytes: vec![0xff; length], clean: vec![false; length / WORD], strict };
        Part { cells: Rc::new(RefCell::new(cells)), power: power.clone() }
    }

    /// Power is back: nobody knows any more what was erased.
    pub fn wake(&self) {
        self.cells.borrow_mut().clean.fill(false);
    }

    /// Writes without the device's doing.
    pub fn plant(&self, at: usize, bytes: &[u8]) {
        let mut cells = self.cells.borrow_mut();
        let room = cells.bytes.len();
        let at = at.min(room);
        let count = bytes.len().min(room - at);
        cells.bytes[at..at + count].copy_from_slice(&bytes[..count]);
    }

    /// Changes one byte without the device's doing.
    pub fn rot(&self, at: usize, mask: u8) {
        let mut cells = self.cells.borrow_mut();
        let room = cells.bytes.len();
        cells.bytes[at % room] ^= mask;
    }

    /// The first bytes of it.
    pub fn content(&self, length: usize) -> Vec<u8> {
        self.cells.borrow().bytes[..length].to_vec()
    }
}

impl ErrorType for Part {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Part {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        if !self.power.is_on() {
            return Err(NorFlashErrorKind::Other);
        }
        let start = offset as usize;
        bytes.copy_from_slice(&self.cells.borrow().bytes[start..start + bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.cells.borrow().bytes.len()
    }
}

impl NorFlash for Part {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        let whole = self.power.spend()?;
        let mut cells = self.cells.borrow_mut();
        let (from, to) = (from as usize, to as usize);
        let end = if whole { to } else { from + (to - from) / 2 + 3 };
        cells.bytes[from..end].fill(0xff);
        cells.clean[from / WORD..to / WORD].fill(whole);
        if whole { Ok(()) } else { Err(NorFlashErrorKind::Other) }
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        let whole = self.power.spend()?;
        let mut cells = self.cells.borrow_mut();
        let count = if whole { bytes.len() } else { bytes.len() / 2 + 1 };
        let start = offset as usize;
        for word in start / WORD..(start + bytes.len()) / WORD {
            assert!(
                cells.clean[word] || !cells.strict,
                "word {word} is written, and was not erased in this power cycle"
            );
            cells.clean[word] = false;
        }
        for (cell, byte) in cells.bytes[start..].iter_mut().zip(&bytes[..count]) {
            *cell &= byte;
        }
        if whole { Ok(()) } else { Err(NorFlashErrorKind::Other) }
    }
}
