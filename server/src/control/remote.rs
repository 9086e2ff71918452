//! The control API over HTTPS: operators come with a token, or with a certificate that was named for them.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::{Extension, Router};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::guard::{Guard, check};
use super::operators::Operators;
use crate::endpoint::{App, Limits, Peer, Stall, http};
use crate::engine::Clock;
use crate::pki::{Authority, PkiError};

/// Operators' connections open at once.
const CONNECTIONS: usize = 256;

/// What the API needs on the network.
pub struct Remote {
    /// The bound socket.
    pub listener: TcpListener,
    /// Who may ask.
    pub operators: Arc<Operators>,
    /// The time.
    pub clock: Clock,
    /// Requests a second for each operator.
    pub rate: u32,
    /// Bounds of a connection.
    pub limits: Limits,
    /// Turns true when the server stops.
    pub stop: watch::Receiver<bool>,
}

/// A certificate is good when it is the one that was named: by its fingerprint, within its validity, and with proof of its
/// key in the handshake. No authority vouches for an operator.
#[derive(Debug)]
struct Pinned {
    operators: Arc<Operators>,
    provider: Arc<CryptoProvider>,
}

impl std::fmt::Debug for Operators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operators")
    }
}

impl ClientCertVerifier for Pinned {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let refused = |why| Err(rustls::Error::InvalidCertificate(why));
        let fingerprint = hex::encode(Sha256::digest(end_entity));
        if self.operators.by_certificate(&fingerprint, now.as_secs()).is_none() {
            return refused(CertificateError::UnknownIssuer);
        }
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(end_entity) else {
            return refused(CertificateError::BadEncoding);
        };
        let time = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let validity = parsed.validity();
        if time < validity.not_before.timestamp() {
            return refused(CertificateError::NotValidYet);
        }
        if time > validity.not_after.timestamp() {
            return refused(CertificateError::Expired);
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn tls(authority: &Authority, names: &[String], operators: &Arc<Operators>) -> Result<ServerConfig, PkiError> {
    let fail = |e: &dyn std::fmt::Display| PkiError::Make { what: "the control API's TLS", problem: e.to_string() };
    let certificate = authority.issue_server(names)?;
    let provider = Arc::new(ring::default_provider());
    let clients = Arc::new(Pinned { operators: operators.clone(), provider: provider.clone() });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| fail(&e))?
        .with_client_cert_verifier(clients)
        .with_single_cert(certificate.chain, certificate.key)
        .map_err(|e| fail(&e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// How often the certificate is made anew: it is good for three times as long.
const RENEW: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3_600);

/// Serves `router` until the stop signal, under a certificate of `app`'s authority for `names`.
///
/// # Errors
/// [`PkiError::Make`] when no certificate can be made; what fails later is logged.
pub fn start(
    remote: Remote,
    app: Arc<App>,
    names: Vec<String>,
    router: Router,
) -> Result<impl Future<Output = ()> + Send + 'static, PkiError> {
    let first = tls(&app.authority, &names, &remote.operators)?;
    Ok(run(remote, app, names, first, router))
}

async fn run(remote: Remote, app: Arc<App>, names: Vec<String>, first: ServerConfig, router: Router) {
    let Remote { listener, operators, clock, rate, limits, mut stop } = remote;
    let guard = Arc::new(Guard::new(operators.clone(), clock, rate));
    let router = router.layer(axum::middleware::from_fn(check)).layer(Extension(guard));
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut acceptor = TlsAcceptor::from(Arc::new(first));
    let mut renew = tokio::time::interval_at(tokio::time::Instant::now() + RENEW, RENEW);
    loop {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            _ = stop.changed() => return,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = renew.tick() => {
                match tls(&app.authority, &names, &operators) {
                    Ok(config) => acceptor = TlsAcceptor::from(Arc::new(config)),
                    Err(error) => tracing::error!(%error, "the control API's certificate couldn't be renewed"),
                }
                continue;
            }
            _ = stop.changed() => return,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a control connection couldn't be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        tokio::spawn(async move {
            let _slot = slot;
            match tokio::time::timeout(limits.handshake, acceptor.accept(socket)).await {
                Ok(Ok(stream)) => {
                    let peer = stream.get_ref().1.peer_certificates().and_then(Peer::from_certificates);
                    let router = router.layer(Extension::<SocketAddr>(address));
                    let router = match peer {
                        Some(peer) => router.layer(Extension(peer)),
                        None => router,
                    };
                    http(Stall::new(stream, limits.stall), router, limits, stop, Some(address)).await;
                }
                Ok(Err(error)) => tracing::info!(%address, %error, "a TLS handshake with the control API failed"),
                Err(_) => tracing::info!(%address, "a TLS handshake with the control API took too long"),
            }
        });
    }
}
