//! Records that a device keeps: a version byte, fields of fixed width in big-endian order, and a checksum.
//!
//! The checksum finds bit rot and torn writes. It is no protection against somebody who writes the storage: that is the
//! storage's own task, or signatures' (see [`crate::session::slot_record`]).

use sealift_manifests::{Digest, sha256};

use crate::error::Error;

/// Bytes of the checksum that ends a record: the first of its SHA-256.
pub const CHECKSUM: usize = 8;

/// Fills a caller's buffer.
#[derive(Debug)]
pub struct RecordWriter<'o> {
    out: &'o mut [u8],
    at: usize,
}

impl<'o> RecordWriter<'o> {
    /// Starts a record of the given format version.
    pub fn new(out: &'o mut [u8], version: u8) -> Result<Self, Error> {
        let mut writer = RecordWriter { out, at: 0 };
        writer.bytes(&[version])?;
        Ok(writer)
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<&mut Self, Error> {
        let end = self.at.checked_add(bytes.len()).ok_or(Error::BufferTooSmall)?;
        self.out.get_mut(self.at..end).ok_or(Error::BufferTooSmall)?.copy_from_slice(bytes);
        self.at = end;
        Ok(self)
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> Result<&mut Self, Error> {
        self.bytes(&[value])
    }

    /// A 64-bit number.
    pub fn u64(&mut self, value: u64) -> Result<&mut Self, Error> {
        self.bytes(&value.to_be_bytes())
    }

    /// Bytes of at most 65,535 with their length before them.
    pub fn sized(&mut self, bytes: &[u8]) -> Result<&mut Self, Error> {
        let length = u16::try_from(bytes.len()).map_err(|_| Error::BufferTooSmall)?;
        self.bytes(&length.to_be_bytes())?.bytes(bytes)
    }

    /// Ends the record with its checksum; returns its length.
    pub fn finish(mut self) -> Result<usize, Error> {
        let Digest(digest) = sha256(self.out.get(..self.at).unwrap_or(&[]));
        let checksum: &[u8; CHECKSUM] = digest.first_chunk().ok_or(Error::BufferTooSmall)?;
        self.bytes(checksum)?;
        Ok(self.at)
    }
}

/// Reads what a [`RecordWriter`] wrote. Whatever does not fit is [`Error::StateCorrupt`].
#[derive(Clone, Copy, Debug)]
pub struct RecordReader<'r> {
    left: &'r [u8],
}

impl<'r> RecordReader<'r> {
    /// Starts to read a record of the given format version, whose checksum must hold.
    pub fn new(record: &'r [u8], version: u8) -> Result<Self, Error> {
        let (body, checksum) = record.split_last_chunk::<CHECKSUM>().ok_or(Error::StateCorrupt)?;
        if sha256(body).0.first_chunk() != Some(checksum) {
            return Err(Error::StateCorrupt);
        }
        let mut reader = RecordReader { left: body };
        if reader.u8()? == version { Ok(reader) } else { Err(Error::StateCorrupt) }
    }

    /// The next `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Result<&'r [u8], Error> {
        let (taken, left) = self.left.split_at_checked(length).ok_or(Error::StateCorrupt)?;
        self.left = left;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.bytes(N)?.try_into().map_err(|_| Error::StateCorrupt)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    /// A 64-bit number.
    pub fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// Bytes with their length before them.
    pub fn sized(&mut self) -> Result<&'r [u8], Error> {
        let length = self.array().map(u16::from_be_bytes)?;
        self.bytes(length.into())
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<(), Error> {
        if self.left.is_empty() { Ok(()) } else { Err(Error::StateCorrupt) }
    }
}
