//! One writer at a time, and nothing seen half done.
//!
//! New files get names that say what is in them, so they disturb nobody. The act is done when the timestamp is replaced.
//! An act that was interrupted before that leaves files that no timestamp names; the next act removes them.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use sealift_manifests::{Digest, Envelope, Meta, Role, Snapshot, sha256};

use super::files::Files;
use super::place::{TEMPORARY, sync_folder, write_atomic};
use super::{Layout, refused_file};
use crate::error::{Error, Result};

/// The right to change a repository directory, held until it is dropped, also by a process that is killed.
#[derive(Debug)]
pub struct Transaction {
    layout: Layout,
    _lock: File,
}

impl Transaction {
    /// Waits for the repository's lock, then removes what an interrupted act left behind.
    pub fn begin(layout: &Layout) -> Result<Self> {
        fs::create_dir_all(&layout.directory).map_err(Error::io("create the folder", &layout.directory))?;
        let path = layout.directory.join(".lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(Error::io("open the lock", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("waiting for another sealift that is changing {}", layout.directory.display());
                lock.lock().map_err(Error::io("lock", &path))?;
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
        let transaction = Transaction { layout: layout.clone(), _lock: lock };
        transaction.clean()?;
        if layout.timestamp().exists() {
            crate::tuf::settle(layout)?;
        }
        Ok(transaction)
    }

    /// Where things are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Stores a payload under its hash.
    pub fn put_payload(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = sha256(bytes);
        self.put(&self.layout.payload(&digest), bytes)?;
        Ok(digest)
    }

    /// Stores a role file under its version or hash and says what pins it. A timestamp goes to [`Transaction::commit`].
    pub fn put_role(&self, role: Role, version: u64, file: &[u8]) -> Result<Meta> {
        let meta = Meta::of(version, file).ok_or_else(|| refused_file(role, file.len()))?;
        let path = match role {
            Role::Root => self.layout.root(version),
            Role::Timestamp => return Err(Error::failed("a timestamp is committed, not stored", "")),
            Role::Snapshot => self.layout.snapshot(&meta.digest),
            Role::Targets => self.layout.targets(&meta.digest),
        };
        self.put(&path, file)?;
        Ok(meta)
    }

    /// Stores a file that is written once. One that is there with the same content stays as it is.
    pub fn put(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        match fs::read(path) {
            Ok(present) if present == bytes => Ok(()),
            _ => write_atomic(path, bytes),
        }
    }

    /// The act's last step: from now on the new state is the repository's.
    pub fn commit(&self, timestamp: &[u8]) -> Result<()> {
        write_atomic(&self.layout.timestamp(), timestamp)
    }

    /// Removes what only an interrupted act can have left: temporary files, and metadata that was never part of a state.
    fn clean(&self) -> Result<()> {
        let folders =
            [self.layout.metadata(), self.layout.payloads(), self.layout.tuf_metadata(), self.layout.tuf_targets()];
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            remove_where(folder, |name, _| name.starts_with(TEMPORARY))?;
        }
        // A damaged repository is reported by whoever reads it next; nothing is removed from one.
        let Ok(Some(files)) = Files::of_directory(&self.layout) else { return Ok(()) };
        let Ok(committed) = files.snapshot().map(|snapshot| snapshot.header.version) else { return Ok(()) };
        let metadata = self.layout.metadata();
        // A snapshot above the committed one was never named by a timestamp, and a targets file that no snapshot pins was
        // never part of a state. What was part of one stays: it is the repository's history.
        let mut pinned = Vec::new();
        remove_where(&metadata, |_, path| {
            let Some(file) = read_as(path, "snapshot") else { return false };
            let Some(snapshot) = snapshot_in(&file) else { return false };
            if snapshot.header.version > committed {
                return true;
            }
            pinned.push(snapshot.targets.digest);
            pinned.extend(snapshot.delegated.iter().map(|entry| entry.meta.digest));
            false
        })?;
        remove_where(&metadata, |_, path| {
            let Some(file) = read_as(path, "targets") else { return false };
            !pinned.contains(&sha256(&file))
        })
    }
}

/// The content of a file with this extension.
fn read_as(path: &Path, extension: &str) -> Option<Vec<u8>> {
    path.extension().is_some_and(|found| found == extension).then(|| fs::read(path).ok())?
}

fn snapshot_in(file: &[u8]) -> Option<Snapshot<'_>> {
    Snapshot::decode(Envelope::decode(file).ok()?.payload).ok()
}

fn remove_where(folder: &Path, mut left_over: impl FnMut(&str, &Path) -> bool) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let mut removed = false;
    for entry in entries {
        let entry = entry.map_err(Error::io("list", folder))?;
        if left_over(&entry.file_name().to_string_lossy(), &entry.path()) {
            fs::remove_file(entry.path()).map_err(Error::io("remove", entry.path()))?;
            removed = true;
        }
    }
    if removed { sync_folder(folder) } else { Ok(()) }
}
