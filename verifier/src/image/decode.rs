//! The seam between an installation and what turns a payload into an image.

use sealift_manifests::{Codec, Image, Payload};

use crate::error::Error;

pub use crate::delta::{Progress, State};

/// Random reads of a delta's base.
pub trait BaseReader {
    /// Fills `bytes` from `offset` on.
    fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error>;
}

/// Where the image goes, strictly in order.
pub trait Output {
    /// Takes the next bytes; `offset` is where the last ones ended.
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error>;

    /// Fills `bytes` from what was written before.
    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error>;
}

/// A place to go on from after a reset, once the image up to `output` is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Offset in the image.
    pub output: u32,
    /// What the decoder wants to see again.
    pub token: [u8; Mark::TOKEN],
}

impl Mark {
    /// Bytes of a decoder's own record.
    pub const TOKEN: usize = 20;
}

/// Turns payload bytes into image bytes, in a fixed amount of memory.
pub trait Decode {
    /// Starts on a payload of `image`, or goes on at a mark that an earlier session left. A mark that does not belong to
    /// this payload, or lies outside of it, is [`Error::StateCorrupt`]; a payload that it can't hold is
    /// [`Error::DecoderTooSmall`].
    fn start(&mut self, payload: &Payload, image: &Image, mark: Option<&[u8; Mark::TOKEN]>) -> Result<(), Error>;

    /// Takes the next bytes of the payload, in pieces of any size.
    fn push(&mut self, input: &[u8], base: &mut impl BaseReader, output: &mut impl Output) -> Result<Progress, Error>;

    /// Offset in the payload of the next byte it wants.
    fn next_offset(&self) -> u32;

    /// The latest place to go on from.
    fn mark(&self) -> Mark;
}

impl<D: Decode> Decode for &mut D {
    fn start(&mut self, payload: &Payload, image: &Image, mark: Option<&[u8; Mark::TOKEN]>) -> Result<(), Error> {
        D::start(self, payload, image, mark)
    }
    fn push(&mut self, input: &[u8], base: &mut impl BaseReader, output: &mut impl Output) -> Result<Progress, Error> {
        D::push(self, input, base, output)
    }
    fn next_offset(&self) -> u32 {
        D::next_offset(self)
    }
    fn mark(&self) -> Mark {
        D::mark(self)
    }
}

/// The decoder of a device that takes raw images alone: no tables, no window.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawDecoder {
    at: u32,
    length: u32,
}

impl Decode for RawDecoder {
    fn start(&mut self, payload: &Payload, image: &Image, mark: Option<&[u8; Mark::TOKEN]>) -> Result<(), Error> {
        if payload.codec != Codec::RAW {
            return Err(Error::DecoderTooSmall);
        }
        let at = match mark {
            Some([a, b, c, d, rest @ ..]) if rest.iter().all(|byte| *byte == 0) => u32::from_be_bytes([*a, *b, *c, *d]),
            Some(_) => return Err(Error::StateCorrupt),
            None => 0,
        };
        if at > image.length {
            return Err(Error::StateCorrupt);
        }
        *self = RawDecoder { at, length: image.length };
        Ok(())
    }

    fn push(&mut self, input: &[u8], _: &mut impl BaseReader, output: &mut impl Output) -> Result<Progress, Error> {
        if input.len() > self.length.saturating_sub(self.at) as usize {
            return Err(Error::PayloadCorrupt);
        }
        output.write(self.at, input)?;
        // No longer than what is left of a u32.
        self.at = self.at.saturating_add(input.len() as u32);
        let state = if self.at == self.length { State::Done } else { State::NeedInput };
        Ok(Progress { consumed: input.len(), state })
    }

    fn next_offset(&self) -> u32 {
        self.at
    }

    fn mark(&self) -> Mark {
        let mut token = [0; Mark::TOKEN];
        token.iter_mut().zip(self.at.to_be_bytes()).for_each(|(to, from)| *to = from);
        Mark { output: self.at, token }
    }
}
