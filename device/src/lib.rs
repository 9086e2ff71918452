//! The reference Linux agent of Sealift, `sealift-device`.
//!
//! It does what firmware does with `sealift-verifier`, on files: hears of a job over AWS IoT's jobs data plane, verifies the
//! metadata, streams the payload into the inactive slot, tries the new image, confirms or reverts it, and reports.
//!
//! * [`state`]: the state directory. Every file in it is replaced as a whole (temporary name, fsync, rename, fsync of the
//!   directory), so that a kill -9 at any point leaves the old or the new one.
//! * [`net`]: HTTPS with bounds on everything: lengths, rates, times.
//! * [`agent`]: what an update does, from job to report.
//! * [`claim`]: enrolment by a certificate that a production line shares.
//! * [`container`]: updates that come as a file.
//! * [`cli`]: the commands.
//!
//! The agent decides nothing about trust: every decision is `sealift-verifier`'s.

pub mod agent;
pub mod claim;
pub mod cli;
pub mod container;
pub mod enrol;
pub mod error;
pub mod net;
pub mod provision;
pub mod rotate;
pub mod state;
