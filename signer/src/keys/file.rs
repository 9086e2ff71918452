//! `file:PATH`: private keys as PKCS#8 files that nobody but their owner can read.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey, KeypairBytes};
use sealift_manifests::PublicKey;
use zeroize::Zeroizing;

use super::software::SoftwareKey;
use super::{KeySource, encrypted};
use crate::error::{Error, Result};
use crate::input;

/// A PKCS#8 PEM of an Ed25519 key is some 120 bytes; comments and line ends make it a little more.
const MAX_KEY_FILE: u64 = 16 * 1024;

/// Opens a key file. `None` when there is no file of that name.
pub(super) fn open(path: &Path) -> Result<Option<Box<dyn KeySource>>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| Error::input(path, format!("cannot read the key: {error}"), ""))?,
    };
    if metadata.is_file()
        && let Some(mode) = weak_mode(path)
    {
        return Err(Error::input(
            path,
            format!("the private key can be read by others (mode {mode:04o})"),
            format!("treat it as stolen unless you know who read it; then `chmod 600 {}`", path.display()),
        ));
    }
    let bytes = input::read(path, "private key", MAX_KEY_FILE, "")?;
    Ok(Some(Box::new(SoftwareKey::from_pkcs8(&bytes, &path.display().to_string())?)))
}

/// Makes a new key and writes it, readable by its owner alone; under a passphrase when `encrypt` says so. Refuses to replace
/// a file.
pub fn generate(path: &Path, encrypt: bool) -> Result<PublicKey> {
    if path.symlink_metadata().is_ok() {
        return Err(exists(path));
    }
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice())
        .map_err(|error| Error::failed(format!("the system gives no randomness: {error}"), ""))?;
    let public = PublicKey(SigningKey::from_bytes(&seed).verifying_key().to_bytes());
    // Version 1 of PKCS#8 (RFC 8410, section 7), without the public key: OpenSSL reads no other.
    let pair = KeypairBytes { secret_key: *seed, public_key: None };
    let pem = match encrypt {
        true => encrypted::seal(&pair, &path.display().to_string())?,
        false => pair
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| Error::failed(format!("cannot encode the new key: {error}"), ""))?,
    };

    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
    // The temporary file has mode 0600 from its first moment.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io("write a key into", folder))?;
    file.write_all(pem.as_bytes()).map_err(Error::io("write", path))?;
    file.as_file().sync_all().map_err(Error::io("write", path))?;
    file.persist_noclobber(path).map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => Error::io("write", path)(error.error),
    })?;
    crate::repository::sync_folder(folder)?;
    Ok(public)
}

fn exists(path: &Path) -> Error {
    Error::refused(
        format!("{} exists, and a key is never overwritten", path.display()),
        "choose another name, or move the old key away first",
    )
}

/// The permissions of a key file that others than its owner have; `None` when there are none, or no file.
pub fn weak_mode(path: &Path) -> Option<u32> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mode = metadata.permissions().mode() & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}
