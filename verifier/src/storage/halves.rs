//! The two halves of the region: aligned reads, and writes of whole words in order.

use embedded_storage::nor_flash::NorFlash;
use sha2::{Digest, Sha256};

use super::entry::{self, HEAD, Head, SEAL, START};
use crate::error::Error;
use crate::image::SlotReader;

/// Bytes of one transfer: a multiple of every WRITE_SIZE that is supported.
pub(super) const CHUNK: usize = 64;

/// One of the two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    First,
    Second,
}

impl Half {
    pub(super) const BOTH: [Half; 2] = [Half::First, Half::Second];

    pub(super) const fn other(self) -> Half {
        match self {
            Half::First => Half::Second,
            Half::Second => Half::First,
        }
    }
}

#[derive(Debug)]
pub(super) struct Halves<F> {
    reader: SlotReader<F>,
    /// Bytes of a half: whole sectors.
    pub(super) size: u32,
}

impl<F: NorFlash> Halves<F> {
    pub(super) fn new(flash: F) -> Self {
        const {
            assert!(
                F::WRITE_SIZE > 0 && CHUNK.is_multiple_of(F::WRITE_SIZE),
                "WRITE_SIZE must be a power of 2 up to 64"
            );
            assert!(F::ERASE_SIZE.is_multiple_of(F::WRITE_SIZE));
        }
        let reader = SlotReader::new(flash);
        let sectors = reader.capacity() / F::ERASE_SIZE / 2;
        let size = u32::try_from(sectors.saturating_mul(F::ERASE_SIZE)).unwrap_or(0);
        Halves { reader, size }
    }

    pub(super) fn flash(&mut self) -> &mut F {
        self.reader.flash()
    }

    pub(super) fn into_flash(self) -> F {
        self.reader.into_inner()
    }

    /// Where the first entry of a half stands.
    pub(super) const fn first_entry() -> u32 {
        START.next_multiple_of(F::WRITE_SIZE) as u32
    }

    const fn base(&self, half: Half) -> u32 {
        match half {
            Half::First => 0,
            Half::Second => self.size,
        }
    }

    /// Fills `bytes` from `at` in a half on.
    pub(super) fn read(&mut self, half: Half, at: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let at = self.base(half).checked_add(at).ok_or(Error::Storage)?;
        self.reader.read_at(at, bytes)
    }

    pub(super) fn erase(&mut self, half: Half) -> Result<(), Error> {
        let base = self.base(half);
        let end = base.checked_add(self.size).ok_or(Error::Storage)?;
        self.reader.flash().erase(base, end).map_err(|_| Error::Storage)
    }

    /// The generation of a half, if its start is whole.
    pub(super) fn generation(&mut self, half: Half) -> Result<Option<u64>, Error> {
        let mut bytes = [0; START];
        self.read(half, 0, &mut bytes)?;
        Ok(entry::generation(&bytes))
    }

    /// Writes the start of a half, which makes it valid, and reads it back.
    pub(super) fn commit(&mut self, half: Half, generation: u64) -> Result<(), Error> {
        let mut words = Words::new(half, 0);
        words.push(self, &entry::start(generation))?;
        words.finish(self)?;
        if self.generation(half) == Ok(Some(generation)) { Ok(()) } else { Err(Error::Storage) }
    }

    /// The head of the entry at `at` in a half. An entry that would not fit the half is none.
    pub(super) fn head(&mut self, half: Half, generation: u64, at: u32) -> Result<Option<Head>, Error> {
        let mut bytes = [0; HEAD];
        if (self.size.saturating_sub(at) as usize) < HEAD + SEAL {
            return Ok(None);
        }
        self.read(half, at, &mut bytes)?;
        let head = Head::decode(&bytes, generation, at);
        Ok(head.filter(|head| head.entry(F::WRITE_SIZE) <= self.size.saturating_sub(at) as usize))
    }

    /// Whether a half holds this entry, value and seal. A half that can't be read does not.
    pub(super) fn holds(&mut self, half: Half, generation: u64, at: u32, head: Head) -> bool {
        self.check(half, generation, at, head).unwrap_or(false)
    }

