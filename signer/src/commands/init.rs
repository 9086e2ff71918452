//! `sealift init`.

use std::path::{Path, PathBuf};

use clap::Args;
use sealift_manifests::{RepositoryId, sha256};
use serde_json::json;

use super::Global;
use crate::ceremony::Ceremony;
use crate::clock;
use crate::error::{Error, Result};
use crate::keys::{KeyUri, generate, open_existing};
use crate::output::Report;
use crate::project::{Custody, DecoderRam, Draft, DraftKey, Project};
use crate::repository::{Files, Layout, write_output};

const EXAMPLES: &str = "\
Examples:
  Try things out, with new keys in one folder:
    sealift init --quick-start --product thermostat
  For real, with keys that were made where they belong (`sealift keys generate`):
    sealift init --product thermostat --hardware board-a --hardware board-b \\
      --root-key file:/media/stick-1/root.pem --root-key file:/media/stick-2/root.pem --root-threshold 2 \\
      --targets-key file:/media/stick-1/targets.pem --snapshot-key env:ONLINE_KEY --timestamp-key env:ONLINE_KEY \\
      --release-key env:RELEASE_KEY
  With officers' keys that never come to this machine: their public halves, and a sign-request for them:
    sealift init --product thermostat --root-key offline:alice:a3010120... --root-key offline:bob:a3010120... \
      --root-threshold 2 --targets-key offline:alice:a3010120... --snapshot-key env:ONLINE_KEY \
      --timestamp-key env:ONLINE_KEY --release-key env:RELEASE_KEY
  After editing a sealift.toml that has no repository yet:
    sealift init";

/// Options of `init`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Make all keys now, in one folder. For development: whoever reads that folder can sign anything
    #[arg(long, conflicts_with_all = ["root_key", "targets_key", "snapshot_key", "timestamp_key", "release_key"])]
    quick_start: bool,
    /// The folder for the keys of a quick start, beside the project file
    #[arg(long, value_name = "FOLDER", default_value = "keys", requires = "quick_start")]
    keys: PathBuf,
    /// A product; repeat it for several. Each gets a delegation of its name
    #[arg(long = "product", value_name = "ID")]
    products: Vec<String>,
    /// Hardware that the products exist on [default: one id, the product's]
    #[arg(long, value_name = "ID")]
    hardware: Vec<String>,
    /// RAM that devices have for decoding payloads: 16KiB, 24KiB, 64KiB or host
    #[arg(long, value_name = "CLASS", default_value = "24KiB")]
    decoder_ram: DecoderRam,
    /// The highest security counter that any release may ever carry under this root
    #[arg(long, value_name = "N", default_value_t = 1000)]
    counter_ceiling: u64,
    /// Officers' keys for root (custody: offline)
    #[arg(long, value_name = "URI")]
    root_key: Vec<KeyUri>,
    /// How many root keys must sign
    #[arg(long, value_name = "N", default_value_t = 1)]
    root_threshold: u64,
    /// Officers' keys for the top-level targets (custody: offline)
    #[arg(long, value_name = "URI")]
    targets_key: Vec<KeyUri>,
    /// How many targets keys must sign
    #[arg(long, value_name = "N", default_value_t = 1)]
    targets_threshold: u64,
    /// Key for the snapshot (custody: cloud)
    #[arg(long, value_name = "URI")]
    snapshot_key: Vec<KeyUri>,
    /// Key for the timestamp (custody: cloud)
    #[arg(long, value_name = "URI")]
    timestamp_key: Vec<KeyUri>,
    /// The build's key, which signs the products' releases (custody: ci)
    #[arg(long, value_name = "URI")]
    release_key: Vec<KeyUri>,
    /// Only write sealift.toml, to be edited before `sealift init` signs the first root
    #[arg(long)]
    no_sign: bool,
}

