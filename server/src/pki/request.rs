//! A device's certificate signing request.

use rcgen::{PublicKeyData as _, SubjectPublicKeyInfo};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use sealift_jobs::{NameError, ThingName};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

/// Bits of an RSA key that AWS IoT takes.
const RSA_LEAST: usize = 2_048;
/// Bits of an RSA key that the TLS library verifies.
const RSA_MOST: usize = 8_192;

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not a PEM certificate request.
    #[error("csr isn't a PEM certificate signing request: {0}")]
    Malformed(String),
    /// The signature isn't by the key it asks a certificate for.
    #[error(
        "csr isn't signed by its own key, or uses an algorithm that isn't supported (ECDSA P-256, P-384, Ed25519, RSA): {0}"
    )]
    Signature(String),
    /// A key that is too short, or of a kind that TLS here doesn't know.
    #[error("the key of csr can't be used: {0}")]
    Key(String),
    /// Not exactly one common name.
    #[error("csr must have exactly one common name, the thing's; it has {0}")]
    Names(usize),
    /// The common name can't name a thing.
    #[error("the common name of csr can't name a thing: {0}")]
    Name(#[from] NameError),
}

/// A request whose signature was checked: whoever made it holds the private key. Nothing else of it is believed.
pub struct SignedRequest {
    der: Vec<u8>,
    public_key: SubjectPublicKeyInfo,
    names: Vec<String>,
}

impl SignedRequest {
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
        let key = &parsed.certification_request_info.subject_pki;
        if let Ok(PublicKey::RSA(rsa)) = key.parsed() {
            let bits = rsa.key_size();
            if !(RSA_LEAST..=RSA_MOST).contains(&bits) {
                return Err(RequestError::Key(format!("RSA of {bits} bits; from {RSA_LEAST} to {RSA_MOST} are taken")));
            }
        }
        parsed.verify_signature().map_err(|e| RequestError::Signature(e.to_string()))?;
        let public_key = SubjectPublicKeyInfo::from_der(key.raw)
            .map_err(|_| RequestError::Key("it is neither ECDSA P-256 or P-384, nor Ed25519, nor RSA".into()))?;
        let names = parsed.certification_request_info.subject.iter_common_name();
        let names: Result<Vec<_>, _> = names.map(|name| name.as_str().map(str::to_owned)).collect();
        let names = names.map_err(|e| RequestError::Malformed(e.to_string()))?;
        Ok(Self { der: der.to_vec(), public_key, names })
    }

    /// Its common names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The key to certify.
    #[must_use]
    pub fn public_key(&self) -> &SubjectPublicKeyInfo {
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

/// A request that names the thing it is for.
pub struct CertificateRequest {
    thing: ThingName,
    signed: SignedRequest,
}

impl CertificateRequest {
    /// Reads and checks a PEM request.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn from_pem(pem: &str) -> Result<Self, RequestError> {
        let signed = SignedRequest::from_pem(pem)?;
        let [name] = signed.names() else { return Err(RequestError::Names(signed.names().len())) };
        Ok(Self { thing: name.parse()?, signed })
    }

    /// The name it asks for.
    #[must_use]
    pub fn thing(&self) -> &ThingName {
        &self.thing
    }

    /// The key to certify.
    #[must_use]
    pub fn public_key(&self) -> &SubjectPublicKeyInfo {
        self.signed.public_key()
    }

    /// SHA-256 of the request's DER: what the report key signs to join it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.signed.digest()
    }

    /// SHA-256 of the public key's DER, hex.
    #[must_use]
    pub fn key_fingerprint(&self) -> String {
        self.signed.key_fingerprint()
    }
}
