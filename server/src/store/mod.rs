//! The port to where published files live, and the names they have there.
//!
//! Two rules make a publication all or nothing on any store: an immutable object is created once and never changed
//! ([`ArtifactStore::create`]), and the one object that says what is current is replaced only by who has seen the
//! current one ([`ArtifactStore::replace`]).

mod key;
mod local;

use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use sealift_jobs::Digest;
use sha2::{Digest as _, Sha256};

pub use key::{AUDIT, Key, KeyError, METADATA, PAYLOADS, ROLLOUTS, TIMESTAMP};
pub use local::LocalStore;

/// Why a store didn't do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object.
    #[error("{0}: no such object in the artifact store")]
    NotFound(Key),
    /// An immutable object exists with other content.
    #[error("{key}: exists with other content ({found}); immutable objects are never replaced")]
    Clash {
        /// The object.
        key: Key,
        /// What is there.
        found: String,
    },
    /// The object changed since it was read: another publisher was first.
    #[error("{key}: changed meanwhile ({}); another publisher won", .found.as_ref().map_or("it is gone".into(), |t| format!("now {t}")))]
    Raced {
        /// The object.
        key: Key,
        /// Its present tag.
        found: Option<Tag>,
    },
    /// What was to be written isn't what was announced.
    #[error("{key}: {problem}; the source changed while it was read")]
    Source {
        /// The object that wasn't written.
        key: Key,
        /// What differs.
        problem: String,
    },
    /// A range that the object doesn't have.
    #[error("{key}: the range starts at {start}, but the object has {length} bytes")]
    Range {
        /// The object.
        key: Key,
        /// Where the range starts.
        start: u64,
        /// The object's length.
        length: u64,
    },
    /// Larger than the reader allows.
    #[error("{key}: {length} bytes; the most expected here is {most}")]
    TooLarge {
        /// The object.
        key: Key,
        /// Its length.
        length: u64,
        /// The bound.
        most: u64,
    },
    /// The disk or the service failed.
    #[error("{key}: can't {act}: {source}")]
    Io {
        /// The object.
        key: String,
        /// What was tried.
        act: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Identifies the content of a mutable object, for [`ArtifactStore::replace`]; opaque (an ETag on S3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(pub String);

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be written: where it comes from and what it must turn out to be.
#[derive(Clone, Debug)]
pub struct Content {
    /// Length in bytes.
    pub length: u64,
    /// SHA-256.
    pub sha256: Digest,
    /// The bytes.
    pub source: Source,
}

/// Where bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Memory.
    Bytes(Bytes),
    /// A file, read in pieces.
    File(PathBuf),
}

impl Content {
    /// Content held in memory.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let sha256 = Digest(Sha256::digest(&bytes).into());
        Self { length: bytes.len() as u64, sha256, source: Source::Bytes(bytes) }
    }
}

/// Whether [`ArtifactStore::create`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The object is new.
    New,
    /// It existed with the same content.
    Existed,
}

/// An object's bytes, or a part of them.
pub struct Object {
    /// Length of the whole object.
    pub length: u64,
    /// Which bytes [`body`](Self::body) gives.
    pub range: Range<u64>,
    /// The bytes, in pieces.
    pub body: BoxStream<'static, Result<Bytes, StoreError>>,
}

/// Where published files live.
///
/// Every method may be called by several processes at once on the same store. What a method acknowledged survives a
/// crash; what it was killed in has happened or not, never half.
pub trait ArtifactStore: Send + Sync + 'static {
    /// Creates an immutable object, or finds it there with the same content.
    ///
    /// # Errors
    /// [`StoreError::Clash`] when it exists with other content, [`StoreError::Source`] when the source isn't what was
    /// announced, [`StoreError::Io`].
    fn create(&self, key: &Key, content: &Content) -> impl Future<Output = Result<Created, StoreError>> + Send;

    /// Replaces a mutable object whose present tag is `expected`; `None` expects that it doesn't exist.
    ///
    /// # Errors
    /// [`StoreError::Raced`] when the tag differs, [`StoreError::Io`].
    fn replace(
        &self,
        key: &Key,
        bytes: &[u8],
        expected: Option<&Tag>,
    ) -> impl Future<Output = Result<Tag, StoreError>> + Send;

    /// Reads a whole small object with its tag; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] above `most` bytes, [`StoreError::Io`].
    fn small(&self, key: &Key, most: u64) -> impl Future<Output = Result<Option<(Bytes, Tag)>, StoreError>> + Send;

    /// Reads an object, or the part of it in `range` (which may end behind the object's end).
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Range`], [`StoreError::Io`].
    fn read(&self, key: &Key, range: Option<Range<u64>>) -> impl Future<Output = Result<Object, StoreError>> + Send;

    /// Length of an object; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn length(&self, key: &Key) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    /// Keys under a folder (`metadata`, `payloads`, ...), sorted.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn list(&self, folder: &str) -> impl Future<Output = Result<Vec<Key>, StoreError>> + Send;
}
