//! `sealift verify`: what a device with this root would accept.

use std::path::{Path, PathBuf};

use clap::Args;
use sealift_manifests::bounds::MAX_IMAGE;
use sealift_manifests::{Digest, Envelope, PublicKey, Role, Root, Snapshot, Target, Targets, install_file, sha256};
use sealift_verifier::cose::CoseFile;
use sealift_verifier::trust::format::{RootFacts, SignedFile};
use sealift_verifier::trust::{Policy, Signers, Time, Verified, count_signatures};
use serde_json::json;

use super::Global;
use super::release::{state_facts, state_words};
use crate::clock;
use crate::error::{Error, Result};
use crate::input;
use crate::output::Report;
use crate::progress::Progress;
use crate::release::{attachments, stored};
use crate::repository::{Files, Layout, read_role, refused};

const EXAMPLES: &str = "\
Examples:
  sealift verify repository --root root.cbor
  sealift verify thermostat-1.1.0.sealift --root root.cbor
  sealift verify repository/metadata/2.root --root root.cbor
  sealift verify repository --root repository/tuf/metadata/1.root.json
  sealift verify repository/tuf/metadata/2.thermostat.json --root repository/tuf/metadata/1.root.json

The trusted root is the one that devices were provisioned with (`sealift root export --format cbor --version 1`). The
checks are the device's own; floors, which only a device has, are left out. Exit code 3 means refused, with its code.";

/// Most bytes of a root in JSON, which is the larger encoding.
const MAX_HOST_ROOT: u64 = 512_000;

/// Options of `verify`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// A repository directory, an update bundle, an install file, or one role file
    path: PathBuf,
    /// The trusted root; one in JSON has the standard TUF repository verified, which the directory is or has in `tuf`
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// Verify as a device without a clock does: nothing is known to be expired
    #[arg(long)]
    no_clock: bool,
}

/// Verifies it, or says why not.
pub(super) fn run(global: &Global, options: Options) -> Result<Report> {
    if global.development {
        eprintln!("warning: --development accepts keys that everybody has");
    }
    let policy = if global.development { Policy::development() } else { Policy::production() };
    let time = if options.no_clock { Time::Unknown } else { Time::AtLeast(clock::judging_time()?) };
    let root = input::read(&options.root, "trusted root", MAX_HOST_ROOT, "export it with `sealift root export`")?;
    if root.trim_ascii_start().starts_with(b"{") {
        return host(&options, &root, policy, time);
    }
    let trusted = read_role(&options.root, Role::Root)?;
    Envelope::decode(&trusted)
        .map_err(|error| Error::input(&options.root, error, "export it with `sealift root export --format cbor`"))?;
    let path = &options.path;
    if path.is_dir() {
        let layout = Layout::new(path);
        let files = Files::of_directory(&layout)?.ok_or_else(|| {
            Error::input(path, "no repository: it has no metadata/1.root", "name a repository directory")
        })?;
        files.verify(&trusted, &policy, time)?;
        check_trusted(&files, &trusted)?;
        let payloads = check_payloads(&files, &layout)?;
        return accepted(path, "repository", &files, payloads, options.no_clock);
    }
    let file = input::read(path, "file", MAX_IMAGE, "name a repository directory, a bundle or a role file")?;
    let damaged =
        |error| Error::input(path, error, "no bundle, install file or role file; `sealift inspect` says what it is");
    let (bundle, payloads) = install_file::split(&file).map_err(damaged)?;
    let single = Envelope::decode(&file).ok();
    if let Some(envelope) = single {
        return role(path, &file, &envelope, &trusted, &policy, time);
    }
    let mut files = Files::of_bundle(bundle, path)?;
    // A bundle for devices that have the newest root carries none.
    files.roots.insert(0, trusted.clone());
    files.verify(&trusted, &policy, time)?;
    let mut carried = 0;
    for payload in payloads {
        let digest = sha256(payload.map_err(damaged)?);
        if !targets_of(&files)?.iter().any(|(_, listed)| listed.contains(&digest)) {
            return Err(Error::Refused {
                code: Some(sealift_verifier::Error::PayloadHash.code()),
                fault: format!("{}: the payload {digest} is listed by no target", path.display()),
                remedy: "export it again with `sealift bundle export --with-payload`".into(),
            });
        }
        carried += 1;
    }
    accepted(path, if carried > 0 { "install file" } else { "update bundle" }, &files, carried, options.no_clock)
}

