//! The AWS adapters and the binary on top of them, against S3 and AWS IoT as the emulator moto serves them, and S3 as
//! LocalStack does. (`cargo test -p sealift-server --features aws --test ports`; without the feature there is nothing here
//! to run.) Both emulators are installed from PyPI into `target/` when they are missing.
//!
//! `server/AWS.md` lists what each emulator can't show.
#![cfg(feature = "aws")]
#![allow(missing_docs, unreachable_pub, dead_code, reason = "tests")]

mod account;
mod cloud;
#[path = "../../../verifier/tests/fleet/mod.rs"]
mod fleet;
mod localstack;
mod moto;
mod paging;
mod proxy;
mod publishers;
#[path = "../server/release.rs"]
mod release;
mod rollouts;
#[path = "../server/store_suite.rs"]
mod store_suite;
mod world;
