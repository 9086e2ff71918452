//! `sealift-server audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::venue::Venue;
use super::{BAD_FILE, FAILED, Failure, output};
use crate::audit::{Chain, Entry, Head, Log};
use crate::store::{ArtifactStore, LocalStore};

/// Show, check and export the log of who did what.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Show the log: who, what, when, which release, which targets.
    Show(Show),
    /// Check that nothing in the log was altered, removed or put in between.
    Verify(Verify),
    /// Print the log as it is stored, one entry a line.
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    venue: Venue,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealift-server audit verify --state ./state
  sealift-server audit verify --bucket acme-fw --prefix prod/ --head 17:9f86d081...
  sealift-server audit verify --file audit.jsonl

Prints the head, NUMBER:SHA256. Keep it elsewhere (a ticket, another account): given back with --head, it shows that the
log wasn't cut off or written anew since. Exit 3 when the log isn't whole.")]
pub(super) struct Verify {
    /// An exported log, in place of the one in a store.
    #[arg(long, value_name = "FILE", group = "venue")]
    file: Option<PathBuf>,
    /// A head that was kept: the log must still contain it.
    #[arg(long, value_name = "NUMBER:SHA256")]
    head: Option<Head>,
    #[command(flatten)]
    venue: Venue,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sealift-server audit export --bucket acme-fw --prefix prod/ > audit.jsonl")]
pub(super) struct Export {
    #[command(flatten)]
    venue: Venue,
}

impl Audit {
    /// Whether answers are wanted in JSON.
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Show(Show { venue }) | Self::Verify(Verify { venue, .. }) | Self::Export(Export { venue }) => {
                venue.json
            }
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Show(Show { venue }) => {
                let json = venue.json;
                let mut rows: Vec<[String; 5]> = Vec::new();
                read(venue, None, |_, entry| if json { output::json(entry) } else { rows.push(row(entry)) }).await?;
                if !json {
                    output::table(["ENTRY", "WHEN", "BY", "WHAT", "RELEASE"], &rows);
                }
                Ok(())
            }
            Self::Export(Export { venue }) => {
                read(venue, None, |bytes, _| output::line(&String::from_utf8_lossy(bytes))).await.map(drop)
            }
            Self::Verify(Verify { file, head, venue }) => {
                let json = venue.json;
                let found = match file {
                    Some(file) => verify_file(&file, head.as_ref())?,
                    None => read(venue, head.as_ref(), |_, _| {}).await?,
                };
                if json {
                    output::json(&found);
                } else {
                    output::line(&format!("{} entries, none altered; head {found}", found.number));
                }
                Ok(())
            }
        }
    }
}

fn row(entry: &Entry) -> [String; 5] {
    let release = entry.release.as_deref().and_then(|release| release.get(..12)).unwrap_or("-").to_owned();
    [entry.number.to_string(), output::time(entry.at), entry.by.clone(), entry.what.clone(), release]
}

/// Reads the log of a venue and holds it to its chain.
async fn read(venue: Venue, head: Option<&Head>, each: impl FnMut(&bytes::Bytes, &Entry)) -> Result<Head, Failure> {
    venue.not_elsewhere()?;
    match (venue.state, venue.bucket) {
        (Some(state), _) => {
            let store = LocalStore::open(&state.join("artifacts")).map_err(|e| Failure::new(FAILED, e))?;
            verify(&store, head, each).await
        }
        (None, bucket) => {
            let cloud = venue.cloud.open(bucket.unwrap_or_default()).await?;
            #[cfg(not(feature = "aws"))]
            match cloud {}
            #[cfg(feature = "aws")]
            verify(&cloud.store, head, each).await
        }
    }
}

async fn verify(
    store: &impl ArtifactStore,
    head: Option<&Head>,
    each: impl FnMut(&bytes::Bytes, &Entry),
) -> Result<Head, Failure> {
    Ok(Log::new(store).verify(head, each).await?)
}

fn verify_file(path: &std::path::Path, head: Option<&Head>) -> Result<Head, Failure> {
    use std::io::BufRead as _;
    let failed = |e: std::io::Error| Failure::new(BAD_FILE, format!("{}: {e}", path.display()));
    let mut chain = Chain::default();
    for line in std::io::BufReader::new(std::fs::File::open(path).map_err(failed)?).split(b'\n') {
        chain.take(&line.map_err(failed)?)?;
        chain.check(head, false)?;
    }
    chain.check(head, true)?;
    Ok(chain.head().clone())
}
