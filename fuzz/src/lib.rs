//! What the fuzz targets share: a mutator that knows the format, the fuzzing keys, and an independent slow verifier.

pub mod agree;
pub mod decode;
pub mod fleet;
pub mod mutate;
pub mod script;
pub mod seeds;
pub mod slow;
pub mod tree;

/// The signer's delta encoder, without the rest of the signer: its command line would bring a hundred crates along.
#[path = "../../signer/src/delta/mod.rs"]
pub mod delta;
