//! `sealift-server ca`, `templates`, `claims` and `certificates`: enrolment as AWS IoT does it.

mod ca;
mod certificates;
mod claims;
mod templates;

use std::path::Path;

use clap::Args;
use serde_json::Value;

use super::{BAD_FILE, Common, Failure, output};

pub(super) use ca::Ca;
pub(super) use certificates::Certificates;
pub(super) use claims::Claims;
pub(super) use templates::Templates;

#[derive(Debug, Args)]
pub(super) struct Bare {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct ById {
    #[command(flatten)]
    common: Common,
    /// Its id: 64 hex digits, the SHA-256 of its DER.
    #[arg(value_name = "ID", value_parser = id)]
    id: String,
}

fn id(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let fine = lower.len() == 64 && lower.bytes().all(|b| b.is_ascii_hexdigit());
    if fine { Ok(lower) } else { Err("expected 64 hex digits".into()) }
}

fn text(path: &Path, what: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|e| Failure::new(BAD_FILE, format!("{}: can't read the {what}: {e}", path.display())))
}

/// A name as a path segment.
pub(super) fn escaped(name: &str) -> String {
    let byte = |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
    name.bytes().map(byte).collect()
}

/// Tells what became of a removal.
pub(super) fn removed(common: &Common, gone: &Value, what: &str, name: &str) {
    match (common.json, gone["removed"] == true) {
        (true, _) => output::json(gone),
        (false, true) => output::line(&format!("removed the {what} {name}")),
        (false, false) => output::line(&format!("there is no {what} {name}")),
    }
}
