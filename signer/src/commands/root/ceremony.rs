//! `sealift root init|show|request|import|apply|cancel`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use sealift_manifests::KeyId;
use serde_json::{Value, json};

use super::super::Global;
use super::super::release::{state_facts, state_words};
use crate::ceremony::{self, Ceremony, Examined, MAX_RESPONSE, Progress, short};
use crate::clock;
use crate::error::{Error, Result};
use crate::input;
use crate::output::Report;
use crate::repository::write_output;

/// Options of `root show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sealift root show\n  sealift root show --diff\n  sealift root show --diff --json")]
pub(in crate::commands) struct Show {
    /// Tell what would be signed, and how it differs from what is signed now
    #[arg(long)]
    diff: bool,
}

/// Options of `root request`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  sealift root request --out /media/stick/request.json\n\nThe same request is written again until \
    something else is staged, or --anew asks for one of today."
)]
pub(in crate::commands) struct Request {
    /// The file to write [default: sign-request.json beside the project file]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// Make a new request, with new dates, on top of what the repository is now. Responses to the old one are void
    #[arg(long)]
    anew: bool,
}

/// Options of `root import`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sealift root import /media/stick/alice.txt bob.txt\n  \
    zbarcam --raw --oneshot | sealift root import -      # a QR code, from the officer's screen")]
pub(in crate::commands) struct Import {
    /// Response files; - reads one from standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Options of `root apply`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  When the officers' responses are in:\n    sealift root apply\n  \
    With all keys on this machine, after changing keys, thresholds, products or ceilings in sealift.toml:\n    \
    sealift root apply\n  Before root or targets expire:\n    sealift root apply --renew\n\nThe keys of the present root must sign \
    its successor too: leave them under [keys] until that is done.")]
pub(in crate::commands) struct Apply {
    /// Sign root and top-level targets anew even if nothing else changed
    #[arg(long)]
    renew: bool,
}

/// Options of `root cancel`.
#[derive(Debug, Args)]
pub(in crate::commands) struct Cancel {
    /// Why, for the log
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
}

/// The project's ceremony, to act in it.
pub(super) fn open(global: &Global) -> Result<Ceremony> {
    Ceremony::open(global.load()?, global.development, clock::signing_time()?)
}

/// What a request changes, in words.
pub(super) fn diff_words(request: Option<&ceremony::Request>) -> Result<String> {
    let Some(request) = request else { return Ok("  the repository says already what is staged".into()) };
    let lines = request.summarize()?;
    let words = lines
        .0
        .iter()
        .map(|change| format!("  {} {}: {}", if change.same { " " } else { "*" }, change.place, change.words));
    Ok(words.collect::<Vec<_>>().join("\n"))
}

/// The same for programs.
pub(super) fn diff_facts(request: Option<&ceremony::Request>) -> Result<Value> {
    let Some(request) = request else { return Ok(json!([])) };
    let lines = request.summarize()?;
    let facts = lines.0.iter().map(|it| json!({"place": it.place, "words": it.words, "changed": !it.same}));
    Ok(facts.collect())
}

/// Whose signatures there are, and whose are missing.
pub(super) fn progress_words(progress: &[Progress], names: &BTreeMap<KeyId, String>) -> String {
    let mut text = String::new();
    for it in progress {
        let name = |id: &KeyId| names.get(id).cloned().unwrap_or_else(|| short(&id.to_string()));
        let mut signed: Vec<_> = it.signed.iter().map(name).collect();
        let all = it.need.keys.iter().map(|key| key.id());
        let mut open: Vec<_> = all.filter(|id| !it.signed.contains(id)).map(|id| name(&id)).collect();
        signed.sort();
        open.sort();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {} {:<12} {} of {} by the keys of {}; signed: {}; not yet: {}",
            if it.is_met() { "ok" } else { "--" },
            it.role,
            it.signed.len(),
            it.need.threshold,
            it.need.by,
            if signed.is_empty() { "nobody".into() } else { signed.join(", ") },
            if open.is_empty() { "nobody".into() } else { open.join(", ") },
        );
    }
    text
}

