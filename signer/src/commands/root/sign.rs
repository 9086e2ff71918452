//! `sealift root sign`: an officer's act, on the officer's own machine.

use std::io::{BufRead, IsTerminal, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::json;

use super::super::Global;
use super::ceremony::{open, progress_facts, progress_words};
use crate::ceremony::{Examined, MAX_REQUEST, check_clock, sign};
use crate::clock;
use crate::error::{Error, Result};
use crate::input;
use crate::keys::{KeySource, KeyUri, open_existing};
use crate::output::Report;
use crate::repository::write_output;

/// Options of `root sign`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  On an officer's laptop that is never online, with the request from a USB stick:\n    \
    sealift root sign --request /media/stick/request.json --key file:alice.pem --root root-3.cbor \\\n      \
    --out /media/stick/alice.txt\n  The same, and the response as a QR code for a camera:\n    \
    sealift root sign --request request.json --key file:alice.pem --qr\n  \
    Where the project is, with the keys that sealift.toml finds on this machine:\n    sealift root sign"
)]
pub(in crate::commands) struct Options {
    /// The sign-request; without one, the request of this project's ceremony
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// The officer's key [default, without --request: every key of the project that is here]
    #[arg(long = "key", value_name = "URI")]
    keys: Vec<KeyUri>,
    /// A root that the officer knows, kept from an earlier ceremony: the request has to lead on from it
    #[arg(long, value_name = "FILE", requires = "request")]
    root: Option<PathBuf>,
    /// Where to write the response [default: standard output]
    #[arg(long, value_name = "FILE", requires = "request")]
    out: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// Print the response as a QR code as well, on standard error
    #[arg(long, requires = "request")]
    qr: bool,
    /// Do not ask before signing (nobody is asked without a terminal)
    #[arg(long)]
    yes: bool,
    /// Sign though this machine's clock and the request do not agree
    #[arg(long)]
    any_clock: bool,
}

/// Signs.
pub(super) fn run(global: &Global, options: Options) -> Result<Report> {
    match &options.request {
        Some(path) => elsewhere(global, &options, path),
        None => here(global, &options),
    }
}

/// Shows what would be signed, and asks when there is somebody to ask.
fn consent(examined: &Examined, options: &Options) -> Result<()> {
    eprintln!("sign-request {}, repository {}", examined.digest, examined.request.repository);
    eprintln!("what will be signed, as this machine reads it (* is new):");
    for change in &examined.summary.0 {
        eprintln!("  {} {}: {}", if change.same { " " } else { "*" }, change.place, change.words);
    }
    if options.yes || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    eprint!("Sign this? Type yes: ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(Error::io("read from", "the terminal"))?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(Error::refused("not signed", "type `yes` to sign")),
    }
}

fn elsewhere(global: &Global, options: &Options, path: &Path) -> Result<Report> {
    if options.keys.len() != 1 {
        return Err(Error::usage(
            format!("{} keys were named; an officer signs with one", options.keys.len()),
            "name it with --key URI; sign once more for a second one",
        ));
    }
    let text = input::read(path, "sign-request", MAX_REQUEST, "give the file that `sealift root request` wrote")?;
    let known = match &options.root {
        Some(path) => Some(input::read(path, "root", 64 * 1024, "give a file of `sealift root export --format cbor`")?),
        None => None,
    };
    let examined = Examined::of(&text, path, known.as_ref().map(|root| root.as_slice()), global.development)?;
    if !options.any_clock {
        check_clock(&examined, clock::judging_time()?)?;
    }
    if let Some(out) = options.out.as_ref().filter(|out| !options.force && out.symlink_metadata().is_ok()) {
        return Err(Error::refused(format!("{} exists", out.display()), "choose another name, or add --force"));
    }
    let key = open_existing(&options.keys[0], Path::new(""), global.development)?;
    consent(&examined, options)?;
    let response = sign(&examined, key.as_ref())?;
    let encoded = response.encode();
    if let Some(out) = &options.out {
        write_output(out, format!("{encoded}\n").as_bytes(), options.force)?;
    }
    if options.qr {
        eprintln!("{}", qr(&encoded)?);
    }
    let signed: Vec<_> = response.signatures.keys().filter_map(|index| examined.items.get(*index)).collect();
    let roles: Vec<_> = signed.iter().map(|item| item.role.as_str()).collect();
    let facts = json!({
        "request": examined.digest.to_string(), "key_id": response.key.id().to_string(), "signed": roles,
        "summary": examined.summary.lines(), "response": encoded, "file": options.out,
    });
    let words = match &options.out {
        Some(out) => format!("{}: signed {} with the key {}", out.display(), roles.join(", "), response.key.id()),
        None => encoded,
    };
    Ok(Report::new(words, facts))
}

fn here(global: &Global, options: &Options) -> Result<Report> {
    let mut ceremony = open(global)?;
    let examined = ceremony.examined()?;
    if !options.any_clock {
        check_clock(&examined, clock::judging_time()?)?;
    }
    let folder = ceremony.project.folder().to_path_buf();
    let keys: Vec<Box<dyn KeySource>> = match options.keys.is_empty() {
        true => ceremony.local_keys(&examined)?.open,
        false => {
            let open = options.keys.iter().map(|uri| open_existing(uri, &folder, global.development));
            open.collect::<Result<_>>()?
        }
    };
    if keys.is_empty() {
        return Err(Error::refused(
            "none of the keys that have to sign is on this machine",
            "name one with --key URI, or have its officer sign elsewhere: `sealift root request`",
        ));
    }
    consent(&examined, options)?;
    let responses = ceremony.sign_here(&keys)?;
    let names = ceremony.names();
    let progress = ceremony.progress(&examined);
    let words = format!("{} keys signed here\n{}", responses.len(), progress_words(&progress, &names));
    let facts = json!({
        "request": examined.digest.to_string(),
        "key_ids": responses.iter().map(|response| response.key.id().to_string()).collect::<Vec<_>>(),
        "signatures": progress_facts(&progress, &names), "log_head": ceremony.log.head.to_string(),
    });
    Ok(Report::new(words, facts))
}

/// The response as a QR code of half blocks, which a terminal of 80 columns holds.
fn qr(text: &str) -> Result<String> {
    // The lowest error correction: a screen has no scratches, and the code stays small.
    let code = QrCode::with_error_correction_level(text, EcLevel::L)
        .map_err(|error| Error::failed(format!("the response does not fit a QR code: {error}"), "use --out"))?;
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}
