//! The agent as its users run it: the real binary against a real server over mutual TLS, honest or hostile.

mod files;
#[path = "../../../verifier/tests/fleet/mod.rs"]
mod fleet;
mod hostile;
mod jobs;
mod kill;
mod loader;
mod owner;
mod server;
mod slots;
mod units;
mod update;
mod world;
