//! Keys that sign, wherever they are kept.
//!
//! A key is named by a URI; each scheme is a [`KeySource`] in a file of its own. Nothing here ever takes a public key beside
//! a private one: what a source signs with is what its public key is computed from.

mod env;
mod file;
mod forms;
mod software;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sealift_manifests::{KeyId, PublicKey};

use crate::error::{Error, Result};

pub use file::generate;
pub use forms::{public_from_cose_hex, tuf_key, tuf_key_id};

/// Something that holds a private key and signs with it.
pub trait KeySource: fmt::Debug {
    /// The public half.
    fn public_key(&self) -> PublicKey;

    /// Signs `message` with pure Ed25519 (RFC 8032, section 5.1.6).
    fn sign(&self, message: &[u8]) -> Result<[u8; 64]>;

    /// The longest message the source can sign, in bytes, where it has such a limit.
    fn longest_message(&self) -> Option<usize> {
        None
    }
}

/// Where a key is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyUri {
    /// `file:PATH`: an Ed25519 private key as PKCS#8, PEM or DER. A relative path starts at the project file's folder.
    File(PathBuf),
    /// `env:NAME`: the same PEM in an environment variable, for CI secrets.
    Env(String),
}

impl FromStr for KeyUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = "known are file:PATH and env:NAME";
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(KeyUri::File(path.into())),
            Some(("env", name)) if !name.is_empty() && !name.contains('=') => Ok(KeyUri::Env(name.into())),
            Some((scheme @ ("file" | "env"), _)) => Err(format!("key URI `{scheme}:` names nothing; {known}")),
            // A URI that is mistaken may be a pasted secret: it is not repeated.
            Some((scheme, _)) if scheme.len() <= 12 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Err(format!("key URI scheme `{scheme}:` is not known; {known}"))
            }
            _ => Err(format!("this is no key URI; {known}")),
        }
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyUri::File(path) => write!(f, "file:{}", path.display()),
            KeyUri::Env(name) => write!(f, "env:{name}"),
        }
    }
}

impl fmt::Debug for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> serde::Deserialize<'de> for KeyUri {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for KeyUri {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Opens the key at `uri`; relative paths start at `folder`. `None` when there is nothing at that place: an officer's key
/// that is not here today. Whatever is there but cannot be used is an error.
pub fn open(uri: &KeyUri, folder: &Path, development: bool) -> Result<Option<Box<dyn KeySource>>> {
    let source = match uri {
        KeyUri::File(path) => file::open(&folder.join(path))?,
        KeyUri::Env(name) => env::open(name)?,
    };
    if let Some(source) = &source {
        refuse_example(&source.public_key().id(), &uri.to_string(), development)?;
    }
    Ok(source)
}

/// Opens the key at `uri`, which has to be there.
pub fn open_existing(uri: &KeyUri, folder: &Path, development: bool) -> Result<Box<dyn KeySource>> {
    open(uri, folder, development)?.ok_or_else(|| {
        Error::input(uri.to_string(), "there is no key at this place", "make one with `sealift keys generate FILE`")
    })
}

/// Example keys are known to everybody, so what they sign proves nothing.
pub fn refuse_example(id: &KeyId, place: &str, development: bool) -> Result<()> {
    if development || !sealift_manifests::example_keys::is_example(id) {
        return Ok(());
    }
    Err(Error::refused(
        format!("{place} is one of the EXAMPLE-INSECURE keys, which everybody has"),
        "make a key of your own with `sealift keys generate FILE`; only to try things out, add --development",
    ))
}
