//! Writes an image into a slot, in order, erasing as it goes.

use embedded_storage::nor_flash::NorFlash;

use super::decode::Output;
use super::slot::SlotReader;
use crate::error::Error;

/// What erased NOR flash reads as, and what the last word is filled up with.
const ERASED: u8 = 0xff;

/// Writes at most the signed length, in units of the flash's WRITE_SIZE, and erases each sector before it is first written.
/// `BUF` bytes are gathered before a write: a multiple of WRITE_SIZE.
#[derive(Debug)]
pub struct SlotWriter<F, const BUF: usize> {
    reader: SlotReader<F>,
    length: u32,
    /// Everything before this stands in the flash.
    flushed: u32,
    /// Every sector before this was erased in this session, or before a resume point in it.
    erased: u32,
    /// Before this, words may have been written by the interrupted session: they are compared, never written again.
    replayed: u32,
    buffer: [u8; BUF],
    filled: usize,
}

impl<F: NorFlash, const BUF: usize> SlotWriter<F, BUF> {
    /// Starts an image of `length` bytes at the slot's first byte. Nothing is written or erased yet.
    pub fn new(flash: F, length: u32) -> Result<Self, Error> {
        const {
            assert!(F::WRITE_SIZE > 0 && F::ERASE_SIZE > 0 && F::ERASE_SIZE.is_multiple_of(F::WRITE_SIZE));
            assert!(BUF > 0 && BUF.is_multiple_of(F::WRITE_SIZE), "the buffer must be a multiple of WRITE_SIZE");
        }
        let reader = SlotReader::new(flash);
        // The last word may be padded, so the length is held to what can be written.
        let padded = (length as usize).div_ceil(F::WRITE_SIZE).checked_mul(F::WRITE_SIZE);
        if padded.is_none_or(|padded| padded > reader.capacity()) {
            return Err(Error::SlotTooSmall);
        }
        Ok(SlotWriter { reader, length, flushed: 0, erased: 0, replayed: 0, buffer: [0; BUF], filled: 0 })
    }

    /// Goes on at `at`, before which everything was written and stays. The sector that `at` stands in was erased before it
    /// was written, so it isn't erased again; its words behind `at` may be written already. A sector that begins at or behind
    /// `at` is erased again, since its erasure may have been cut.
    pub fn resume(flash: F, length: u32, at: u32) -> Result<Self, Error> {
        let mut writer = Self::new(flash, length)?;
        if at > length {
            return Err(Error::StateCorrupt);
        }
        let (word, sector) = (F::WRITE_SIZE as u32, F::ERASE_SIZE as u32);
        writer.erased = at.div_ceil(sector).saturating_mul(sector);
        writer.replayed = writer.erased;
        // The word that `at` stands in is written as a whole: its first bytes come from the slot.
        let head = at.checked_rem(word).unwrap_or(0);
        writer.flushed = at.saturating_sub(head);
        writer.filled = head as usize;
        let start = writer.buffer.get_mut(..head as usize).ok_or(Error::BufferTooSmall)?;
        writer.reader.read_at(writer.flushed, start)?;
        Ok(writer)
    }

    /// Bytes of the image taken so far.
    pub fn position(&self) -> u32 {
        // The buffer is at most BUF bytes of an image of at most u32::MAX.
        self.flushed.saturating_add(self.filled as u32)
    }

    /// Bytes that stand in the flash.
    pub fn flushed(&self) -> u32 {
        self.flushed
    }

    /// Takes the next bytes of the image; refuses before it takes one too many.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() > self.length.saturating_sub(self.position()) as usize {
            return Err(Error::PayloadCorrupt);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.buffer.get_mut(self.filled..).unwrap_or(&mut []);
            let count = room.len().min(rest.len());
            let (now, later) = rest.split_at_checked(count).ok_or(Error::Storage)?;
            room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            self.filled = self.filled.saturating_add(count);
            rest = later;
            if self.filled == BUF {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes the last words, padded, and gives the flash back. The image must be complete.
    pub fn finish(mut self) -> Result<F, Error> {
        if self.position() != self.length {
            return Err(Error::PayloadCorrupt);
        }
        self.flush()?;
        Ok(self.reader.into_inner())
    }

    /// Fills `bytes` from what was written before.
    fn read_written(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let end = offset.checked_add(bytes.len() as u32).ok_or(Error::PayloadCorrupt)?;
        if end > self.position() {
            return Err(Error::PayloadCorrupt);
        }
        let in_flash = (self.flushed.saturating_sub(offset) as usize).min(bytes.len());
        let (old, new) = bytes.split_at_mut_checked(in_flash).ok_or(Error::Storage)?;
        if !old.is_empty() {
            self.reader.read_at(offset, old)?;
        }
        let skip = offset.saturating_sub(self.flushed) as usize;
        let buffered = self.buffer.get(..self.filled).and_then(|filled| filled.get(skip..)).unwrap_or(&[]);
        new.iter_mut().zip(buffered).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let length = self.filled.div_ceil(F::WRITE_SIZE).saturating_mul(F::WRITE_SIZE);
        // BUF is a multiple of WRITE_SIZE, so the padding fits.
        self.buffer.get_mut(self.filled..length).unwrap_or(&mut []).fill(ERASED);
        let at = self.flushed;
        let end = at.checked_add(length as u32).ok_or(Error::Storage)?;
        while self.erased < end {
            let next = self.erased.checked_add(F::ERASE_SIZE as u32).ok_or(Error::Storage)?;
            self.reader.flash().erase(self.erased, next).map_err(|_| Error::Storage)?;
            self.erased = next;
        }
        let replay = (self.replayed.saturating_sub(at) as usize).min(length);
        let (old, new) = self.buffer.split_at_checked(replay).ok_or(Error::Storage)?;
        let new = new.get(..length.saturating_sub(replay)).ok_or(Error::Storage)?;
        let mut offset = at;
        for word in old.chunks(F::WRITE_SIZE) {
            replay_word(&mut self.reader, offset, word)?;
            offset = offset.saturating_add(word.len() as u32);
        }
        if !new.is_empty() {
            self.reader.flash().write(offset, new).map_err(|_| Error::Storage)?;
        }
        self.flushed = at.saturating_add(self.filled as u32);
        self.filled = 0;
        Ok(())
    }
}

/// Writes a word that the interrupted session may have written. One that reads as neither erased nor the same was torn by
/// the cut, or another image's: the hint was wrong, and the caller starts over.
fn replay_word<F: NorFlash>(reader: &mut SlotReader<F>, offset: u32, word: &[u8]) -> Result<(), Error> {
    let (mut same, mut erased) = (true, true);
    for (index, expected) in word.iter().enumerate() {
        let mut found = [0];
        reader.read_at(offset.saturating_add(index as u32), &mut found)?;
        let [found] = found;
        same &= found == *expected;
        erased &= found == ERASED;
    }
    match (same, erased) {
        (true, _) => Ok(()),
        (false, true) => reader.flash().write(offset, word).map_err(|_| Error::Storage),
        (false, false) => Err(Error::StateCorrupt),
    }
}

impl<F: NorFlash, const BUF: usize> Output for SlotWriter<F, BUF> {
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        if offset != self.position() {
            return Err(Error::PayloadCorrupt);
        }
        SlotWriter::write(self, bytes)
    }

    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        self.read_written(offset, bytes)
    }
}
