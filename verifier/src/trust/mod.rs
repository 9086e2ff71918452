//! The trust machine: TUF's client workflow (specification 1.0.34, section 5), for any encoding of its roles.
//!
//! [`Verified`] values can be made here alone, each from the one that vouches for it, so that the order of the workflow is
//! a matter of types:
//!
//! ```text
//! Verified<Root> --next_root--> Verified<Root> --timestamp--> Verified<Timestamp> --snapshot--> Verified<Snapshot>
//!                                                       --targets--> Verified<Targets> --delegated--> Verified<Targets>
//! ```
//!
//! Within a step the order is TUF's: what pins the file (length, hash) before its signatures, the signatures before the
//! content is read, the version and the floors before the expiry. A refused file changes nothing.

pub mod format;
mod signers;
mod verified;

pub use signers::{Floor, SignerSet, Signers};
pub use verified::{Policy, Remembered, Time, Verified, check_authority, count_signatures};
