//! The publishing side of Sealift: repository, rollouts, and the local endpoint that speaks AWS IoT Jobs.
//!
//! The server holds no signing key and makes no trust decision for a device. It checks a release with the verifier's
//! own code before it takes it ([`intake`]), keeps it ([`store`]), tells devices of it ([`jobs`], [`rollout`]), and
//! reads what they sign about themselves.

pub mod access;
pub mod audit;
#[cfg(feature = "aws")]
pub mod aws;
pub mod cli;
pub mod control;
pub mod endpoint;
pub mod engine;
pub mod intake;
pub mod jobs;
pub mod ledger;
pub mod mqtt;
pub mod pki;
pub mod provisioning;
pub mod publish;
pub mod registry;
pub mod rollout;
pub mod service;
pub mod store;
pub mod watching;