pub(super) fn progress_facts(progress: &[Progress], names: &BTreeMap<KeyId, String>) -> Value {
    let key = |id: KeyId, signed: bool| json!({"key_id": id.to_string(), "name": names.get(&id), "signed": signed});
    progress
        .iter()
        .map(|it| {
            let keys: Vec<_> = it.need.keys.iter().map(|it| it.id()).collect();
            json!({
                "role": it.role, "by": it.need.by, "threshold": it.need.threshold, "signatures": it.signed.len(),
                "reached": it.is_met(),
                "keys": keys.into_iter().map(|id| key(id, it.signed.contains(&id))).collect::<Vec<_>>(),
            })
        })
        .collect()
}

/// Begins a ceremony.
pub(super) fn init(global: &Global) -> Result<Report> {
    let mut ceremony = open(global)?;
    let began = ceremony.begin()?;
    let root = ceremony.open.as_ref().map_or(0, |open| open.root);
    let text = match (began, root) {
        (true, 0) => {
            "a ceremony for the first root, as sealift.toml says\nNext: sealift root show --diff, sealift root request"
                .into()
        }
        (true, _) => format!("a ceremony on root {root}\nNext: sealift root stage --help"),
        (false, _) => format!("a ceremony is under way, on root {root}: see `sealift root show`"),
    };
    let facts =
        json!({"began": began, "root": root, "log": ceremony.log.path, "log_head": ceremony.log.head.to_string()});
    Ok(Report::new(text, facts))
}

/// Shows the ceremony under way.
pub(super) fn show(global: &Global, options: &Show) -> Result<Report> {
    let ceremony = Ceremony::read(global.load()?, global.development, clock::judging_time()?)?;
    let names = ceremony.names();
    let mut text = String::new();
    let mut facts = json!({"log": ceremony.log.path, "log_head": ceremony.log.head.to_string(), "open": false});
    let mut asked = None;
    match &ceremony.open {
        None => text.push_str("no ceremony is under way\n"),
        Some(open) => {
            let _ = writeln!(text, "a ceremony on root {}, since entry {} of the log", open.root, open.began);
            for edit in &open.edits {
                let _ = writeln!(text, "  staged: {}", edit.words());
            }
            let staged: Vec<_> = open.edits.iter().map(crate::ceremony::Edit::words).collect();
            facts["open"] = true.into();
            facts["root"] = open.root.into();
            facts["staged"] = staged.into();
            facts["applying"] = open.applying.into();
            if open.request.is_some() {
                let examined = ceremony.examined()?;
                let progress = ceremony.progress(&examined);
                let _ =
                    writeln!(text, "sign-request {}, made {}", examined.digest, clock::date(examined.request.created));
                text.push_str(&progress_words(&progress, &names));
                facts["request"] = json!({
                    "sha256": examined.digest.to_string(), "created": clock::date(examined.request.created),
                    "signatures": progress_facts(&progress, &names),
                });
                asked = Some(examined);
            } else {
                text.push_str("nothing was asked of the officers yet: `sealift root request`\n");
            }
            if open.applying {
                text.push_str("applying it was interrupted: `sealift root apply` finishes it\n");
            }
        }
    }
    if options.diff {
        let request = match asked {
            Some(Examined { request, .. }) => Some(request),
            None => ceremony.preview()?,
        };
        let _ = writeln!(text, "\nwhat is signed (* is new):\n{}", diff_words(request.as_ref())?);
        if !names.is_empty() {
            text.push_str("\nnames in sealift.toml, which nobody signs:\n");
            for (id, name) in &names {
                let _ = writeln!(text, "  {id}  {name}");
            }
        }
        facts["changes"] = diff_facts(request.as_ref())?;
    }
    Ok(Report::new(text, facts))
}

/// Fixes what is to be signed.
pub(super) fn request(global: &Global, options: Request) -> Result<Report> {
    let mut ceremony = open(global)?;
    let named = options.out.is_some();
    let path = options.out.unwrap_or_else(|| ceremony.request_path());
    if named && !options.force && path.symlink_metadata().is_ok() {
        return Err(Error::refused(format!("{} exists", path.display()), "choose another name, or add --force"));
    }
    let (text, examined) = ceremony.request(options.anew)?;
    write_output(&path, text.as_bytes(), true)?;
    let progress = ceremony.progress(&examined);
    let names = ceremony.names();
    let words = format!(
        "{}: sign-request {}\n{}\nsignatures:\n{}\nNext: each officer runs `sealift root sign --request FILE --key URI --out \
         RESPONSE`, and `sealift root import RESPONSE` takes it here",
        path.display(),
        examined.digest,
        diff_words(Some(&examined.request))?,
        progress_words(&progress, &names),
    );
    let facts = json!({
        "request": path, "sha256": examined.digest.to_string(), "changes": diff_facts(Some(&examined.request))?,
        "signatures": progress_facts(&progress, &names), "log_head": ceremony.log.head.to_string(),
    });
    Ok(Report::new(words, facts))
}

