//! Standard TUF repositories (JSON, specification 1.0.34) for Sealift's trust machine.
//!
//! Every decision is made by [`sealift_verifier::trust`], the machine that runs on the microcontroller. This crate reads the
//! JSON roles for it (canonical JSON over the generic tree, so that unknown fields stay under the signatures), fetches what
//! is asked for, and keeps what was accepted.
//!
//! * [`Updater`]: refreshes metadata in a [`Store`], looks targets up through delegations, downloads them.
//! * [`verify_repository`]: the whole of a repository, every role and every target, for intake and audit.
#![deny(missing_docs)]

mod authority;
mod config;
mod error;
pub mod fetch;
mod file;
#[cfg(feature = "http")]
pub mod http;
mod json;
mod key;
mod name;
mod repository;
pub mod role;
pub mod store;
mod time;
mod updater;

pub use authority::KeySet;
pub use config::{Clock, Config, Limits};
pub use error::{Error, FetchError, Malformed};
pub use fetch::{DirFetcher, Fetcher};
pub use json::Json;
pub use key::KeyIds;
pub use repository::{Report, RoleReport, TargetReport, verify_repository};
pub use store::{DirStore, MemoryStore, Store};
pub use updater::{Locations, TopLevel, Updater};
