//! The decoder's position, small enough for a journal.

use sealift_manifests::delta_format::Codec;

use super::{Payload, error::DeltaError};

/// Where decoding can go on after a reset. A hint: it is checked against the payload's bounds, and a wrong one ends in an
/// error or in an image whose hash is wrong, never outside of the output.
///
/// It is valid once everything before [`output`](Self::output) is durably written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    codec: Codec,
    payload: u32,
    output: u32,
    binding: [u8; 8],
}

impl ResumePoint {
    /// Length of the serialised form in bytes.
    pub const LEN: usize = 20;
    /// First byte of the serialised form.
    const VERSION: u8 = 1;

    pub(super) const NONE: Self = Self { codec: Codec::Raw, payload: 0, output: 0, binding: [0; 8] };

    pub(super) fn new(payload: &Payload, at: u32, output: u32) -> Self {
        Self { codec: payload.codec, payload: at, output, binding: binding(payload) }
    }

    /// Bytes of the payload that need not be fetched again (apart from a delta's header and prelude).
    pub fn payload(&self) -> u32 {
        self.payload
    }

    /// Bytes of the target that are written and stay.
    pub fn output(&self) -> u32 {
        self.output
    }

    /// The record as the journal stores it: version, codec, two zero bytes, both offsets (little-endian), the binding.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let parts = [
            &[Self::VERSION, self.codec.id(), 0, 0][..],
            &self.payload.to_le_bytes(),
            &self.output.to_le_bytes(),
            &self.binding,
        ];
        for (place, byte) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *place = *byte;
        }
        bytes
    }

    /// Reads a record; `None` if it is none of this version.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [version, codec, 0, 0, p0, p1, p2, p3, o0, o1, o2, o3, b0, b1, b2, b3, b4, b5, b6, b7] = *bytes else {
            return None;
        };
        (version == Self::VERSION).then_some(())?;
        Some(Self {
            codec: Codec::from_id(codec)?,
            payload: u32::from_le_bytes([p0, p1, p2, p3]),
            output: u32::from_le_bytes([o0, o1, o2, o3]),
            binding: [b0, b1, b2, b3, b4, b5, b6, b7],
        })
    }

    /// A point of another payload, or outside of this one, is refused.
    pub(super) fn check(&self, payload: &Payload) -> Result<(), DeltaError> {
        let fits = self.payload <= payload.len && self.output <= payload.target_len;
        if fits && self.codec == payload.codec && self.binding == binding(payload) {
            Ok(())
        } else {
            Err(DeltaError::Resume)
        }
    }
}

/// Ties a record to payload, base and target: by what their digests begin with, since a record is a hint and nobody gains by one that
/// passes for another's.
fn binding(payload: &Payload) -> [u8; 8] {
    let head = |digest: &[u8; 32]| digest.first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head));
    (head(&payload.sha256) ^ head(&payload.base_sha256) ^ head(&payload.target_sha256)).to_le_bytes()
}
