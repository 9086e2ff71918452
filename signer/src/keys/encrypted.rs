//! Private keys under a passphrase: PKCS#8's `EncryptedPrivateKeyInfo` (RFC 5958, section 3) with PBES2 (RFC 8018).

use ed25519_dalek::pkcs8::KeypairBytes;
use pkcs8::der::pem::LineEnding;
use pkcs8::{EncodePrivateKey, EncryptedPrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

use super::secret;
use crate::error::{Error, Result};

/// Whether these bytes are an encrypted private key in DER.
pub(super) fn is_encrypted(der: &[u8]) -> bool {
    EncryptedPrivateKeyInfoRef::try_from(der).is_ok()
}

/// Opens an encrypted key with the passphrase that is asked for. What comes out is PKCS#8 in DER.
pub(super) fn open(der: &[u8], place: &str) -> Result<SecretDocument> {
    let input = |fault: String, remedy: &str| Error::Input { place: place.into(), fault, remedy: remedy.into() };
    let damaged = |error| input(format!("this is no encrypted PKCS#8 key: {error}"), "restore the file from a copy");
    let key = EncryptedPrivateKeyInfoRef::try_from(der).map_err(damaged)?;
    if key.encryption_algorithm.pbes2().is_none() {
        let fault = "it is encrypted as PKCS#5 version 1 (PBES1), which is broken and is not opened here";
        let remedy = "encrypt it anew: `openssl pkcs8 -in OLD -topk8 -v2 aes-256-cbc -out NEW`";
        return Err(input(fault.into(), remedy));
    }
    let passphrase = secret::of(place, "passphrase")?;
    match key.decrypt(passphrase.as_bytes()) {
        Ok(document) => Ok(document),
        Err(pkcs8::Error::EncryptedPrivateKey(error @ pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. })) => {
            let remedy = "encrypt it anew: `openssl pkcs8 -in OLD -topk8 -v2 aes-256-cbc -out NEW`";
            Err(input(error.to_string(), remedy))
        }
        // What a wrong passphrase leaves is noise, which may even end like a message.
        Err(_) => Err(wrong_passphrase(place)),
    }
}

/// The passphrase does not open the key.
pub(super) fn wrong_passphrase(place: &str) -> Error {
    Error::Input {
        place: place.into(),
        fault: "the passphrase is wrong (or the file is damaged)".into(),
        remedy: "try again; a lost passphrase means a lost key, to be replaced in a new root".into(),
    }
}

/// Puts a new private key under a passphrase that is asked for: scrypt and AES-256, at the cost that OpenSSL still opens.
/// `place` names it to a person.
pub(super) fn seal(pair: &KeypairBytes, place: &str) -> Result<Zeroizing<String>> {
    let passphrase = secret::new(place)?;
    pair.to_pkcs8_encrypted_pem(passphrase.as_bytes(), LineEnding::LF)
        .map_err(|error| Error::failed(format!("cannot encrypt the new key: {error}"), ""))
}
