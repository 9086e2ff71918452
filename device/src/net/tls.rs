//! TLS: the roots that were given, and the device's certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, Result};
use crate::state::files;

/// Most bytes of a PEM file: a bundle of public CAs has some 200 KiB.
const PEM_MAX: usize = 1024 * 1024;

/// Trusts the CAs of one file alone.
pub fn anonymous(ca: &Path) -> Result<ClientConfig> {
    Ok(builder(ca)?.with_no_client_auth())
}

/// The same, and shows the device's certificate.
pub fn mutual(ca: &Path, certificate: &Path, key: &Path) -> Result<ClientConfig> {
    let chain = certificates(certificate)?;
    let secret = files::read_secret(key, PEM_MAX)?;
    let problem = |problem: String| Error::Input { path: key.into(), problem };
    let secret = PrivateKeyDer::from_pem_slice(&secret)
        .map_err(|error| problem(format!("not a PEM private key ({error}); enrol again")))?;
    builder(ca)?
        .with_client_auth_cert(chain, secret)
        .map_err(|error| problem(format!("the key doesn't fit the certificate ({error}); enrol again")))
}

fn builder(ca: &Path) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        let problem = |error: rustls::Error| Error::Input { path: ca.into(), problem: format!("not a CA: {error}") };
        roots.add(certificate).map_err(problem)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| Error::Usage(format!("TLS can't be set up: {error}")))?;
    Ok(versions.with_root_certificates(roots))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let problem = |problem: String| Error::Input { path: path.into(), problem };
    let pem = files::read(path, PEM_MAX)?;
    let read: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(problem("it holds no PEM certificate".into())),
        Err(error) => Err(problem(format!("not PEM: {error}"))),
    }
}
