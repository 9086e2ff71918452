//! The record store: a log of values under small keys, kept twice.

use embedded_storage::nor_flash::NorFlash;

use super::entry::{HEAD, Head};
use super::halves::{EntryWriter, Half, Halves, Words};
use crate::error::Error;

/// A value's place in the log.
#[derive(Clone, Copy, Debug)]
enum Latest {
    /// Never written, or removed.
    None,
    /// Written, but rot took it: no older one may stand in for it.
    Lost,
    /// Whole in this half.
    At { half: Half, at: u32, head: Head },
}

/// Records in NOR flash. See the [module's text](super) for its rules and its wear.
#[derive(Debug)]
pub struct FlashRecords<F> {
    halves: Halves<F>,
    /// Of each half.
    generations: [Option<u64>; 2],
    /// Where the log goes on: known only for a log that was begun since the store was opened.
    tail: Option<u32>,
}

impl<F: NorFlash> FlashRecords<F> {
    /// Keys are below this.
    pub const KEYS: u8 = 16;

    /// Opens the store that takes the whole of `flash`: two halves of whole sectors, each of at least `half` bytes (else
    /// [`Error::BufferTooSmall`]). Nothing is written; flash that never held a store is an empty one. [`Error::Storage`]: the
    /// flash can't be read.
    pub fn open(flash: F, half: usize) -> Result<Self, Error> {
        let mut halves = Halves::new(flash);
        if (halves.size as usize) < half {
            return Err(Error::BufferTooSmall);
        }
        let found = Half::BOTH.map(|half| halves.generation(half));
        let generations = found.map(|found| found.unwrap_or(None));
        // The other half goes on for one that can't be read; but a flash that can't be read at all is no empty store.
        if generations == [None, None] && found.contains(&Err(Error::Storage)) {
            return Err(Error::Storage);
        }
        Ok(FlashRecords { halves, generations, tail: None })
    }

    /// Bytes that a value takes in a half.
    pub const fn room_for(value: usize) -> usize {
        match Head::of_value(0, value) {
            Some(head) => head.entry(F::WRITE_SIZE),
            None => usize::MAX,
        }
    }

    /// Bytes at the start of a half.
    pub(super) const fn first_entry() -> usize {
        Halves::<F>::first_entry() as usize
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.halves.into_flash()
    }

    /// The flash, for those who share it. Writing to the store's own region behind its back undoes its promises.
    pub fn flash(&mut self) -> &mut F {
        self.halves.flash()
    }

    /// Reads the value under `key` into `out`; returns its length, or `None` when there is none.
    ///
    /// [`Error::StateCorrupt`]: there was one, and it can't be read any more. [`Error::BufferTooSmall`]: it is longer than
    /// `out`.
    pub fn read(&mut self, key: u8, out: &mut [u8]) -> Result<Option<usize>, Error> {
        match self.latest(key)? {
            Latest::None => Ok(None),
            Latest::Lost => Err(Error::StateCorrupt),
            Latest::At { half, at, head } => {
                let value = out.get_mut(..head.value()).ok_or(Error::BufferTooSmall)?;
                self.halves.read(half, at.saturating_add(HEAD as u32), value)?;
                Ok(Some(value.len()))
            }
        }
    }

    /// Writes `value` under `key`, in one atomic step: whatever cuts it short, a later read gives the old value or the new
    /// one. After an error the store still holds one of the two.
    pub fn write(&mut self, key: u8, value: &[u8]) -> Result<(), Error> {
        self.put(key, Some(value))
    }

    /// Removes the value under `key`, as atomically.
    pub fn remove(&mut self, key: u8) -> Result<(), Error> {
        if matches!(self.latest(key)?, Latest::None) { Ok(()) } else { self.put(key, None) }
    }

    fn put(&mut self, key: u8, value: Option<&[u8]>) -> Result<(), Error> {
        if key >= Self::KEYS {
            return Err(Error::Storage);
        }
        if let Some(tail) = self.tail.take()
            && self.append(tail, key, value).is_ok()
        {
            return Ok(());
        }
        self.rewrite(key, value)
    }

    /// Generation of the log that counts.
    fn newest(&self) -> Option<u64> {
        self.generations.iter().copied().flatten().max()
    }

    fn generation(&self, half: Half) -> Option<u64> {
        let [first, second] = self.generations;
        match half {
            Half::First => first,
            Half::Second => second,
        }
    }

    fn set_generation(&mut self, half: Half, generation: Option<u64>) {
        let [first, second] = &mut self.generations;
        match half {
            Half::First => *first = generation,
            Half::Second => *second = generation,
        }
    }

    /// The head of the entry at `at`, from whichever half of the newest generation has it whole.
    fn head(&mut self, newest: u64, at: u32) -> Result<Option<Head>, Error> {
        let mut failed = false;
        for half in Half::BOTH {
            if self.generation(half) == Some(newest) {
                match self.halves.head(half, newest, at) {
                    Ok(Some(head)) => return Ok(Some(head)),
                    Ok(None) => {}
                    Err(_) => failed = true,
                }
            }
        }
        if failed { Err(Error::Storage) } else { Ok(None) }
    }

