//! One installation: from the first byte of a payload to a verified image.

use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use sealift_manifests::{Digest, Payload};
use sha2::{Digest as _, Sha256};

use super::choice::Choice;
use super::decode::{BaseReader, Decode, Mark, State};
use super::hint::Subject;
use super::slot::{Slot, SlotReader};
use super::verified::VerifiedImage;
use super::writer::SlotWriter;
use crate::error::Error;
use crate::session::Approved;

/// What an installation wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More of the payload.
    More,
    /// The payload from this offset on; what was pushed behind is dropped. Only after a resume.
    Seek(u32),
    /// Nothing: [`Install::finish`] it.
    Done,
}

/// Writes one payload of an approved target into a slot. `BUF` bytes are gathered before a write.
#[derive(Debug)]
pub struct Install<'b, F, B, D, const BUF: usize> {
    approved: Approved<'b>,
    subject: Subject,
    base: Option<SlotReader<B>>,
    decoder: D,
    writer: SlotWriter<F, BUF>,
    /// Over the payload as it arrives; gone once a part of it was skipped.
    hash: Option<Sha256>,
    /// What the decoder ended with; the rest of the payload is only hashed, to tell altered bytes from badly made ones.
    failed: Option<Error>,
    /// How many bytes of it were.
    hashed: u32,
    done: bool,
    /// The last mark before which everything stands in the flash.
    durable: Option<Mark>,
    /// A later one that waits for the writer.
    waiting: Mark,
}

impl<'b, F: NorFlash, B: ReadNorFlash, D: Decode, const BUF: usize> Install<'b, F, B, D, BUF> {
    /// Starts to install `choice`, a payload of the approved target, into `slot`, whose storage is `flash`. `base` is the
    /// storage of the installed image, which a delta needs; it is hashed before anything is written. `hint` is what
    /// [`Install::hint`] left in an earlier session; one that does not belong here is [`Error::StateCorrupt`]: drop it and
    /// start without.
    #[inline(never)]
    pub fn begin(
        approved: Approved<'b>,
        choice: &Choice,
        slot: Slot,
        flash: F,
        base: Option<B>,
        mut decoder: D,
        hint: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let payload = *choice.payload();
        let target = approved.target();
        if !target.payloads.iter().any(|listed| listed == payload) {
            return Err(Error::NoUsablePayload);
        }
        let mut base = base.map(SlotReader::new);
        if let Some(expected) = &payload.base {
            let base = base.as_mut().ok_or(Error::BaseMismatch)?;
            if !base.holds(expected)? {
                return Err(Error::BaseMismatch);
            }
        }
        let subject = Subject { slot, target: approved.digest(), payload };
        let mark = hint.map(|record| subject.decode(record)).transpose()?;
        decoder.start(&payload, &target.image, mark.as_ref().map(|mark| &mark.token))?;
        let writer = match mark {
            None => SlotWriter::new(flash, target.image.length)?,
            Some(mark) => SlotWriter::resume(flash, target.image.length, mark.output)?,
        };
        let done = mark.is_some_and(|mark| mark.output == target.image.length);
        let hash = if mark.is_some() { None } else { Some(Sha256::new()) };
        let waiting = Mark::default();
        Ok(Install {
            approved,
            subject,
            base,
            decoder,
            writer,
            hash,
            failed: None,
            hashed: 0,
            done,
            durable: mark,
            waiting,
        })
    }

    /// The payload that is installed.
    pub fn payload(&self) -> &Payload {
        &self.subject.payload
    }

    /// Offset in the payload of the next byte that [`Install::push`] wants: where a download goes on.
    pub fn next_offset(&self) -> u32 {
        match self.failed {
            Some(_) => self.hashed,
            None if self.done => self.subject.payload.length,
            None => self.decoder.next_offset(),
        }
    }

    /// Bytes of the image that were written, those before a resume included.
    pub fn written(&self) -> u32 {
        self.writer.position()
    }

    /// Takes the next bytes of the payload, in pieces of any size. Bytes beyond its signed length are refused before any of
    /// them is looked at. A payload that doesn't decode is taken to its end, unwritten: [`Install::finish`] then says whether
    /// it was altered ([`Error::PayloadHash`]) or signed as it is ([`Error::PayloadCorrupt`]).
    #[inline(never)]
    pub fn push(&mut self, bytes: &[u8]) -> Result<Next, Error> {
        let left = self.subject.payload.length.saturating_sub(self.next_offset());
        if bytes.len() > left as usize {
            return Err(Error::PayloadTooLong);
        }
        if self.done {
            return Ok(Next::Done);
        }
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
            // No longer than the payload: it was checked above.
            self.hashed = self.hashed.saturating_add(bytes.len() as u32);
        }
        if self.failed.is_some() {
            return Ok(if self.hashed < self.subject.payload.length { Next::More } else { Next::Done });
        }
        let progress = match self.decoder.push(bytes, &mut self.base, &mut self.writer) {
            Ok(progress) => progress,
            // Altered, or badly made? Its hash will tell; nothing of it is written any more.
            Err(error @ Error::PayloadCorrupt) if self.hash.is_some() => {
                self.failed = Some(error);
                return Ok(if self.hashed < self.subject.payload.length { Next::More } else { Next::Done });
            }
            Err(error) => return Err(error),
        };
        self.settle();
        match progress.state {
            State::NeedInput => Ok(Next::More),
            State::Seek(offset) => {
                self.hash = None;
                Ok(Next::Seek(offset))
            }
            // A payload may go on behind its image's last byte; decoders refuse that when they are pushed more.
            State::Done if self.decoder.next_offset() < self.subject.payload.length => Ok(Next::More),
            State::Done => {
                self.done = true;
                Ok(Next::Done)
            }
        }
    }

    /// Writes the record by which a later session may go on, if there is a place to go on from; returns its length. Persist
    /// it only when what was written to the slot is durable.
    pub fn hint(&self, out: &mut [u8]) -> Result<Option<usize>, Error> {
        self.durable
            .filter(|mark| mark.output > 0 && self.failed.is_none())
            .map(|mark| self.subject.encode(&mark, out))
            .transpose()
    }

    /// Bytes of the image up to which [`Install::hint`] would go on.
    pub fn hinted(&self) -> u32 {
        self.durable.map_or(0, |mark| mark.output)
    }

    /// Ends the installation: the payload's length and hash, the image's length, and then the hash over the whole slot, read
    /// back.
    #[inline(never)]
    pub fn finish(self) -> Result<VerifiedImage<'b>, Error> {
        let payload = &self.subject.payload;
        if self.next_offset() < payload.length {
            return Err(Error::PayloadTruncated);
        }
        if let Some(hash) = self.hash
            && Digest(hash.finalize().into()) != payload.digest
        {
            return Err(Error::PayloadHash);
        }
        if self.failed.is_some() || !self.done {
            return Err(Error::PayloadCorrupt);
        }
        let flash = self.writer.finish()?;
        VerifiedImage::read_back(self.approved, self.subject.slot, flash)
    }

    /// A mark counts once everything before it left the writer's buffer; until then no later one replaces it.
    fn settle(&mut self) {
        for _ in 0..2 {
            if self.waiting.output > self.writer.flushed() {
                return;
            }
            if self.waiting.output > 0 {
                self.durable = Some(self.waiting);
            }
            self.waiting = self.decoder.mark();
        }
    }
}

impl<B: ReadNorFlash> BaseReader for Option<SlotReader<B>> {
    fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        self.as_mut().ok_or(Error::BaseMismatch)?.read_at(offset, bytes)
    }
}
