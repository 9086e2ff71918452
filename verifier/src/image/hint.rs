//! The resume record: where an interrupted installation may go on. Nothing in it is trusted.

use sealift_manifests::{Digest, Payload};

use super::decode::Mark;
use super::slot::Slot;
use crate::error::Error;
use crate::record::{CHECKSUM, RecordReader, RecordWriter};

const VERSION: u8 = 1;

/// Most bytes of a resume record.
pub const HINT_RECORD_MAX: usize = 1 + 1 + 3 * 32 + 4 + Mark::TOKEN + CHECKSUM;

/// What an installation is, so that a hint of another one is not used for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) slot: Slot,
    pub(super) target: Digest,
    pub(super) payload: Payload,
}

impl Subject {
    fn digests(&self) -> [Digest; 3] {
        [self.target, self.payload.digest, self.payload.base.map_or(Digest([0; 32]), |base| base.digest)]
    }

    /// Writes the record of a mark; returns its length.
    pub(super) fn encode(&self, mark: &Mark, out: &mut [u8]) -> Result<usize, Error> {
        let mut writer = RecordWriter::new(out, VERSION);
        writer.u8(self.slot as u8);
        for digest in self.digests() {
            writer.bytes(&digest.0);
        }
        writer.bytes(&mark.output.to_be_bytes()).bytes(&mark.token);
        writer.finish()
    }

    /// Reads a record, if it is one of this installation.
    pub(super) fn decode(&self, record: &[u8]) -> Result<Mark, Error> {
        let mut reader = RecordReader::new(record, VERSION)?;
        let mut ours = reader.u8() == self.slot as u8;
        for digest in self.digests() {
            ours &= reader.digest() == digest;
        }
        let mark = Mark { output: reader.u32(), token: reader.array() };
        if ours { reader.done(mark) } else { Err(Error::StateCorrupt) }
    }
}
