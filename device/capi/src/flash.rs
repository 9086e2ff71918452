//! Flash and counter behind C callbacks.

use core::ffi::c_void;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use sealift_verifier::Error;
use sealift_verifier::boot::SecurityCounter;

/// Bytes of a word, which is written once between two erasures: 8, or SEALIFT_FLASH_WORD when the library is built.
pub const SEALIFT_FLASH_WORD: usize = size(option_env!("SEALIFT_FLASH_WORD"), 8);
/// Bytes of a sector: 4096, or SEALIFT_FLASH_SECTOR when the library is built.
pub const SEALIFT_FLASH_SECTOR: usize = size(option_env!("SEALIFT_FLASH_SECTOR"), 4096);

/// A number out of the build's environment.
const fn size(text: Option<&str>, default: usize) -> usize {
    let Some(text) = text else { return default };
    let (bytes, mut at, mut value) = (text.as_bytes(), 0, 0);
    while at < bytes.len() {
        assert!(bytes[at].is_ascii_digit(), "a size of the flash must be a number");
        value = value * 10 + (bytes[at] - b'0') as usize;
        at += 1;
    }
    value
}

/// A part of the flash: a slot, or the record store.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SealiftFlash {
    /// Passed to each callback as it is.
    pub context: *mut c_void,
    /// Bytes of the part: whole sectors.
    pub length: u32,
    /// Reads; 0 when it went well.
    pub read: Option<unsafe extern "C" fn(context: *mut c_void, offset: u32, bytes: *mut u8, length: usize) -> i32>,
    /// Writes whole words that are erased; 0 when they hold the bytes.
    pub write: Option<unsafe extern "C" fn(context: *mut c_void, offset: u32, bytes: *const u8, length: usize) -> i32>,
    /// Erases whole sectors from `from` up to `to`; 0 when they read as 0xff.
    pub erase: Option<unsafe extern "C" fn(context: *mut c_void, from: u32, to: u32) -> i32>,
}

impl ErrorType for SealiftFlash {
    type Error = NorFlashErrorKind;
}

fn done(code: i32) -> Result<(), NorFlashErrorKind> {
    if code == 0 { Ok(()) } else { Err(NorFlashErrorKind::Other) }
}

impl ReadNorFlash for SealiftFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        let read = self.read.ok_or(NorFlashErrorKind::Other)?;
        // SAFETY: the caller of the C function vouches for the callback; the bytes are ours.
        done(unsafe { read(self.context, offset, bytes.as_mut_ptr(), bytes.len()) })
    }

    fn capacity(&self) -> usize {
        self.length as usize
    }
}

impl NorFlash for SealiftFlash {
    const WRITE_SIZE: usize = SEALIFT_FLASH_WORD;
    const ERASE_SIZE: usize = SEALIFT_FLASH_SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        let erase = self.erase.ok_or(NorFlashErrorKind::Other)?;
        // SAFETY: as above.
        done(unsafe { erase(self.context, from, to) })
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        let write = self.write.ok_or(NorFlashErrorKind::Other)?;
        // SAFETY: as above.
        done(unsafe { write(self.context, offset, bytes.as_ptr(), bytes.len()) })
    }
}

/// A security counter: fuses, an RPMB. With both callbacks left out it is kept in the record store, as safe as the flash.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SealiftCounter {
    /// Passed to each callback as it is.
    pub context: *mut c_void,
    /// Reads the counter; 0 when it went well.
    pub read: Option<unsafe extern "C" fn(context: *mut c_void, value: *mut u64) -> i32>,
    /// Raises the counter, which never goes down; 0 when it is raised for good.
    pub raise: Option<unsafe extern "C" fn(context: *mut c_void, to: u64) -> i32>,
}

/// The counter that a device has: its own, or the store's.
pub(crate) struct Counter<S> {
    pub(crate) own: SealiftCounter,
    pub(crate) stored: S,
}

impl<S: SecurityCounter> SecurityCounter for Counter<S> {
    fn read(&mut self) -> Result<u64, Error> {
        match (self.own.read, self.own.raise) {
            (None, None) => self.stored.read(),
            (Some(read), _) => {
                let mut value = 0;
                // SAFETY: as above; the value is ours.
                if unsafe { read(self.own.context, &raw mut value) } == 0 { Ok(value) } else { Err(Error::Storage) }
            }
            (None, Some(_)) => Err(Error::Storage),
        }
    }

    fn raise(&mut self, to: u64) -> Result<(), Error> {
        match (self.own.read, self.own.raise) {
            (None, None) => self.stored.raise(to),
            (Some(_), Some(raise)) => {
                // SAFETY: as above.
                if unsafe { raise(self.own.context, to) } == 0 { Ok(()) } else { Err(Error::Storage) }
            }
            _ => Err(Error::Storage),
        }
    }
}
