//! `sealift keys generate|show`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use sealift_manifests::PublicKey;
use serde_json::{Value, json};

use super::Global;
use crate::error::{Error, Result};
use crate::keys::{KeyUri, generate_at, open_existing, tuf_key, tuf_key_id};
use crate::output::Report;

/// Subcommands of `keys`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make new Ed25519 keys: PKCS#8 PEM files that their owner alone can read, or keys on a token
    #[command(
        after_help = "Examples:\n  sealift keys generate --encrypt /media/stick/root-1.pem\n  sealift keys generate \
            'pkcs11:token=officer-1;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so'\n  sealift keys generate \
            --encrypt --passphrase-fd 3 root-1.pem 3<passphrase\n\nA key that exists is never overwritten."
    )]
    Generate {
        /// The files to make, one key each; or `pkcs11:` URIs
        #[arg(required = true, value_name = "FILE|URI")]
        files: Vec<PathBuf>,
        /// Put the files under a passphrase, which is asked for (scrypt, AES-256)
        #[arg(long)]
        encrypt: bool,
    },
    /// Show a key's public half: key id, COSE_Key, and TUF's JSON form
    #[command(
        after_help = "Examples:\n  sealift keys show file:keys/root-1.pem\n  sealift keys show env:RELEASE_KEY --json\n  \
            sealift keys show awskms:///arn:aws:kms:eu-west-1:111122223333:key/UUID\n  \
            sealift keys show 'pkcs11:token=officer-1;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so'"
    )]
    Show {
        /// Where the keys are: file:PATH, env:NAME, awskms:///ARN or pkcs11:…
        #[arg(required = true, value_name = "URI")]
        uris: Vec<KeyUri>,
    },
}

/// Runs one of them.
pub(super) fn run(global: &Global, command: Command) -> Result<Report> {
    let mut keys = Vec::new();
    match command {
        Command::Generate { files, encrypt } => {
            for file in files {
                let uri = match file.to_str() {
                    Some(text) if text.starts_with("pkcs11:") || text.starts_with("file:") => text
                        .parse()
                        .map_err(|fault: String| Error::usage(fault, "see `sealift keys generate --help`"))?,
                    _ => KeyUri::File(file),
                };
                keys.push((uri.to_string(), generate_at(&uri, encrypt)?));
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
