//! TLS: our certificate, and who may connect.

use std::sync::{Arc, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::trust::{Clients, Trust};
use crate::pki::{Authority, PkiError, ServerCertificate};

/// AWS IoT's name for HTTPS with client certificates on port 443, beside plain HTTP/1.1.
const HTTPS: [&[u8]; 2] = [b"http/1.1", b"x-amzn-http-ca"];
/// AWS IoT's name for MQTT with client certificates on port 443.
pub(super) const MQTT: &[u8] = b"x-amzn-mqtt-ca";

/// The server's certificate, replaced while connections go on.
#[derive(Debug)]
pub struct Certificate {
    current: RwLock<Arc<CertifiedKey>>,
    names: Vec<String>,
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
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A client that means another server gets no handshake. One that names none (it connects to an address, and
        // addresses aren't sent) is served; AWS, which has no addresses of its own, refuses that too.
        if let Some(name) = hello.server_name()
            && !self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
        {
            tracing::info!(name, "a client asked for a name that isn't this server's");
            return None;
        }
        Some(self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone())
    }
}

fn certified(certificate: ServerCertificate, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, PkiError> {
    let made = CertifiedKey::from_der(certificate.chain, certificate.key, provider);
    made.map(Arc::new).map_err(|e| PkiError::Make { what: "the server's certificate", problem: e.to_string() })
}

/// The TLS configurations of the device endpoint.
pub struct Tls {
    /// HTTPS, and MQTT for those who ask for it by ALPN. A client without a certificate gets in, because enrolment has
    /// to begin somewhere; every other route refuses it.
    pub https: ServerConfig,
    /// MQTT: no certificate, no handshake.
    pub mqtt: ServerConfig,
    /// The handle to renew the server's certificate.
    pub certificate: Arc<Certificate>,
    /// The CAs that clients' certificates may be of.
    pub trust: Arc<Trust>,
}

/// Makes the TLS configurations. A client with a certificate of a CA that isn't known fails in the handshake.
///
/// # Errors
/// [`PkiError::Make`].
pub fn server_config(authority: &Authority, certificate: ServerCertificate) -> Result<Tls, PkiError> {
    let fail = |e: &dyn std::fmt::Display| PkiError::Make { what: "the TLS configuration", problem: e.to_string() };
    let provider = Arc::new(ring::default_provider());
    let trust = Trust::new(authority.der(), provider.clone())?;
    let names = certificate.names.clone();
    let current = certified(certificate, &provider)?;
    let certificate = Arc::new(Certificate { current: RwLock::new(current), names, provider: provider.clone() });
    let config = |mandatory: bool, names: &[&[u8]]| -> Result<ServerConfig, PkiError> {
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|e| fail(&e))?
            .with_client_cert_verifier(Arc::new(Clients { trust: trust.clone(), mandatory }))
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
        // Thousands of devices that come back at once gain little from tickets, and each one costs.
        config.send_tls13_tickets = 1;
        Ok(config)
    };
    let (https, mqtt) = (config(false, &[HTTPS[0], HTTPS[1], MQTT])?, config(true, &[MQTT, b"mqtt"])?);
    Ok(Tls { https, mqtt, certificate, trust })
}
