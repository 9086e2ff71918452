//! A device's certificate signing request.

use rcgen::{CertificateSigningRequestParams, PublicKey, PublicKeyData as _};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use sealift_jobs::{NameError, ThingName};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::FromDer as _;

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not a PEM certificate request.
    #[error("csr isn't a PEM certificate signing request: {0}")]
    Malformed(String),
    /// The signature isn't by the key it asks a certificate for.
    #[error(
        "csr isn't signed by its own key, or uses an algorithm that isn't supported (ECDSA P-256, P-384, Ed25519): {0}"
    )]
    Signature(String),
    /// Not exactly one common name.
    #[error("csr must have exactly one common name, the thing's; it has {0}")]
    Names(usize),
    /// The common name can't name a thing.
    #[error("the common name of csr can't name a thing: {0}")]
    Name(#[from] NameError),
}

/// A request whose signature was checked: whoever made it holds the private key.
pub struct CertificateRequest {
    thing: ThingName,
    der: Vec<u8>,
    public_key: PublicKey,
}

impl CertificateRequest {
    /// Reads and checks a PEM request.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn from_pem(pem: &str) -> Result<Self, RequestError> {
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
            .map_err(|e| RequestError::Malformed(e.to_string()))?;
        let parsed = x509_parser::certification_request::X509CertificationRequest::from_der(&der);
        let (rest, parsed) = parsed.map_err(|e| RequestError::Malformed(e.to_string()))?;
        if !rest.is_empty() {
            return Err(RequestError::Malformed("bytes follow the request".into()));
        }
        let subject = &parsed.certification_request_info.subject;
        let names: Vec<_> = subject.iter_common_name().collect();
        let [name] = names.as_slice() else { return Err(RequestError::Names(names.len())) };
        let name = name.as_str().map_err(|e| RequestError::Malformed(e.to_string()))?;
        let thing: ThingName = name.parse()?;
        let checked =
            CertificateSigningRequestParams::from_der(&der).map_err(|e| RequestError::Signature(e.to_string()))?;
        Ok(Self { thing, der: der.to_vec(), public_key: checked.public_key })
    }

    /// The name it asks for.
    #[must_use]
    pub fn thing(&self) -> &ThingName {
        &self.thing
    }

    /// The key to certify.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// SHA-256 of the request's DER: what the report key signs to join it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// SHA-256 of the public key's DER, hex.
    #[must_use]
    pub fn key_fingerprint(&self) -> String {
        hex::encode(Sha256::digest(self.public_key.subject_public_key_info()))
    }
}
