//! The decoder of [`crate::delta`] behind the installation's seam.

use sealift_manifests::{Image, Payload};

use super::decode::{BaseReader, Decode, Mark, Output, Progress};
use crate::delta::{self, Codec, DeltaError, Fault, ResumePoint};
use crate::error::Error;

impl<const MEMORY: usize, const SHIFTS: usize> Decode for delta::Decoder<MEMORY, SHIFTS> {
    fn start(&mut self, payload: &Payload, image: &Image, mark: Option<&[u8; Mark::TOKEN]>) -> Result<(), Error> {
        let codec = u8::try_from(payload.codec.0).ok().and_then(Codec::from_id).ok_or(Error::NoUsablePayload)?;
        let (base_len, base_sha256) = payload.base.map_or((0, [0; 32]), |base| (base.length, base.digest.0));
        let described = delta::Payload {
            codec,
            len: payload.length,
            sha256: payload.digest.0,
            base_len,
            base_sha256,
            target_len: image.length,
            target_sha256: image.digest.0,
        };
        let resume = match mark {
            Some(token) => Some(ResumePoint::from_bytes(token).ok_or(Error::StateCorrupt)?),
            None => None,
        };
        delta::Decoder::start(self, &described, resume).map_err(refusal)
    }

    fn push(&mut self, input: &[u8], base: &mut impl BaseReader, output: &mut impl Output) -> Result<Progress, Error> {
        let (mut base, mut output) = (Store::new(base), Store::new(output));
        let pushed = delta::Decoder::push(self, input, &mut base, &mut output);
        pushed.map_err(|fault| match fault {
            Fault::Payload(error) => refusal(error),
            Fault::Base(Failed) => base.error,
            Fault::Output(Failed) => output.error,
        })
    }

    fn next_offset(&self) -> u32 {
        delta::Decoder::next_offset(self)
    }

    fn mark(&self) -> Mark {
        let point = self.resume_point();
        Mark { output: point.output(), token: point.to_bytes() }
    }
}

const _: () = assert!(ResumePoint::LEN == Mark::TOKEN);

fn refusal(error: DeltaError) -> Error {
    match error {
        DeltaError::TooLarge | DeltaError::NeedsReadBack => Error::DecoderTooSmall,
        DeltaError::Resume => Error::StateCorrupt,
        _ => Error::PayloadCorrupt,
    }
}

/// One of the installation's stores as the decoder wants it. It keeps the error, so that the decoder passes a mere mark on: in
/// a register.
struct Store<'a, T> {
    store: &'a mut T,
    error: Error,
}

/// The store failed; it knows why.
#[derive(Clone, Copy, Debug)]
struct Failed;

impl<'a, T> Store<'a, T> {
    fn new(store: &'a mut T) -> Self {
        Store { store, error: Error::Storage }
    }

    fn kept(&mut self, done: Result<(), Error>) -> Result<(), Failed> {
        done.map_err(|error| {
            self.error = error;
            Failed
        })
    }
}

impl<T: BaseReader> delta::BaseReader for Store<'_, T> {
    type Error = Failed;

    fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failed> {
        let done = self.store.read_at(offset, bytes);
        self.kept(done)
    }
}

impl<T: Output> delta::Output for Store<'_, T> {
    type Error = Failed;

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failed> {
        let done = self.store.write(offset, bytes);
        self.kept(done)
    }

    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failed> {
        let done = self.store.read_back(offset, bytes);
        self.kept(done)
    }
}
