//! `sealift-server publish` and `releases`.

use std::path::PathBuf;

use clap::Args;

use super::venue::Venue;
use super::{Common, FAILED, Failure, output, policy};
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
    pub(super) venue: Venue,
    /// The release folder, as `sealift release create` writes it (metadata/ and payloads/).
    #[arg(long, value_name = "DIR")]
    release: PathBuf,
    /// Only check, and say what would be written.
    #[arg(long)]
    dry_run: bool,
}

/// Show what is published and can be rolled out.
#[derive(Debug, Args)]
pub(super) struct Releases {
    #[command(flatten)]
    pub(super) common: Common,
}

impl Publish {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Publish { venue, release, dry_run } = self;
        venue.not_elsewhere()?;
        let json = venue.json;
        if venue.development {
            eprintln!("sealift-server: --development: example keys that everybody has are accepted");
        }
        let (policy, now) = (policy(venue.development), (system_clock())());
        let quiet = json || !std::io::IsTerminal::is_terminal(&std::io::stderr());
        let progress = |object: &Published| {
            if !quiet {
                let what = if object.new { "new" } else { "there already" };
                eprintln!("  {} ({} bytes, {what}): {}", object.key, object.length, object.why);
            }
        };
        let publication = match (venue.state, venue.bucket) {
            (Some(state), _) => {
                let store = LocalStore::open(&state.join("artifacts")).map_err(|e| Failure::new(FAILED, e))?;
                let options = Options { policy, now, dry_run, actor: super::local_actor() };
                publish(&release, &store, options, progress).await?
            }
            (None, bucket) => {
                let cloud = venue.cloud.open(bucket.unwrap_or_default()).await?;
                #[cfg(not(feature = "aws"))]
                match cloud {}
                #[cfg(feature = "aws")]
                {
                    let options = Options { policy, now, dry_run, actor: cloud.actor.clone() };
                    publish(&release, &cloud.store, options, progress).await?
                }
            }
        };
        if json {
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
        let answer: serde_json::Value = self.common.client()?.get("/v1/releases").await?;
        if self.common.json {
            output::json(&answer);
            return Ok(());
        }
        let listed = answer.get("targets").cloned().unwrap_or_default();
        targets(&serde_json::from_value::<Vec<ListedTarget>>(listed).map_err(|e| Failure::new(FAILED, e))?);
        Ok(())
    }
}
