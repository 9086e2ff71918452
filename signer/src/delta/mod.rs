//! Making, applying and inspecting deltas (`DELTA.md` of the manifests crate describes the format).
//!
//! ```
//! use sealift_signer::delta::{self, CreateOptions};
//!
//! let old = b"the quick brown fox jumps over the lazy dog; ".repeat(40);
//! let mut new = old.clone();
//! new.splice(300..300, *b"and the cat ");
//! let created = delta::create(&old, &new, &CreateOptions::default())?;
//! assert!(created.patch.len() < 300);
//! assert_eq!(delta::apply(&old, &created.patch)?, new);
//! println!("{:?}", delta::inspect(&created.patch)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
mod compress;
mod costs;
mod create;
mod matcher;
mod predicted;
mod serial;

use std::{fmt, io};

pub use apply::{ApplyError, Inspection, apply, inspect};
use costs::Costs;
pub use create::{CreateOptions, Created, create};
pub use sealift_verifier::delta::{Codec, Header, RamClass};

/// Why a delta can't be made.
#[derive(Debug)]
pub enum CreateError {
    /// An image is longer than the format allows (1 GiB); which one, and its length.
    TooLong(&'static str, usize),
    /// The compressor failed.
    Compress(io::Error),
    /// The result did not decode to the target: a bug of ours, and the patch is withheld.
    Internal(String),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(which, len) => write!(f, "the {which} image has {len} bytes; deltas go up to 1 GiB"),
            Self::Compress(error) => write!(f, "zstd: {error}"),
            Self::Internal(what) => write!(f, "the delta was made but does not decode ({what}); please report this"),
        }
    }
}

impl std::error::Error for CreateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Compress(error) => Some(error),
            _ => None,
        }
    }
}
