//! Releases: made, listed, withdrawn. A release is one target of a delegated targets file, and its payloads.

mod attachments;
mod create;
mod history;
mod payloads;
mod reissue;
mod staged;
mod state;

pub use attachments::{Attachment, PROVENANCE, attachments};
pub use create::{Created, Request, create};
pub use history::{Base, find_base, stored};
pub use payloads::{Made, codec_name};
pub use reissue::{Reissue, reissue};
pub use staged::waiting;
pub use state::{agrees, delegated_payload, listed, open, renew, withdraw};
