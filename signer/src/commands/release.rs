//! `sealift release create|list|withdraw`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use sealift_manifests::{Fault, Header, Role, Target, Version, sha256};
use serde_json::{Value, json};

use super::Global;
use crate::clock;
use crate::error::{Error, Result};
use crate::image::Format;
use crate::output::{Report, bytes};
use crate::release::{self, Created, Request, codec_name};
use crate::repository::{Files, Layout};

/// Subcommands of `release`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Sign an image as a release, with its payloads, and update the repository
    Create(Create),
    /// Show the releases that are listed, and when what is signed expires
    List,
    /// Bring back a former image under a new version, with its security counter: a rollback that goes forward
    #[command(after_help = REISSUE_EXAMPLES)]
    Reissue(Reissue),
    /// Take a release off the list: devices refuse jobs for it from then on
    #[command(after_help = "Example:\n  sealift release withdraw --product thermostat --version 1.0.0")]
    Withdraw {
        /// The product
        #[arg(long, value_name = "ID")]
        product: String,
        /// The release
        #[arg(long, value_name = "X.Y.Z", value_parser = version)]
        version: Version,
    },
}

const EXAMPLES: &str = "\
Examples:
  sealift release create --product thermostat --version 1.1.0 --security-counter 2 --image build/firmware.elf
  With deltas from a release of this repository and from an image of the field, for one board only:
    sealift release create --product thermostat --version 1.1.1 --security-counter 2 --image build/firmware.hex \\
      --from 1.0.0 --from archive/1.0.3.bin --hardware board-b

In a CI that has its product's key and no other (whoever has the online keys runs `sealift renew --snapshot`):
    sealift release create --product thermostat --version 1.2.0 --security-counter 2 --image build/firmware.elf --stage

Versions and expiries of the metadata are set by sealift.toml, never typed. With SOURCE_DATE_EPOCH set, the same input
and the same repository give the same bytes.";

const REISSUE_EXAMPLES: &str = "\
Examples:
  1.1.0 is bad, and 1.0.0 was good:
    sealift release reissue --version 1.0.0
  As a version of one's choice:
    sealift release reissue --product thermostat --version 1.0.0 --new-version 1.2.0

Then publish and roll out as ever. It is refused when a release after the former one raised the security counter: devices
would refuse it.";

/// Options of `release reissue`.
#[derive(Debug, Args)]
pub(super) struct Reissue {
    /// The product [default: the project's only one]
    #[arg(long, value_name = "ID")]
    product: Option<String>,
    /// The former release whose image is to come back
    #[arg(long, value_name = "X.Y.Z", value_parser = version)]
    version: Version,
    /// The version it gets [default: the highest there ever was, and one patch more]
    #[arg(long, value_name = "X.Y.Z", value_parser = version)]
    new_version: Option<Version>,
    /// The component, where several had that version
    #[arg(long, value_name = "ID")]
    component: Option<String>,
    /// Make a delta from this image: a file, or a version [default: from every listed release]
    #[arg(long, value_name = "FILE|X.Y.Z", conflicts_with = "no_deltas")]
    from: Vec<String>,
    /// Make no deltas
    #[arg(long)]
    no_deltas: bool,
    /// Sign with the product's keys alone; the next `sealift renew --snapshot`, elsewhere, publishes it
    #[arg(long)]
    stage: bool,
}

/// Options of `release create`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Create {
    /// The product
    #[arg(long, value_name = "ID")]
    product: String,
    /// The release's version, for people and for bridge releases
    #[arg(long, value_name = "X.Y.Z", value_parser = version)]
    version: Version,
    /// The security counter: raise it when devices must never go back behind this release
    #[arg(long, value_name = "N")]
    security_counter: u64,
    /// The firmware: ELF, Intel HEX or raw binary
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// How to read the firmware
    #[arg(long, value_enum, default_value_t)]
    image_format: Format,
    /// The component it replaces [default: the product's, from sealift.toml]
    #[arg(long, value_name = "ID")]
    component: Option<String>,
    /// Hardware it is for [default: all of the product's]
    #[arg(long, value_name = "ID")]
    hardware: Vec<String>,
    /// Make a delta from this former image: a file, or a version [default: from every listed release]
    #[arg(long, value_name = "FILE|X.Y.Z", conflicts_with = "no_deltas")]
    from: Vec<String>,
    /// Make no deltas
    #[arg(long)]
    no_deltas: bool,
    /// Sign with the product's keys alone; the next `sealift renew --snapshot`, elsewhere, publishes it
    #[arg(long)]
    stage: bool,
    /// What a device must run before it may take this release
    #[arg(long, value_name = "X.Y.Z", value_parser = version)]
    minimum_version: Option<Version>,
    /// Bind a bill of materials (CycloneDX or SPDX, JSON)
    #[arg(long, value_name = "FILE")]
    sbom: Option<PathBuf>,
    /// Bind the build's SLSA provenance (in-toto statement, bare or in a DSSE envelope); it has to name this image's SHA-256
    #[arg(long, value_name = "FILE")]
    provenance: Option<PathBuf>,
}

