//! Applying and inspecting payloads on the host, with the decoder that devices run.

use std::{fmt, io::Read};

use sealift_manifests::bounds::MAX_IMAGE;
use sealift_manifests::delta_format::{HEADER_LEN, HeaderError};
use sealift_verifier::delta::{
    Codec, DecoderIn, DeltaError, Fault, Header, Lent, NoBase, OutOfBounds, Output, Payload, RamClass, Region, State,
};
use sha2::{Digest, Sha256};

/// Why a delta can't be applied or inspected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The file is no delta, or a broken one.
    Patch(DeltaError),
    /// The file ends too early: its length.
    Truncated(usize),
    /// The reference zstd refuses the compressed image: what it says.
    Compressed(String),
    /// The base is another image than the delta was made from: expected and actual SHA-256.
    WrongBase([u8; 32], [u8; 32]),
    /// The result is not what was promised: expected and actual SHA-256.
    WrongTarget([u8; 32], [u8; 32]),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digests = |f: &mut fmt::Formatter<'_>, what: &str, expected: &[u8; 32], actual: &[u8; 32]| {
            write!(f, "{what}: expected SHA-256 {}, found {}", Hex(expected), Hex(actual))
        };
        match self {
            Self::Patch(error) => error.fmt(f),
            Self::Truncated(len) => write!(f, "the delta ends early, after {len} bytes"),
            Self::Compressed(why) => write!(f, "the compressed image is damaged: {why}"),
            Self::WrongBase(expected, actual) => digests(f, "not the base this delta was made from", expected, actual),
            Self::WrongTarget(expected, actual) => digests(f, "the delta is damaged", expected, actual),
        }
    }
}

impl std::error::Error for ApplyError {}

impl From<DeltaError> for ApplyError {
    fn from(error: DeltaError) -> Self {
        Self::Patch(error)
    }
}

struct Hex<'a>(&'a [u8; 32]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a payload file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A delta.
    Delta,
    /// The full image as zstd frames, which need no base.
    Compressed,
}

/// What `payload` is by its first bytes; everything that is no zstd frame counts as a delta.
pub fn kind(payload: &[u8]) -> Kind {
    if payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) { Kind::Compressed } else { Kind::Delta }
}

/// The header of a delta file.
pub(super) fn header(patch: &[u8]) -> Result<Header, ApplyError> {
    Header::parse(patch).map_err(|error| match error {
        HeaderError::Truncated => ApplyError::Truncated(patch.len()),
        error => ApplyError::Patch(error.into()),
    })
}

/// Bytes copied at a time; they stay in the processor's first cache.
const WORK: usize = 8 * 1024;

/// Memory for a decoder, as much as a payload asks for.
struct Memory {
    windows: Vec<u8>,
    work: Vec<u8>,
    keys: Vec<u32>,
    shifts: Vec<u32>,
}

impl Memory {
    /// For a delta with this header. What it asks for beyond every class, it does not get, and the decoder refuses it.
    fn of_delta(header: &Header) -> Self {
        Self::new(header.memory().unwrap_or(0) as usize, header.shifts)
    }

    /// For any payload.
    fn most() -> Self {
        Self::new(usize::MAX, 0)
    }

    fn new(windows: usize, shifts: u16) -> Self {
        let most = RamClass::Host.limits();
        let shifts = usize::from(shifts.min(most.shifts));
        Self {
            windows: vec![0; windows.min(most.memory as usize)],
            work: vec![0; WORK],
            keys: vec![0; shifts],
            shifts: vec![0; shifts],
        }
    }

    fn decoder(&mut self) -> Result<DecoderIn<'_>, DeltaError> {
        let Self { windows, work, keys, shifts } = self;
        DecoderIn::new(Lent { memory: windows, work, keys, shifts })
    }
}

/// An image, and its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The image.
    pub image: Vec<u8>,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

/// Applies `patch` to `base` and returns the target, whose SHA-256 is the promised one. A full image that is merely compressed
/// needs no base and names no SHA-256; what it decodes to is held to its checksums and to what the reference zstd makes of it.
///
/// # Errors
/// [`ApplyError`] says whether the patch or the base is at fault.
pub fn apply(base: &[u8], patch: &[u8]) -> Result<Vec<u8>, ApplyError> {
    apply_hashed(base, patch).map(|applied| applied.image)
}

/// [`apply`], with the SHA-256 that was found on the way.
///
/// # Errors
/// As [`apply`].
pub fn apply_hashed(base: &[u8], patch: &[u8]) -> Result<Applied, ApplyError> {
    if kind(patch) == Kind::Compressed {
        let image = decompress(patch)?;
        return Ok(Applied { sha256: Sha256::digest(&image).into(), image });
    }
    let header = header(patch)?;
    let digest: [u8; 32] = Sha256::digest(base).into();
    if digest != header.base_sha256 {
        return Err(ApplyError::WrongBase(header.base_sha256, digest));
    }
    let image = decode(base, patch, &header)?;
    let sha256: [u8; 32] = Sha256::digest(&image).into();
    if sha256 != header.target_sha256 {
        return Err(ApplyError::WrongTarget(header.target_sha256, sha256));
    }
    Ok(Applied { image, sha256 })
}

