//! Two slots, and reading them at any offset.

use core::fmt;

use embedded_storage::nor_flash::ReadNorFlash;
use sealift_manifests::{Digest, Image};
use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// One of the two places an image can stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Slot {
    /// The first.
    A = 0,
    /// The second.
    B = 1,
}

impl Slot {
    /// Both, in order.
    pub const ALL: [Slot; 2] = [Slot::A, Slot::B];

    /// The one that this is not.
    pub const fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    /// `a` or `b`.
    pub const fn name(self) -> &'static str {
        match self {
            Slot::A => "a",
            Slot::B => "b",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The device's two slots: flash partitions, files or block devices.
#[derive(Clone, Copy, Debug)]
pub struct Slots<F> {
    /// Slot A.
    pub a: F,
    /// Slot B.
    pub b: F,
}

impl<F> Slots<F> {
    /// The storage of one slot.
    pub fn of(&mut self, slot: Slot) -> &mut F {
        match slot {
            Slot::A => &mut self.a,
            Slot::B => &mut self.b,
        }
    }

    /// The storage of `slot`, then that of the other: where an update is written, and what runs.
    pub fn split(&mut self, slot: Slot) -> (&mut F, &mut F) {
        match slot {
            Slot::A => (&mut self.a, &mut self.b),
            Slot::B => (&mut self.b, &mut self.a),
        }
    }
}

/// Bytes read at once: a multiple of every READ_SIZE that is a power of two up to it, and small enough for any stack.
const CHUNK: usize = 512;

/// Reads a flash at any offset and length.
#[derive(Clone, Copy, Debug)]
pub struct SlotReader<F> {
    flash: F,
}

impl<F: ReadNorFlash> SlotReader<F> {
    /// Reads `flash`.
    pub const fn new(flash: F) -> Self {
        const { assert!(F::READ_SIZE > 0 && CHUNK.is_multiple_of(F::READ_SIZE), "READ_SIZE must divide 512") };
        SlotReader { flash }
    }

    /// The flash itself.
    pub(crate) fn flash(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Gives the flash back.
    pub fn into_inner(self) -> F {
        self.flash
    }

    /// Bytes of the slot.
    pub fn capacity(&self) -> usize {
        self.flash.capacity()
    }

    /// Fills `bytes` from `offset` on.
    pub fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let mut at = offset;
        let mut rest = bytes;
        let mut chunk = [0; CHUNK];
        while !rest.is_empty() {
            let skip = at as usize % F::READ_SIZE;
            // CHUNK is a multiple of READ_SIZE, so rounding up stays inside of it.
            let length = skip.saturating_add(rest.len()).min(CHUNK).div_ceil(F::READ_SIZE).saturating_mul(F::READ_SIZE);
            let room = chunk.get_mut(..length).ok_or(Error::Storage)?;
            let start = at.checked_sub(skip as u32).ok_or(Error::Storage)?;
            self.flash.read(start, room).map_err(|_| Error::Storage)?;
            let from = room.get(skip..).unwrap_or(&[]);
            let count = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut_checked(count).ok_or(Error::Storage)?;
            now.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            rest = later;
            at = at.checked_add(count as u32).ok_or(Error::Storage)?;
        }
        Ok(())
    }

    /// SHA-256 of the first `length` bytes.
    pub fn digest(&mut self, length: u32) -> Result<Digest, Error> {
        let mut hash = Sha256::new();
        let mut chunk = [0; CHUNK];
        let mut at = 0u32;
        while at < length {
            let count = length.saturating_sub(at).min(CHUNK as u32) as usize;
            // Straight from the flash, with no second buffer: each piece but the last is a whole chunk, and so aligned.
            let whole = count.div_ceil(F::READ_SIZE).saturating_mul(F::READ_SIZE);
            let now = chunk.get_mut(..whole).ok_or(Error::Storage)?;
            self.flash.read(at, now).map_err(|_| Error::Storage)?;
            hash.update(now.get(..count).ok_or(Error::Storage)?);
            at = at.saturating_add(count as u32);
        }
        Ok(Digest(hash.finalize().into()))
    }

    /// Whether the slot holds `image`, by its hash over the whole length.
    pub fn holds(&mut self, image: &Image) -> Result<bool, Error> {
        Ok(image.length as usize <= self.capacity() && self.digest(image.length)? == image.digest)
    }
}

/// SHA-256 of the first `length` bytes of a slot.
pub fn image_digest<F: ReadNorFlash>(flash: F, length: u32) -> Result<Digest, Error> {
    SlotReader::new(flash).digest(length)
}
