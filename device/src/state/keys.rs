//! The device's private keys. They are made here and never leave.

use std::fmt;
use std::path::Path;

use ed25519_dalek::{Signer as _, SigningKey};
use sealift_manifests::PublicKey;
use zeroize::{Zeroize as _, Zeroizing};

use super::files::{self, Access};
use crate::error::{Error, Result};

/// The Ed25519 key that signs the device's reports.
pub struct ReportKey(SigningKey);

/// Hex and a newline.
const FILE_LENGTH: usize = 65;

impl ReportKey {
    /// Reads the key, or makes it when there is none.
    pub fn load_or_make(path: &Path) -> Result<Self> {
        if path.exists() {
            return Self::load(path);
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|problem| Error::Input {
            path: path.into(),
            problem: format!("the operating system gives no randomness: {problem}"),
        })?;
        let text = Zeroizing::new(format!("{}\n", hex_secret(&seed).as_str()));
        files::replace(path, text.as_bytes(), Access::Secret)?;
        Ok(ReportKey(SigningKey::from_bytes(&seed)))
    }

    /// Reads the key.
    pub fn load(path: &Path) -> Result<Self> {
        let text = files::read_secret(path, FILE_LENGTH)?;
        let mut seed = Zeroizing::new([0; 32]);
        let digits = text.strip_suffix(b"\n").unwrap_or(&text);
        hex::decode_to_slice(digits, &mut *seed).map_err(|_| Error::Input {
            path: path.into(),
            problem: "not a report key (64 hex characters); remove it and enrol again".into(),
        })?;
        Ok(ReportKey(SigningKey::from_bytes(&seed)))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for ReportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReportKey({})", self.public().id())
    }
}

fn hex_secret(seed: &[u8; 32]) -> Zeroizing<String> {
    let mut digits = [0; 64];
    let text = match hex::encode_to_slice(seed, &mut digits) {
        Ok(()) => String::from_utf8_lossy(&digits).into_owned(),
        Err(_) => String::new(),
    };
    digits.zeroize();
    Zeroizing::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_key_is_made_once_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.key");
        let made = ReportKey::load_or_make(&path).unwrap();
        let read = ReportKey::load_or_make(&path).unwrap();
        assert_eq!(made.public(), read.public());
        let secret = std::fs::read_to_string(&path).unwrap();
        assert!(!format!("{made:?}").contains(secret.trim()));
        std::fs::write(&path, "zz").unwrap();
        assert!(matches!(ReportKey::load(&path), Err(Error::Input { .. })));
    }
}
