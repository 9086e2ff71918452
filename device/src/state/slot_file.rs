//! A slot in a file or on a block device, as NOR flash: erased in sectors of 4 KiB, then written.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use tracing::error;

use crate::error::{Error, Result};

/// Bytes erased at once: a page of the file system.
pub const SECTOR: usize = 4096;

/// The storage of one slot.
#[derive(Debug)]
pub struct SlotFile {
    file: File,
    path: PathBuf,
    capacity: usize,
}

/// What a slot file says when it fails; the log says more.
#[derive(Debug)]
pub struct SlotError(NorFlashErrorKind);

impl NorFlashError for SlotError {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

impl SlotFile {
    /// Opens a slot of `capacity` bytes: a file of that length, or a block device at least that large.
    pub fn open(path: &Path, capacity: u64, write: bool) -> Result<Self> {
        use std::io::{Seek as _, SeekFrom};
        let mut file = OpenOptions::new().read(true).write(write).open(path).map_err(Error::file("open", path))?;
        // The length of a block device is where its end is, not what its metadata say.
        let length = file.seek(SeekFrom::End(0)).map_err(Error::file("measure", path))?;
        if length < capacity {
            let problem =
                format!("the slot has {length} bytes, {capacity} were provisioned; provision the device anew");
            return Err(Error::Input { path: path.into(), problem });
        }
        let capacity = usize::try_from(capacity).map_err(|_| Error::Input {
            path: path.into(),
            problem: "the slot is larger than this machine's memory can address".into(),
        })?;
        Ok(SlotFile { file, path: path.into(), capacity })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(Error::file("flush", &self.path))
    }

    fn checked<T>(&self, act: &'static str, result: io::Result<T>) -> std::result::Result<T, SlotError> {
        result.map_err(|problem| {
            error!(slot = %self.path.display(), %problem, "can't {act} the slot");
            SlotError(NorFlashErrorKind::Other)
        })
    }
}

impl ErrorType for SlotFile {
    type Error = SlotError;
}

impl ReadNorFlash for SlotFile {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> std::result::Result<(), SlotError> {
        check_read(self, offset, bytes.len()).map_err(SlotError)?;
        self.checked("read", self.file.read_exact_at(bytes, offset.into()))
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

impl NorFlash for SlotFile {
    const WRITE_SIZE: usize = 1;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> std::result::Result<(), SlotError> {
        check_erase(self, from, to).map_err(SlotError)?;
        for sector in (from..to).step_by(SECTOR) {
            self.checked("erase", self.file.write_all_at(&[0xff; SECTOR], sector.into()))?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> std::result::Result<(), SlotError> {
        check_write(self, offset, bytes.len()).map_err(SlotError)?;
        self.checked("write", self.file.write_all_at(bytes, offset.into()))
    }
}
