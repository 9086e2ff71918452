//! Credentials, region and HTTP client, shared by every client of one process.

use aws_config::SdkConfig;
use aws_sdk_s3::config::{Credentials, Region, SharedCredentialsProvider};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::AwsError;

/// What the SDKs' clients are made from.
#[derive(Clone, Debug)]
pub struct Session {
    config: SdkConfig,
}

impl Session {
    /// Finds credentials and region; `endpoint` replaces AWS's own endpoints, for emulators.
    pub async fn open(region: Option<String>, endpoint: Option<String>) -> Self {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let mut loader = aws_config::from_env().http_client(http);
        if let Some(region) = region {
            loader = loader.region(Region::new(region));
        }
        if let Some(endpoint) = endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        Self { config: loader.load().await }
    }

    /// The same with credentials that are given: access key id and secret access key. For emulators.
    pub async fn with_credentials(region: &str, endpoint: &str, [id, secret]: [&str; 2]) -> Self {
        let given = Credentials::new(id, secret, None, None, "given");
        let session = Self::open(Some(region.to_owned()), Some(endpoint.to_owned())).await;
        let provider = SharedCredentialsProvider::new(given);
        Self { config: session.config.into_builder().credentials_provider(provider).build() }
    }

    /// A client for S3. Emulators are reached by path, since their names have no buckets before them.
    #[must_use]
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config =
            aws_sdk_s3::config::Builder::from(&self.config).force_path_style(self.config.endpoint_url().is_some());
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// The region, where one is configured.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.config.region().map(AsRef::as_ref)
    }

    /// The endpoint that stands in for AWS's own.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.config.endpoint_url()
    }

    /// Who the account says this is: the ARN of user or assumed role. Needs no permission, so it is also the first to tell
    /// that credentials are missing or have expired.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn caller(&self) -> Result<Option<String>, AwsError> {
        let identity = aws_sdk_sts::Client::new(&self.config).get_caller_identity().send().await;
        let identity = identity.map_err(|error| AwsError::new("sts:GetCallerIdentity", error))?;
        Ok(identity.arn().map(str::to_owned))
    }

    /// A client for the control plane of AWS IoT.
    #[must_use]
    pub fn iot(&self) -> aws_sdk_iot::Client {
        aws_sdk_iot::Client::new(&self.config)
    }
}