/// The repository's own copy of the trusted root is that root: a device that trusts it never asks for it, others do.
fn check_trusted(files: &Files, trusted: &[u8]) -> Result<()> {
    let version = |file| Some(Root::decode(Envelope::decode(file).ok()?.payload).ok()?.header.version);
    let wanted = version(trusted);
    match files.roots.iter().find(|file| version(file) == wanted) {
        Some(copy) if copy != trusted => Err(refused(
            &format!("metadata/{}.root", wanted.unwrap_or_default()),
            sealift_verifier::Error::HashMismatch(Role::Root),
        )),
        _ => Ok(()),
    }
}

/// A standard TUF repository: all of it, by the same trust machine.
#[cfg(feature = "tuf-json")]
fn host(options: &Options, root: &[u8], policy: Policy, time: Time) -> Result<Report> {
    let inner = options.path.join("tuf");
    let dir = match options.path.is_file() {
        true => return host_role(options, root, policy, time),
        false if inner.join("metadata").is_dir() => inner,
        false => options.path.clone(),
    };
    if !dir.join("metadata").is_dir() {
        let remedy = "with a root in JSON, name the folder that holds `metadata` and `targets`";
        return Err(Error::input(&options.path, "no TUF repository: it has no folder `metadata`", remedy));
    }
    let report = crate::tuf::verify(&dir, root, policy, time)?;
    let freshness = if options.no_clock { "unknown" } else { "fresh" };
    let mut words = format!("{}: TUF repository verified, freshness {freshness}", dir.display());
    for role in &report.roles {
        words += &format!("\n  {:<24} version {:<4} expires {}", role.name, role.version, clock::date(role.expires));
    }
    words += &format!("\n  targets: {}", report.targets.len());
    if !report.unreachable.is_empty() {
        words += &format!("\n  listed by roles that may not speak for them: {}", report.unreachable.join(", "));
    }
    let facts = json!({
        "verified": true, "kind": "tuf repository", "freshness": freshness, "roles": report.roles,
        "targets": report.targets, "unreachable": report.unreachable,
    });
    Ok(Report::new(words, facts))
}

/// One role file in JSON: alone it proves little, so the repository that it lies in is verified, and has to name it.
#[cfg(feature = "tuf-json")]
fn host_role(options: &Options, root: &[u8], policy: Policy, time: Time) -> Result<Report> {
    let path = &options.path;
    let folder = path.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "metadata"));
    let (Some(dir), Some(name)) = (folder.and_then(Path::parent), path.file_name().and_then(|name| name.to_str()))
    else {
        return Err(Error::input(
            path,
            "a role in JSON is verified where it lies, in the folder `metadata` of its repository",
            "name the file there, or the repository",
        ));
    };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let report = crate::tuf::verify(dir, root, policy, time)?;
    let stem = name.strip_suffix(".json").unwrap_or(name);
    let (version, role) = match stem.split_once('.').map(|(version, role)| (version.parse::<u64>(), role)) {
        Some((Ok(version), role)) => (Some(version), role),
        _ => (None, stem),
    };
    let found = report.roles.iter().find(|found| found.name == role);
    // Every root up to the newest was counted on the way to it.
    let counts = found.is_some_and(|found| {
        version.is_none_or(|version| version == found.version || (role == "root" && version <= found.version))
    });
    if !counts {
        return Err(Error::refused(
            format!("{}: not part of what the repository's timestamp names", path.display()),
            "it is an older version, or a file that nobody refers to",
        ));
    }
    let words = format!("{}: {role} verified: the repository's timestamp names it", path.display());
    Ok(Report::new(words, json!({"verified": true, "kind": "tuf role file", "role": role, "version": version})))
}

#[cfg(not(feature = "tuf-json"))]
fn host(options: &Options, _: &[u8], _: Policy, _: Time) -> Result<Report> {
    let fault = format!("{} is in JSON, and this build has no host encoding", options.root.display());
    Err(Error::usage(fault, "build sealift with the feature `tuf-json`"))
}

/// Every target with the digests of its payloads, bill of materials and provenance.
fn targets_of(files: &Files) -> Result<Vec<(String, Vec<Digest>)>> {
    let mut found = Vec::new();
    for (name, _) in &files.delegated {
        let Some((_, targets)) = files.delegated(name)? else { continue };
        for target in targets.targets.iter() {
            found.push((format!("{} {}", target.product, target.version), digests(&target)));
        }
    }
    Ok(found)
}

