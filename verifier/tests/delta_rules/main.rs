//! The delta format from the outside: deltas that were made before apply for ever (`vectors.rs`), and each rule of a delta's body
//! is kept to its last byte (`rules.rs`, and `one_frame.rs` for bodies of one frame).

mod one_frame;
mod rules;
mod stores;
mod vectors;
