//! `awskms:///ARN`: a key in AWS KMS that never leaves it (key spec `ECC_NIST_EDWARDS25519`).
//!
//! Credentials are found as every AWS tool finds them: environment, profile, OIDC token file, container, instance. What is
//! signed is the raw message with `ED25519_SHA_512`, which is pure Ed25519; `ED25519_PH_SHA_512` is another scheme.

use std::fmt;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeySpec, MessageType, SigningAlgorithmSpec};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use sealift_manifests::PublicKey;
use tokio::runtime::{Builder, Runtime};

use super::{KeySource, uri::KmsArn};
use crate::error::{Error, Result};

/// Longest raw message that KMS signs (AWS KMS API reference, `Sign`).
const LONGEST_MESSAGE: usize = 4_096;
/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

struct KmsKey {
    arn: String,
    public: PublicKey,
    client: Client,
    runtime: Runtime,
}

/// Opens the key: asks KMS for its public half.
pub(super) fn open(arn: &KmsArn) -> Result<Option<Box<dyn KeySource>>> {
    let place = format!("awskms:///{}", arn.text);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed(format!("cannot start the AWS client: {error}"), ""))?;
    let client = runtime.block_on(async {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
        // The key's own region, wherever this process runs.
        Client::new(&loader.region(Region::new(arn.region.clone())).load().await)
    });
    let answer = runtime.block_on(client.get_public_key().key_id(&arn.text).send());
    let answer = answer.map_err(|error| failure(&place, "kms:GetPublicKey", &error))?;
    let input = |fault: String| Error::Input {
        place: place.clone(),
        fault,
        remedy: "make one with `aws kms create-key --key-usage SIGN_VERIFY --key-spec ECC_NIST_EDWARDS25519`".into(),
    };
    let spec = answer.key_spec().cloned();
    if spec.as_ref() != Some(&KeySpec::EccNistEdwards25519) {
        let found = spec.map_or_else(|| "of no known kind".into(), |spec| format!("of kind {}", spec.as_str()));
        return Err(input(format!("the key is {found}, not ECC_NIST_EDWARDS25519 (Ed25519)")));
    }
    let der = answer.public_key().map(Blob::as_ref).unwrap_or_default();
    let public = der.strip_prefix(&SPKI_PREFIX).and_then(|key| key.try_into().ok()).map(PublicKey);
    let public = public.ok_or_else(|| input("KMS gave a public key that is no Ed25519 key".into()))?;
    Ok(Some(Box::new(KmsKey { arn: arn.text.clone(), public, client, runtime })))
}

fn failure<E>(place: &str, act: &str, error: &SdkError<E>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    let said = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
    let words = format!("{code}: {said}");
    match code {
        "NotFoundException" => Error::Input {
            place: place.into(),
            fault: format!("KMS has no such key ({words})"),
            remedy: "compare the ARN with `aws kms describe-key`".into(),
        },
        "DisabledException" | "KMSInvalidStateException" | "InvalidKeyUsageException" => Error::Input {
            place: place.into(),
            fault: format!("the key cannot sign ({words})"),
            remedy: "enable it, or name a key with usage SIGN_VERIFY".into(),
        },
        "AccessDeniedException" => Error::Failed {
            fault: format!("{place}: KMS does not let this identity use the key ({words})"),
            remedy: format!("allow {act} on this key, in the key's policy or the role's"),
        },
        "" => Error::Failed {
            fault: format!("{place}: KMS cannot be used: {}", causes(error)),
            remedy: "check credentials (`aws sts get-caller-identity`) and network, then try again".into(),
        },
        _ => Error::Failed { fault: format!("{place}: {act} failed ({words})"), remedy: "try again".into() },
    }
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(|error| error.to_string().replace('\n', "; ")).collect::<Vec<_>>().join(": ")
}

impl KeySource for KmsKey {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    fn signs_anything(&self) -> bool {
        true
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        let place = format!("awskms:///{}", self.arn);
        let request = self
            .client
            .sign()
            .key_id(&self.arn)
            .message(Blob::new(message))
            .message_type(MessageType::Raw)
            .signing_algorithm(SigningAlgorithmSpec::Ed25519Sha512);
        let answer = self.runtime.block_on(request.send()).map_err(|error| failure(&place, "kms:Sign", &error))?;
        let signature = answer.signature().map(Blob::as_ref).unwrap_or_default();
        signature.try_into().map_err(|_| {
            Error::failed(format!("{place}: KMS gave a signature of {} bytes, not 64", signature.len()), "try again")
        })
    }

    fn longest_message(&self) -> Option<usize> {
        Some(LONGEST_MESSAGE)
    }
}

impl fmt::Debug for KmsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KmsKey({})", self.arn)
    }
}
