//! The AWS adapters, held to the behaviour that the local ones show, against S3 and AWS IoT as the emulator moto serves
//! them. (`cargo test -p sealift-server --features aws --test ports`; without the feature there is nothing here to run.)
//!
//! What moto can't show: signatures and permissions (it checks neither), races (its conditional writes are not atomic, so
//! of racing publishers several win), which parts an upload has (its answer to ListParts is not AWS's), throttling, fan-out of jobs to the members of groups, that a job id is not taken
//! twice (it replaces the job in silence), and whatever devices do (it has no jobs data plane).
#![cfg(feature = "aws")]

mod cloud;
mod moto;
#[path = "../server/store_suite.rs"]
mod store_suite;