/// The image in zstd frames.
fn decompress(frames: &[u8]) -> Result<Vec<u8>, ApplyError> {
    let refused = |why: std::io::Error| ApplyError::Compressed(why.to_string());
    let mut image = Vec::new();
    let decoder = zstd::stream::read::Decoder::new(frames).map_err(refused)?;
    decoder.take(MAX_IMAGE + 1).read_to_end(&mut image).map_err(refused)?;
    if image.len() as u64 > MAX_IMAGE {
        return Err(ApplyError::Compressed(format!("it holds more than {MAX_IMAGE} bytes")));
    }
    let payload = Payload::of_full(Codec::Zstd, frames.len() as u32, image.len() as u32);
    let ours = run(&payload, &[], frames, &mut Memory::most())?;
    if ours == image { Ok(image) } else { Err(ApplyError::Patch(DeltaError::Zstd)) }
}

/// Decodes without looking at any hash.
pub(super) fn decode(base: &[u8], patch: &[u8], header: &Header) -> Result<Vec<u8>, ApplyError> {
    run(&Payload::of_delta(header, patch.len() as u32), base, patch, &mut Memory::of_delta(header))
}

/// Decodes into `output`, without looking at any hash.
pub(super) fn run_delta<O: Output<Error = OutOfBounds>>(
    base: &[u8],
    patch: &[u8],
    header: &Header,
    output: O,
) -> Result<(), ApplyError> {
    let payload = Payload::of_delta(header, patch.len() as u32);
    run_into(&payload, base, patch, &mut Memory::of_delta(header), output)
}

fn run(payload: &Payload, base: &[u8], bytes: &[u8], memory: &mut Memory) -> Result<Vec<u8>, ApplyError> {
    let mut target = vec![0; payload.target_len as usize];
    run_into(payload, base, bytes, memory, &mut target[..])?;
    Ok(target)
}

fn run_into<O: Output<Error = OutOfBounds>>(
    payload: &Payload,
    base: &[u8],
    bytes: &[u8],
    memory: &mut Memory,
    mut output: O,
) -> Result<(), ApplyError> {
    let mut decoder = memory.decoder()?;
    decoder.start(payload, None)?;
    let progress = decoder.push(bytes, &mut &*base, &mut output).map_err(|fault| match fault {
        Fault::Payload(error) => ApplyError::Patch(error),
        // Slices fail only outside of their bounds, which the decoder checks before.
        Fault::Base(OutOfBounds) | Fault::Output(OutOfBounds) => ApplyError::Patch(DeltaError::SourceBounds),
    })?;
    match progress.state {
        State::Done => Ok(()),
        _ => Err(ApplyError::Truncated(bytes.len())),
    }
}

/// What a delta says of itself.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The fixed header.
    pub header: Header,
    /// Length of the file in bytes.
    pub len: usize,
    /// Length of the compressed address map in bytes.
    pub prelude_len: u32,
    /// Whether the target must be readable while it is written.
    pub read_back: bool,
    /// The address that regions are relative to.
    pub origin: u64,
    /// Regions of the address map.
    pub regions: Vec<Region>,
    /// The shift table: from which address on (relative to the origin), by how much.
    pub shifts: Vec<(u32, i32)>,
}

/// Reads a delta's header and address map; the body is looked at only by [`apply`].
///
/// # Errors
/// [`ApplyError`] if it is no delta.
pub fn inspect(patch: &[u8]) -> Result<Inspection, ApplyError> {
    let header = header(patch)?;
    let prelude_len = header.body - HEADER_LEN as u32;
    let start = patch.get(..header.body as usize).ok_or(ApplyError::Truncated(patch.len()))?;
    let mut memory = Memory::of_delta(&header);
    let mut decoder = memory.decoder()?;
    decoder.start(&Payload::of_delta(&header, patch.len() as u32), None)?;
    let mut nothing: &mut [u8] = &mut [];
    decoder.push(start, &mut NoBase, &mut nothing).map_err(|fault| match fault {
        Fault::Payload(error) => ApplyError::Patch(error),
        Fault::Base(OutOfBounds) | Fault::Output(OutOfBounds) => ApplyError::Patch(DeltaError::SourceBounds),
    })?;
    let map = decoder.map();
    Ok(Inspection {
        len: patch.len(),
        prelude_len,
        read_back: header.fields & sealift_manifests::delta_format::field::READ_BACK != 0,
        origin: map.origin,
        regions: map.regions.to_vec(),
        shifts: map.keys.iter().copied().zip(map.shifts.iter().map(|&shift| shift as i32)).collect(),
        header,
    })
}
