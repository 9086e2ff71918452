//! A delta decoder between a base and a slot that notice what must never happen.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use sealift_verifier::delta::{BaseReader, Decoder, DeltaError, Fault, Header, Output, Payload, State};

/// A base that notices reads outside of it.
pub struct Base<'a>(pub &'a [u8]);

impl BaseReader for Base<'_> {
    type Error = &'static str;

    fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let end = offset as usize + bytes.len();
        bytes.copy_from_slice(self.0.get(offset as usize..end).ok_or("read outside of the base")?);
        Ok(())
    }
}

/// A slot that notices writes out of order or beyond its length, and reads of what was not written.
pub struct Slot {
    pub bytes: Vec<u8>,
    pub len: usize,
}

impl Output for Slot {
    type Error = &'static str;

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        if offset as usize != self.bytes.len() {
            return Err("written out of order");
        }
        if self.bytes.len() + bytes.len() > self.len {
            return Err("written beyond the declared length");
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let end = offset as usize + bytes.len();
        bytes.copy_from_slice(self.bytes.get(offset as usize..end).ok_or("read back what was not written")?);
        Ok(())
    }
}

/// Decodes with a decoder that is used again and again; faults of base and slot are the decoder's.
pub fn decode_with<const M: usize, const S: usize>(
    decoder: &mut Decoder<M, S>,
    old: &[u8],
    payload: &Payload,
    patch: &[u8],
) -> Result<Vec<u8>, DeltaError> {
    decoder.start(payload, None)?;
    let mut slot = Slot { bytes: Vec::new(), len: payload.target_len as usize };
    match decoder.push(patch, &mut Base(old), &mut slot) {
        Ok(progress) if progress.state == State::Done => Ok(slot.bytes),
        Ok(_) => Err(DeltaError::NotRunning),
        Err(Fault::Payload(error)) => Err(error),
        Err(Fault::Base(what) | Fault::Output(what)) => panic!("{what}"),
    }
}

/// What a delta says of itself.
pub fn promised(patch: &[u8], header: &Header) -> Payload {
    Payload::of_delta(header, patch.len() as u32)
}