impl Options {
    /// The keys given, by role and with the custody such keys have. `sealift.toml` can say otherwise.
    fn given(&self) -> [(&'static str, Custody, &[KeyUri]); 5] {
        [
            ("root", Custody::Offline, &self.root_key),
            ("targets", Custody::Offline, &self.targets_key),
            ("snapshot", Custody::Cloud, &self.snapshot_key),
            ("timestamp", Custody::Cloud, &self.timestamp_key),
            ("product", Custody::Ci, &self.release_key),
        ]
    }

    fn describes_a_project(&self) -> bool {
        self.quick_start || !self.products.is_empty() || self.given().iter().any(|(_, _, uris)| !uris.is_empty())
    }
}

/// Writes the project file where it is missing, then signs the first state.
pub(super) fn run(global: &Global, options: Options) -> Result<Report> {
    let file = &global.project;
    let exists = file.symlink_metadata().is_ok();
    if exists && options.describes_a_project() {
        return Err(Error::refused(
            format!("{} exists", file.display()),
            "run `sealift init` without options to use it as it is, or choose another folder",
        ));
    }
    if !exists {
        let draft = draft(global, &options)?;
        // It has to hold to its own rules before it is written.
        let text = draft.to_toml();
        Project::parse(file, &text, global.development)?;
        write_output(file, text.as_bytes(), false)?;
    }
    let project = global.load()?;
    let layout = Layout::new(&project.directory);
    if options.no_sign {
        let text = format!("{}: written; edit it, then run `sealift init` to sign the first root", file.display());
        return Ok(Report::new(text, json!({"project": file})));
    }
    if layout.timestamp().exists() {
        return Err(Error::refused(
            format!("{} holds a repository already", project.directory.display()),
            "change keys and products with `sealift root apply`; make releases with `sealift release create`",
        ));
    }
    let now = clock::signing_time()?;
    let mut ceremony = Ceremony::open(project, global.development, now)?;
    let files = match ceremony.apply_here(false)? {
        Some(applied) => applied.files,
        None => return Err(Error::failed("there is nothing to sign in a new project", "please report this")),
    };
    let project = &ceremony.project;
    report(project, &files, now)
}

fn report(project: &Project, files: &Files, now: u64) -> Result<Report> {
    let root = files.root()?;
    let digest = files.roots.first().map(|root| sha256(root).to_string());
    let json = json!({
        "project": project.file, "repository": project.directory, "repository_id": project.id.to_string(),
        "root": {"version": root.header.version, "sha256": digest, "expires": clock::date(root.header.expires)},
        "products": project.products.keys().collect::<Vec<_>>(), "development": project.development,
    });
    let text = format!(
        "{}: project file\n{}: repository {}, root 1 ({})\n\nNext:\n  sealift root export --format cbor --out root.cbor   \
         # what devices are provisioned with\n  sealift release create --product {} --version 1.0.0 --security-counter 1 \
         --image FILE",
        project.file.display(),
        project.directory.display(),
        project.id,
        clock::expiry(root.header.expires, now),
        project.products.keys().next().map_or("PRODUCT", String::as_str),
    );
    Ok(Report::new(text, json))
}

fn draft(global: &Global, options: &Options) -> Result<Draft> {
    if options.products.is_empty() {
        return Err(Error::usage(
            format!("there is no {} yet, and no product was named", global.project.display()),
            "try `sealift init --quick-start --product thermostat`, or see `sealift init --help`",
        ));
    }
    let folder = global.project.parent().unwrap_or(Path::new(""));
    let mut keys = Vec::new();
    if options.quick_start {
        for (role, custody, _) in options.given() {
            let name = if role == "product" { "release-1".to_owned() } else { format!("{role}-1") };
            let path = options.keys.join(format!("{name}.pem"));
            let public = generate(&folder.join(&path), false)?;
            keys.push(DraftKey { name, roles: vec![role], uri: KeyUri::File(path), custody, public });
        }
    } else {
        for (role, custody, uris) in options.given() {
            if uris.is_empty() {
                let option = if role == "product" { "release" } else { role };
                return Err(Error::usage(
                    format!("no key was named for {role}"),
                    format!("add --{option}-key URI, or let --quick-start make keys to try things out with"),
                ));
            }
            for (index, uri) in uris.iter().enumerate() {
                let public = match uri {
                    KeyUri::Offline(key) => key.public.ok_or_else(|| {
                        Error::usage(
                            format!("{uri}: an offline key needs its public half"),
                            "write offline:NAME:COSE_KEY; its officer finds that with `sealift keys show URI`",
                        )
                    })?,
                    _ => open_existing(uri, folder, global.development)?.public_key(),
                };
                // One key may serve several roles: it is listed once.
                if let Some(known) = keys.iter_mut().find(|known: &&mut DraftKey| known.public == public) {
                    known.roles.push(role);
                    continue;
                }
                let stem = if role == "product" { "release" } else { role };
                let name = format!("{stem}-{}", index + 1);
                keys.push(DraftKey { name, roles: vec![role], uri: uri.clone(), custody, public });
            }
        }
    }
    let mut id = RepositoryId([0; 16]);
    getrandom::fill(&mut id.0)
        .map_err(|error| Error::failed(format!("the system gives no randomness: {error}"), ""))?;
    Ok(Draft {
        development: options.quick_start,
        id,
        keys,
        root_threshold: options.root_threshold,
        targets_threshold: options.targets_threshold,
        products: options.products.clone(),
        hardware: options.hardware.clone(),
        decoder_ram: options.decoder_ram,
        counter_ceiling: options.counter_ceiling,
    })
}
