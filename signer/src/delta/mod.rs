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
//!
//! // The other payload of a release.
//! let full = delta::full_image(&new, delta::RamClass::Ram24K, 22)?;
//! assert!(full.bytes.len() < new.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
mod beside;
mod compress;
mod containers;
mod costs;
mod create;
mod detect;
mod facts;
mod full;
mod hint;
mod index;
mod kinds;
mod matcher;
mod over;
mod pipeline;
mod pointers;
mod predicted;
mod restart;
mod serial;
mod shifts;

use std::{fmt, io};

pub use apply::{Applied, ApplyError, Inspection, Kind, apply, apply_hashed, inspect, kind};
pub use containers::{Container, ContainerKind, containers};
use costs::Costs;
pub use create::{CreateOptions, Created, Predict, Tried, Watch, create, create_watched};
pub use full::{FullImage, compressed_image, full_image};
pub use hint::{Hints, ImageHint, Segment};
pub use pipeline::{IntoError, apply_into};
pub use sealift_manifests::delta_format::{Arch, field};
pub use sealift_verifier::delta::{Codec, Header, RamClass};

/// Why a delta can't be made.
#[derive(Debug)]
pub enum CreateError {
    /// The images are longer than the format allows (base and twice the target must stay below 512 MiB): ship the full image.
    TooLong {
        /// Length of the base in bytes.
        base: usize,
        /// Length of the target in bytes.
        target: usize,
    },
    /// The compressor failed.
    Compress(io::Error),
    /// The result did not decode to the target: a bug of ours, and the patch is withheld.
    Internal(String),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { base, target } => write!(
                f,
                "images of {base} and {target} bytes are too long for a delta (base and twice the target stay below 512 MiB); ship the full image"
            ),
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
