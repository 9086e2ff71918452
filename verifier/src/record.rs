//! Records that a device keeps: a version byte, fields of fixed width in big-endian order, and a checksum.
//!
//! The checksum finds bit rot and torn writes. It is no protection against somebody who writes the storage: that is the
//! storage's own task, or signatures' (see [`crate::session::slot_record`]).

use sealift_manifests::{Digest, sha256};

use crate::error::Error;

/// Bytes of the checksum that ends a record: the first of its SHA-256.
pub const CHECKSUM: usize = 8;

/// Fills a caller's buffer. One that is too small is told at the end.
#[derive(Debug)]
pub struct RecordWriter<'o> {
    out: &'o mut [u8],
    at: usize,
}

impl<'o> RecordWriter<'o> {
    /// Starts a record of the given format version.
    pub fn new(out: &'o mut [u8], version: u8) -> Self {
        let mut writer = RecordWriter { out, at: 0 };
        writer.u8(version);
        writer
    }

    /// Bytes as they are.
    #[inline(never)]
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        // What finds no room counts all the same, and the end finds that there was too much.
        let end = self.at.saturating_add(bytes.len());
        let room = self.out.get_mut(self.at..end).unwrap_or_default();
        room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.at = end;
        self
    }

    /// One byte.
    #[inline(never)]
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// A 64-bit number.
    #[inline(never)]
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Bytes of at most 65,535 with their length before them.
    #[inline(never)]
    pub fn sized(&mut self, bytes: &[u8]) -> &mut Self {
        match u16::try_from(bytes.len()) {
            Ok(length) => self.bytes(&length.to_be_bytes()).bytes(bytes),
            Err(_) => {
                self.at = usize::MAX;
                self
            }
        }
    }

    /// Ends the record with its checksum; returns its length.
    #[inline(never)]
    pub fn finish(mut self) -> Result<usize, Error> {
        let Digest(digest) = sha256(self.out.get(..self.at).ok_or(Error::BufferTooSmall)?);
        self.bytes(digest.get(..CHECKSUM).ok_or(Error::BufferTooSmall)?);
        if self.at <= self.out.len() { Ok(self.at) } else { Err(Error::BufferTooSmall) }
    }
}

/// Reads what a [`RecordWriter`] wrote. Whatever does not fit is [`Error::StateCorrupt`], told at the end: what is read until
/// then is zero or empty.
#[derive(Clone, Copy, Debug)]
pub struct RecordReader<'r> {
    left: &'r [u8],
    broken: bool,
}

impl<'r> RecordReader<'r> {
    /// Starts to read a record of the given format version, whose checksum must hold.
    #[inline(never)]
    pub fn new(record: &'r [u8], version: u8) -> Result<Self, Error> {
        let (body, checksum) = record.split_last_chunk::<CHECKSUM>().ok_or(Error::StateCorrupt)?;
        if sha256(body).0.first_chunk() != Some(checksum) {
            return Err(Error::StateCorrupt);
        }
        let mut reader = RecordReader { left: body, broken: false };
        if reader.u8() == version { Ok(reader) } else { Err(Error::StateCorrupt) }
    }

    /// The next `length` bytes.
    #[inline(never)]
    pub fn bytes(&mut self, length: usize) -> &'r [u8] {
        match self.left.split_at_checked(length) {
            Some((taken, left)) => {
                self.left = left;
                taken
            }
            None => {
                self.refuse();
                &[]
            }
        }
    }

    /// What was read is of no use.
    pub fn refuse(&mut self) {
        self.left = &[];
        self.broken = true;
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        array
    }

    /// One byte.
    #[inline(never)]
    pub fn u8(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// A 32-bit number.
    #[inline(never)]
    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    /// A 64-bit number.
    #[inline(never)]
    pub fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// A digest.
    #[inline(never)]
    pub fn digest(&mut self) -> Digest {
        Digest(self.array())
    }

    /// Bytes with their length before them.
    #[inline(never)]
    pub fn sized(&mut self) -> &'r [u8] {
        let length = u16::from_be_bytes(self.array());
        self.bytes(length.into())
    }

    /// `value`, unless something was missing on the way to it or bytes are left.
    pub fn done<T>(self, value: T) -> Result<T, Error> {
        if self.left.is_empty() && !self.broken { Ok(value) } else { Err(Error::StateCorrupt) }
    }
}
