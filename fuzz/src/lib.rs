//! What the fuzz targets share: a mutator that knows the format, the fuzzing keys, and an independent slow verifier.

pub mod agree;
pub mod decode;
#[cfg(feature = "host")]
pub mod flash;
pub mod fleet;
#[cfg(feature = "host")]
pub mod jobs;
#[cfg(feature = "host")]
pub mod journal;
pub mod mutate;
pub mod script;
#[cfg(feature = "host")]
pub mod seeds;
pub mod slow;
#[cfg(feature = "host")]
pub mod text;
pub mod tree;
#[cfg(feature = "host")]
pub mod tuf;

#[cfg(feature = "host")]
pub use sealift_signer::delta;
