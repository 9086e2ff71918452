//! What the fuzz targets share: a mutator that knows the format, the fuzzing keys, and an independent slow verifier.

pub mod agree;
pub mod decode;
pub mod flash;
pub mod fleet;
pub mod jobs;
pub mod journal;
pub mod mutate;
pub mod script;
pub mod seeds;
pub mod slow;
pub mod text;
pub mod tree;
pub mod tuf;

pub use sealift_signer::delta;
