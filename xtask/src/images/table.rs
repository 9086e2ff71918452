//! The table in `test-images/README.md`: file, size, hash, purpose. It is also what the test holds the files to.

use std::{fmt::Write, path::Path};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

const BEGIN: &str = "<!-- images: written by cargo xtask images -->";
const END: &str = "<!-- end of images -->";

/// One file.
pub(super) struct Row {
    name: String,
    size: usize,
    sha256: String,
    what: &'static str,
}

impl Row {
    /// Measures a file.
    pub(super) fn new(name: String, bytes: &[u8], what: &'static str) -> Row {
        Row { name, size: bytes.len(), sha256: hex::encode(Sha256::digest(bytes)), what }
    }
}

/// The text with a new table between its two marks.
pub(super) fn replace(readme: &str, rows: &[Row], compiler: &str, path: &Path) -> Result<String> {
    let unmarked = || Error::Content { path: path.into(), what: format!("the line `{BEGIN}` or `{END}` is missing") };
    let (before, rest) = readme.split_once(BEGIN).ok_or_else(unmarked)?;
    let (_, after) = rest.split_once(END).ok_or_else(unmarked)?;
    let mut table = format!("{BEGIN}\nCompiler: {compiler}\n\n| file | bytes | SHA-256 | what |\n|---|---:|---|---|\n");
    for row in rows {
        let _ = writeln!(table, "| `{}` | {} | `{}` | {} |", row.name, row.size, row.sha256, row.what);
    }
    Ok(format!("{before}{table}{END}{after}"))
}