/// The bases of deltas that the options ask for; `None` is the default.
fn bases(from: Vec<String>, no_deltas: bool) -> Option<Vec<String>> {
    match (no_deltas, from.is_empty()) {
        (true, _) => Some(Vec::new()),
        (false, true) => None,
        (false, false) => Some(from),
    }
}

/// A version, as clap wants its parsers to fail.
pub(super) fn version(text: &str) -> Result<Version, String> {
    text.parse().map_err(|_: Fault| "a version is three numbers: 1.2.3".into())
}

/// Runs one of them.
pub(super) fn run(global: &Global, command: Command) -> Result<Report> {
    let project = global.load()?;
    match command {
        Command::Create(options) => {
            let from = bases(options.from, options.no_deltas);
            let request = Request {
                product: options.product,
                version: options.version,
                security_counter: options.security_counter,
                image: options.image,
                format: options.image_format,
                component: options.component,
                hardware: options.hardware,
                from,
                minimum_version: options.minimum_version,
                sbom: options.sbom,
                provenance: options.provenance,
                stage: options.stage,
                development: global.development,
            };
            let now = clock::signing_time()?;
            let created = release::create(&project, &request, now)?;
            let named = (request.product.as_str(), request.version, request.security_counter);
            created_report(named, None, &created)
        }
        Command::Reissue(options) => {
            let wanted = release::Reissue {
                product: options.product,
                version: options.version,
                component: options.component,
                new_version: options.new_version,
                from: bases(options.from, options.no_deltas),
                stage: options.stage,
                development: global.development,
            };
            let now = clock::signing_time()?;
            let (product, version, counter, created) = release::reissue(&project, &wanted, now)?;
            created_report((&product, version, counter), Some(wanted.version), &created)
        }
        Command::List => {
            let layout = Layout::new(&project.directory);
            let files = release::open(&project, &layout, global.development)?;
            let waiting = release::waiting(&layout, &files)?;
            let mut title = "listed".to_owned();
            for (role, product, version) in &waiting {
                let _ =
                    write!(title, "\n  {product} {version}: staged by `{role}`, waits for `sealift renew --snapshot`");
            }
            let mut report = state_report(&files, &title)?;
            if let Report::Facts { json, .. } = &mut report {
                let facts = waiting.iter().map(|(role, product, version)| {
                    json!({"delegation": role, "product": product, "version": version.to_string()})
                });
                json["staged"] = facts.collect::<Vec<_>>().into();
            }
            Ok(report)
        }
        Command::Withdraw { product, version } => {
            let now = clock::signing_time()?;
            let files = release::withdraw(&project, &product, version, global.development, now)?;
            state_report(&files, &format!("{product} {version} withdrawn"))
        }
    }
}

/// What became of a release: its product, version and security counter, and the release whose image it brings back.
fn created_report(named: (&str, Version, u64), reissues: Option<Version>, created: &Created) -> Result<Report> {
    let (product, version, security_counter) = named;
    let waits = if created.staged { ", staged: `sealift renew --snapshot` publishes it" } else { "" };
    let again = reissues.map(|former| format!(" (the image of {former})")).unwrap_or_default();
    let mut text =
        format!("{product} {version}{again}: signed by `{}`, target {}{waits}\n", created.delegation, created.target);
    let size = created.image.bytes.len() as u64;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  image    {}, sha256 {}", bytes(size), created.image_digest);
    if let Some(address) = created.image.load_address {
        let _ = writeln!(text, "  address  {address:#010x}");
    }
    for made in &created.payloads {
        let length = u64::from(made.payload.length);
        let from = made.from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
        let share = 100.0 * length as f64 / size as f64;
        let _ = writeln!(text, "  payload  {}{from}: {} ({share:.1} %)", codec_name(made.payload.codec), bytes(length));
    }
    for version in &created.dropped {
        let _ = writeln!(text, "  {version} is no longer listed (keep-releases)");
    }
    let mut facts = state_facts(&created.files)?;
    text.push_str(&state_words(&created.files)?);
    facts["release"] = json!({
        "product": product, "version": version.to_string(), "reissues": reissues.map(|former| former.to_string()),
        "security_counter": security_counter, "target": created.target.to_string(),
        "delegation": created.delegation, "staged": created.staged,
        "image": {
            "length": size, "sha256": created.image_digest.to_string(), "format": created.image.format,
            "load_address": created.image.load_address,
        },
        "payloads": created.payloads.iter().map(release::Made::facts).collect::<Vec<_>>(),
        "dropped": created.dropped.iter().map(Version::to_string).collect::<Vec<_>>(),
    });
    Ok(Report::new(text, facts))
}

