//! Files that are replaced as a whole, and files that others must not read.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// As the umask says.
    Plain,
    /// The owner alone.
    Secret,
}

/// Replaces a file: temporary name, fsync, rename, fsync of the directory. After a cut it is the old or the new one.
pub fn replace(path: &Path, bytes: &[u8], access: Access) -> Result<()> {
    let temporary = temporary(path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    if access == Access::Secret {
        // A temporary file that a cut left may have been made with any mode.
        let _ = fs::remove_file(&temporary);
        options.create_new(true).mode(0o600);
    }
    let mut file = options.open(&temporary).map_err(Error::file("create", &temporary))?;
    file.write_all(bytes).map_err(Error::file("write", &temporary))?;
    file.sync_all().map_err(Error::file("flush", &temporary))?;
    drop(file);
    fs::rename(&temporary, path).map_err(Error::file("replace", path))?;
    sync_directory(path)
}

/// Removes a file, if it is there, for good.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::file("remove", path)(error)),
    }
}

/// Makes what happened to the names in a file's directory durable.
pub fn sync_directory(path: &Path) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(Error::file("flush", directory))
}

/// Reads a file of at most `most` bytes; a longer one isn't read on.
pub fn read(path: &Path, most: usize) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::file("open", path))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Error::Input { path: path.into(), problem: "it is a directory; name a file".into() });
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(Error::file("read", path))?;
    if bytes.len() > most {
        return Err(Error::Input { path: path.into(), problem: format!("it is larger than {most} bytes") });
    }
    Ok(bytes)
}

/// The same, `None` when there is no such file.
pub fn read_if_any(path: &Path, most: usize) -> Result<Option<Vec<u8>>> {
    match read(path, most) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a file that holds a secret; refused when others may read it.
pub fn read_secret(path: &Path, most: usize) -> Result<zeroize::Zeroizing<Vec<u8>>> {
    let mode = fs::metadata(path).map_err(Error::file("open", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        let problem = format!("others may read this key (mode {:o}): run chmod 600 on it", mode & 0o777);
        return Err(Error::Input { path: path.into(), problem });
    }
    read(path, most).map(zeroize::Zeroizing::new)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tls.key");
        replace(&path, b"secret", Access::Secret).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(&read_secret(&path, 10).unwrap()[..], b"secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read_secret(&path, 10).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_file_larger_than_it_may_be_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root");
        replace(&path, &[0; 100], Access::Plain).unwrap();
        assert!(matches!(read(&path, 99), Err(Error::Input { .. })));
        assert_eq!(read(&path, 100).unwrap().len(), 100);
        assert_eq!(read_if_any(&directory.path().join("none"), 1).unwrap(), None);
    }
}
