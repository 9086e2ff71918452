//! `sealift root export`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sealift_manifests::{Digest, RepositoryId, Role, sha256};
use serde_json::json;

use super::super::Global;
use crate::clock;
use crate::error::{Error, Result};
use crate::output::Report;
use crate::release;
use crate::repository::{Layout, write_output};

/// The form of an exported root.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::commands) enum Form {
    /// The signed file itself
    Cbor,
    /// A Rust module with the file and the repository id as constants
    Rust,
    /// A C header with the same
    C,
}

/// Options of `root export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sealift root export --format cbor --out root.cbor\n  \
    sealift root export --format c --version 1 > trusted_root.h")]
pub(in crate::commands) struct Options {
    /// The form
    #[arg(long, value_enum)]
    format: Form,
    /// Which root [default: the newest]
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

/// Writes a root.
pub(super) fn run(global: &Global, options: Options) -> Result<Report> {
    let Options { format, version, out, force } = options;
    let project = global.load()?;
    let files = release::open(&project, &Layout::new(&project.directory), global.development)?;
    let newest = files.root()?.header.version;
    let version = version.unwrap_or(newest);
    let file = version.checked_sub(1).and_then(|index| files.roots.get(usize::try_from(index).ok()?));
    let file =
        file.ok_or_else(|| Error::usage(format!("there is no root {version}"), format!("the newest is {newest}")))?;
    let text = match format {
        Form::Cbor => file.clone(),
        Form::Rust => rust(file, version, &project.id).into_bytes(),
        Form::C => c(file, version, &project.id).into_bytes(),
    };
    let Some(out) = out else {
        if global.json {
            return Err(Error::usage("--json needs --out", "name the file to write with --out FILE"));
        }
        return Ok(Report::Raw(text));
    };
    write_output(&out, &text, force)?;
    let digest: Digest = sha256(file);
    let words = format!(
        "{}: {} {version} of repository {}, sha256 {digest}, {}",
        out.display(),
        Role::Root,
        project.id,
        clock::expiry(files.root()?.header.expires, clock::system_time()?)
    );
    let facts = json!({
        "file": out, "version": version, "repository_id": project.id.to_string(), "sha256": digest.to_string(),
        "length": file.len(),
    });
    Ok(Report::new(words, facts))
}

/// Sixteen bytes a line, as both languages write them.
fn bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    for line in bytes.chunks(16) {
        let line: Vec<_> = line.iter().map(|byte| format!("0x{byte:02x},")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "    {}", line.join(" "));
    }
    out
}

fn rust(file: &[u8], version: u64, id: &RepositoryId) -> String {
    format!(
        "// Root {version} of Sealift repository {id}, exported by `sealift root export --format rust`.\n\
         // What a device trusts from its first moment: provision it where an update cannot change it.\n\n\
         /// The repository's id.\npub const REPOSITORY_ID: [u8; 16] = [\n{}];\n\n\
         /// Root {version}, a signed COSE file.\npub const ROOT: [u8; {}] = [\n{}];\n",
        bytes(&id.0),
        file.len(),
        bytes(file)
    )
}

fn c(file: &[u8], version: u64, id: &RepositoryId) -> String {
    format!(
        "/* Root {version} of Sealift repository {id}, exported by `sealift root export --format c`.\n\
         \x20* What a device trusts from its first moment: provision it where an update cannot change it. */\n\
         #ifndef SEALIFT_ROOT_H\n#define SEALIFT_ROOT_H\n\n#include <stdint.h>\n\n\
         #define SEALIFT_ROOT_VERSION {version}\n#define SEALIFT_ROOT_LENGTH {}\n\n\
         static const uint8_t sealift_repository_id[16] = {{\n{}}};\n\n\
         static const uint8_t sealift_root[SEALIFT_ROOT_LENGTH] = {{\n{}}};\n\n#endif\n",
        file.len(),
        bytes(&id.0),
        bytes(file)
    )
}
