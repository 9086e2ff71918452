//! `sealift inspect`: any file we write, in words. Nothing is verified.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use sealift_manifests::bounds::MAX_IMAGE;
use sealift_manifests::report::{Report as DeviceReport, SignedReport};
use sealift_manifests::{
    DecodeError, Envelope, Header, List, Meta, PublicKey, Role, RoleKeys, Root, Snapshot, Targets, Timestamp,
    install_file, sha256,
};
use serde_json::{Value, json};

use super::Global;
use super::release::target_facts;
use crate::clock;
use crate::error::{Error, Result};
use crate::input;
use crate::output::{Report, bytes};

const EXAMPLES: &str = "\
Reads role files (root, timestamp, snapshot, targets), update bundles, install files, deltas, devices' reports, and the
JSON of the host encoding. What it shows is what the file says: `sealift verify` tells whether that is true.

Examples:
  sealift inspect repository/metadata/timestamp
  sealift inspect thermostat-1.1.0.bundle --json";

/// Options of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// The file
    file: PathBuf,
}

/// Says what the file is and what it says.
pub(super) fn run(_: &Global, options: Options) -> Result<Report> {
    let path = &options.file;
    let file = input::read(path, "file", MAX_IMAGE, "see `sealift inspect --help` for what can be read")?;
    match file.as_slice() {
        [b'S', b'L', b'D', ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => super::delta::inspect(path, &file),
        // Tag 18, COSE_Sign1; tag 98, COSE_Sign.
        [0xd2, ..] => report(path, &file),
        [0xd8, 98, ..] => roles(path, &file),
        [b'{', ..] => host(path, &file),
        _ => {
            Err(Error::input(path, "no file that sealift writes", "see `sealift inspect --help` for what can be read"))
        }
    }
}

fn malformed(path: &Path, what: &str) -> impl Fn(DecodeError) -> Error {
    let (path, what) = (path.to_path_buf(), what.to_owned());
    move |error| Error::input(&path, format!("{what}: {error}"), "the file is damaged or of another version")
}

/// One role file, a bundle or an install file.
fn roles(path: &Path, file: &[u8]) -> Result<Report> {
    let (bundle, payloads) = install_file::split(file).map_err(malformed(path, "bundle"))?;
    let mut text = String::new();
    let mut facts = Vec::new();
    for (index, part) in sealift_manifests::bundle::files(bundle).enumerate() {
        let what = format!("role file {}", index + 1);
        let part = part.map_err(malformed(path, &what))?;
        let envelope = Envelope::decode(part).map_err(malformed(path, &what))?;
        let (words, mut fact) = role(&envelope).map_err(malformed(path, &what))?;
        let signers: Vec<_> = envelope.signatures.iter().map(|signature| signature.key_id.to_string()).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{words}  said to be signed by {}", signers.join(", "));
        fact["signatures"] = json!(signers);
        fact["length"] = part.len().into();
        fact["sha256"] = sha256(part).to_string().into();
        facts.push(fact);
    }
    let mut listed = Vec::new();
    for payload in payloads {
        let payload = payload.map_err(malformed(path, "payload"))?;
        let digest = sha256(payload).to_string();
        let _ = writeln!(text, "payload of {}, sha256 {digest}", bytes(payload.len() as u64));
        listed.push(json!({"length": payload.len(), "sha256": digest}));
    }
    let kind = match (facts.len(), listed.len()) {
        (1, 0) => "role file",
        (_, 0) => "update bundle",
        _ => "install file",
    };
    let text = format!("{}: {kind}, {}, not verified\n{text}", path.display(), bytes(file.len() as u64));
    let json = json!({"kind": kind, "length": file.len(), "files": facts, "payloads": listed});
    Ok(Report::new(text, json))
}

fn header(role: &str, header: &Header<'_>) -> (String, Value) {
    // The clock only turns a date into words.
    let left = clock::system_time().map(|now| format!(", {}", clock::expiry(header.expires, now))).unwrap_or_default();
    let words = format!(
        "{role} version {} of repository {}\n  expires {}{left}\n",
        header.version,
        header.repository,
        clock::date(header.expires)
    );
    let extensions = |kind: &sealift_manifests::Extensions<'_>| {
        kind.iter().map(|(number, value)| json!([number, hex::encode(value)])).collect::<Vec<_>>()
    };
    let facts = json!({
        "role": role, "version": header.version, "repository_id": header.repository.to_string(),
        "expires": clock::date(header.expires), "critical": extensions(&header.critical),
        "extensions": extensions(&header.extensions),
    });
    (words, facts)
}

fn keys(role: &RoleKeys<'_>, keys: List<'_, PublicKey>) -> (String, Value) {
    let ids: Vec<_> = role.resolve(keys).map(|key| key.id().to_string()).collect();
    (format!("{} of {}", role.threshold, ids.join(", ")), json!({"threshold": role.threshold, "key_ids": ids}))
}

fn pin(meta: &Meta) -> Value {
    json!({"version": meta.version, "length": meta.length, "sha256": meta.digest.to_string()})
}