fn digests(target: &Target<'_>) -> Vec<Digest> {
    let attached = attachments(target).into_iter().map(|it| it.digest);
    target.payloads.iter().map(|payload| payload.digest).chain(attached).collect()
}

/// Every listed payload is there and is what its name says.
fn check_payloads(files: &Files, layout: &Layout) -> Result<usize> {
    let mut wanted: Vec<Digest> = targets_of(files)?.into_iter().flat_map(|(_, digests)| digests).collect();
    wanted.sort();
    wanted.dedup();
    let progress = Progress::start("payloads", wanted.len() as u64);
    for digest in &wanted {
        stored(layout, digest)?;
        progress.step();
    }
    Ok(wanted.len())
}

fn accepted(path: &Path, kind: &str, files: &Files, payloads: usize, no_clock: bool) -> Result<Report> {
    let freshness = if no_clock { "unknown" } else { "fresh" };
    let targets: Vec<_> = targets_of(files)?.into_iter().map(|(name, _)| name).collect();
    let words = format!(
        "{}: {kind} verified, freshness {freshness}\n  releases: {}\n  payloads: {payloads}\n{}",
        path.display(),
        if targets.is_empty() { "none".into() } else { targets.join(", ") },
        state_words(files)?
    );
    let mut facts = state_facts(files)?;
    facts["verified"] = true.into();
    facts["kind"] = kind.into();
    facts["freshness"] = freshness.into();
    facts["payloads"] = payloads.into();
    Ok(Report::new(words, facts))
}

/// One role file by itself: its signatures are checked; whether it is the latest, only its repository can tell.
fn role(
    path: &Path,
    file: &[u8],
    envelope: &Envelope<'_>,
    trusted: &[u8],
    policy: &Policy,
    time: Time,
) -> Result<Report> {
    let place = path.display().to_string();
    let refuse = |error| refused(&place, error);
    let root_file = CoseFile::<Root<'_>>::new(trusted).map_err(|error| refused("the trusted root", error))?;
    let root: Verified<Root<'_>, Signers> =
        Verified::stored_root(&root_file, policy).map_err(|error| refused("the trusted root", error))?;
    let claimed = Role::peek(envelope.payload).map_err(|error| Error::input(path, error, ""))?;
    let mut limits = "";
    match claimed {
        Role::Root if file == trusted => limits = "it is the trusted root itself",
        Role::Root => {
            root.next_root(&CoseFile::<Root<'_>>::new(file).map_err(refuse)?, policy).map_err(refuse)?;
        }
        Role::Timestamp => {
            let file = CoseFile::<sealift_manifests::Timestamp<'_>>::new(file).map_err(refuse)?;
            root.timestamp(&file, None, None, time).map_err(refuse)?;
        }
        Role::Snapshot => {
            let file = CoseFile::<Snapshot<'_>>::new(file).map_err(refuse)?;
            signatures(&file, &root, Role::Snapshot).map_err(refuse)?;
            limits =
                "its signatures hold; only the timestamp of its repository can tell whether it is the one that counts";
        }
        Role::Targets => {
            let file = CoseFile::<Targets<'_>>::new(file).map_err(refuse)?;
            if let Some(name) = file.open().map_err(refuse)?.name {
                return Err(Error::usage(
                    format!("{place} is the targets file of `{name}`, whose keys the top-level targets name"),
                    "verify its repository directory or a bundle instead",
                ));
            }
            signatures(&file, &root, Role::Targets).map_err(refuse)?;
            limits =
                "its signatures hold; only the snapshot of its repository can tell whether it is the one that counts";
        }
    }
    let words = format!("{place}: {claimed} verified{}{limits}", if limits.is_empty() { "" } else { ": " });
    Ok(Report::new(words, json!({"verified": true, "kind": "role file", "role": claimed.name(), "limits": limits})))
}

fn signatures<'a, F>(file: &F, root: &Verified<Root<'a>, Signers>, role: Role) -> Result<(), sealift_verifier::Error>
where
    F: SignedFile<PublicKey>,
{
    count_signatures::<_, _, Signers>(file, &root.content().authority(role), role).map(drop)
}
