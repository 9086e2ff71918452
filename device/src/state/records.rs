//! The verifier's records and counter as files.

use std::path::{Path, PathBuf};

use sealift_verifier::Error as Refusal;
use sealift_verifier::boot::{RecordId, Records, SecurityCounter};
use tracing::error;

use super::files::{self, Access};

/// Most bytes of any record: a root or a slot's record, with room.
const RECORD_MAX: usize = 16 * 1024;

/// One file a record.
#[derive(Clone, Debug)]
pub struct FileRecords {
    directory: PathBuf,
}

impl FileRecords {
    /// The records in a directory.
    pub fn new(directory: &Path) -> Self {
        FileRecords { directory: directory.into() }
    }

    /// Where a record stands.
    pub fn path(&self, id: RecordId) -> PathBuf {
        self.directory.join(id.name())
    }

    /// A record as a whole.
    pub fn load(&self, id: RecordId) -> crate::error::Result<Option<Vec<u8>>> {
        files::read_if_any(&self.path(id), RECORD_MAX)
    }

    /// Replaces a record.
    pub fn store(&self, id: RecordId, record: &[u8]) -> crate::error::Result<()> {
        files::replace(&self.path(id), record, Access::Plain)
    }
}

/// The verifier knows one word for it; what exactly failed stands in the log.
fn storage<T>(result: crate::error::Result<T>) -> Result<T, Refusal> {
    result.map_err(|problem| {
        error!(%problem, "the state directory failed");
        Refusal::Storage
    })
}

impl Records for FileRecords {
    fn read<'r>(&mut self, id: RecordId, buffer: &'r mut [u8]) -> Result<Option<&'r [u8]>, Refusal> {
        let Some(record) = storage(self.load(id))? else { return Ok(None) };
        let room = buffer.get_mut(..record.len()).ok_or(Refusal::BufferTooSmall)?;
        room.copy_from_slice(&record);
        Ok(Some(room))
    }

    fn replace(&mut self, id: RecordId, record: &[u8]) -> Result<(), Refusal> {
        storage(self.store(id, record))
    }

    fn remove(&mut self, id: RecordId) -> Result<(), Refusal> {
        storage(files::remove(&self.path(id)))
    }
}

/// The security counter in a file. Whoever can write the state directory can lower it: hardware with fuses or RPMB should
/// keep it there.
#[derive(Clone, Debug)]
pub struct FileCounter {
    path: PathBuf,
}

impl FileCounter {
    /// The counter in this file.
    pub fn new(path: PathBuf) -> Self {
        FileCounter { path }
    }

    /// Makes it, at the factory.
    pub fn create(&self) -> crate::error::Result<()> {
        files::replace(&self.path, b"0\n", Access::Plain)
    }
}

impl SecurityCounter for FileCounter {
    fn read(&mut self) -> Result<u64, Refusal> {
        let bytes = storage(files::read(&self.path, 32))?;
        let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse().ok());
        number.ok_or(Refusal::StateCorrupt)
    }

    fn raise(&mut self, to: u64) -> Result<(), Refusal> {
        if self.read()? >= to {
            return Ok(());
        }
        storage(files::replace(&self.path, format!("{to}\n").as_bytes(), Access::Plain))
    }
}
