//! Known attacks on update systems, one test for each, from the outside: `attack_NN` is the number of the case in the threat
//! table of `SECURITY.md`. Cases that bite elsewhere (storage, signer, server, device) are tested there.
//!
//! The outcome is always the same: a typed refusal, and the device as it was.

#[path = "../fleet/mod.rs"]
mod fleet;

mod delta;
mod ed25519;
mod freshness;
mod metadata;
mod parsing;
mod signatures;
mod world;
