//! What a device remembers of the roles it accepted, and its record.
//!
//! | floor | raised by | dropped by |
//! |---|---|---|
//! | root version | an accepted root | nothing |
//! | timestamp version, and the time it gave | an accepted timestamp | a root under which its signers no longer reach the threshold |
//! | snapshot version that the timestamp named | an accepted timestamp | the same, or the snapshot's floor falling |
//! | snapshot version | an accepted snapshot | a root under which its signers no longer reach the threshold |
//! | targets version that the snapshot listed | an accepted snapshot | the same, or the targets' floor falling |
//! | targets version | an accepted targets file | a root under which its signers no longer reach the threshold |
//! | delegated targets version | an accepted delegated file | a delegation under which its signers no longer reach the threshold, or to another role |
//! | security counter | a confirmed image | nothing |

use sealift_manifests::bounds::{MAX_NAME, MAX_ROLE_KEYS};
use sealift_manifests::is_name;

use crate::certain::possibly;
use crate::error::Error;
use crate::record::{CHECKSUM, RecordReader, RecordWriter};
use crate::trust::{Floor, SignerSet, Signers};

/// The floors of a device, but for root's (the root file it keeps says its own version) and the security counter's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrustState {
    /// Of the timestamp.
    pub timestamp: Option<TimestampFloor>,
    /// Of the snapshot.
    pub snapshot: Option<SnapshotFloor>,
    /// Of the top-level targets.
    pub targets: Option<Floor>,
    /// Of the delegated targets of the device's product.
    pub delegated: Option<DelegatedFloor>,
}

/// What is remembered of the timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampFloor {
    /// Its version and signers.
    pub floor: Floor,
    /// The latest time that an accepted timestamp was signed at: seconds since 1970-01-01T00:00:00Z.
    pub issued: u64,
    /// The version of the snapshot it named.
    pub snapshot_version: u64,
}

/// What is remembered of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotFloor {
    /// Its version and signers.
    pub floor: Floor,
    /// The version of the top-level targets it listed.
    pub targets_version: u64,
}

/// What is remembered of the delegated role that signs for the device's product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelegatedFloor {
    name: [u8; MAX_NAME],
    name_length: usize,
    floor: Floor,
}

impl DelegatedFloor {
    /// The floor of the role `name`.
    pub fn new(name: &str, floor: Floor) -> Result<Self, Error> {
        let mut bytes = [0; MAX_NAME];
        let room = bytes.get_mut(..name.len()).ok_or(Error::StateCorrupt)?;
        room.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        Ok(DelegatedFloor { name: bytes, name_length: name.len(), floor })
    }

    /// The floor, if it is that of the role `name`.
    pub fn of(&self, name: &str) -> Option<&Floor> {
        if possibly(self.name() == name.as_bytes()) { Some(&self.floor) } else { None }
    }

    fn name(&self) -> &[u8] {
        self.name.get(..self.name_length).unwrap_or(&self.name)
    }
}

const VERSION: u8 = 1;
const FLOOR_MAX: usize = 8 + 32 + 1 + MAX_ROLE_KEYS * 32;

/// Most bytes of an encoded [`TrustState`].
pub const TRUST_RECORD_MAX: usize = 1 + 4 * (1 + FLOOR_MAX) + 3 * 8 + 2 + MAX_NAME + CHECKSUM;

impl TrustState {
    /// Writes the record; returns its length.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut writer = RecordWriter::new(out, VERSION);
        write_floor(&mut writer, self.timestamp.as_ref().map(|known| &known.floor));
        if let Some(known) = &self.timestamp {
            writer.u64(known.issued).u64(known.snapshot_version);
        }
        write_floor(&mut writer, self.snapshot.as_ref().map(|known| &known.floor));
        if let Some(known) = &self.snapshot {
            writer.u64(known.targets_version);
        }
        write_floor(&mut writer, self.targets.as_ref());
        write_floor(&mut writer, self.delegated.as_ref().map(|known| &known.floor));
        if let Some(known) = &self.delegated {
            writer.sized(known.name());
        }
        writer.finish()
    }

    /// Reads the record.
    pub fn decode(record: &[u8]) -> Result<Self, Error> {
        let mut state = TrustState::default();
        let mut reader = RecordReader::new(record, VERSION)?;
        if let Some(floor) = read_floor(&mut reader) {
            state.timestamp = Some(TimestampFloor { floor, issued: reader.u64(), snapshot_version: reader.u64() });
        }
        if let Some(floor) = read_floor(&mut reader) {
            state.snapshot = Some(SnapshotFloor { floor, targets_version: reader.u64() });
        }
        state.targets = read_floor(&mut reader);
        if let Some(floor) = read_floor(&mut reader) {
            let name = core::str::from_utf8(reader.sized()).unwrap_or_default();
            if !is_name(name) {
                return Err(Error::StateCorrupt);
            }
            state.delegated = Some(DelegatedFloor::new(name, floor)?);
        }
        reader.done(state)
    }
}

/// A count of 0 signers is no floor: a floor always has some.
#[inline(never)]
fn write_floor(writer: &mut RecordWriter<'_>, floor: Option<&Floor>) {
    let Some(floor) = floor else {
        writer.u8(0);
        return;
    };
    // At most MAX_ROLE_KEYS, so the cast is exact.
    writer.u8(floor.signers.count() as u8).u64(floor.version).bytes(&floor.content.0);
    for signer in floor.signers.iter() {
        writer.bytes(&signer.0);
    }
}

#[inline(never)]
fn read_floor(reader: &mut RecordReader<'_>) -> Option<Floor> {
    let count = reader.u8();
    if count == 0 {
        return None;
    }
    let mut floor = Floor { version: reader.u64(), content: reader.digest(), signers: Signers::default() };
    for _ in 0..count {
        let fingerprint = reader.digest();
        if floor.signers.contains(&fingerprint) || !floor.signers.insert(fingerprint) {
            reader.refuse();
        }
    }
    Some(floor)
}
