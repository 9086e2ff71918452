//! Sealift's wire format: bytes to types and back, and no trust decision.
//!
//! TUF's four roles (specification 1.0.34, section 4) travel as tagged `COSE_Sign` messages (RFC 9052, section 4.1) whose
//! payloads are deterministically encoded CBOR (RFC 8949, section 4.2.1) with small integer keys. `schema.cddl` in this
//! crate's folder is the normative schema (RFC 8610); the tests hold this code to it.
//!
//! * Reading needs no allocator and copies nothing: a decoded role borrows the received bytes, and the bytes that are
//!   verified are the bytes that were received. Nothing is ever re-encoded to be verified.
//! * Reading is strict: shortest-form integers, definite lengths, ascending unique keys, no unknown field, no trailing
//!   byte, every count and length bounded by a constant of [`bounds`]. So `encode(decode(b)) == b` for every `b` that
//!   decodes, and `decode(encode(x)) == x`.
//! * Writing (feature `alloc`) uses the very same types: a [`List`] is either validated bytes or a slice of items.
//!
//! What a role *means*, who may sign it and whether it is fresh is decided in `sealift-verifier` alone.
#![no_std]
#![deny(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod bounds;
pub mod bundle;
pub mod cbor;
pub mod delta_format;
pub mod envelope;
pub mod example_keys;
mod extension;
pub mod install_file;
mod key;
mod list;
mod name;
pub mod report;
mod role;
mod root;
mod snapshot;
mod target;
mod targets;
mod timestamp;

pub use cbor::{DecodeError, Fault};
pub use envelope::Envelope;
pub use extension::Extensions;
pub use key::{Digest, KeyId, PublicKey, sha256};
pub use list::{Item, List};
pub use name::is_name;
pub use role::{Header, RepositoryId, Role};
pub use root::{RoleKeys, Root};
pub use snapshot::{DelegatedMeta, Meta, Snapshot};
pub use target::{Base, Codec, Image, Payload, Target, Version};
pub use targets::{Delegation, Targets};
pub use timestamp::Timestamp;

/// The format version every role carries. A reader refuses any other; `ARCHITECTURE.md` tells how it may change.
pub const FORMAT_VERSION: u64 = 1;
