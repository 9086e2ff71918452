//! `sealift-server publish` and `releases`.

use std::path::PathBuf;

use clap::Args;

use super::cloud::CloudArgs;
use super::{Common, FAILED, Failure, output, policy};
use crate::control::Client;
use crate::engine::system_clock;
use crate::intake::chain::ListedTarget;
use crate::publish::{Options, Publication, Published, publish};
use crate::store::LocalStore;

/// Check a release with the verifier's own code and publish it, all or nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server publish --state ./state --release ./release
  sealift-server publish --state ./state --release ./release --dry-run
  sealift-server publish --bucket acme-fw --prefix prod/ --release ./release

The server may be running or not. The first publication pins the repository by its metadata/1.root.
Payloads and metadata are created under names that never change, and the timestamp is replaced last:
killed at any point, either the old release is current or the new one, and a second run finishes it.")]
pub(super) struct Publish {
    #[command(flatten)]
    store: StoreArgs,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// The release folder, as `sealift release create` writes it (metadata/ and payloads/).
    #[arg(long, value_name = "DIR")]
    release: PathBuf,
    /// Only check, and say what would be written.
    #[arg(long)]
    dry_run: bool,
    /// Accept a release signed with published example keys. For development only.
    #[arg(long)]
    development: bool,
}

/// Where to publish: a server's state directory, or a bucket.
#[derive(Debug, Args)]
#[group(id = "store", required = true, multiple = false, args = ["state", "bucket"])]
struct StoreArgs {
    /// The server's state directory.
    #[arg(long, env = "SEALIFT_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// An S3 bucket (builds with the cargo feature `aws`).
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    #[command(flatten)]
    cloud: CloudArgs,
}

/// Show what is published and can be rolled out.
#[derive(Debug, Args)]
pub(super) struct Releases {
    #[command(flatten)]
    pub(super) common: Common,
}

impl Publish {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if self.development {
            eprintln!("sealift-server: --development: example keys that everybody has are accepted");
        }
        let options = Options { policy: policy(self.development), now: (system_clock())(), dry_run: self.dry_run };
        let quiet = self.json || !std::io::IsTerminal::is_terminal(&std::io::stderr());
        let progress = |object: &Published| {
            if !quiet {
                let what = if object.new { "new" } else { "there already" };
                eprintln!("  {} ({} bytes, {what})", object.key, object.length);
            }
        };
        let publication = match (self.store.state, self.store.bucket) {
            (Some(state), _) => {
                let store = LocalStore::open(&state.join("artifacts")).map_err(|e| Failure::new(FAILED, e))?;
                publish(&self.release, &store, options, progress).await?
            }
            (None, bucket) => {
                let store = self.store.cloud.open(bucket.unwrap_or_default()).await?;
                publish(&self.release, &store, options, progress).await?
            }
        };
        if self.json {
            output::json(&publication);
        } else {
            show(&publication);
        }
        Ok(())
    }
}

fn show(publication: &Publication) {
    let new: Vec<_> = publication.objects.iter().filter(|object| object.new).collect();
    let bytes: u64 = new.iter().map(|object| object.length).sum();
    let verb = match (publication.dry_run, publication.changed) {
        (true, _) => "would publish",
        (false, true) => "published",
        (false, false) => "current already:",
    };
    output::line(&format!(
        "{verb} timestamp version {} of repository {} (good until {}); {} new objects, {bytes} bytes",
        publication.timestamp_version,
        publication.repository,
        output::time(publication.expires),
        new.len(),
    ));
    targets(&publication.targets);
}

fn targets(targets: &[ListedTarget]) {
    let rows: Vec<[String; 5]> = targets
        .iter()
        .map(|target| {
            let payloads: Vec<String> =
                target.payloads.iter().map(|payload| format!("{} {}", payload.codec, payload.length)).collect();
            [
                target.product.clone(),
                target.version.clone(),
                target.security_counter.to_string(),
                payloads.join(", "),
                target.digest.to_string(),
            ]
        })
        .collect();
    output::table(["PRODUCT", "VERSION", "COUNTER", "PAYLOADS (BYTES)", "TARGET"], &rows);
}

impl Releases {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let answer: serde_json::Value = Client::new(&self.common.state).get("/v1/releases").await?;
        if self.common.json {
            output::json(&answer);
            return Ok(());
        }
        let listed = answer.get("targets").cloned().unwrap_or_default();
        targets(&serde_json::from_value::<Vec<ListedTarget>>(listed).map_err(|e| Failure::new(FAILED, e))?);
        Ok(())
    }
}
