//! An Ed25519 key in this process's memory, wiped when it is dropped.

use std::fmt;

use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signer, SigningKey};
use pkcs8::SecretDocument;
use sealift_manifests::PublicKey;
use zeroize::Zeroizing;

use super::{KeySource, encrypted};
use crate::error::{Error, Result};

const MAKE: &str = "make a key with `sealift keys generate FILE` or `openssl genpkey -algorithm ed25519`";
const NO_KEY: &str = "this is no Ed25519 private key in PKCS#8 form (PEM or DER)";

/// `SigningKey` wipes itself on drop (feature `zeroize`).
pub(super) struct SoftwareKey(SigningKey);

impl SoftwareKey {
    /// Reads PKCS#8, PEM or DER, asking for the passphrase of an encrypted one. `place` names the source in errors; the
    /// content never stands in one.
    pub(super) fn from_pkcs8(bytes: &Zeroizing<Vec<u8>>, place: &str) -> Result<Self> {
        let refuse = |fault: &str, remedy: &str| Error::Input {
            place: place.to_owned(),
            fault: fault.to_owned(),
            remedy: remedy.to_owned(),
        };
        let text = std::str::from_utf8(bytes).map(str::trim).ok().filter(|text| text.starts_with("-----BEGIN"));
        let label = text.and_then(|text| text.strip_prefix("-----BEGIN ")?.split("-----").next());
        let sealed = match (label, text) {
            (Some("PRIVATE KEY"), _) => None,
            (Some("ENCRYPTED PRIVATE KEY"), Some(text)) => {
                let read = SecretDocument::from_pem(text);
                Some(read.map_err(|_| refuse("this encrypted key is cut off or damaged", "restore it from a copy"))?.1)
            }
            (Some("PUBLIC KEY"), _) => {
                return Err(refuse("this is a public key; signing needs the private one", MAKE));
            }
            (Some("OPENSSH PRIVATE KEY"), _) => {
                return Err(refuse("this is OpenSSH's own form of a key, not PKCS#8", MAKE));
            }
            (Some("CERTIFICATE"), _) => return Err(refuse("this is a certificate, not a private key", MAKE)),
            (Some(_), _) => return Err(refuse("this PEM file holds no PKCS#8 private key", MAKE)),
            (None, _) if encrypted::is_encrypted(bytes) => {
                Some(SecretDocument::try_from(&bytes[..]).map_err(|_| refuse(NO_KEY, MAKE))?)
            }
            (None, _) => None,
        };
        let key = match (&sealed, text) {
            (Some(sealed), _) => {
                let open = encrypted::open(sealed.as_bytes(), place)?;
                // A wrong passphrase can leave noise that ends like a message; a key it is not.
                if pkcs8::PrivateKeyInfoRef::try_from(open.as_bytes()).is_err() {
                    return Err(encrypted::wrong_passphrase(place));
                }
                SigningKey::from_pkcs8_der(open.as_bytes())
            }
            (None, Some(text)) => SigningKey::from_pkcs8_pem(text),
            (None, None) => SigningKey::from_pkcs8_der(bytes),
        };
        key.map(SoftwareKey).map_err(|_| refuse(NO_KEY, MAKE))
    }
}

impl KeySource for SoftwareKey {
    fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    fn signs_anything(&self) -> bool {
        true
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        Ok(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftwareKey({})", self.public_key().id())
    }
}
