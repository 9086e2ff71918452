//! `sealift keys generate|show`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use sealift_manifests::PublicKey;
use serde_json::{Value, json};

use super::Global;
use crate::error::Result;
use crate::keys::{KeyUri, generate, open_existing, tuf_key, tuf_key_id};
use crate::output::Report;

/// Subcommands of `keys`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make new Ed25519 keys: PKCS#8 PEM files that their owner alone can read
    #[command(
        after_help = "Example:\n  sealift keys generate /media/stick/root-1.pem\n\nA file that exists is never overwritten."
    )]
    Generate {
        /// The files to make, one key each
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show a key's public half: key id, COSE_Key, and TUF's JSON form
    #[command(
        after_help = "Examples:\n  sealift keys show file:keys/root-1.pem\n  sealift keys show env:RELEASE_KEY --json"
    )]
    Show {
        /// Where the keys are: file:PATH or env:NAME
        #[arg(required = true, value_name = "URI")]
        uris: Vec<KeyUri>,
    },
}

/// Runs one of them.
pub(super) fn run(global: &Global, command: Command) -> Result<Report> {
    let mut keys = Vec::new();
    match command {
        Command::Generate { files } => {
            for file in files {
                let public = generate(&file)?;
                keys.push((format!("file:{}", file.display()), public));
            }
        }
        Command::Show { uris } => {
            for uri in uris {
                let source = open_existing(&uri, Path::new(""), global.development)?;
                keys.push((uri.to_string(), source.public_key()));
            }
        }
    }
    let mut text = String::new();
    for (uri, key) in &keys {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{uri}");
        let _ = writeln!(text, "  key id      {}", key.id());
        let _ = writeln!(text, "  COSE_Key    {}", hex::encode(key.cose_key()));
        let _ = writeln!(text, "  TUF keyid   {}", tuf_key_id(key));
        let _ = writeln!(text, "  TUF key     {}", tuf_key(key));
    }
    let facts: Vec<Value> = keys.iter().map(|(uri, key)| facts(uri, key)).collect();
    Ok(Report::new(text, json!({"keys": facts})))
}

fn facts(uri: &str, key: &PublicKey) -> Value {
    json!({
        "uri": uri,
        "key_id": key.id().to_string(),
        "cose_key": hex::encode(key.cose_key()),
        "tuf": {"keyid": tuf_key_id(key), "key": tuf_key(key)},
    })
}