    fn check(&mut self, half: Half, generation: u64, at: u32, head: Head) -> Result<bool, Error> {
        if self.head(half, generation, at)? != Some(head) {
            return Ok(false);
        }
        let mut hash = head.hash(generation, at);
        let mut from = at.saturating_add(HEAD as u32);
        self.each_chunk(half, from, head.value(), |_, bytes| {
            hash.update(bytes);
            Ok(())
        })?;
        from = from.saturating_add(head.value() as u32);
        let mut found = [0; SEAL];
        self.read(half, from, &mut found)?;
        Ok(found == entry::seal(hash))
    }

    /// Passes `length` bytes from `at` on to `take`, piece by piece.
    pub(super) fn each_chunk(
        &mut self,
        half: Half,
        at: u32,
        length: usize,
        mut take: impl FnMut(&mut Self, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut chunk = [0; CHUNK];
        let (mut at, mut left) = (at, length);
        while left > 0 {
            let count = left.min(CHUNK);
            let now = chunk.get_mut(..count).ok_or(Error::Storage)?;
            self.read(half, at, now)?;
            take(self, now)?;
            at = at.saturating_add(count as u32);
            left = left.saturating_sub(count);
        }
        Ok(())
    }
}

/// Writes bytes to one half, in order, in whole words.
pub(super) struct Words {
    half: Half,
    at: u32,
    buffer: [u8; CHUNK],
    filled: usize,
}

impl Words {
    pub(super) fn new(half: Half, at: u32) -> Self {
        Words { half, at, buffer: [0; CHUNK], filled: 0 }
    }

    pub(super) fn push<F: NorFlash>(&mut self, halves: &mut Halves<F>, bytes: &[u8]) -> Result<(), Error> {
        for byte in bytes {
            *self.buffer.get_mut(self.filled).ok_or(Error::Storage)? = *byte;
            self.filled = self.filled.saturating_add(1);
            if self.filled == CHUNK {
                self.flush(halves)?;
            }
        }
        Ok(())
    }

    fn flush<F: NorFlash>(&mut self, halves: &mut Halves<F>) -> Result<(), Error> {
        let length = self.filled.next_multiple_of(F::WRITE_SIZE);
        self.buffer.get_mut(self.filled..length).unwrap_or(&mut []).fill(0xff);
        let end = self.at.checked_add(length as u32).filter(|end| *end <= halves.size).ok_or(Error::Storage)?;
        let bytes = self.buffer.get(..length).ok_or(Error::Storage)?;
        if !bytes.is_empty() {
            let at = halves.base(self.half).saturating_add(self.at);
            halves.reader.flash().write(at, bytes).map_err(|_| Error::Storage)?;
        }
        self.at = end;
        self.filled = 0;
        Ok(())
    }

    /// Fills the last word up; returns where the next entry goes.
    pub(super) fn finish<F: NorFlash>(mut self, halves: &mut Halves<F>) -> Result<u32, Error> {
        self.flush(halves)?;
        Ok(self.at)
    }
}

/// Writes one entry whose value comes in pieces.
pub(super) struct EntryWriter {
    words: Words,
    hash: Sha256,
}

impl EntryWriter {
    pub(super) fn begin<F: NorFlash>(
        halves: &mut Halves<F>,
        half: Half,
        generation: u64,
        at: u32,
        head: Head,
    ) -> Result<Self, Error> {
        let mut words = Words::new(half, at);
        words.push(halves, &head.encode(generation, at))?;
        Ok(EntryWriter { words, hash: head.hash(generation, at) })
    }

    pub(super) fn push<F: NorFlash>(&mut self, halves: &mut Halves<F>, bytes: &[u8]) -> Result<(), Error> {
        self.hash.update(bytes);
        self.words.push(halves, bytes)
    }

    pub(super) fn finish<F: NorFlash>(mut self, halves: &mut Halves<F>) -> Result<u32, Error> {
        self.words.push(halves, &entry::seal(self.hash))?;
        self.words.finish(halves)
    }
}
