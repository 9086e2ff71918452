//! The resume record: where an interrupted installation may go on. Nothing in it is trusted.
//!
//! The state machine, over what is kept (the record, and the spare slot) and the installation that runs, if one does. It is
//! held to a model of it in `verifier/tests/models/resume.rs`.
//!
//! | record | event | next | what is written |
//! |---|---|---|---|
//! | none | `Install::begin` | runs, from the first byte | nothing |
//! | of this slot, target, payload and base, up to X | `begin` | runs, from X on | nothing |
//! | of anything else, or one that doesn't check | `begin` | `StateCorrupt`: the caller drops the record, and begins anew | nothing |
//! | any | `push`, behind the sector that X stands in | runs on | the sector is erased, then written |
//! | of up to X | `push`, in the sector that X stands in | runs on where a word is erased, or the same already | the words that were erased |
//! | of up to X | the same, where a word is anything else (torn by the cut, another image's) | `StateCorrupt`: as above | nothing |
//! | any | `Install::hint`, once everything up to Y stands in the flash | record of up to Y | the record |
//! | any | a cut | the record and the slot as they are; nothing runs | nothing |
//! | any | `Install::finish`, the slot's hash is the signed one | verified; activation removes the record | nothing |
//! | any | `finish`, it isn't: the record lied, or the slot was written or rotted since | refused; the caller drops the record | nothing |
//!
//! So whatever the record says, nothing runs that was not hashed whole, and who drops a record that led to a refusal gets there
//! in the second attempt at the latest.

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
