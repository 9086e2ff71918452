//! How a command reaches a cloud account.

use clap::Args;

use super::Failure;
#[cfg(feature = "aws")]
use crate::aws::{S3Store, Session};

/// The part of a bucket, and the account's region and endpoint. Credentials are found as every AWS tool finds them.
#[derive(Debug, Args)]
pub(super) struct CloudArgs {
    /// Publish below this prefix of the bucket, such as `prod/`.
    #[arg(long, value_name = "PREFIX", default_value = "", requires = "bucket", hide_default_value = true)]
    prefix: String,
    /// The bucket's region; without it, that of the AWS configuration.
    #[arg(long, value_name = "REGION", requires = "bucket")]
    region: Option<String>,
    /// Another endpoint than AWS's own: an emulator.
    #[arg(long, value_name = "URL", requires = "bucket")]
    endpoint_url: Option<String>,
}

#[cfg(feature = "aws")]
impl CloudArgs {
    /// The store in `bucket`.
    pub(super) async fn open(self, bucket: String) -> Result<S3Store, Failure> {
        let prefix = self.prefix;
        if !(prefix.is_empty() || prefix.ends_with('/')) {
            return Err(Failure::new(super::USAGE, format!("--prefix {prefix}: must end with a slash")));
        }
        let session = Session::open(self.region, self.endpoint_url).await;
        Ok(S3Store::new(session.s3(), bucket, prefix))
    }
}

#[cfg(not(feature = "aws"))]
impl CloudArgs {
    /// Refuses: there is no cloud in this build.
    pub(super) async fn open(self, bucket: String) -> Result<crate::store::LocalStore, Failure> {
        let why = format!(
            "--bucket {bucket}: this build has no AWS; build it with `cargo build --release -p sealift-server --features aws`"
        );
        Err(Failure::new(super::USAGE, why))
    }
}
