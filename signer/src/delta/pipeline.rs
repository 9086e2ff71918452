//! Applying a large delta on two threads: one decodes, the other hashes base and target and writes.

use std::{
    fmt, io,
    sync::{Arc, mpsc},
    thread,
};

use sealift_manifests::delta_format::field;
use sealift_verifier::delta::{Header, OutOfBounds, Output};
use sha2::{Digest, Sha256};

use super::apply::{self, ApplyError, Kind};

/// Bytes that are handed over at a time: few enough for a processor's second cache, and enough that waking the other thread up does
/// not count.
const CHUNK: usize = 256 * 1024;
/// Images with less than this together are not worth a thread.
const SMALL: usize = 1 << 20;

/// Why an image did not reach its file.
#[derive(Debug)]
pub enum IntoError {
    /// Delta or base are at fault.
    Apply(ApplyError),
    /// The image could not be written.
    Write(io::Error),
}

impl fmt::Display for IntoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(error) => error.fmt(f),
            Self::Write(error) => write!(f, "the image could not be written: {error}"),
        }
    }
}

impl std::error::Error for IntoError {}

impl From<ApplyError> for IntoError {
    fn from(error: ApplyError) -> Self {
        Self::Apply(error)
    }
}

/// Applies `patch` to `base` and hands the image to `write`, in order; returns its length and SHA-256. What was written counts for
/// nothing unless this returns `Ok`: base and target are hashed while the target is written.
///
/// # Errors
/// [`IntoError`] says what is at fault.
pub fn apply_into(
    base: &[u8],
    patch: &[u8],
    mut write: impl FnMut(&[u8]) -> io::Result<()> + Send,
) -> Result<(usize, [u8; 32]), IntoError> {
    let large = |header: &Header| base.len() + header.target_len as usize >= SMALL;
    let header = match apply::kind(patch) {
        Kind::Delta => Some(apply::header(patch)?).filter(large),
        Kind::Compressed => None,
    };
    let Some(header) = header else {
        let applied = apply::apply_hashed(base, patch)?;
        write(&applied.image).map_err(IntoError::Write)?;
        return Ok((applied.image.len(), applied.sha256));
    };
    let (filled, to_write) = mpsc::channel::<Arc<Vec<u8>>>();
    let (emptied, free) = mpsc::channel::<Vec<u8>>();
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let base_sha256: [u8; 32] = Sha256::digest(base).into();
            if base_sha256 != header.base_sha256 {
                return Err(ApplyError::WrongBase(header.base_sha256, base_sha256).into());
            }
            let mut digest = Sha256::new();
            for chunk in to_write {
                digest.update(&*chunk);
                write(&chunk).map_err(IntoError::Write)?;
                // A chunk that is kept is made up for by a new one, whose memory the system has given when its bytes were set: that
                // takes longer than to fill it. Who decodes may have gone already, and needs no more.
                let _ = emptied.send(Arc::try_unwrap(chunk).unwrap_or_else(|_| vec![1; CHUNK]));
            }
            Ok(<[u8; 32]>::from(digest.finalize()))
        });
        let kept = (header.fields & field::READ_BACK != 0).then(Vec::new);
        let mut output = Handover { kept, chunk: Vec::with_capacity(CHUNK), filled, free };
        let decoded = apply::run_delta(base, patch, &header, &mut output);
        output.pass_on();
        drop(output);
        // A base that is another image, or a disk that is full, is why decoding went wrong, if it did.
        let died = || Err(IntoError::Write(io::Error::other("the writing thread died")));
        let sha256 = writer.join().unwrap_or_else(|_| died())?;
        decoded?;
        if sha256 != header.target_sha256 {
            return Err(ApplyError::WrongTarget(header.target_sha256, sha256).into());
        }
        Ok((header.target_len as usize, sha256))
    })
}

/// Where the decoder writes: chunks that are passed on when they are full.
struct Handover {
    /// The chunks so far, if the delta reads them back.
    kept: Option<Vec<Arc<Vec<u8>>>>,
    chunk: Vec<u8>,
    filled: mpsc::Sender<Arc<Vec<u8>>>,
    free: mpsc::Receiver<Vec<u8>>,
}

impl Handover {
    fn pass_on(&mut self) {
        let mut next = self.free.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        next.clear();
        let chunk = Arc::new(std::mem::replace(&mut self.chunk, next));
        if let Some(kept) = &mut self.kept {
            kept.push(Arc::clone(&chunk));
        }
        // A writer that gave up says why when it is joined.
        let _ = self.filled.send(chunk);
    }
}

impl Output for &mut Handover {
    type Error = OutOfBounds;

    fn write(&mut self, _: u32, mut bytes: &[u8]) -> Result<(), OutOfBounds> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            if self.chunk.len() == CHUNK {
                self.pass_on();
            }
            bytes = later;
        }
        Ok(())
    }

    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let kept = self.kept.as_ref().ok_or(OutOfBounds)?;
        let (mut at, mut rest) = (offset as usize, bytes);
        while !rest.is_empty() {
            let chunk: &[u8] = match kept.get(at / CHUNK) {
                Some(chunk) => chunk,
                None if at / CHUNK == kept.len() => &self.chunk,
                None => return Err(OutOfBounds),
            };
            let from = chunk.get(at % CHUNK..).filter(|from| !from.is_empty()).ok_or(OutOfBounds)?;
            let count = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&from[..count]);
            (at, rest) = (at + count, later);
        }
        Ok(())
    }
}
