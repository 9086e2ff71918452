//! An Ed25519 key in this process's memory, wiped when it is dropped.

use std::fmt;

use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signer, SigningKey};
use sealift_manifests::PublicKey;
use zeroize::Zeroizing;

use super::KeySource;
use crate::error::{Error, Result};

/// `SigningKey` wipes itself on drop (feature `zeroize`).
pub(super) struct SoftwareKey(SigningKey);

impl SoftwareKey {
    /// Reads PKCS#8, PEM or DER. `place` names the source in errors; the content never stands in one.
    pub(super) fn from_pkcs8(bytes: &Zeroizing<Vec<u8>>, place: &str) -> Result<Self> {
        let refuse = |fault: &str, remedy: &str| Error::Input {
            place: place.to_owned(),
            fault: fault.to_owned(),
            remedy: remedy.to_owned(),
        };
        let make = "make a key with `sealift keys generate FILE` or `openssl genpkey -algorithm ed25519`";
        let text = std::str::from_utf8(bytes).map(str::trim).ok().filter(|text| text.starts_with("-----BEGIN"));
        let label = text.and_then(|text| text.strip_prefix("-----BEGIN ")?.split("-----").next());
        match label {
            Some("PRIVATE KEY") | None => {}
            Some("ENCRYPTED PRIVATE KEY") => {
                return Err(refuse(
                    "the private key is encrypted, which this version cannot open",
                    "decrypt it for this use with `openssl pkcs8 -in ENCRYPTED -out PLAIN`, in memory-backed storage",
                ));
            }
            Some("PUBLIC KEY") => return Err(refuse("this is a public key; signing needs the private one", make)),
            Some(_) => return Err(refuse("this PEM file holds no PKCS#8 private key", make)),
        }
        let key = match text {
            Some(text) => SigningKey::from_pkcs8_pem(text),
            None => SigningKey::from_pkcs8_der(bytes),
        };
        key.map(SoftwareKey).map_err(|_| refuse("this is no Ed25519 private key in PKCS#8 form (PEM or DER)", make))
    }
}

impl KeySource for SoftwareKey {
    fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
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