    fn latest(&mut self, key: u8) -> Result<Latest, Error> {
        let Some(newest) = self.newest() else {
            return Ok(Latest::None);
        };
        let (mut latest, mut broken, mut last) = (Latest::None, None, 0);
        let mut at = Halves::<F>::first_entry();
        while let Some(head) = self.head(newest, at)? {
            if head.key == key {
                let whole = Half::BOTH
                    .into_iter()
                    .find(|half| self.generation(*half) == Some(newest) && self.halves.holds(*half, newest, at, head));
                match whole {
                    Some(_) if head.is_lost() => (latest, broken) = (Latest::Lost, None),
                    Some(_) if head.is_removed() => (latest, broken) = (Latest::None, None),
                    Some(half) => (latest, broken) = (Latest::At { half, at, head }, None),
                    None => broken = Some(at),
                }
            }
            last = at;
            at = at.saturating_add(head.entry(F::WRITE_SIZE) as u32);
        }
        match broken {
            // Nothing is ever appended behind an entry that was cut short: this one was whole, and rotted.
            Some(at) if at != last => Ok(Latest::Lost),
            // The last one was cut short, and so never counted.
            _ => Ok(latest),
        }
    }

    /// Adds an entry to both halves of a log that was begun since the store was opened.
    fn append(&mut self, tail: u32, key: u8, value: Option<&[u8]>) -> Result<(), Error> {
        let newest = self.newest().ok_or(Error::Storage)?;
        let head = match value {
            Some(value) => Head::of_value(key, value.len()).ok_or(Error::BufferTooSmall)?,
            None => Head::of_removed(key),
        };
        let value = value.unwrap_or(&[]);
        if head.entry(F::WRITE_SIZE) > self.halves.size.saturating_sub(tail) as usize {
            return Err(Error::Storage);
        }
        let end = self.write_entry(Half::First, newest, tail, head, value)?;
        // The value counts now. A second half that fails costs the log its tail: the next write begins another.
        if self.write_entry(Half::Second, newest, tail, head, value).is_ok() {
            self.tail = Some(end);
        }
        Ok(())
    }

    fn write_entry(&mut self, half: Half, generation: u64, at: u32, head: Head, value: &[u8]) -> Result<u32, Error> {
        let mut writer = EntryWriter::begin(&mut self.halves, half, generation, at, head)?;
        writer.push(&mut self.halves, value)?;
        let end = writer.finish(&mut self.halves)?;
        if self.halves.holds(half, generation, at, head) { Ok(end) } else { Err(Error::Storage) }
    }

    /// Begins a new generation: the half that can be spared first, then the other as its copy.
    fn rewrite(&mut self, key: u8, value: Option<&[u8]>) -> Result<(), Error> {
        let newest = self.newest();
        let next = newest.map_or(Some(1), |newest| newest.checked_add(1)).ok_or(Error::Storage)?;
        let half = self.spare(newest)?;
        self.set_generation(half, None);
        self.halves.erase(half)?;
        let end = self.copy_values(half, next, key, value)?;
        let committed = self.halves.commit(half, next);
        // A start that was written in spite of an error counts.
        let found = self.halves.generation(half).unwrap_or(None);
        self.set_generation(half, found);
        committed?;
        if self.mirror(half, next, end).is_ok() {
            self.tail = Some(end);
        }
        Ok(())
    }

    /// The half whose loss costs nothing: one that is not of the newest generation, else one with rot in it.
    fn spare(&mut self, newest: Option<u64>) -> Result<Half, Error> {
        let Some(newest) = newest else {
            return Ok(Half::First);
        };
        if let Some(half) = Half::BOTH.into_iter().find(|half| self.generation(*half) != Some(newest)) {
            return Ok(half);
        }
        let mut at = Halves::<F>::first_entry();
        while let Some(head) = self.head(newest, at)? {
            if !self.halves.holds(Half::Second, newest, at, head) {
                return Ok(Half::Second);
            }
            at = at.saturating_add(head.entry(F::WRITE_SIZE) as u32);
        }
        Ok(Half::First)
    }

    /// Copies the latest value of each key into `half`, with the new one in its place; returns the end of the log.
    fn copy_values(&mut self, half: Half, next: u64, key: u8, value: Option<&[u8]>) -> Result<u32, Error> {
        let mut at = Halves::<F>::first_entry();
        for copied in 0..Self::KEYS {
            if copied == key {
                if let Some(value) = value {
                    let head = Head::of_value(key, value.len()).ok_or(Error::BufferTooSmall)?;
                    at = self.write_entry(half, next, at, head, value)?;
                }
                continue;
            }
            at = match self.latest(copied)? {
                Latest::None => at,
                Latest::Lost => self.write_entry(half, next, at, Head::of_lost(copied), &[])?,
                Latest::At { half: from, at: source, head } => {
                    let mut writer = EntryWriter::begin(&mut self.halves, half, next, at, head)?;
                    let source = source.saturating_add(HEAD as u32);
                    self.halves.each_chunk(from, source, head.value(), |halves, bytes| writer.push(halves, bytes))?;
                    let end = writer.finish(&mut self.halves)?;
                    if !self.halves.holds(half, next, at, head) {
                        return Err(Error::Storage);
                    }
                    end
                }
            };
        }
        Ok(at)
    }

    /// Makes the other half the same.
    fn mirror(&mut self, half: Half, generation: u64, end: u32) -> Result<(), Error> {
        let other = half.other();
        self.set_generation(other, None);
        self.halves.erase(other)?;
        let first = Halves::<F>::first_entry();
        let mut words = Words::new(other, first);
        let length = end.saturating_sub(first) as usize;
        self.halves.each_chunk(half, first, length, |halves, bytes| words.push(halves, bytes))?;
        words.finish(&mut self.halves)?;
        self.halves.commit(other, generation)?;
        self.set_generation(other, Some(generation));
        Ok(())
    }
}
