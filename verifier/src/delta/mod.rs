//! Payload decoding: a delta against the installed image, a zstd-compressed image or a raw one, in a fixed amount of RAM.
//!
//! [`Decoder`] is sans-IO: it is pushed payload bytes as they arrive, reads the base through [`BaseReader`] and hands the target
//! to [`Output`] strictly in order, never more than the signed length. It doesn't allocate and doesn't panic; any input ends in the
//! target's length being reached or in a [`DeltaError`]. It judges nothing: **the caller hashes the base before the first write, and
//! the written target before it is used.** The format is described in `DELTA.md` of the manifests crate.
//!
//! ```
//! use sealift_manifests::delta_format::Codec;
//! use sealift_verifier::delta::{Decoder24K, NoBase, Payload, State};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (bytes, digest) = (*b"image", [0; 32]);
//! // What the signed metadata says of the payload.
//! let payload = Payload { codec: Codec::Raw, len: 5, sha256: digest, base_len: 0, base_sha256: [0; 32], target_len: 5, target_sha256: digest };
//! let mut decoder = Decoder24K::new(); // in firmware: a static
//! decoder.start(&payload, None)?;
//!
//! let mut slot = [0u8; 5];
//! let mut output = &mut slot[..]; // in firmware: flash behind the Output trait
//! let progress = decoder.push(&bytes, &mut NoBase, &mut output)?; // pieces of any size
//! match progress.state {
//!     State::NeedInput => { /* push the next bytes; persist decoder.resume_point() now and then */ }
//!     State::Seek(offset) => { /* only after a resume: fetch again from this offset (HTTP Range) */ }
//!     State::Done => { /* read the slot back and hash it */ }
//! }
//! assert_eq!(slot, bytes);
//! # Ok(())
//! # }
//! ```
//!
//! After a reset, `decoder.start(&payload, ResumePoint::from_bytes(&record))` goes on: push the payload from
//! [`Decoder::next_offset`] on (a delta's header and prelude come first, they are short), and follow [`State::Seek`].

mod classes;
mod copy;
mod decoder;
#[cfg(test)]
mod dice;
mod error;
mod io;
mod map;
#[cfg(not(target_os = "none"))]
mod parts;
pub mod predict;
mod prelude;
mod resume;
mod streams;
mod walk;
mod zstd;

pub use classes::{Decoder16K, Decoder24K, Decoder64K, HostDecoder};
pub use decoder::{Decoder, DecoderIn, Lent};
pub use error::{DeltaError, Fault};
pub use io::{BaseReader, NoBase, OutOfBounds, Output};
pub use map::{AddressMap, Region};
pub use resume::ResumePoint;
pub use sealift_manifests::delta_format::{Codec, Header, RamClass};
pub use walk::{Block, walk_frame, walk_frame_over};

/// What the signed metadata says of a payload; the decoder holds the bytes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// How the image is carried.
    pub codec: Codec,
    /// Length of the payload in bytes.
    pub len: u32,
    /// SHA-256 of the payload.
    pub sha256: [u8; 32],
    /// Length of the base image; 0 for other codecs than [`Codec::Delta`].
    pub base_len: u32,
    /// SHA-256 of the base image; zeros for other codecs than [`Codec::Delta`].
    pub base_sha256: [u8; 32],
    /// Length of the image to be written.
    pub target_len: u32,
    /// SHA-256 of the image to be written.
    pub target_sha256: [u8; 32],
}

impl Payload {
    const NONE: Self = Self {
        codec: Codec::Raw,
        len: 0,
        sha256: [0; 32],
        base_len: 0,
        base_sha256: [0; 32],
        target_len: 0,
        target_sha256: [0; 32],
    };

    /// A full image in `len` bytes: for tools that have no signed metadata. All digests stay zero.
    #[must_use]
    pub const fn of_full(codec: Codec, len: u32, target_len: u32) -> Self {
        Self { codec, len, target_len, ..Self::NONE }
    }

    /// What a delta of `len` bytes says of itself: for tools that have no signed metadata. Its own SHA-256 stays zero.
    #[must_use]
    pub const fn of_delta(header: &Header, len: u32) -> Self {
        Self {
            codec: Codec::Delta,
            len,
            sha256: [0; 32],
            base_len: header.base_len,
            base_sha256: header.base_sha256,
            target_len: header.target_len,
            target_sha256: header.target_sha256,
        }
    }
}

/// What a push has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that were used: all of them, unless the state is [`State::Seek`].
    pub consumed: usize,
    /// What comes next.
    pub state: State,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// More payload.
    NeedInput,
    /// Payload from this offset on; what was pushed behind [`Progress::consumed`] is of no use.
    Seek(u32),
    /// Nothing: the target has its full length.
    Done,
}
