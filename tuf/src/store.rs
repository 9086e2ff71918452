//! Where a client keeps what it trusts.
//!
//! Role files are kept as they were received. They are the floors: read again under the current root, they say what may not
//! be taken back. Each write replaces one record whole, so that between any two of them the power may go.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::name;

/// What a [`Store`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record<'r> {
    /// The file of a role, by the role's name.
    Role(&'r str),
    /// The latest time that the clock has shown, as decimal seconds since 1970-01-01T00:00:00Z.
    LatestTime,
}

/// Keeps records. A port: [`DirStore`] is a directory; an application may have a database.
pub trait Store {
    /// The record, if there is one.
    fn read(&self, record: Record<'_>) -> io::Result<Option<Vec<u8>>>;

    /// Replaces the record. When it returns, the record is durable; when it fails or the power goes, the old one is whole.
    fn write(&mut self, record: Record<'_>, bytes: &[u8]) -> io::Result<()>;

    /// Where the record is, for messages.
    fn location(&self, record: Record<'_>) -> PathBuf;
}

impl<S: Store + ?Sized> Store for &mut S {
    fn read(&self, record: Record<'_>) -> io::Result<Option<Vec<u8>>> {
        (**self).read(record)
    }
    fn write(&mut self, record: Record<'_>, bytes: &[u8]) -> io::Result<()> {
        (**self).write(record, bytes)
    }
    fn location(&self, record: Record<'_>) -> PathBuf {
        (**self).location(record)
    }
}

/// A directory with a file `ROLE.json` for each role, and what is no metadata in `.sealift` below it. One process at a time.
#[derive(Debug)]
pub struct DirStore {
    dir: PathBuf,
    state: PathBuf,
    // Holds the lock.
    _lock: File,
}

/// Below the directory of metadata or targets: what is neither.
pub(crate) const STATE_DIR: &str = ".sealift";
const TEMPORARY: &str = "tmp-";

impl DirStore {
    /// Opens the directory, and makes it if it is not there. Fails when another process has it open.
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        let state = dir.join(STATE_DIR);
        fs::create_dir_all(&state)?;
        let lock = File::create(state.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another process is using it; try again when that has ended"),
            TryLockError::Error(error) => error,
        })?;
        let store = DirStore { dir, state, _lock: lock };
        store.sweep()?;
        Ok(store)
    }

    /// Removes what a write that was cut short has left.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.state)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Store for DirStore {
    fn read(&self, record: Record<'_>) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.location(record)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, record: Record<'_>, bytes: &[u8]) -> io::Result<()> {
        let path = self.location(record);
        let mut temporary = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&self.state)?;
        temporary.write_all(bytes)?;
        replace(temporary, &path)
    }

    fn location(&self, record: Record<'_>) -> PathBuf {
        match record {
            Record::Role(role) => self.dir.join(format!("{}.json", name::file_name(role))),
            Record::LatestTime => self.state.join("latest-time"),
        }
    }
}

/// Makes a temporary file durable under its name.
pub(crate) fn replace(temporary: NamedTempFile, path: &Path) -> io::Result<()> {
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync_dir_of(path)
}

/// Makes the names in a file's directory durable.
pub(crate) fn sync_dir_of(path: &Path) -> io::Result<()> {
    // Only Unix lets a directory be opened and synchronised.
    if cfg!(unix)
        && let Some(dir) = path.parent()
    {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Keeps records in memory, for a check that leaves nothing behind.
#[derive(Debug, Default)]
pub struct MemoryStore {
    roles: BTreeMap<String, Vec<u8>>,
    latest_time: Option<Vec<u8>>,
}

impl Store for MemoryStore {
    fn read(&self, record: Record<'_>) -> io::Result<Option<Vec<u8>>> {
        Ok(match record {
            Record::Role(role) => self.roles.get(role).cloned(),
            Record::LatestTime => self.latest_time.clone(),
        })
    }

    fn write(&mut self, record: Record<'_>, bytes: &[u8]) -> io::Result<()> {
        match record {
            Record::Role(role) => drop(self.roles.insert(role.to_owned(), bytes.to_vec())),
            Record::LatestTime => self.latest_time = Some(bytes.to_vec()),
        }
        Ok(())
    }

    fn location(&self, record: Record<'_>) -> PathBuf {
        match record {
            Record::Role(role) => PathBuf::from(format!("{}.json", name::file_name(role))),
            Record::LatestTime => PathBuf::from("latest-time"),
        }
    }
}
