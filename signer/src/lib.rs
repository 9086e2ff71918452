//! The signing side of Sealift: keys, roles, releases and the repository they are written to.
//!
//! * [`keys`]: private keys wherever they are kept, one file a kind of place.
//! * [`project`]: `sealift.toml`, who signs what and for how long, and the rules of custody.
//! * [`authority`], [`release`], [`publish`]: what root, targets and releases say, and how the next state is signed.
//! * [`ceremony`]: changes of root, top-level targets and delegations, signed by people in different places.
//! * [`drill`]: the rehearsal of a key compromise, on a copy and with devices.
//! * [`delta`]: the matcher and encoder of deltas.
//! * [`doctor`]: what will hurt a project later.
//! * [`repository`]: the directory that holds it, written so that it is never seen half done.
//! * [`tuf`]: the same state as a standard TUF repository.
//! * [`commands`]: the command line, one subcommand a file.
#![deny(missing_docs)]

pub mod authority;
pub mod bundle;
pub mod ceremony;
pub mod clock;
pub mod commands;
pub mod delta;
pub mod doctor;
pub mod drill;
pub mod error;
pub mod image;
pub mod input;
pub mod keys;
pub mod output;
pub mod progress;
pub mod project;
pub mod publish;
pub mod release;
pub mod repository;
pub mod signing;
pub mod tuf;
