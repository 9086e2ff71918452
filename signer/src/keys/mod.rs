//! Keys that sign, wherever they are kept.
//!
//! A key is named by a URI; each scheme is a [`KeySource`] in a file of its own. Nothing here ever takes a public key beside
//! a private one: what a source signs with is what its public key is computed from.

mod encrypted;
mod env;
mod file;
mod forms;
#[cfg(feature = "aws-kms")]
mod kms;
mod offline;
#[cfg(feature = "pkcs11")]
mod pkcs11;
pub mod secret;
mod software;
mod uri;

use std::fmt;
use std::path::Path;

use sealift_manifests::{KeyId, PublicKey};

use crate::error::{Error, Result};

pub use file::{generate, weak_mode};
pub use forms::{public_from_cose_hex, tuf_key, tuf_key_id};
pub use offline::OfflineKey;
pub use uri::{KeyUri, KmsArn, TokenUri};

/// Something that holds a private key and signs with it.
pub trait KeySource: fmt::Debug {
    /// The public half.
    fn public_key(&self) -> PublicKey;

    /// Signs `message` with pure Ed25519 (RFC 8032, section 5.1.6).
    fn sign(&self, message: &[u8]) -> Result<[u8; 64]>;

    /// Whether it signs whatever it is given, as keys do. A source that hands out signatures which were made elsewhere, over
    /// messages that were fixed then, does not.
    fn signs_anything(&self) -> bool {
        false
    }

    /// The longest message the source can sign, in bytes, where it has such a limit.
    fn longest_message(&self) -> Option<usize> {
        None
    }
}

/// Opens the key at `uri`; relative paths start at `folder`. `None` when there is nothing at that place: an officer's key
/// that is not here today. Whatever is there but cannot be used is an error.
pub fn open(uri: &KeyUri, folder: &Path, development: bool) -> Result<Option<Box<dyn KeySource>>> {
    let source = match uri {
        KeyUri::File(path) => file::open(&folder.join(path))?,
        KeyUri::Env(name) => env::open(name)?,
        KeyUri::Offline(_) => None,
        #[cfg(feature = "aws-kms")]
        KeyUri::AwsKms(arn) => kms::open(arn)?,
        #[cfg(not(feature = "aws-kms"))]
        KeyUri::AwsKms(_) => return Err(not_built(uri, "aws-kms")),
        #[cfg(feature = "pkcs11")]
        KeyUri::Pkcs11(token) => pkcs11::open(token, folder)?,
        #[cfg(not(feature = "pkcs11"))]
        KeyUri::Pkcs11(_) => return Err(not_built(uri, "pkcs11")),
    };
    if let Some(source) = &source {
        refuse_example(&source.public_key().id(), &uri.to_string(), development)?;
    }
    Ok(source)
}

/// Makes a new key at `uri`: a file, or a key that never leaves its token. `encrypt` puts a file under a passphrase.
pub fn generate_at(uri: &KeyUri, encrypt: bool) -> Result<PublicKey> {
    match uri {
        KeyUri::File(path) => file::generate(path, encrypt),
        #[cfg(feature = "pkcs11")]
        KeyUri::Pkcs11(token) if !encrypt => pkcs11::generate(token),
        #[cfg(not(feature = "pkcs11"))]
        KeyUri::Pkcs11(_) => Err(not_built(uri, "pkcs11")),
        #[cfg(feature = "pkcs11")]
        KeyUri::Pkcs11(_) => Err(Error::usage("--encrypt is for files", "a token guards its keys by its PIN")),
        KeyUri::Offline(_) => Err(Error::usage(
            "an offline key is made where it stays",
            "its officer makes it, with a file: or pkcs11: URI",
        )),
        KeyUri::Env(_) => Err(Error::usage("no key can be made in a variable", "make a file, and hand it to your CI")),
        KeyUri::AwsKms(_) => Err(Error::usage(
            "keys in AWS KMS are made with AWS's own tools",
            "`aws kms create-key --key-usage SIGN_VERIFY --key-spec ECC_NIST_EDWARDS25519`",
        )),
    }
}

#[cfg(not(all(feature = "aws-kms", feature = "pkcs11")))]
fn not_built(uri: &KeyUri, feature: &str) -> Error {
    Error::usage(
        format!("this build of sealift cannot use {uri}"),
        format!("build it with the cargo feature: `cargo build --release -p sealift-signer --features {feature}`"),
    )
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
