//! Key files: written once, whole, for their owner only; refused when anybody else could read them.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::PkiError;

/// Most bytes of a key file: a PEM key has a few hundred.
const SECRET_MAX: u64 = 16 * 1_024;

fn failed(path: &Path, act: &'static str) -> impl FnOnce(std::io::Error) -> PkiError {
    let path = path.display().to_string();
    move |source| PkiError::Io { path, act, source }
}

/// Creates `path` with `bytes` and `mode`; it appears whole or not at all, and is never overwritten.
///
/// # Errors
/// [`PkiError::Io`], with `AlreadyExists` when the file is there.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(failed(path, "write beside it"))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed(path, "write"))?;
    file.persist_noclobber(path).map_err(|e| failed(path, "create")(e.error))?;
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed(folder, "sync"))
}

/// Reads a key file, unless its mode lets anybody but the owner near it.
///
/// # Errors
/// [`PkiError::Permissions`] for a mode wider than 0600, [`PkiError::Io`], [`PkiError::Bad`] when it isn't text.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, PkiError> {
    use std::io::Read as _;
    let file = File::open(path).map_err(failed(path, "open"))?;
    // Of the opened file, not of the name: what is checked is what is read.
    let metadata = file.metadata().map_err(failed(path, "look at"))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PkiError::Permissions { path: path.display().to_string(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    let read = file.take(SECRET_MAX).read_to_string(&mut text);
    match read {
        Ok(_) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            Err(PkiError::Bad { path: path.display().to_string(), problem: "not a PEM key file".into() })
        }
        Err(e) => Err(failed(path, "read")(e)),
    }
}
