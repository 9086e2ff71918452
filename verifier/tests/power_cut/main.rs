//! Power cuts at every write and every erasure, torn writes, failing writes and rot: a simulator of the flash below the
//! verifier. It shows that the state machine is right, not that a flash chip is.
//!
//! A bounded part runs with the other tests. The long run, with every pair of cuts:
//! `cargo xtask power-cuts --long`, which is
//! `SEALIFT_POWER_CUTS=long cargo test --release -p sealift-verifier --test power_cut -- --nocapture`.

mod counts;
mod device;
mod flash;
#[path = "../fleet/mod.rs"]
mod fleet;
mod records;
mod scenario;
mod updates;
