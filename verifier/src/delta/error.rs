//! What can go wrong while a payload is decoded.

use core::fmt;

use sealift_manifests::delta_format::HeaderError;

/// Why a payload can't be decoded. None of these is worth a retry with the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeltaError {
    /// The first bytes are no header of a delta.
    Header(HeaderError),
    /// The header names another base or target than the signed metadata.
    WrongImages,
    /// The payload wants more windows, larger blocks or a longer shift table than this decoder has.
    TooLarge,
    /// The payload copies from the target, and the output says that it can't be read.
    NeedsReadBack,
    /// A zstd block, frame header or table is malformed or goes beyond its limits.
    Zstd,
    /// The prelude (address map) is malformed.
    Prelude,
    /// An operation is malformed: an overlong number, an empty operation, bytes left over at the end of a section.
    Operation,
    /// An operation would write beyond the target's declared length (or its section's).
    OutputBounds,
    /// An operation reads outside of the base or of the target written so far.
    SourceBounds,
    /// Bytes follow the end of the payload.
    Trailing,
    /// A resume point that does not belong to this payload or lies outside of it.
    Resume,
    /// The decoder was not started, or has failed before.
    NotRunning,
}

impl fmt::Display for DeltaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(HeaderError::Truncated) => f.write_str("the delta is shorter than its header"),
            Self::Header(HeaderError::Magic) => f.write_str("not a Sealift delta (wrong magic number)"),
            Self::Header(HeaderError::Version(version)) => {
                write!(f, "delta format version {version} is not known here")
            }
            Self::Header(HeaderError::Field(at)) => write!(f, "the delta header's field at offset {at} has no meaning"),
            Self::WrongImages => f.write_str("the delta was made for another base or target image"),
            Self::TooLarge => f.write_str("the payload needs more RAM than this decoder's class has"),
            Self::NeedsReadBack => f.write_str("the delta copies from its own output, which can't be read back here"),
            Self::Zstd => f.write_str("malformed zstd data"),
            Self::Prelude => f.write_str("malformed address map"),
            Self::Operation => f.write_str("malformed operation"),
            Self::OutputBounds => f.write_str("the payload yields more than the declared target length"),
            Self::SourceBounds => f.write_str("a copy reads outside of base and target"),
            Self::Trailing => f.write_str("bytes follow the end of the payload"),
            Self::Resume => f.write_str("the resume point does not belong to this payload"),
            Self::NotRunning => f.write_str("the decoder is not running"),
        }
    }
}

impl core::error::Error for DeltaError {}

impl From<HeaderError> for DeltaError {
    fn from(error: HeaderError) -> Self {
        Self::Header(error)
    }
}

impl From<super::zstd::Corrupt> for DeltaError {
    fn from(_: super::zstd::Corrupt) -> Self {
        Self::Zstd
    }
}

/// Why [`push`](super::Decoder::push) stopped: the payload's fault, or that of one of the two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault<B, O> {
    /// The payload can't be decoded; permanent.
    Payload(DeltaError),
    /// The base could not be read.
    Base(B),
    /// The output could not be written or read back.
    Output(O),
}

impl<B, O> From<DeltaError> for Fault<B, O> {
    fn from(error: DeltaError) -> Self {
        Self::Payload(error)
    }
}

impl<B: fmt::Display, O: fmt::Display> fmt::Display for Fault<B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload(error) => error.fmt(f),
            Self::Base(error) => write!(f, "reading the base image: {error}"),
            Self::Output(error) => write!(f, "writing the target image: {error}"),
        }
    }
}

impl<B: fmt::Display + fmt::Debug, O: fmt::Display + fmt::Debug> core::error::Error for Fault<B, O> {}
