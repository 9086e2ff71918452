//! One writer at a time, and nothing seen half done.
//!
//! New files get names that say what is in them, so they disturb nobody. The act is done when the timestamp is replaced.
//! An act that was interrupted before that leaves files that no timestamp names; the next act removes them.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use sealift_manifests::{Digest, Envelope, Meta, Role, Snapshot, Targets, sha256};

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

    /// Removes temporary files, and metadata above the committed versions: only an interrupted act can have left those.
    fn clean(&self) -> Result<()> {
        let folders =
            [self.layout.metadata(), self.layout.payloads(), self.layout.tuf_metadata(), self.layout.tuf_targets()];
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            remove_where(folder, |name, _| name.starts_with(TEMPORARY))?;
        }
        // A damaged repository is reported by whoever reads it next; nothing is removed from one.
        let Ok(Some(files)) = Files::of_directory(&self.layout) else { return Ok(()) };
        let (Ok(snapshot), Ok(targets)) = (files.snapshot(), files.targets()) else { return Ok(()) };
        remove_where(&self.layout.metadata(), |_, path| {
            let committed = |name: Option<&str>| match name {
                None => Some(targets.header.version),
                Some(name) => snapshot.delegated(name).map(|meta| meta.version),
            };
            match version_in(path) {
                Some((Role::Snapshot, _, version)) => version > snapshot.header.version,
                Some((Role::Targets, name, version)) => version > committed(name.as_deref()).unwrap_or(0),
                _ => false,
            }
        })
    }
}

/// Role, name and version that a snapshot or targets file says it has.
fn version_in(path: &PathBuf) -> Option<(Role, Option<String>, u64)> {
    if !path.extension().is_some_and(|extension| extension == "snapshot" || extension == "targets") {
        return None;
    }
    let file = fs::read(path).ok()?;
    let payload = Envelope::decode(&file).ok()?.payload;
    match Role::peek(payload).ok()? {
        Role::Snapshot => Some((Role::Snapshot, None, Snapshot::decode(payload).ok()?.header.version)),
        Role::Targets => {
            let targets = Targets::decode(payload).ok()?;
            Some((Role::Targets, targets.name.map(str::to_owned), targets.header.version))
        }
        _ => None,
    }
}

fn remove_where(folder: &Path, left_over: impl Fn(&str, &PathBuf) -> bool) -> Result<()> {
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
