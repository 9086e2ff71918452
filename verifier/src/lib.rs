//! Sealift's verifier: what a device trusts, and how bytes become an image in a slot.
//!
//! Sans-IO: it takes bytes, the time if one is known and the stored state, and returns the next thing to fetch, a record
//! to persist, or a typed error. It never reads a clock, a socket or flash by itself, allocates nothing, and neither
//! panics nor uses `unsafe`.
//!
//! * [`trust`]: the trust machine, TUF's client workflow (specification 1.0.34, section 5). It is neutral to the metadata's
//!   encoding: role facts, signed bytes and signatures come in through the traits of [`trust::format`]. Verified values
//!   can be made there alone, and one function counts signatures.
//! * [`cose`]: the device encoding's adapter to it.
//! * [`delta`]: payloads become images: deltas, zstd and raw, streamed in a fixed amount of RAM.
//! * [`session`]: one update session of a device: which file next, what to persist, which target at the end.
//! * [`image`]: from payload bytes to a verified image in a slot.
//! * [`boot`]: trial, confirmation and revert, with the order of every write.
//! * [`repository`]: the same chain over a whole repository, for those who check it before devices do.
//! * [`storage`]: the records that a device keeps, in NOR flash.
//! * [`error`]: one flat table of refusals, with the same codes on the device, in job status details and in the tools.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod boot;
#[cfg(not(sealift_fault_model))]
mod certain;
#[cfg(sealift_fault_model)]
pub mod certain;
pub mod cose;
pub mod delta;
pub mod ed25519;
pub mod error;
pub mod image;
mod malformation;
pub mod record;
pub mod repository;
pub mod session;
pub mod storage;
pub mod trust;

pub use error::{Disposition, Error};
pub use malformation::Malformation;
