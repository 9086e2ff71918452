//! `sealift bundle export`.

use std::path::PathBuf;

use clap::Subcommand;
use sealift_manifests::{Digest, Target, Version, sha256};
use serde_json::json;

use super::Global;
use super::release::version;
use crate::bundle::{Selection, append_payloads, assemble};
use crate::error::{Error, Result};
use crate::output::{Report, bytes};
use crate::release;
use crate::repository::{Layout, write_output};

const EXAMPLES: &str = "\
Examples:
  What a job document carries inline:
    sealift bundle export --product thermostat --since-root 1 --out thermostat.bundle
  For a USB stick or a serial line: one file with the image in it, taken by `sealift-device install FILE`:
    sealift bundle export --product thermostat --version 1.1.0 --with-payload --out thermostat-1.1.0.sealift";

/// Subcommands of `bundle`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write an update bundle, or with payloads an install file
    #[command(after_help = EXAMPLES)]
    Export {
        /// The product
        #[arg(long, value_name = "ID")]
        product: String,
        /// The release whose payloads go in [default: the newest]
        #[arg(long, value_name = "X.Y.Z", value_parser = version)]
        version: Option<Version>,
        /// The same, by the digest that jobs name it by
        #[arg(long, value_name = "SHA256", conflicts_with = "version")]
        target: Option<String>,
        /// The root that devices have: only newer ones go in
        #[arg(long, value_name = "N", default_value_t = 1)]
        since_root: u64,
        /// Make it an install file: put payloads behind the bundle
        #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, default_missing_value = "raw")]
        with_payload: Option<Selection>,
        /// The file to write [default: PRODUCT-VERSION.bundle, or .sealift with payloads]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
}

/// Writes it.
pub(super) fn run(global: &Global, command: Command) -> Result<Report> {
    let Command::Export { product, version, target, since_root, with_payload, out, force } = command;
    let project = global.load()?;
    let layout = Layout::new(&project.directory);
    let files = release::open(&project, &layout, global.development)?;
    let (delegation, _) = project.delegation_of(project.product(&product)?.0)?;
    let chosen = |target_of: &Target<'_>, digest: Digest| match (&version, &target) {
        (Some(version), _) => target_of.version == *version,
        (None, Some(target)) => digest.to_string() == *target,
        (None, None) => true,
    };
    let mut file = assemble(&files, delegation, since_root)?;
    let bundle_length = file.len();
    let (_, targets) = files.delegated(delegation)?.ok_or_else(|| Error::failed("the delegated file is gone", ""))?;
    let of_product = targets.targets.iter().filter(|listed| listed.product == product);
    let found = of_product.filter(|listed| chosen(listed, sha256(&listed.encoded()))).last();
    let Some(release) = found else {
        return Err(Error::refused(format!("no such release of {product} is listed"), "see `sealift release list`"));
    };
    let payloads = match with_payload {
        Some(wanted) => append_payloads(&mut file, &layout, &release, wanted)?,
        None => 0,
    };
    let extension = if with_payload.is_some() { "sealift" } else { "bundle" };
    let out = out.unwrap_or_else(|| format!("{product}-{}.{extension}", release.version).into());
    write_output(&out, &file, force)?;

    let digest = sha256(&release.encoded());
    let text = format!(
        "{}: bundle of {bundle_length} bytes, {payloads} payloads, {} in all\n  {product} {} target {digest}",
        out.display(),
        bytes(file.len() as u64),
        release.version,
    );
    let facts = json!({
        "file": out, "length": file.len(), "bundle_length": bundle_length, "payloads": payloads,
        "product": product, "version": release.version.to_string(), "target": digest.to_string(),
        "since_root": since_root, "sha256": sha256(&file).to_string(),
    });
    Ok(Report::new(text, facts))
}
