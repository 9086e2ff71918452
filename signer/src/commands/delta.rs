//! `sealift delta create|apply|inspect`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use sealift_manifests::bounds::MAX_IMAGE;
use sealift_manifests::sha256;
use serde_json::{Value, json};

use super::Global;
use crate::delta::{self, CreateOptions, Header, Inspection};
use crate::error::{Error, Result};
use crate::image::{self, Format};
use crate::input;
use crate::output::{Report, bytes};
use crate::progress::Progress;
use crate::project::DecoderRam;
use crate::repository::write_output;

/// Subcommands of `delta`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a delta between two images, signed by nobody
    #[command(
        after_help = "Example:\n  sealift delta create --from old.elf --to new.elf --decoder-ram 16KiB --out new.delta"
    )]
    Create {
        /// The image that devices have: ELF, Intel HEX or raw binary
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The image they are to have
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// RAM for decoding: 16KiB, 24KiB, 64KiB or host
        #[arg(long, value_name = "CLASS", default_value = "24KiB")]
        decoder_ram: DecoderRam,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Apply a delta with the decoder that devices run
    #[command(after_help = "Example:\n  sealift delta apply --base old.bin --delta new.delta --out new.bin")]
    Apply {
        /// The image it starts from
        #[arg(long, value_name = "FILE")]
        base: PathBuf,
        /// The delta
        #[arg(long, value_name = "FILE")]
        delta: PathBuf,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Show what a delta says of itself
    #[command(after_help = "Example:\n  sealift delta inspect new.delta --json")]
    Inspect {
        /// The delta
        file: PathBuf,
    },
}

/// Runs one of them.
pub(super) fn run(_: &Global, command: Command) -> Result<Report> {
    match command {
        Command::Create { from, to, decoder_ram, out, force } => {
            let base = image::read(&from, Format::Auto)?;
            let target = image::read(&to, Format::Auto)?;
            let progress = Progress::start("delta", 1);
            let options = CreateOptions { ram: decoder_ram.0, ..CreateOptions::default() };
            let created = delta::create(&base.bytes, &target.bytes, &options)
                .map_err(|error| Error::failed(error, "release the full image without this delta"))?;
            drop(progress);
            write_output(&out, &created.patch, force)?;
            let share = 100.0 * created.patch.len() as f64 / target.bytes.len().max(1) as f64;
            let words = format!(
                "{}: {} for an image of {} ({share:.1} %), decoder RAM {}",
                out.display(),
                bytes(created.patch.len() as u64),
                bytes(target.bytes.len() as u64),
                decoder_ram
            );
            let mut facts = header_facts(&created.header);
            facts["file"] = json!(out);
            facts["length"] = created.patch.len().into();
            facts["sha256"] = sha256(&created.patch).to_string().into();
            facts["operations"] = created.operations.into();
            facts["sections"] = created.sections.into();
            Ok(Report::new(words, facts))
        }
        Command::Apply { base, delta, out, force } => {
            let from = image::read(&base, Format::Auto)?;
            let patch = read(&delta)?;
            let target = delta::apply(&from.bytes, &patch).map_err(|error| Error::Refused {
                code: None,
                fault: format!("{}: {error}", delta.display()),
                remedy: String::new(),
            })?;
            write_output(&out, &target, force)?;
            let digest = sha256(&target);
            let words = format!("{}: {}, sha256 {digest}", out.display(), bytes(target.len() as u64));
            Ok(Report::new(words, json!({"file": out, "length": target.len(), "sha256": digest.to_string()})))
        }
        Command::Inspect { file } => inspect(&file, &read(&file)?),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    Ok(input::read(path, "delta", MAX_IMAGE, "make one with `sealift delta create`")?.to_vec())
}

/// What a delta says of itself.
pub(super) fn inspect(path: &Path, patch: &[u8]) -> Result<Report> {
    let inspection: Inspection = delta::inspect(patch)
        .map_err(|error| Error::input(path, error, "make it again with `sealift delta create`"))?;
    let header = &inspection.header;
    let words = format!(
        "{}: delta, {}, not verified\n  from   {} bytes, sha256 {}\n  to     {} bytes, sha256 {}\n  needs  decoder RAM {}, \
         windows {:?}{}\n  map    {} bytes, {} regions, {} shifts",
        path.display(),
        bytes(inspection.len as u64),
        header.base_len,
        hex::encode(header.base_sha256),
        header.target_len,
        hex::encode(header.target_sha256),
        header.ram.name(),
        header.window_logs.map(|log| 1u32 << log),
        if inspection.read_back { ", a slot that can be read while it is written" } else { "" },
        inspection.prelude_len,
        header.regions,
        header.shifts,
    );
    let mut facts = header_facts(header);
    facts["kind"] = "delta".into();
    facts["length"] = inspection.len.into();
    facts["read_back"] = inspection.read_back.into();
    Ok(Report::new(words, facts))
}

fn header_facts(header: &Header) -> Value {
    json!({
        "base": {"length": header.base_len, "sha256": hex::encode(header.base_sha256)},
        "target": {"length": header.target_len, "sha256": hex::encode(header.target_sha256)},
        "decoder_ram": header.ram.bytes(), "ram_class": header.ram.name(), "window_logs": header.window_logs,
        "regions": header.regions, "shifts": header.shifts,
    })
}
