//! `sealift root stage …`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::super::Global;
use super::ceremony::{diff_facts, diff_words, open};
use crate::ceremony::{Edit, NewKey};
use crate::error::{Error, Result};
use crate::input;
use crate::keys::{KeyUri, open_existing, public_from_cose_hex};
use crate::output::Report;
use crate::project::{Custody, Lifetime};

/// A change to stage.
#[derive(Debug, Subcommand)]
pub(in crate::commands) enum Change {
    /// Add a key to a role
    #[command(
        after_help = "Examples:\n  sealift root stage add-key --role root --name carol --uri offline:carol --public a30101...\n  \
        sealift root stage add-key --role targets --name carol       # a key that is listed already"
    )]
    AddKey {
        /// The role: root, targets, snapshot, timestamp, or a delegation
        #[arg(long, value_name = "ROLE")]
        role: String,
        /// The key's name under [keys]
        #[arg(long, value_name = "NAME")]
        name: String,
        #[command(flatten)]
        key: Key,
    },
    /// Take a key out of a role
    #[command(after_help = "Example:\n  sealift root stage remove-key --role root --name bob")]
    RemoveKey {
        /// The role
        #[arg(long, value_name = "ROLE")]
        role: String,
        /// The key's name
        #[arg(long, value_name = "NAME")]
        name: String,
    },
    /// Put a key in the place of another, in every role or in one
    #[command(
        after_help = "Example:\n  sealift root stage replace-key --old bob --new bob-2 --uri offline:bob-2 --public a30101..."
    )]
    ReplaceKey {
        /// In this role alone
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
        /// The key that goes
        #[arg(long, value_name = "NAME")]
        old: String,
        /// The key that comes
        #[arg(long, value_name = "NAME")]
        new: String,
        #[command(flatten)]
        key: Key,
    },
    /// Set how many signatures a role takes
    #[command(after_help = "Example:\n  sealift root stage threshold --role root 2")]
    Threshold {
        /// The role
        #[arg(long, value_name = "ROLE")]
        role: String,
        /// How many
        threshold: u64,
    },
    /// Set for how long a role's files are valid
    #[command(after_help = "Example:\n  sealift root stage expires --role root 26w")]
    Expires {
        /// The role
        #[arg(long, value_name = "ROLE")]
        role: String,
        /// Such as 26w or "90 days"
        lifetime: Lifetime,
    },
    /// Set the ceiling of the security counter: root's, or a delegation's
    #[command(after_help = "Example:\n  sealift root stage ceiling 20 --delegation thermostat")]
    Ceiling {
        /// The ceiling
        ceiling: u64,
        /// Of this delegation
        #[arg(long, value_name = "NAME")]
        delegation: Option<String>,
    },
    /// Make a delegation, or set its products, keys and threshold
    #[command(
        after_help = "Example:\n  sealift root stage delegation pumps --product pump --hardware board-c \\\n    \
        --key pump-ci --uri env:PUMP_KEY --public a30101... --custody ci"
    )]
    Delegation {
        /// Its name
        name: String,
        /// Its products
        #[arg(long = "product", value_name = "ID", required = true)]
        products: Vec<String>,
        /// Hardware of products that are new
        #[arg(long, value_name = "ID")]
        hardware: Vec<String>,
        /// Names of its keys; the last one may be new, with --uri and --public
        #[arg(long = "key", value_name = "NAME", required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        key: Key,
        /// How many signatures it takes
        #[arg(long, value_name = "N", default_value_t = 1)]
        threshold: u64,
        /// For how long its files are valid
        #[arg(long, value_name = "TIME", default_value = "26w")]
        expires: Lifetime,
        /// Its ceiling of the security counter [default: root's]
        #[arg(long, value_name = "N")]
        ceiling: Option<u64>,
    },
    /// Remove a delegation and its products
    RemoveDelegation {
        /// Its name
        name: String,
    },
    /// Stage what a project file that was edited by hand says
    #[command(after_help = "Example:\n  cp sealift.toml new.toml; $EDITOR new.toml; sealift root stage file new.toml")]
    File {
        /// The edited copy of sealift.toml
        file: PathBuf,
    },
    /// Sign root and top-level targets anew, with new expiries
    Renew,
}

