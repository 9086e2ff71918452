//! A device's storage in memory whose power can be cut at any write or erase.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use sealift_verifier::Error;
use sealift_verifier::boot::{RecordId, Records, SecurityCounter};

/// Counts writes and erases over all parts of a device and fails the one at which the power is cut, and all after it.
#[derive(Clone, Default, Debug)]
pub struct Power {
    done: Rc<Cell<u64>>,
    cut_at: Rc<Cell<Option<u64>>>,
    noise: Rc<Cell<u64>>,
    /// Fail the operation at the cut alone, as a worn cell does, and go on.
    pub glitch: bool,
}

/// What becomes of one operation.
enum Fate {
    Done,
    /// It is cut in its middle: this many thousandths are done.
    Torn(u64),
    Off,
}

impl Power {
    pub fn on(&self, cut_at: Option<u64>) {
        self.done.set(0);
        self.cut_at.set(cut_at);
    }
    pub fn operations(&self) -> u64 {
        self.done.get()
    }
    pub fn was_cut(&self) -> bool {
        self.cut_at.get().is_some_and(|at| self.done.get() > at)
    }
    /// A number that looks random and is the same in every run.
    pub fn noise(&self) -> u64 {
        let mut x = self.noise.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.noise.set(x);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
    fn fate(&self) -> Fate {
        let number = self.done.get();
        self.done.set(number + 1);
        match self.cut_at.get() {
            Some(at) if number == at => Fate::Torn(self.noise() % 1001),
            Some(at) if number > at && !self.glitch => Fate::Off,
            _ => Fate::Done,
        }
    }
}

/// NOR flash: words are written once between erasures, all sizes at compile time.
#[derive(Clone, Debug)]
pub struct Flash<const READ: usize, const WRITE: usize, const ERASE: usize> {
    pub cells: Vec<u8>,
    written: Vec<bool>,
    pub power: Power,
    pub erases: u64,
}

impl<const READ: usize, const WRITE: usize, const ERASE: usize> Flash<READ, WRITE, ERASE> {
    pub fn new(power: &Power, capacity: usize) -> Self {
        assert!(capacity.is_multiple_of(ERASE));
        // As it comes from the shop: anything, and nothing that may be written without an erase.
        let cells = (0..capacity).map(|_| power.noise() as u8).collect();
        Flash { cells, written: vec![true; capacity / WRITE], power: power.clone(), erases: 0 }
    }

    /// Puts an image in without the device's doing: the factory.
    pub fn put(&mut self, image: &[u8]) {
        self.cells[..image.len()].copy_from_slice(image);
        self.written.fill(true);
    }
    /// Changes one byte behind everybody's back.
    pub fn disturb(&mut self, at: usize) {
        self.cells[at] ^= 0x40;
    }
}

impl<const READ: usize, const WRITE: usize, const ERASE: usize> ErrorType for Flash<READ, WRITE, ERASE> {
    type Error = NorFlashErrorKind;
}

impl<const READ: usize, const WRITE: usize, const ERASE: usize> ReadNorFlash for Flash<READ, WRITE, ERASE> {
    const READ_SIZE: usize = READ;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(&self.cells[offset as usize..][..bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.cells.len()
    }
}

impl<const READ: usize, const WRITE: usize, const ERASE: usize> NorFlash for Flash<READ, WRITE, ERASE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        let (from, to) = (from as usize, to as usize);
        let end = match self.power.fate() {
            Fate::Done => to,
            Fate::Torn(share) => from + (to - from) * share as usize / 1000,
            Fate::Off => return Err(NorFlashErrorKind::Other),
        };
        self.erases += 1;
        self.cells[from..end].fill(0xff);
        // The half-erased part holds anything, and must be erased again before it is written.
        for cell in &mut self.cells[end..to] {
            *cell |= self.power.noise() as u8;
        }
        self.written[from / WRITE..to / WRITE].fill(end != to);
        if end == to && !self.power.was_cut() { Ok(()) } else { Err(NorFlashErrorKind::Other) }
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        let torn = match self.power.fate() {
            Fate::Done => usize::MAX,
            Fate::Torn(share) => bytes.len() / WRITE * share as usize / 1000,
            Fate::Off => return Err(NorFlashErrorKind::Other),
        };
        for (index, word) in bytes.chunks(WRITE).enumerate().take(torn.saturating_add(1)) {
            let at = offset as usize + index * WRITE;
            assert!(!self.written[at / WRITE], "the word at {at} is written twice without an erase");
            self.written[at / WRITE] = true;
            for (cell, byte) in self.cells[at..].iter_mut().zip(word) {
                // The torn word: some bits were programmed.
                *cell &= if index == torn { byte | self.power.noise() as u8 } else { *byte };
            }
        }
        if torn == usize::MAX { Ok(()) } else { Err(NorFlashErrorKind::Other) }
    }
}

/// Records in memory, each replaced as one operation.
#[derive(Clone, Default)]
pub struct MemoryRecords {
    pub records: BTreeMap<u8, Vec<u8>>,
    pub power: Power,
    pub replaced: u64,
}

impl MemoryRecords {
    fn change(&mut self, change: impl FnOnce(&mut BTreeMap<u8, Vec<u8>>)) -> Result<(), Error> {
        match self.power.fate() {
            Fate::Done => change(&mut self.records),
            // Atomic: the cut comes before or after.
            Fate::Torn(share) => {
                if share >= 500 {
                    change(&mut self.records);
                }
                return Err(Error::Storage);
            }
            Fate::Off => return Err(Error::Storage),
        }
        self.replaced += 1;
        Ok(())
    }
}

impl Records for MemoryRecords {
    fn read<'r>(&mut self, id: RecordId, buffer: &'r mut [u8]) -> Result<Option<&'r [u8]>, Error> {
        let Some(record) = self.records.get(&(id as u8)) else { return Ok(None) };
        let room = buffer.get_mut(..record.len()).ok_or(Error::BufferTooSmall)?;
        room.copy_from_slice(record);
        Ok(Some(room))
    }
    fn replace(&mut self, id: RecordId, record: &[u8]) -> Result<(), Error> {
        self.change(|records| {
            records.insert(id as u8, record.to_vec());
        })
    }
    fn remove(&mut self, id: RecordId) -> Result<(), Error> {
        if !self.records.contains_key(&(id as u8)) {
            return Ok(());
        }
        self.change(|records| {
            records.remove(&(id as u8));
        })
    }
}

/// A counter in memory.
#[derive(Clone, Default)]
pub struct MemoryCounter {
    pub value: u64,
    pub power: Power,
}

impl SecurityCounter for MemoryCounter {
    fn read(&mut self) -> Result<u64, Error> {
        Ok(self.value)
    }
    fn raise(&mut self, to: u64) -> Result<(), Error> {
        match self.power.fate() {
            Fate::Done => self.value = self.value.max(to),
            Fate::Torn(share) => {
                if share >= 500 {
                    self.value = self.value.max(to);
                }
                return Err(Error::Storage);
            }
            Fate::Off => return Err(Error::Storage),
        }
        Ok(())
    }
}
