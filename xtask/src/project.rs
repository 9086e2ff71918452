//! Where things are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// Root of the clone that this xtask was built from.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Cargo's target folder: `CARGO_TARGET_DIR` or `target`.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Real firmware pairs for tests, when they are there: `$SEALIFT_FIRMWARE`, or `../shared/firmware` beside the clone.
pub(crate) fn firmware() -> Option<PathBuf> {
    let dir = std::env::var_os("SEALIFT_FIRMWARE").map_or_else(|| root().join("../shared/firmware"), PathBuf::from);
    dir.is_dir().then_some(dir)
}

/// Reads a file whole.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| Error::File { act: "read", path: path.into(), source })
}

/// Reads a text file whole.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| Error::File { act: "read", path: path.into(), source })
}

/// Writes a file by way of a temporary name, so that an interrupted run leaves the old one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |act| move |source| Error::File { act, path: path.into(), source };
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(failed("create the folder of"))?;
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed("create"))?;
    std::io::Write::write_all(&mut file, bytes).map_err(failed("write"))?;
    file.as_file().sync_all().map_err(failed("sync"))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed("set the mode of"))?;
    }
    file.persist(path).map_err(|e| failed("replace")(e.error))?;
    Ok(())
}