fn role(envelope: &Envelope<'_>) -> Result<(String, Value), DecodeError> {
    let payload = envelope.payload;
    Ok(match Role::peek(payload)? {
        Role::Root => {
            let root = Root::decode(payload)?;
            let (mut words, mut facts) = header("root", &root.header);
            for role in Role::ALL {
                let (signers, fact) = keys(root.role(role), root.keys);
                let _ = writeln!(words, "  {role}: {signers}");
                facts["roles"][role.name()] = fact;
            }
            let _ = writeln!(words, "  security counters up to {}", root.counter_ceiling);
            facts["counter_ceiling"] = root.counter_ceiling.into();
            facts["keys"] = root.keys.iter().map(|key| hex::encode(key.cose_key())).collect::<Vec<_>>().into();
            (words, facts)
        }
        Role::Timestamp => {
            let timestamp = Timestamp::decode(payload)?;
            let (mut words, mut facts) = header("timestamp", &timestamp.header);
            let meta = &timestamp.snapshot;
            let issued = clock::date(timestamp.issued);
            let _ = writeln!(words, "  issued {issued}\n  snapshot version {}, sha256 {}", meta.version, meta.digest);
            facts["issued"] = issued.into();
            facts["snapshot"] = pin(meta);
            (words, facts)
        }
        Role::Snapshot => {
            let snapshot = Snapshot::decode(payload)?;
            let (mut words, mut facts) = header("snapshot", &snapshot.header);
            let _ =
                writeln!(words, "  targets version {}, sha256 {}", snapshot.targets.version, snapshot.targets.digest);
            facts["targets"] = pin(&snapshot.targets);
            facts["delegated"] = json!({});
            for entry in snapshot.delegated.iter() {
                let _ =
                    writeln!(words, "  {} version {}, sha256 {}", entry.name, entry.meta.version, entry.meta.digest);
                facts["delegated"][entry.name] = pin(&entry.meta);
            }
            (words, facts)
        }
        Role::Targets => targets(&Targets::decode(payload)?),
    })
}

fn targets(targets: &Targets<'_>) -> (String, Value) {
    let title = targets.name.map_or("targets".to_owned(), |name| format!("targets of {name}"));
    let (mut words, mut facts) = header(&title, &targets.header);
    let name = targets.name.unwrap_or("targets");
    facts["role"] = "targets".into();
    facts["name"] = targets.name.into();
    for delegation in targets.delegations.iter() {
        let (signers, mut fact) = keys(&delegation.keys, targets.keys);
        let products: Vec<_> = delegation.products.iter().collect();
        let ceiling = delegation.counter_ceiling;
        let _ =
            writeln!(words, "  {}: {} (counters up to {ceiling}) by {signers}", delegation.name, products.join(", "));
        fact["products"] = products.into();
        fact["counter_ceiling"] = ceiling.into();
        facts["delegations"][delegation.name] = fact;
    }
    let mut listed = Vec::new();
    for target in targets.targets.iter() {
        let fact = target_facts(&target, name);
        let hardware: Vec<_> = target.hardware.iter().collect();
        let _ = writeln!(
            words,
            "  {} {} ({}) for {}: security counter {}, image of {}, sha256 {}",
            target.product,
            target.version,
            target.component,
            hardware.join(", "),
            target.security_counter,
            bytes(target.image.length.into()),
            target.image.digest
        );
        for payload in fact["payloads"].as_array().into_iter().flatten() {
            let from = payload["base"]["sha256"].as_str().map(|base| format!(" from {base}")).unwrap_or_default();
            let _ = writeln!(
                words,
                "    {}{from}: {} bytes, sha256 {}",
                payload["codec"].as_str().unwrap_or_default(),
                payload["length"],
                payload["sha256"].as_str().unwrap_or_default()
            );
        }
        listed.push(fact);
    }
    facts["targets"] = listed.into();
    (words, facts)
}

/// A device's report on what it runs.
fn report(path: &Path, file: &[u8]) -> Result<Report> {
    let signed = SignedReport::decode(file).map_err(malformed(path, "report"))?;
    let report = DeviceReport::decode(signed.payload).map_err(malformed(path, "report"))?;
    let facts = json!({
        "kind": "report", "repository_id": report.repository.to_string(), "thing": report.thing, "job": report.job,
        "execution": report.execution, "boot_count": report.boot_count, "image_sha256": report.image.to_string(),
        "security_counter": report.security_counter, "signatures": [signed.key_id.to_string()],
    });
    let words = format!(
        "{}: report of a device, not verified\n  {} runs image {}, security counter {}, boot {}\n  for execution {} of job {} \
         in repository {}\n  said to be signed by {}",
        path.display(),
        report.thing,
        report.image,
        report.security_counter,
        report.boot_count,
        report.execution,
        report.job,
        report.repository,
        signed.key_id
    );
    Ok(Report::new(words, facts))
}

/// The host encoding is JSON already: it is only laid out.
fn host(path: &Path, file: &[u8]) -> Result<Report> {
    let content: Value = serde_json::from_slice(file)
        .map_err(|error| Error::input(path, format!("JSON: {error}"), "the file is damaged"))?;
    let Some(role) = content["signed"]["_type"].as_str() else {
        return Err(Error::input(path, "JSON, but no TUF role", "see `sealift inspect --help` for what can be read"));
    };
    let words = format!(
        "{}: {role} version {} of the host encoding (TUF {}), expires {}, not verified\n{content:#}",
        path.display(),
        content["signed"]["version"],
        content["signed"]["spec_version"].as_str().unwrap_or("?"),
        content["signed"]["expires"].as_str().unwrap_or("?"),
    );
    Ok(Report::new(words, json!({"kind": "host role file", "role": role, "content": content})))
}
