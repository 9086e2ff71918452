//! Certificates of X.509 version 1: what `openssl x509 -req` makes of a request when it isn't told of extensions, as in AWS IoT's own
//! instructions for devices. The TLS library takes version 3 alone, so what it does for those is done here for these:
//! they have no extensions to heed, and are taken only when a registered CA itself signed them.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerified;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::X509Version;

use crate::pki::signed_by;

fn read<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
    // A version 1 that has extensions isn't one.
    let plain = rest.is_empty() && read.version() == X509Version::V1 && read.extensions().is_empty();
    plain.then_some(read)
}

/// True for a certificate of version 1.
pub(super) fn is(certificate: &CertificateDer<'_>) -> bool {
    read(certificate).is_some()
}

/// Whether `ca` signed it, and whether it is valid now.
pub(super) fn verify(
    certificate: &CertificateDer<'_>,
    ca: &CertificateDer<'_>,
    now: UnixTime,
) -> Result<ClientCertVerified, Error> {
    let refuse = |why| Err(Error::InvalidCertificate(why));
    let Some(read) = read(certificate) else { return refuse(CertificateError::BadEncoding) };
    if !signed_by(certificate, ca) {
        return refuse(CertificateError::UnknownIssuer);
    }
    let (now, validity) = (i64::try_from(now.as_secs()).unwrap_or(i64::MAX), read.validity());
    if now < validity.not_before.timestamp() {
        return refuse(CertificateError::NotValidYet);
    }
    if now > validity.not_after.timestamp() {
        return refuse(CertificateError::Expired);
    }
    Ok(ClientCertVerified::assertion())
}

/// Whether the client holds the certificate's key: its signature over the handshake, by an algorithm that fits scheme and key.
pub(super) fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    known: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let read = read(certificate).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let key = read.public_key();
    let algorithm = algorithm_of(key.raw).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let (_, fitting) = (known.mapping.iter())
        .find(|(scheme, _)| *scheme == signature.scheme)
        .ok_or(Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme))?;
    let verified = fitting
        .iter()
        .filter(|one| one.public_key_alg_id().as_ref() == algorithm)
        .any(|one| one.verify_signature(&key.subject_public_key.data, message, signature.signature()).is_ok());
    if verified {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

/// What is inside the algorithm of a SubjectPublicKeyInfo (RFC 5280, section 4.1): the first element of the first element.
fn algorithm_of(key: &[u8]) -> Option<&[u8]> {
    sequence(sequence(key)?)
}

/// The content of the SEQUENCE that `der` begins with.
fn sequence(der: &[u8]) -> Option<&[u8]> {
    let (length, rest) = match der {
        [0x30, 0x81, length, rest @ ..] => (usize::from(*length), rest),
        [0x30, 0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [0x30, length, rest @ ..] if *length < 0x80 => (usize::from(*length), rest),
        _ => return None,
    };
    rest.get(..length)
}
