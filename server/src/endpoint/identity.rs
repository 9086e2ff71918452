//! Who speaks: the thing whose certificate the client showed, as long as the registry knows this very certificate.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use rustls::pki_types::CertificateDer;
use sealift_jobs::{ErrorCode, ThingName};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

use super::{ApiError, App};
use crate::registry;

/// The certificate a connection was made with: already verified against a CA by TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its common name, when that can name a thing.
    thing: Option<ThingName>,
    /// SHA-256 of its DER, hex.
    fingerprint: String,
}

impl Peer {
    /// The thing it names, and the certificate's SHA-256 in hex.
    pub(crate) fn into_parts(self) -> (Option<ThingName>, String) {
        (self.thing, self.fingerprint)
    }

    /// SHA-256 of its DER, hex.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Reads the certificate; none was presented when the slice is empty.
    pub fn from_certificates(certificates: &[CertificateDer<'_>]) -> Option<Self> {
        let der = certificates.first()?;
        let parsed = x509_parser::parse_x509_certificate(der).ok().map(|(_, certificate)| certificate);
        let thing = parsed.and_then(|certificate| {
            let mut names = certificate.subject().iter_common_name();
            // Two common names would be two identities; that is nobody's.
            match (names.next(), names.next()) {
                (Some(name), None) => name.as_str().ok()?.parse().ok(),
                _ => None,
            }
        });
        Some(Self { thing, fingerprint: hex::encode(Sha256::digest(der)) })
    }
}

/// The thing behind a request, settled before any handler runs.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) ThingName);

impl Caller {
    /// Refuses a route of another thing.
    pub(crate) fn must_be(&self, app: &App, thing: &str) -> Result<&ThingName, ApiError> {
        if self.0.as_str() == thing {
            Ok(&self.0)
        } else {
            tracing::warn!(thing = %self.0, asked = thing, "a thing asked for another thing's route");
            app.engine.watch().wrong_identity(Some(&self.0), (app.clock)());
            Err(ApiError::new(ErrorCode::Forbidden, "this certificate is another thing's"))
        }
    }
}

/// Somebody who may fetch a published file: an enrolled device, or whoever holds a link that this server signed.
pub(super) struct Admitted;

impl FromRequestParts<Arc<App>> for Admitted {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        if let Some(query) = parts.uri.query().filter(|query| query.contains(super::links::SIGNATURE)) {
            if app.links.admits(parts.uri.path(), query, (app.clock)()) {
                return Ok(Self);
            }
            return Err(ApiError::new(ErrorCode::Forbidden, "the link isn't signed by this server, or has expired"));
        }
        Caller::from_request_parts(parts, app).await.map(|_| Self)
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let refused = |message: &str| ApiError::new(ErrorCode::Forbidden, message);
        let peer = parts.extensions.get::<Peer>().ok_or_else(|| refused("a client certificate is needed"))?;
        // Asked with every request, so that a revocation acts on open connections too.
        let busy = || ApiError::new(ErrorCode::ServiceUnavailable, "the server is busy; try again");
        let asked = registry::Request::Access { fingerprint: peer.fingerprint.clone(), named: peer.thing.clone() };
        let known = match app.engine.registry(asked).await {
            Some(Ok(registry::Response::Access(registry::Identity::Thing(thing), _))) => Some(thing),
            // A claim has no business here: it is for the provisioning topics alone.
            Some(Ok(_)) => None,
            Some(Err(_)) | None => return Err(busy()),
        };
        if let Some(thing) = known
            && app.engine.speaks_for(&thing, &peer.fingerprint).await.ok_or_else(busy)?
        {
            return Ok(Self(thing.name));
        }
        tracing::warn!(thing = ?peer.thing, fingerprint = peer.fingerprint, "a certificate that isn't active");
        app.engine.watch().wrong_identity(peer.thing.as_ref(), (app.clock)());
        Err(refused("the certificate isn't registered, or was revoked"))
    }
}
