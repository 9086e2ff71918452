//! Names of objects: `metadata/...`, `payloads/<sha256>`, `rollouts/...`.

use core::fmt;
use core::str::FromStr;

use sealift_jobs::Digest;

/// Folder of the repository's metadata.
pub const METADATA: &str = "metadata";
/// Folder of payloads, by SHA-256.
pub const PAYLOADS: &str = "payloads";
/// Folder of rollouts.
pub const ROLLOUTS: &str = "rollouts";
/// Folder of the audit log.
pub const AUDIT: &str = "audit";
/// The one metadata file that is replaced.
pub const TIMESTAMP: &str = "timestamp";

/// Most characters of a key.
const MAX_CHARS: usize = 256;

/// Name of an object: parts of `[A-Za-z0-9_.-]` that don't begin with a dot, joined by slashes. So no key escapes its
/// store, hides, or needs escaping in a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

/// Text that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no object name: parts of [A-Za-z0-9_.-] that don't begin with a dot, joined by slashes")]
pub struct KeyError(String);

impl Key {
    /// The key of a payload.
    #[must_use]
    pub fn payload(digest: &Digest) -> Self {
        Self(format!("{PAYLOADS}/{digest}"))
    }

    /// The key of a metadata file.
    ///
    /// # Errors
    /// [`KeyError`] for a name that isn't one part.
    pub fn metadata(name: &str) -> Result<Self, KeyError> {
        let key: Self = format!("{METADATA}/{name}").parse()?;
        if name.contains('/') { Err(KeyError(name.into())) } else { Ok(key) }
    }

    /// The key of the timestamp.
    #[must_use]
    pub fn timestamp() -> Self {
        Self(format!("{METADATA}/{TIMESTAMP}"))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for Key {
    type Err = KeyError;
    fn from_str(s: &str) -> Result<Self, KeyError> {
        let part = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        if s.len() <= MAX_CHARS && s.split('/').all(part) {
            Ok(Self(s.into()))
        } else {
            Err(KeyError(s.chars().take(MAX_CHARS).collect()))
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
