//! Runs the device's payload decoder between two stores that check what it does with them.

use sealift_manifests::delta_format::READ_BACK_MARGIN;
use sealift_verifier::delta::{
    BaseReader, Decoder, DecoderIn, DeltaError, Fault, Output, Payload, Progress, ResumePoint, State,
};

/// The largest target that is decoded here.
pub const MOST: u32 = 1 << 18;

/// A base that knows its length.
struct Base<'a> {
    bytes: &'a [u8],
    reads: u64,
}

impl BaseReader for Base<'_> {
    type Error = ();
    fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ()> {
        let end = offset as usize + bytes.len();
        assert!(end <= self.bytes.len(), "reads the base up to {end}, it has {}", self.bytes.len());
        bytes.copy_from_slice(&self.bytes[offset as usize..end]);
        self.reads += bytes.len() as u64;
        Ok(())
    }
}

/// A slot that takes bytes in order alone.
struct Slot {
    bytes: Vec<u8>,
    most: usize,
}

impl Output for Slot {
    type Error = ();
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ()> {
        assert_eq!(offset as usize, self.bytes.len(), "not where the last write ended");
        self.bytes.extend(bytes);
        assert!(self.bytes.len() <= self.most, "{} bytes written, {} are signed", self.bytes.len(), self.most);
        Ok(())
    }
    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ()> {
        let end = offset as usize + bytes.len();
        assert!(end + READ_BACK_MARGIN as usize <= self.bytes.len(), "reads back what may still be buffered");
        bytes.copy_from_slice(&self.bytes[offset as usize..end]);
        Ok(())
    }
}

/// A decoder, wherever its memory is.
pub trait Decodes {
    /// As [`Decoder::start`].
    ///
    /// # Errors
    /// The same.
    fn start(&mut self, payload: &Payload, resume: Option<ResumePoint>) -> Result<(), DeltaError>;

    /// As [`Decoder::push`].
    ///
    /// # Errors
    /// The same.
    fn push<B: BaseReader, O: Output>(
        &mut self,
        input: &[u8],
        base: &mut B,
        output: &mut O,
    ) -> Result<Progress, Fault<B::Error, O::Error>>;
}

impl<const M: usize, const S: usize> Decodes for Decoder<M, S> {
    fn start(&mut self, payload: &Payload, resume: Option<ResumePoint>) -> Result<(), DeltaError> {
        Decoder::start(self, payload, resume)
    }
    fn push<B: BaseReader, O: Output>(
        &mut self,
        input: &[u8],
        base: &mut B,
        output: &mut O,
    ) -> Result<Progress, Fault<B::Error, O::Error>> {
        Decoder::push(self, input, base, output)
    }
}

impl<D: Decodes> Decodes for Box<D> {
    fn start(&mut self, payload: &Payload, resume: Option<ResumePoint>) -> Result<(), DeltaError> {
        D::start(self, payload, resume)
    }
    fn push<B: BaseReader, O: Output>(
        &mut self,
        input: &[u8],
        base: &mut B,
        output: &mut O,
    ) -> Result<Progress, Fault<B::Error, O::Error>> {
        D::push(self, input, base, output)
    }
}

impl Decodes for DecoderIn<'_> {
    fn start(&mut self, payload: &Payload, resume: Option<ResumePoint>) -> Result<(), DeltaError> {
        DecoderIn::start(self, payload, resume)
    }
    fn push<B: BaseReader, O: Output>(
        &mut self,
        input: &[u8],
        base: &mut B,
        output: &mut O,
    ) -> Result<Progress, Fault<B::Error, O::Error>> {
        DecoderIn::push(self, input, base, output)
    }
}

/// Decodes `bytes` in pieces of the given length; what was written, and how it ended: done, or short of input, or an error.
pub fn decode(
    decoder: &mut impl Decodes,
    payload: &Payload,
    base: &[u8],
    bytes: &[u8],
    piece: usize,
) -> (Vec<u8>, Result<bool, DeltaError>) {
    assert!(payload.target_len <= MOST);
    let mut base = Base { bytes: &base[..payload.base_len as usize], reads: 0 };
    let mut slot = Slot { bytes: Vec::new(), most: payload.target_len as usize };
    if let Err(error) = decoder.start(payload, None) {
        return (slot.bytes, Err(error));
    }
    let mut ended = Ok(payload.target_len == 0 && bytes.is_empty());
    for piece in bytes.chunks(piece.max(1)) {
        match decoder.push(piece, &mut base, &mut slot) {
            Ok(progress) => {
                assert_eq!(progress.consumed, piece.len(), "without a resume point everything is used");
                assert!(!matches!(progress.state, State::Seek(_)), "without a resume point there is nothing to seek");
                ended = Ok(progress.state == State::Done);
            }
            Err(Fault::Payload(error)) => {
                ended = Err(error);
                break;
            }
            Err(fault) => panic!("the stores do not fail: {fault:?}"),
        }
    }
    if ended == Ok(true) {
        assert_eq!(slot.bytes.len(), payload.target_len as usize, "done before the signed length");
    }
    // Every byte of the base is read for a byte that is written.
    assert!(base.reads <= 16 * (u64::from(MOST) + 4096), "{} bytes of the base read", base.reads);
    (slot.bytes, ended)
}
