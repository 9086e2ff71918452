//! Putting files in place: a temporary name, fsync, rename, and fsync of the folder for what could not be made again.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};

/// What every temporary name starts with, so that a later act can tell what an interrupted one left.
pub(super) const TEMPORARY: &str = ".sealift-";

/// Writes `bytes` to `path`, which afterwards holds all of them or what it held before.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, |file| file.write_all(bytes).map_err(Error::io("write", path)))?;
    sync_folder(folder_of(path))
}

/// Puts in place what is made while it is written: nothing is seen under the name unless `fill` succeeds. The rename is not durable yet.
fn replace<T>(path: &Path, fill: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let folder = folder_of(path);
    fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .suffix(".tmp")
        // What is published is for everybody; the umask still applies.
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(Error::io("create a file in", folder))?;
    let result = fill(file.as_file_mut())?;
    file.as_file().sync_all().map_err(Error::io("write", path))?;
    file.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    Ok(result)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes what a command was asked to put into a file of the user's choice, which must not exist yet unless `force` is given.
pub fn write_output(path: &Path, bytes: &[u8], force: bool) -> Result<()> {
    fill_output(path, force, |file| file.write_all(bytes).map_err(Error::io("write", path)))?;
    sync_folder(folder_of(path))
}

/// [`write_output`] for what is made while it is written: nothing is seen under the name unless `fill` succeeds.
///
/// Its folder is not synced, as it is for what only a ceremony or a key could make again: after a loss of power the name may stand
/// for what it stood for before, but never for half an image, and whoever has the inputs runs the command again.
pub fn fill_output<T>(path: &Path, force: bool, fill: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    if !force && path.symlink_metadata().is_ok() {
        return Err(Error::refused(format!("{} exists", path.display()), "choose another name, or add --force"));
    }
    replace(path, fill)
}

/// Makes renames in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("sync the folder", folder))
}
