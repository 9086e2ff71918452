//! What a command says: words for people, or one JSON object.

use std::io::Write;

use serde_json::Value;

/// The outcome of a command.
#[derive(Debug)]
pub enum Report {
    /// Words, and the same facts for `--json`.
    Facts {
        /// For people.
        text: String,
        /// For programs.
        json: Value,
    },
    /// The same of something that was found wanting: printed alike, and the exit code says refused.
    Wanting {
        /// For people.
        text: String,
        /// For programs.
        json: Value,
    },
    /// Bytes that were asked for on standard output.
    Raw(Vec<u8>),
}

impl Report {
    /// Words and facts.
    pub fn new(text: impl Into<String>, json: Value) -> Self {
        Report::Facts { text: text.into(), json }
    }

    /// The process's exit code.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Report::Wanting { .. } => 3,
            Report::Facts { .. } | Report::Raw(_) => 0,
        }
    }

    /// Writes it to standard output.
    pub fn print(&self, json: bool) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match self {
            Report::Raw(bytes) => out.write_all(bytes)?,
            Report::Facts { json: facts, .. } | Report::Wanting { json: facts, .. } if json => {
                writeln!(out, "{facts:#}")?
            }
            Report::Facts { text, .. } | Report::Wanting { text, .. } => writeln!(out, "{}", text.trim_end())?,
        }
        out.flush()
    }
}

/// A name for a number of bytes: "1.5 KiB".
pub fn bytes(count: u64) -> String {
    match count {
        0..=9_999 => format!("{count} bytes"),
        _ => format!("{}", indicatif::HumanBytes(count)),
    }
}
