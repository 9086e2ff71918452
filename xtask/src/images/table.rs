//! The table in `test-images/README.md`: file, size, hash, purpose. It is also what the test holds the files to.

use std::fmt::Write;

use sha2::{Digest, Sha256};

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

/// The table.
pub(super) fn text(rows: &[Row], compiler: &str) -> String {
    let mut table = format!("Compiler: {compiler}\n\n| file | bytes | SHA-256 | what |\n|---|---:|---|---|\n");
    for row in rows {
        let _ = writeln!(table, "| `{}` | {} | `{}` | {} |", row.name, row.size, row.sha256, row.what);
    }
    table
}
