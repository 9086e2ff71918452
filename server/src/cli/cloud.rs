//! How a command reaches a cloud account: a bucket, and AWS IoT beside it.

use clap::Args;

use super::Failure;
#[cfg(feature = "aws")]
use crate::aws::{IotJobs, S3Store, Session};

/// The part of a bucket, and the account's region and endpoint. Credentials are found as every AWS tool finds them.
#[derive(Clone, Debug, Args)]
pub(super) struct CloudArgs {
    /// Keep everything below this prefix of the bucket, such as `prod/`.
    #[arg(long, value_name = "PREFIX", default_value = "", requires = "bucket", hide_default_value = true)]
    pub(super) prefix: String,
    /// The region of bucket and AWS IoT; without it, that of the AWS configuration.
    #[arg(long, value_name = "REGION", requires = "bucket")]
    pub(super) region: Option<String>,
    /// Another endpoint than AWS's own: an emulator. (`AWS_ENDPOINT_URL` and its kin are heeded too.)
    #[arg(long, value_name = "URL", requires = "bucket")]
    pub(super) endpoint_url: Option<String>,
}

/// A bucket, and AWS IoT in the same account and region.
#[cfg(feature = "aws")]
pub(super) struct Cloud {
    /// The store.
    pub(super) store: S3Store,
    /// The job service.
    pub(super) jobs: IotJobs,
    /// The account.
    pub(super) session: Session,
    /// The bucket's name.
    pub(super) bucket: String,
    /// What comes before every key.
    pub(super) prefix: String,
    /// Who acts.
    pub(super) actor: String,
}

#[cfg(feature = "aws")]
impl CloudArgs {
    /// Opens the account; the first call of all asks who this is, so that missing or expired credentials are told before
    /// anything is touched.
    pub(super) async fn open(self, bucket: String) -> Result<Cloud, Failure> {
        let prefix = self.prefix;
        if !(prefix.is_empty() || prefix.ends_with('/')) || prefix.starts_with('/') {
            return Err(Failure::new(
                super::USAGE,
                format!("--prefix {prefix}: must end with a slash, and not begin with one"),
            ));
        }
        let session = Session::open(self.region, self.endpoint_url).await;
        if session.region().is_none() {
            return Err(Failure::new(
                super::USAGE,
                "no region: give --region, or set AWS_REGION or one in the AWS profile",
            ));
        }
        let caller = match session.caller().await {
            Ok(caller) => caller,
            // Anything but a refusal of the credentials: the calls that matter will say it better.
            Err(error) if error.transient => None,
            Err(error) => return Err(error.into()),
        };
        let actor = match (caller, std::env::var("SEALIFT_ACTOR").ok()) {
            (Some(arn), Some(name)) => format!("{arn} ({name})"),
            (Some(arn), None) => arn,
            (None, name) => name.unwrap_or_else(super::local_actor),
        };
        let (store, jobs) = (S3Store::new(session.s3(), &bucket, &prefix), IotJobs::new(session.iot()));
        Ok(Cloud { store, jobs, session, bucket, prefix, actor })
    }
}

#[cfg(not(feature = "aws"))]
impl CloudArgs {
    /// Refuses: there is no cloud in this build.
    #[allow(clippy::unused_async, reason = "the same call as with the feature")]
    pub(super) async fn open(self, bucket: String) -> Result<std::convert::Infallible, Failure> {
        let CloudArgs { prefix, .. } = self;
        let why = format!(
            "--bucket {bucket} {prefix}: this build has no AWS; build it with `cargo build --release -p sealift-server --features aws`"
        );
        Err(Failure::new(super::USAGE, why))
    }
}
