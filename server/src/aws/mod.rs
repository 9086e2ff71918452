//! The two ports in a cloud account: [`S3Store`] keeps the repository, [`IotJobs`] carries jobs. Cargo feature `aws`.
//!
//! Credentials and region come from where every AWS tool looks for them (environment, profile, role, OIDC token); nothing
//! of them is stored or logged. No signing key is ever here: whoever owns the account can delay an update and no more.

pub mod enrol;
mod explain;
pub mod hygiene;
mod iot;
mod s3;
mod session;

pub use explain::AwsError;
pub use iot::{DECODER_RAM_ATTRIBUTE, IotJobs, PRODUCT_ATTRIBUTE, REPORT_KEY_ATTRIBUTE};
pub use s3::S3Store;
pub use session::Session;
