//! TLS: our certificate, and who may connect.

use std::sync::{Arc, RwLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::pki::{Authority, PkiError, ServerCertificate};

/// AWS IoT's name for HTTPS with client certificates on port 443, beside plain HTTP/1.1.
const ALPN: [&[u8]; 2] = [b"http/1.1", b"x-amzn-http-ca"];

/// The server's certificate, replaced while connections go on.
#[derive(Debug)]
pub struct Certificate {
    current: RwLock<Arc<CertifiedKey>>,
    provider: Arc<CryptoProvider>,
}

impl Certificate {
    /// Presents another certificate from now on.
    ///
    /// # Errors
    /// [`PkiError::Make`] when the key can't be used.
    pub fn replace(&self, certificate: ServerCertificate) -> Result<(), PkiError> {
        let key = certified(certificate, &self.provider)?;
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = key;
        Ok(())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone())
    }
}

fn certified(certificate: ServerCertificate, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, PkiError> {
    let made = CertifiedKey::from_der(certificate.chain, certificate.key, provider);
    made.map(Arc::new).map_err(|e| PkiError::Make { what: "the server's certificate", problem: e.to_string() })
}

/// The TLS configuration of the device endpoint, and the handle to renew its certificate.
///
/// A client without a certificate gets in, because enrolment has to begin somewhere; every other route refuses it.
/// A client with a certificate of another CA fails in the handshake.
///
/// # Errors
/// [`PkiError::Make`].
pub fn server_config(
    authority: &Authority,
    certificate: ServerCertificate,
) -> Result<(ServerConfig, Arc<Certificate>), PkiError> {
    let fail = |e: &dyn std::fmt::Display| PkiError::Make { what: "the TLS configuration", problem: e.to_string() };
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).map_err(|e| fail(&e))?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| fail(&e))?;
    let current = certified(certificate, &provider)?;
    let certificate = Arc::new(Certificate { current: RwLock::new(current), provider: provider.clone() });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| fail(&e))?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(certificate.clone());
    config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    Ok((config, certificate))
}