/// What a repository lists and when it expires, after `title`.
pub(super) fn state_report(files: &Files, title: &str) -> Result<Report> {
    let mut text = format!("{title}\n");
    for (name, _) in &files.delegated {
        let Some((_, targets)) = files.delegated(name)? else { continue };
        for target in targets.targets.iter() {
            let _ = writeln!(
                text,
                "  {} {} {}  counter {}  image {}  payloads {}  target {}",
                target.product,
                target.version,
                target.hardware.iter().collect::<Vec<_>>().join(","),
                target.security_counter,
                bytes(target.image.length.into()),
                payload_words(&target),
                sha256(&target.encoded()),
            );
        }
    }
    text.push_str(&state_words(files)?);
    Ok(Report::new(text, state_facts(files)?))
}

fn payload_words(target: &Target<'_>) -> String {
    let names = target.payloads.iter().map(|it| format!("{} {}", codec_name(it.codec), bytes(it.length.into())));
    names.collect::<Vec<_>>().join(", ")
}

/// Every role of a state: its name, and its header.
fn headers(files: &Files) -> Result<Vec<(String, Header<'_>)>> {
    let mut headers = vec![
        (Role::Root.to_string(), files.root()?.header),
        (Role::Timestamp.to_string(), files.timestamp()?.header),
        (Role::Snapshot.to_string(), files.snapshot()?.header),
        (Role::Targets.to_string(), files.targets()?.header),
    ];
    for (name, _) in &files.delegated {
        if let Some((_, targets)) = files.delegated(name)? {
            headers.push((format!("targets of {name}"), targets.header));
        }
    }
    Ok(headers)
}

pub(super) fn state_words(files: &Files) -> Result<String> {
    let now = clock::system_time()?;
    let mut text = String::new();
    for (name, header) in headers(files)? {
        let _ = writeln!(text, "  {name:<24} version {:<4} {}", header.version, clock::expiry(header.expires, now));
        if header.expires <= now {
            eprintln!(
                "warning: {name} is expired by this machine's clock ({}): devices that know the time refuse it",
                clock::date(header.expires)
            );
        }
    }
    Ok(text)
}

pub(super) fn state_facts(files: &Files) -> Result<Value> {
    let mut roles = serde_json::Map::new();
    for (name, header) in headers(files)? {
        let name = name.strip_prefix("targets of ").map_or(name.clone(), str::to_owned);
        let facts = json!({"version": header.version, "expires": clock::date(header.expires)});
        roles.insert(name, facts);
    }
    let mut releases = Vec::new();
    for (delegation, _) in &files.delegated {
        let Some((_, targets)) = files.delegated(delegation)? else { continue };
        releases.extend(targets.targets.iter().map(|target| target_facts(&target, delegation)));
    }
    let digest = files.root_digest().ok_or_else(|| Error::failed("a state without a root", ""))?;
    Ok(json!({"roles": roles, "releases": releases, "root_sha256": digest.to_string()}))
}

/// Everything a target says.
pub(super) fn target_facts(target: &Target<'_>, delegation: &str) -> Value {
    let attached = |ending| {
        let found = release::attachments(target).into_iter().find(|it| it.ending == ending);
        found.map(|it| it.digest.to_string())
    };
    json!({
        "product": target.product,
        "component": target.component,
        "version": target.version.to_string(),
        "hardware": target.hardware.iter().collect::<Vec<_>>(),
        "security_counter": target.security_counter,
        "minimum_version": target.minimum_version.map(|version| version.to_string()),
        "delegation": delegation,
        "target": sha256(&target.encoded()).to_string(),
        "image": {"length": target.image.length, "sha256": target.image.digest.to_string()},
        "sbom_sha256": target.sbom.map(|digest| digest.to_string()),
        "provenance_sha256": attached("provenance.json"),
        "payloads": target.payloads.iter().map(|payload| json!({
            "codec": codec_name(payload.codec), "length": payload.length, "sha256": payload.digest.to_string(),
            "base": payload.base.map(|base| json!({"length": base.length, "sha256": base.digest.to_string()})),
            "decoder_ram": payload.decoder_ram, "window_log": payload.window_log,
        })).collect::<Vec<_>>(),
    })
}
