//! A model of NOR flash: words that are written once, sectors that are erased as a whole, and faults at any of them.
//!
//! It models what data sheets promise and what they don't: a write or an erasure that is cut leaves anything behind; a word
//! may be written once between two erasures, and never again when a write to it was cut, whatever it reads as. What it can't
//! show: cells that read now so and now so, wear, disturbed neighbours.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// What a cut leaves of the operation that it falls into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Torn {
    /// It had not begun.
    Nothing,
    /// Its first half is done.
    Prefix,
    /// Some of its bits are done, by chance.
    Bits,
    /// It is done.
    Whole,
}

impl Torn {
    pub(crate) const ALL: [Torn; 4] = [Torn::Nothing, Torn::Prefix, Torn::Bits, Torn::Whole];
}

/// A fault at one operation: a word written, or a sector erased. Operations are counted from 0 over all power cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power goes.
    Cut(Torn),
    /// The operation fails and says so; the power stays.
    Fails(Torn),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Erased,
    Written,
    /// A cut or a failure left it: it must be erased before it is written.
    Unknown,
}

/// Why an operation did not happen.
#[derive(Debug)]
pub(crate) struct Gone;

impl NorFlashError for Gone {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

/// The flash, with words of `W` bytes and sectors of `E`.
#[derive(Clone)]
pub(crate) struct SimFlash<const W: usize, const E: usize> {
    bytes: Vec<u8>,
    words: Vec<Word>,
    /// Erasures of each sector.
    pub(crate) erased: Vec<u32>,
    powered: bool,
    operations: u64,
    faults: Vec<(u64, Fault)>,
    random: u64,
    /// Whether an unknown word that reads as erased may be written: what an image writer that goes on does.
    pub(crate) lenient_below: u32,
}

impl<const W: usize, const E: usize> SimFlash<W, E> {
    /// Flash as it comes from the factory.
    pub(crate) fn new(sectors: usize) -> Self {
        SimFlash {
            bytes: vec![0xff; sectors * E],
            words: vec![Word::Erased; sectors * E / W],
            erased: vec![0; sectors],
            powered: true,
            operations: 0,
            faults: vec![],
            random: 0x9e37_79b9_7f4a_7c15,
            lenient_below: 0,
        }
    }

    /// Faults to come, in the order of their operations.
    pub(crate) fn plan(&mut self, faults: &[(u64, Fault)]) {
        self.random =
            faults.iter().fold(0x9e37_79b9_7f4a_7c15, |sum, (at, _)| (sum ^ at).wrapping_mul(0x100_0000_01b3));
        self.faults = faults.to_vec();
        self.faults.reverse();
    }

    pub(crate) fn power_on(&mut self) {
        self.powered = true;
    }

    pub(crate) fn is_powered(&self) -> bool {
        self.powered
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    /// Flips a bit, as rot does.
    pub(crate) fn rot(&mut self, at: usize, bit: u8) {
        self.bytes[at] ^= 1 << (bit % 8);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn chance(&mut self) -> u8 {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 32) as u8
    }

    /// What becomes of the next operation.
    fn begin(&mut self) -> Option<Fault> {
        let now = self.operations;
        self.operations += 1;
        self.faults.pop_if(|(at, _)| *at == now).map(|(_, fault)| fault)
    }

    fn apply(&mut self, at: usize, wanted: &[u8], torn: Torn, erase: bool) {
        let length = wanted.len();
        for (index, to) in wanted.iter().enumerate() {
            let mask = match torn {
                Torn::Nothing => 0,
                Torn::Prefix if index < length / 2 => 0xff,
                // Within a word the prefix is of bits: a word of one byte has a first half too.
                Torn::Prefix if length == 1 => 0x0f,
                Torn::Prefix => 0,
                Torn::Bits => self.chance(),
                Torn::Whole => 0xff,
            };
            let old = self.bytes[at + index];
            self.bytes[at + index] = if erase { old | mask } else { old & (to | !mask) };
        }
    }

    fn end(&mut self, fault: Option<Fault>) -> Result<(), Gone> {
        match fault {
            None => Ok(()),
            Some(Fault::Fails(_)) => Err(Gone),
            Some(Fault::Cut(_)) => {
                self.powered = false;
                Err(Gone)
            }
        }
    }
}

fn torn(fault: Option<Fault>) -> Torn {
    match fault {
        None => Torn::Whole,
        Some(Fault::Cut(torn) | Fault::Fails(torn)) => torn,
    }
}

impl<const W: usize, const E: usize> ErrorType for SimFlash<W, E> {
    type Error = Gone;
}

impl<const W: usize, const E: usize> ReadNorFlash for SimFlash<W, E> {
    const READ_SIZE: usize = if W < 4 { 1 } else { 4 };

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Gone> {
        check_read(self, offset, bytes.len()).expect("a read as the contract wants it");
        if !self.powered {
            return Err(Gone);
        }
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const W: usize, const E: usize> NorFlash for SimFlash<W, E> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = E;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Gone> {
        check_erase(self, from, to).expect("an erasure as the contract wants it");
        for sector in from as usize / E..to as usize / E {
            if !self.powered {
                return Err(Gone);
            }
            let fault = self.begin();
            self.erased[sector] += 1;
            self.apply(sector * E, &[0xff; E], torn(fault), true);
            let after = if fault.is_none() { Word::Erased } else { Word::Unknown };
            self.words[sector * E / W..][..E / W].fill(after);
            self.end(fault)?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Gone> {
        check_write(self, offset, bytes.len()).expect("a write as the contract wants it");
        for (index, word) in bytes.chunks(W).enumerate() {
            if !self.powered {
                return Err(Gone);
            }
            let at = offset as usize + index * W;
            let lenient = offset < self.lenient_below && self.bytes[at..][..W].iter().all(|byte| *byte == 0xff);
            match self.words[at / W] {
                Word::Erased => {}
                Word::Unknown if lenient => {}
                state => panic!("the word at {at:#x} is {state:?}: it must be erased before it is written"),
            }
            let fault = self.begin();
            self.apply(at, word, torn(fault), false);
            self.words[at / W] = if fault.is_none() { Word::Written } else { Word::Unknown };
            self.end(fault)?;
        }
        Ok(())
    }
}