/// A response, from a file or from standard input.
fn read_response(path: &Path) -> Result<String> {
    let remedy = "give the file that `sealift root sign` wrote";
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .take(MAX_RESPONSE)
            .read_to_string(&mut text)
            .map_err(|error| Error::input("standard input", format!("cannot read the response: {error}"), remedy))?;
        return Ok(text);
    }
    Ok(input::read_text(path, "response", MAX_RESPONSE, remedy)?.to_string())
}

/// Takes responses: those before a bad one count.
pub(super) fn import(global: &Global, options: &Import) -> Result<Report> {
    let mut ceremony = open(global)?;
    let names = ceremony.names();
    let mut text = String::new();
    let mut taken = Vec::new();
    for file in &options.files {
        let place = if file == Path::new("-") { "standard input".into() } else { file.display().to_string() };
        let response = ceremony.import(&read_response(file)?, &place)?;
        let id = response.key.id();
        let _ = writeln!(text, "{place}: signed by {}", names.get(&id).cloned().unwrap_or_else(|| id.to_string()));
        taken.push(json!({"file": file, "key_id": id.to_string(), "name": names.get(&id)}));
    }
    let progress = ceremony.progress(&ceremony.examined()?);
    text.push_str(&progress_words(&progress, &names));
    let ready = progress.iter().all(Progress::is_met);
    text.push_str(if ready { "Next: sealift root apply" } else { "more signatures are needed" });
    let facts = json!({
        "imported": taken, "ready": ready, "signatures": progress_facts(&progress, &names),
        "log_head": ceremony.log.head.to_string(),
    });
    Ok(Report::new(text, facts))
}

/// Applies.
pub(super) fn apply(global: &Global, options: &Apply) -> Result<Report> {
    let mut ceremony = open(global)?;
    let Some(applied) = ceremony.apply_here(options.renew)? else {
        let text = "nothing to do: the signed root says what sealift.toml says";
        return Ok(Report::new(text, json!({"root": false, "targets": false, "resigned": [], "unlisted": []})));
    };
    for name in &applied.unlisted {
        eprintln!(
            "warning: the releases of `{name}` are no longer listed: its new keys are not here. Where they are, release again"
        );
    }
    let mut text = String::new();
    let parts = [("root", applied.root), ("top-level targets", applied.targets)];
    let signed = parts.iter().filter(|(_, signed)| *signed).map(|(what, _)| (*what).to_owned());
    let delegated = applied.resigned.iter().map(|name| format!("targets of {name}"));
    let signed: Vec<_> = signed.chain(delegated).chain(["snapshot".into(), "timestamp".into()]).collect();
    let _ = writeln!(text, "signed: {}", signed.join(", "));
    text.push_str(&state_words(&applied.files)?);
    let _ = writeln!(
        text,
        "  {}: entry {}, {}",
        ceremony.log.path.display(),
        ceremony.log.entries.len(),
        ceremony.log.head
    );
    let mut facts = state_facts(&applied.files)?;
    facts["root"] = applied.root.into();
    facts["targets"] = applied.targets.into();
    facts["resigned"] = applied.resigned.clone().into();
    facts["unlisted"] = applied.unlisted.clone().into();
    facts["signed_by"] = applied.signed_by.iter().map(KeyId::to_string).collect();
    facts["log_head"] = ceremony.log.head.to_string().into();
    Ok(Report::new(text, facts))
}

/// Calls it off.
pub(super) fn cancel(global: &Global, options: Cancel) -> Result<Report> {
    let mut ceremony = open(global)?;
    ceremony.cancel(options.why)?;
    let facts = json!({"cancelled": true, "log_head": ceremony.log.head.to_string()});
    Ok(Report::new("cancelled: nothing was changed, and responses to its request are void", facts))
}
