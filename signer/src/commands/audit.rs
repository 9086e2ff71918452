//! `sealift audit`.

use std::fmt::Write;

use clap::Args;
use sealift_manifests::Digest;
use serde_json::json;

use super::Global;
use crate::ceremony::{audit, path_of};
use crate::clock;
use crate::error::{Error, Result};
use crate::output::Report;

/// Options of `audit`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sealift audit\n  sealift audit --json\n  sealift audit --head 6f1c...   # printed by the last \
    ceremony, and noted on paper\n\nWhat it finds: an entry that was altered, removed, moved or added; a log that was cut off before \
    the last root or written anew; signatures that do not hold or reach no threshold; roots that no ceremony made.\nWhat it cannot: \
    entries after the last root, of ceremonies that changed no root, can be cut off by whoever can write the log. A head noted \
    elsewhere (--head) shows that. Times are what the writer's clock said."
)]
pub(super) struct Options {
    /// Hash of an entry that was noted elsewhere: it has to be in the log
    #[arg(long = "head", value_name = "HASH", value_parser = digest)]
    heads: Vec<Digest>,
}

fn digest(text: &str) -> Result<Digest, String> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Digest).ok_or_else(|| "a hash is 64 hexadecimal digits".into())
}

/// Checks the ceremony log.
pub(super) fn run(global: &Global, options: &Options) -> Result<Report> {
    let project = global.load()?;
    let audit = audit(&project, &options.heads, global.development)?;
    if !audit.findings.is_empty() {
        let words: Vec<_> = audit.findings.iter().map(|it| format!("{}: {}", it.place, it.fault)).collect();
        return Err(Error::refused(
            format!("{}: {}", path_of(&project.file).display(), words.join("; ")),
            "find out who could write it; restore it from its last good copy. What devices trust is decided by root alone",
        ));
    }
    let mut text = String::new();
    for (n, time, hash, words) in &audit.acts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{n:>4}  {}  {}  {words}", clock::date(*time), &hash.to_string()[..16]);
    }
    for note in &audit.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(text, "{} entries, whole; head {}", audit.acts.len(), audit.head);
    text.push_str(
        "Note the head elsewhere: entries after the last root could be cut off by whoever can write the log.",
    );
    let facts = json!({
        "entries": audit.acts.iter().map(|(n, time, hash, words)| json!({
            "n": n, "time": clock::date(*time), "hash": hash.to_string(), "act": words,
        })).collect::<Vec<_>>(),
        "head": audit.head.to_string(), "notes": audit.notes, "roots": audit.roots,
    });
    Ok(Report::new(text, facts))
}
