//! Which certificates TLS lets in: those of this server's own CA, and of every CA that was registered, while the server runs.
//!
//! TLS answers one question: did a CA that is known sign this, and is it valid now? Whose it is, and whether it may do anything, the
//! registry answers. Each CA has a verifier of its own, so that it is known which one signed.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::version_one;
use crate::engine::Engine;
use crate::ledger::CaCertificate;
use crate::pki::{PkiError, inspect, inspect_pem};
use crate::provisioning;

/// A CA that TLS knows.
#[derive(Debug)]
struct Anchor {
    /// SHA-256 of its DER, hex.
    id: String,
    der: CertificateDer<'static>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Anchor {
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if version_one::is(certificate) {
            return version_one::verify(certificate, &self.der, now);
        }
        self.verifier.verify_client_cert(certificate, rest, now)
    }
}

/// The CAs that TLS knows.
#[derive(Debug)]
pub struct Trust {
    own: Anchor,
    own_subject: Vec<u8>,
    registered: RwLock<Arc<[Anchor]>>,
    /// One refresh at a time: an older list must not come after a newer one.
    refreshing: tokio::sync::Mutex<()>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    /// Knows this server's own CA alone.
    ///
    /// # Errors
    /// [`PkiError::Make`].
    pub fn new(own: &CertificateDer<'static>, provider: Arc<CryptoProvider>) -> Result<Arc<Self>, PkiError> {
        let fail = |problem: String| PkiError::Make { what: "the TLS configuration", problem };
        let inspected = inspect(own).map_err(fail)?;
        let anchor = anchor(inspected.id, own.clone(), &provider).map_err(fail)?;
        let (own_subject, registered) = (inspected.subject_der, RwLock::new(Arc::from([])));
        let refreshing = tokio::sync::Mutex::new(());
        Ok(Arc::new(Self { own: anchor, own_subject, registered, refreshing, provider }))
    }

    /// Knows these CAs from now on, and no others. INACTIVE ones stay: what was registered under them goes on.
    fn know(&self, cas: &[CaCertificate]) {
        let mut anchors = Vec::with_capacity(cas.len());
        for ca in cas {
            let made =
                inspect_pem(&ca.certificate).and_then(|(inspected, der)| anchor(inspected.id, der, &self.provider));
            match made {
                Ok(one) => anchors.push(one),
                // It was looked at when it was registered: only a change by hand brings it here.
                Err(error) => tracing::error!(ca = ca.id, error, "a registered CA can't be used"),
            }
        }
        *self.registered.write().unwrap_or_else(PoisonError::into_inner) = anchors.into();
    }

    /// Reads the registered CAs again; false when the database doesn't answer.
    pub async fn refresh(&self, engine: &Engine) -> bool {
        let _one = self.refreshing.lock().await;
        match engine.provisioning(provisioning::Request::Cas).await {
            Some(Ok(provisioning::Response::Cas(cas))) => {
                self.know(&cas);
                true
            }
            _ => {
                tracing::error!("the registered CAs can't be read");
                false
            }
        }
    }

    fn registered(&self) -> Arc<[Anchor]> {
        self.registered.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True for a certificate that names this server's own CA as its issuer.
    fn is_own(&self, certificate: &CertificateDer<'_>) -> bool {
        x509_parser::parse_x509_certificate(certificate)
            .is_ok_and(|(_, certificate)| certificate.issuer().as_raw() == self.own_subject)
    }

    /// The registered CA that signed a chain which TLS let in; `None` when it was this server's own.
    pub(crate) fn registered_issuer(&self, chain: &[CertificateDer<'_>]) -> Option<String> {
        let (certificate, rest) = chain.split_first()?;
        if self.is_own(certificate) {
            return None;
        }
        let now = UnixTime::now();
        let anchors = self.registered();
        let signer = anchors.iter().find(|one| one.verify(certificate, rest, now).is_ok());
        // Not found: the CA is gone since the handshake.
        Some(signer.map_or_else(String::new, |one| one.id.clone()))
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let own = self.own.verifier.verify_client_cert(certificate, rest, now);
        if own.is_ok() || self.is_own(certificate) {
            return own;
        }
        let mut refusal = own;
        for anchor in self.registered().iter() {
            match anchor.verify(certificate, rest, now) {
                Ok(verified) => return Ok(verified),
                // That it has expired says more than that another CA doesn't know it.
                Err(error) if !matches!(error, Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
                    refusal = Err(error);
                }
                Err(_) => {}
            }
        }
        refusal
    }
}

fn anchor(id: String, der: CertificateDer<'static>, provider: &Arc<CryptoProvider>) -> Result<Anchor, String> {
    let mut roots = RootCertStore::empty();
    roots.add(der.clone()).map_err(|e| e.to_string())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    Ok(Anchor { id, der, verifier: verifier.map_err(|e| e.to_string())? })
}

/// What one port asks of its clients.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) trust: Arc<Trust>,
    /// No certificate, no handshake.
    pub(super) mandatory: bool,
}

impl Clients {
    /// A handshake's signature by a certificate of version 1, which rustls doesn't read; `None` for every other one.
    fn of_version_one(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Option<Result<HandshakeSignatureValid, Error>> {
        let known = &self.trust.provider.signature_verification_algorithms;
        version_one::is(certificate).then(|| version_one::verify_signature(message, certificate, signature, known))
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// No hints: CAs come and go, and devices have one certificate to show.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.trust.verify(certificate, rest, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.of_version_one(message, certificate, signature) {
            Some(verified) => verified,
            None => self.trust.own.verifier.verify_tls12_signature(message, certificate, signature),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.of_version_one(message, certificate, signature) {
            Some(verified) => verified,
            None => self.trust.own.verifier.verify_tls13_signature(message, certificate, signature),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.own.verifier.supported_verify_schemes()
    }
}
