//! The certificate authority itself.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sealift_jobs::ThingName;
use sha2::{Digest as _, Sha256};

use super::files::{create, read_secret};
use super::{CertificateRequest, PkiError, SignedRequest};
use crate::registry::Issued;

const KEY_FILE: &str = "ca.key";
const CERTIFICATE_FILE: &str = "ca.pem";
const DAY: u64 = 24 * 3_600;
/// A development CA outlives the desk it was made on.
const CA_DAYS: u64 = 3_650;
/// Devices' certificates live nearly as long; revocation is the server's registry.
const DEVICE_DAYS: u64 = 3_640;
/// The server makes itself a new certificate long before this.
const SERVER_DAYS: u64 = 90;
/// Certificates begin in the past: a device's clock may be behind.
const BACKDATE: u64 = DAY;

/// The certificate authority of one state directory.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    der: CertificateDer<'static>,
}

/// A certificate for the server's own name, with its key; lives in memory only.
pub struct ServerCertificate {
    /// The chain to present.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// The names it is for.
    pub names: Vec<String>,
}

impl Authority {
    /// Opens the authority in `folder`, or makes it when there is none.
    ///
    /// # Errors
    /// [`PkiError`]: unreadable, malformed, or a key file that others may read.
    pub fn open(folder: &Path) -> Result<Self, PkiError> {
        let (key_path, certificate_path) = (folder.join(KEY_FILE), folder.join(CERTIFICATE_FILE));
        std::fs::create_dir_all(folder).map_err(|source| PkiError::Io {
            path: folder.display().to_string(),
            act: "make the folder",
            source,
        })?;
        let bad = |path: &Path, problem: String| PkiError::Bad { path: path.display().to_string(), problem };
        if !key_path.exists() {
            if certificate_path.exists() {
                let problem = format!(
                    "the CA certificate is there, but its key {KEY_FILE} is gone; restore it, or remove both to begin anew (devices must enrol again)"
                );
                return Err(bad(&certificate_path, problem));
            }
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PkiError::make("the CA's key"))?;
            let pem = zeroize::Zeroizing::new(key.serialize_pem());
            create(&key_path, pem.as_bytes(), 0o600)?;
        }
        let pem = read_secret(&key_path)?;
        let key = KeyPair::from_pem(&pem).map_err(|e| bad(&key_path, format!("not a private key: {e}")))?;
        if !certificate_path.exists() {
            // Also the way on when the first start was killed between key and certificate.
            let certificate = authority_params()?.self_signed(&key).map_err(PkiError::make("the CA's certificate"))?;
            create(&certificate_path, certificate.pem().as_bytes(), 0o644)?;
        }
        let certificate = std::fs::read_to_string(&certificate_path).map_err(|source| PkiError::Io {
            path: certificate_path.display().to_string(),
            act: "read",
            source,
        })?;
        let not_pem = |e: &dyn std::fmt::Display| bad(&certificate_path, format!("not a CA certificate: {e}"));
        let der = rustls::pki_types::pem::PemObject::from_pem_slice(certificate.as_bytes());
        let der: CertificateDer<'static> = der.map_err(|e: rustls::pki_types::pem::Error| not_pem(&e))?;
        check_pair(&der, &key).map_err(|e| not_pem(&e))?;
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|e| not_pem(&e))?;
        Ok(Self { issuer, certificate, der })
    }

    /// The CA certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The CA certificate, DER.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Issues a device's certificate. Only name and public key come from the request.
    ///
    /// # Errors
    /// [`PkiError::Make`].
    pub fn issue_device(&self, request: &CertificateRequest) -> Result<Issued, PkiError> {
        let mut params = leaf(request.thing(), DEVICE_DAYS, ExtendedKeyUsagePurpose::ClientAuth)?;
        params.use_authority_key_identifier_extension = true;
        let made = params.signed_by(request.public_key(), &self.issuer).map_err(PkiError::make("a certificate"))?;
        Ok(Issued { fingerprint: hex::encode(Sha256::digest(made.der())), certificate: made.pem() })
    }

    /// Issues a certificate for a request that names no thing: whose it becomes, a provisioning template says. `name` is what
    /// its subject says, and nothing follows from it.
    ///
    /// # Errors
    /// [`PkiError::Make`].
    pub fn issue_unnamed(&self, request: &SignedRequest, name: &str, days: u64) -> Result<Issued, PkiError> {
        let mut params = CertificateParams::default();
        fill(&mut params, name, days, ExtendedKeyUsagePurpose::ClientAuth)?;
        params.use_authority_key_identifier_extension = true;
        let made = params.signed_by(request.public_key(), &self.issuer).map_err(PkiError::make("a certificate"))?;
        Ok(Issued { fingerprint: hex::encode(Sha256::digest(made.der())), certificate: made.pem() })
    }

    /// Days that a device's certificate lives.
    #[must_use]
    pub fn device_days(&self) -> u64 {
        DEVICE_DAYS
    }

    /// What a CA's owner puts into a verification certificate to show that he holds its key, for this server alone (AWS IoT's
    /// registration code). It needn't be secret: it only has to be nobody else's.
    #[must_use]
    pub fn registration_code(&self) -> String {
        let mut hash = Sha256::new_with_prefix(b"sealift registration code v1\0");
        hash.update(&self.der);
        hex::encode(hash.finalize())
    }

    /// Makes a certificate for the server under `names` (DNS names and IP addresses).
    ///
    /// # Errors
    /// [`PkiError::Make`], for instance for a name that is none.
    pub fn issue_server(&self, names: &[String]) -> Result<ServerCertificate, PkiError> {
        let what = "the server's certificate";
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PkiError::make(what))?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(PkiError::make(what))?;
        fill(&mut params, "sealift-server", SERVER_DAYS, ExtendedKeyUsagePurpose::ServerAuth)?;
        params.use_authority_key_identifier_extension = true;
        let made = params.signed_by(&key, &self.issuer).map_err(PkiError::make(what))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(ServerCertificate { chain: vec![made.der().clone(), self.der.clone()], key, names: names.to_vec() })
    }
}

fn authority_params() -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    let mut id = [0; 4];
    getrandom::fill(&mut id).map_err(|e| PkiError::Make { what: "the CA's name", problem: e.to_string() })?;
    // A name of its own, so that certificates of two development CAs are never taken for one another.
    params.distinguished_name.push(DnType::CommonName, format!("Sealift development CA {}", hex::encode(id)));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, CA_DAYS);
    Ok(params)
}

fn leaf(name: &ThingName, days: u64, purpose: ExtendedKeyUsagePurpose) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    fill(&mut params, name.as_str(), days, purpose)?;
    Ok(params)
}

fn fill(
    params: &mut CertificateParams,
    name: &str,
    days: u64,
    purpose: ExtendedKeyUsagePurpose,
) -> Result<(), PkiError> {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|e| PkiError::Make { what: "a serial number", problem: e.to_string() })?;
    serial[0] &= 0x7f; // positive, RFC 5280 section 4.1.2.2
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    validity(params, days);
    Ok(())
}

fn validity(params: &mut CertificateParams, days: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATE));
    params.not_after = epoch + Duration::from_secs(now + days * DAY);
}

/// The certificate must be for this key: a mix-up would surface only when no device can connect.
fn check_pair(der: &CertificateDer<'_>, key: &KeyPair) -> Result<(), String> {
    use rcgen::PublicKeyData as _;
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|e| e.to_string())?;
    if certificate.public_key().raw == key.subject_public_key_info() {
        Ok(())
    } else {
        Err(format!("it isn't the certificate of {KEY_FILE}"))
    }
}