/// A key that is not listed yet.
#[derive(Debug, Args)]
pub(in crate::commands) struct Key {
    /// Where the new key is kept; leave it out for a key that is listed already
    #[arg(long, value_name = "URI")]
    uri: Option<KeyUri>,
    /// Its public half, as `sealift keys show` prints it (COSE_Key); not needed where the key can be opened here
    #[arg(long, value_name = "HEX", requires = "uri")]
    public: Option<String>,
    /// Who can use it
    #[arg(long, value_enum, default_value = "offline")]
    custody: Custody,
}

impl Key {
    fn read(&self, folder: &Path, development: bool) -> Result<Option<NewKey>> {
        let Some(uri) = &self.uri else { return Ok(None) };
        let stated = match (&self.public, uri) {
            (Some(hex), _) => Some(public_from_cose_hex(hex).map_err(|fault| {
                Error::usage(format!("--public: {fault}"), "it is the line `COSE_Key` of `sealift keys show URI`")
            })?),
            (None, KeyUri::Offline(key)) => Some(key.public.ok_or_else(|| {
                Error::usage(
                    "an offline key needs its public half",
                    "have its officer run `sealift keys show URI`, and give the line `COSE_Key` with --public",
                )
            })?),
            (None, _) => None,
        };
        let public = match stated {
            Some(public) => public,
            None => open_existing(uri, folder, development)?.public_key(),
        };
        Ok(Some(NewKey {
            uri: uri.to_string(),
            custody: self.custody.to_string(),
            public: hex::encode(public.cose_key()),
        }))
    }
}

/// Stages a change.
pub(super) fn run(global: &Global, change: Change) -> Result<Report> {
    let mut ceremony = open(global)?;
    let folder = ceremony.project.folder().to_path_buf();
    let new = |key: &Key| key.read(&folder, global.development);
    let edit = match change {
        Change::AddKey { role, name, key } => Edit::AddKey { role, name, key: new(&key)? },
        Change::RemoveKey { role, name } => Edit::RemoveKey { role, name },
        Change::ReplaceKey { role, old, new: name, key } => Edit::ReplaceKey { role, old, new: name, key: new(&key)? },
        Change::Threshold { role, threshold } => Edit::Threshold { role, threshold },
        Change::Expires { role, lifetime } => Edit::Expires { role, lifetime: lifetime.to_string() },
        Change::Ceiling { ceiling, delegation } => Edit::Ceiling { delegation, ceiling },
        Change::Delegation { name, products, hardware, keys, key, threshold, expires, ceiling } => {
            let new_keys = match new(&key)? {
                Some(key) => keys.last().map(|name| (name.clone(), key)).into_iter().collect(),
                None => Vec::new(),
            };
            let ceiling = ceiling.unwrap_or(ceremony.staged()?.counter_ceiling);
            let lifetime = expires.to_string();
            Edit::Delegation { name, products, hardware, keys, new_keys, threshold, lifetime, ceiling }
        }
        Change::RemoveDelegation { name } => Edit::RemoveDelegation { name },
        Change::File { file } => {
            let text = input::read_text(&file, "project file", 256 * 1024, "give the edited copy of sealift.toml")?;
            Edit::File { text: text.to_string() }
        }
        Change::Renew => Edit::Renew {},
    };
    let words = edit.words();
    ceremony.stage(edit)?;
    let preview = ceremony.preview()?;
    let text = format!(
        "staged: {words}\n{}\nNext: stage more, look at it (`sealift root show --diff`), or fix it: `sealift root request`",
        diff_words(preview.as_ref())?
    );
    let facts = json!({
        "staged": words, "changes": diff_facts(preview.as_ref())?, "log_head": ceremony.log.head.to_string(),
    });
    Ok(Report::new(text, facts))
}
