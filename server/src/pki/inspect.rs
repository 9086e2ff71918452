//! What a certificate says: read for registration, never trusted for it.

use base64::Engine as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

/// A certificate, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// SHA-256 of its DER, hex: AWS IoT's certificate id.
    pub id: String,
    /// PEM.
    pub pem: String,
    /// Its subject, for people.
    pub subject: String,
    /// Subject, DER.
    pub subject_der: Vec<u8>,
    /// Its one common name; none when there is no or more than one.
    pub common_name: Option<String>,
    /// Seconds since the Unix epoch from which it is good.
    pub not_before: u64,
    /// The last second in which it is.
    pub not_after: u64,
    /// SHA-256 of its public key's DER, hex.
    pub key_fingerprint: String,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// Object identifier and text of each part of its subject.
    pub parts: Vec<(String, String)>,
}

/// Reads a certificate from PEM; exactly one.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn inspect_pem(pem: &str) -> Result<(Inspected, CertificateDer<'static>), String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let mut all = all.map_err(|e| format!("not PEM: {e}"))?;
    match (all.pop(), all.len()) {
        (Some(der), 0) => Ok((inspect(&der)?, der)),
        (None, _) => Err("no PEM certificate".into()),
        (Some(_), more) => Err(format!("{} certificates where one is expected", more + 1)),
    }
}

/// Reads a certificate.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn inspect(der: &[u8]) -> Result<Inspected, String> {
    let (rest, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|e| format!("not an X.509 certificate: {e}"))?;
    if !rest.is_empty() {
        return Err("bytes follow the certificate".into());
    }
    let subject = certificate.subject();
    let mut names = subject.iter_common_name();
    let common_name = match (names.next(), names.next()) {
        (Some(name), None) => name.as_str().ok().map(str::to_owned),
        _ => None,
    };
    let parts = subject
        .iter_attributes()
        .filter_map(|part| Some((part.attr_type().to_id_string(), part.as_str().ok()?.to_owned())))
        .collect();
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    Ok(Inspected {
        id: hex::encode(Sha256::digest(der)),
        pem: pem(der),
        subject: subject.to_string(),
        subject_der: subject.as_raw().to_vec(),
        common_name,
        not_before: seconds(certificate.validity().not_before),
        not_after: seconds(certificate.validity().not_after),
        key_fingerprint: hex::encode(Sha256::digest(certificate.public_key().raw)),
        is_ca: certificate.is_ca(),
        parts,
    })
}

/// Signatures that count: RSA and ECDSA with SHA-2, Ed25519.
const SIGNATURES: [&str; 6] = [
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    "1.3.101.112",
];

/// Whether `issuer` signed `certificate` (both DER).
#[must_use]
pub fn signed_by(certificate: &[u8], issuer: &[u8]) -> bool {
    let read = |der| x509_parser::parse_x509_certificate(der).map(|(_, certificate)| certificate);
    match (read(certificate), read(issuer)) {
        (Ok(certificate), Ok(issuer)) => {
            SIGNATURES.contains(&certificate.signature_algorithm.algorithm.to_id_string().as_str())
                && certificate.issuer().as_raw() == issuer.subject().as_raw()
                && certificate.verify_signature(Some(issuer.public_key())).is_ok()
        }
        _ => false,
    }
}

/// PEM (RFC 7468) of a certificate.
#[must_use]
pub fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}
