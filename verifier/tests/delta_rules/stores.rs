//! A base and a slot that notice what must never happen, and the two kinds of decoder behind one face.

use sealift_manifests::delta_format::READ_BACK_MARGIN;
use sealift_verifier::delta::{
    BaseReader, Decoder, DecoderIn, DeltaError, Fault, Header, Output, Payload, Progress, ResumePoint, State,
};

/// A base that notices reads outside of it.
pub(crate) struct Base<'a>(pub(crate) &'a [u8]);

impl BaseReader for Base<'_> {
    type Error = &'static str;

    fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let end = offset as usize + bytes.len();
        bytes.copy_from_slice(self.0.get(offset as usize..end).ok_or("read outside of the base")?);
        Ok(())
    }
}

/// A slot that notices writes out of order or beyond its length, and reads of what may not be written yet.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) bytes: Vec<u8>,
    pub(crate) most: usize,
    /// Bytes before the resume point, which may be read until something is written.
    durable: usize,
}

impl Slot {
    pub(crate) fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most, durable: 0 }
    }

    /// One that holds these bytes after a reset.
    pub(crate) fn resumed(bytes: &[u8], most: usize) -> Self {
        Self { bytes: bytes.to_vec(), most, durable: bytes.len() }
    }
}

impl Output for Slot {
    type Error = &'static str;

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        if offset as usize != self.bytes.len() || self.bytes.len() + bytes.len() > self.most {
            return Err("written out of order or beyond the signed length");
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let end = offset as usize + bytes.len();
        let nothing_written = self.bytes.len() == self.durable;
        if end > self.bytes.len() || !nothing_written && end + READ_BACK_MARGIN as usize > self.bytes.len() {
            return Err("read back what may still be buffered");
        }
        bytes.copy_from_slice(&self.bytes[offset as usize..end]);
        Ok(())
    }
}

/// A decoder, wherever its memory is.
pub(crate) trait Decodes {
    fn start(&mut self, payload: &Payload, resume: Option<ResumePoint>) -> Result<(), DeltaError>;
    fn push(&mut self, bytes: &[u8], base: &mut Base<'_>, slot: &mut Slot) -> Result<Progress, DeltaError>;
}

/// What base and slot complain of is a fault of the decoder.
fn only_the_payload<T>(result: Result<T, Fault<&'static str, &'static str>>) -> Result<T, DeltaError> {
    result.map_err(|fault| match fault {
        Fault::Payload(error) => error,
        Fault::Base(what) | Fault::Output(what) => panic!("{what}"),
    })
}

impl<const M: usize, const S: usize> Decodes for Decoder<M, S> {
    fn start(&mut self, payload: &Payload, resume: Option<ResumePoint>) -> Result<(), DeltaError> {
        Decoder::start(self, payload, resume)
    }
    fn push(&mut self, bytes: &[u8], base: &mut Base<'_>, slot: &mut Slot) -> Result<Progress, DeltaError> {
        only_the_payload(Decoder::push(self, bytes, base, slot))
    }
}

impl Decodes for DecoderIn<'_> {
    fn start(&mut self, payload: &Payload, resume: Option<ResumePoint>) -> Result<(), DeltaError> {
        DecoderIn::start(self, payload, resume)
    }
    fn push(&mut self, bytes: &[u8], base: &mut Base<'_>, slot: &mut Slot) -> Result<Progress, DeltaError> {
        only_the_payload(DecoderIn::push(self, bytes, base, slot))
    }
}

/// What the signed metadata says of a delta that tells the truth.
pub(crate) fn promised(patch: &[u8]) -> Payload {
    Payload::of_delta(&Header::parse(patch).expect("a header"), patch.len() as u32)
}

/// Decodes in pieces of this size; what was written, and how it ended.
pub(crate) fn decode(
    decoder: &mut dyn Decodes,
    payload: &Payload,
    old: &[u8],
    patch: &[u8],
    piece: usize,
) -> (Vec<u8>, Result<State, DeltaError>) {
    let mut slot = Slot::new(payload.target_len as usize);
    if let Err(error) = decoder.start(payload, None) {
        return (slot.bytes, Err(error));
    }
    let mut end = Ok(State::NeedInput);
    for bytes in patch.chunks(piece) {
        match decoder.push(bytes, &mut Base(old), &mut slot) {
            Ok(progress) => {
                assert_eq!(progress.consumed, bytes.len(), "everything is used where nothing is sought");
                end = Ok(progress.state);
            }
            Err(error) => {
                end = Err(error);
                break;
            }
        }
    }
    (slot.bytes, end)
}
