//! A slot in a file or on a block device, as NOR flash: erased in sectors of 4 KiB, then written.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
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
        if write {
            Place::of(&file, path)?.may_be_written(path)?;
        }
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

/// What a slot's path leads to, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A regular file: its file system and its number there.
    File(u64, u64),
    /// A block device.
    Device(u64),
}

impl Place {
    /// Looks at an opened slot.
    pub fn of(file: &File, path: &Path) -> Result<Self> {
        let metadata = file.metadata().map_err(Error::file("look at", path))?;
        let kind = metadata.file_type();
        if kind.is_block_device() {
            Ok(Place::Device(metadata.rdev()))
        } else if kind.is_file() {
            Ok(Place::File(metadata.dev(), metadata.ino()))
        } else {
            let problem = "neither a regular file nor a block device; name one of those as a slot".into();
            Err(Error::Input { path: path.into(), problem })
        }
    }

    /// Refuses a block device that is mounted: a write would go under a file system's feet.
    fn may_be_written(self, path: &Path) -> Result<()> {
        let Place::Device(device) = self else { return Ok(()) };
        let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return Ok(()) };
        match mounted_at(&mounts, device) {
            None => Ok(()),
            Some(point) => {
                let problem = format!(
                    "it is mounted at {point}, and a slot is written raw: unmount it, or mend --slot-a and --slot-b"
                );
                Err(Error::Input { path: path.into(), problem })
            }
        }
    }
}

/// Where a device is mounted, by proc(5)'s mountinfo: `36 35 98:0 /mnt1 /mnt2 rw,noatime ...`.
fn mounted_at(mounts: &str, device: u64) -> Option<String> {
    // The kernel's encoding of dev_t for user space, as makedev(3) has it.
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    let number = format!("{major}:{minor}");
    mounts.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.nth(2)? == number).then(|| fields.nth(1).unwrap_or("?").to_owned())
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_device_is_found_by_its_number_whatever_it_is_called() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/root rw\n36 35 259:300 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw\n";
        assert_eq!(mounted_at(mounts, 0x801).as_deref(), Some("/"));
        // Major 259, minor 300: both parts are split over the number.
        let device = (259 << 8) | (300 & 0xff) | ((300 & !0xff) << 12);
        assert_eq!(mounted_at(mounts, device).as_deref(), Some("/mnt2"));
        assert_eq!(mounted_at(mounts, 0x802), None);
    }

    #[test]
    fn what_is_neither_file_nor_block_device_is_no_slot() {
        let error = SlotFile::open(Path::new("/dev/zero"), 0, true).unwrap_err();
        assert!(error.to_string().contains("block device"), "{error}");
    }
}
