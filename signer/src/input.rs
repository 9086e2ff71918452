//! Reading the files people hand to us. Missing, empty, too large, a folder, unreadable: each is a normal case.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Reads a whole file of at least one and at most `most` bytes. `what` names it in errors, `remedy` says how to get one.
pub fn read(path: &Path, what: &str, most: u64, remedy: &str) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    read_into(&mut bytes, path, what, most, remedy)?;
    Ok(bytes)
}

/// As [`read`], for what is no secret and may be large: wiping an image takes longer than reading it.
pub fn read_public(path: &Path, what: &str, most: u64, remedy: &str) -> Result<Vec<u8>> {
    let (file, len) = open(path, what, remedy)?;
    // The system hands out zeros as fast as nothing, and one call fills them.
    let mut bytes = vec![0; len.min(most) as usize + 1];
    let failed = |error| Error::input(path, format!("cannot read the {what}: {error}"), remedy);
    let mut filled = 0;
    while filled < bytes.len() {
        match (&file).read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    bytes.truncate(filled);
    if filled as u64 == len + 1 {
        // It has grown in the meantime.
        file.take((most + 1).saturating_sub(len + 1)).read_to_end(&mut bytes).map_err(failed)?;
    }
    check(&bytes, path, what, most, remedy)?;
    Ok(bytes)
}

/// A regular file and its length.
fn open(path: &Path, what: &str, remedy: &str) -> Result<(File, u64)> {
    let refuse = |fault: String| Error::input(path, fault, remedy);
    let metadata = fs::metadata(path).map_err(|error| refuse(format!("cannot read the {what}: {error}")))?;
    if !metadata.is_file() {
        return Err(refuse(format!("the {what} is not a regular file")));
    }
    let file = File::open(path).map_err(|error| refuse(format!("cannot read the {what}: {error}")))?;
    Ok((file, metadata.len()))
}

fn read_into(bytes: &mut Vec<u8>, path: &Path, what: &str, most: u64, remedy: &str) -> Result<()> {
    let (file, len) = open(path, what, remedy)?;
    // One byte more than allowed is asked for, so that a file that grows in the meantime is noticed as well. The buffer is
    // sized up front: growing it would leave copies of a key behind that nobody wipes.
    bytes.reserve_exact(len.min(most) as usize + 2);
    let failed = |error| Error::input(path, format!("cannot read the {what}: {error}"), remedy);
    file.take(most + 1).read_to_end(bytes).map_err(failed)?;
    check(bytes, path, what, most, remedy)
}

/// What was read is neither nothing nor too much.
fn check(bytes: &[u8], path: &Path, what: &str, most: u64, remedy: &str) -> Result<()> {
    let refuse = |fault: String| Error::input(path, fault, remedy);
    if bytes.is_empty() {
        return Err(refuse(format!("the {what} is empty")));
    }
    if bytes.len() as u64 > most {
        return Err(refuse(format!("the {what} is larger than the {most} bytes it may have")));
    }
    Ok(())
}

/// Reads a text file, as [`read`] does.
pub fn read_text(path: &Path, what: &str, most: u64, remedy: &str) -> Result<Zeroizing<String>> {
    let bytes = read(path, what, most, remedy)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => Err(Error::input(path, format!("the {what} is not text: {error}"), remedy)),
    }
}
