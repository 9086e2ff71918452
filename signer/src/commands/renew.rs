//! `sealift renew`.

use clap::Args;

use super::Global;
use super::release::state_report;
use crate::clock;
use crate::error::Result;
use crate::output::Report;
use crate::release;

/// Options of `renew`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sealift renew                  # every day, with the timestamp key alone\n  \
    sealift renew --snapshot       # every week\n  sealift renew --product thermostat   # before a product's targets expire")]
pub(super) struct Options {
    /// Sign the snapshot anew as well; this publishes releases that were signed with --stage
    #[arg(long)]
    snapshot: bool,
    /// Sign the targets file of this product anew as well (needs its keys and the snapshot's)
    #[arg(long = "product", value_name = "ID")]
    products: Vec<String>,
}

/// Signs them.
pub(super) fn run(global: &Global, options: Options) -> Result<Report> {
    let project = global.load()?;
    let now = clock::signing_time()?;
    let (files, published) = release::renew(&project, options.snapshot, &options.products, global.development, now)?;
    let title = match published.is_empty() {
        true => "renewed".to_owned(),
        false => format!("renewed; published what was staged: {}", published.join(", ")),
    };
    let mut report = state_report(&files, &title)?;
    if let Report::Facts { json, .. } = &mut report {
        json["published"] = published.into();
    }
    Ok(report)
}
