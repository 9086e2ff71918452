//! The state directory of one device.
//!
//! ```text
//! device.json        what the device is (factory)
//! connection.json    whom it talks to (enrolment)
//! records/           root, trust, slot-a, slot-b, boot, resume: the verifier's records
//! slots/a, slots/b   the two slots, unless they are elsewhere
//! counter            the security counter
//! keys/              tls.key, report.key (0600); certificate.pem, ca.pem
//! job.json           the job at hand
//! lock               held by the process that works on the directory
//! ```

pub mod agent_config;
pub mod config;
pub mod files;
pub mod journal;
pub mod keys;
pub mod records;
pub mod slot_file;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use sealift_verifier::boot::{BootControl, RecordId};
use sealift_verifier::image::{Slot, Slots};
use sealift_verifier::session::TrustState;

use crate::error::{Error, Result};
use config::{Connection, DeviceConfig};
use journal::Journal;
use records::{FileCounter, FileRecords};
use slot_file::SlotFile;

/// Boot and installation over files.
pub type Control = BootControl<FileRecords, FileCounter>;

/// An opened state directory.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    /// What the device is.
    pub config: DeviceConfig,
    /// Held as long as this lives.
    _lock: Option<File>,
}

impl State {
    /// Opens the directory to work on it; one process at a time may.
    pub fn open(directory: &Path) -> Result<Self> {
        let config = Self::config(directory)?;
        let path = directory.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(Error::file("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(State { directory: directory.into(), config, _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(Error::Input {
                path,
                problem: "another sealift-device works on this state; stop it first, or name another --state".into(),
            }),
            Err(TryLockError::Error(source)) => Err(Error::file("lock", path)(source)),
        }
    }

    /// Opens the directory to look at it.
    pub fn look(directory: &Path) -> Result<Self> {
        Ok(State { directory: directory.into(), config: Self::config(directory)?, _lock: None })
    }

    fn config(directory: &Path) -> Result<DeviceConfig> {
        let path = directory.join("device.json");
        if !path.exists() {
            let problem = "this is no device's state; make one with `sealift-device provision`".into();
            return Err(Error::Input { path, problem });
        }
        DeviceConfig::load(&path)
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The records.
    pub fn records(&self) -> FileRecords {
        FileRecords::new(&self.directory.join("records"))
    }

    /// Boot and installation.
    pub fn control(&self) -> Control {
        BootControl::new(self.records(), FileCounter::new(self.directory.join("counter")))
    }

    /// Both slots, the one that is to be written opened for that: the agent needs no right to write the one that runs.
    pub fn slots(&self, writable: Option<Slot>) -> Result<Slots<SlotFile>> {
        let open =
            |slot| SlotFile::open(&self.slot_path(slot), self.config.slot_size, writable.is_some_and(|w| w == slot));
        Ok(Slots { a: open(Slot::A)?, b: open(Slot::B)? })
    }

    /// Where a slot is.
    pub fn slot_path(&self, slot: Slot) -> PathBuf {
        match slot {
            Slot::A => self.directory.join(&self.config.slot_a),
            Slot::B => self.directory.join(&self.config.slot_b),
        }
    }

    /// The trusted root file.
    pub fn root(&self) -> Result<Vec<u8>> {
        let records = self.records();
        records.load(RecordId::Root)?.ok_or_else(|| Error::Input {
            path: records.path(RecordId::Root),
            problem: "the trusted root is gone; restore the file or provision the device again".into(),
        })
    }

    /// The floors. Without their record there were none yet; a damaged one is refused, since it can't be told apart from one
    /// that somebody removed.
    pub fn trust(&self) -> Result<TrustState> {
        let records = self.records();
        match records.load(RecordId::Trust)? {
            Some(record) => TrustState::decode(&record).map_err(|_| Error::Input {
                path: records.path(RecordId::Trust),
                problem: "the record of the floors is damaged; restore the file or provision the device again".into(),
            }),
            None => Ok(TrustState::default()),
        }
    }

    /// The job at hand.
    pub fn journal(&self) -> Journal {
        Journal::new(self.directory.join("job.json"))
    }

    /// A file of `keys/`.
    pub fn key_path(&self, name: &str) -> PathBuf {
        self.directory.join("keys").join(name)
    }

    /// Where the connection is kept.
    pub fn connection_path(&self) -> PathBuf {
        self.directory.join("connection.json")
    }

    /// Whom the device talks to; an error before it enrolled.
    pub fn connection(&self) -> Result<Connection> {
        Connection::load(&self.connection_path())?.ok_or_else(|| Error::Input {
            path: self.connection_path(),
            problem: "the device hasn't enrolled; run `sealift-device enrol` first".into(),
        })
    }
}
