//! `sealift delta create|apply|inspect`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use sealift_manifests::bounds::MAX_IMAGE;
use sealift_manifests::sha256;
use serde_json::{Value, json};

use super::Global;
use crate::delta::{self, CreateOptions, Created, Header, Inspection, Predict};
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
        #[arg(long, visible_alias = "ram", value_name = "CLASS", default_value = "24KiB")]
        decoder_ram: DecoderRam,
        /// Which address predictions are tried
        #[arg(long, value_enum, default_value_t = PredictArg::All)]
        predict: PredictArg,
        /// Bytes of delta after which a device can resume
        #[arg(long, value_name = "BYTES", default_value_t = 32768)]
        resume_interval: u32,
        /// The delta must not copy from its own output (for slots that can't be read while they are written)
        #[arg(long)]
        no_read_back: bool,
        /// The file to write
        #[arg(long, visible_alias = "output", value_name = "FILE")]
        out: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Apply a delta with the decoder that devices run
    #[command(after_help = "Example:\n  sealift delta apply --base old.bin --delta new.delta --out new.bin")]
    Apply {
        /// The image it starts from
        #[arg(long, visible_alias = "from", value_name = "FILE")]
        base: PathBuf,
        /// The delta
        #[arg(long, visible_alias = "patch", value_name = "FILE")]
        delta: PathBuf,
        /// The file to write
        #[arg(long, visible_alias = "output", value_name = "FILE")]
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

/// Which address predictions are tried.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum PredictArg {
    /// None
    Off,
    /// The likeliest
    Likeliest,
    /// All that the images suggest; the smallest delta wins
    All,
}

impl From<PredictArg> for Predict {
    fn from(arg: PredictArg) -> Self {
        match arg {
            PredictArg::Off => Self::Off,
            PredictArg::Likeliest => Self::Likeliest,
            PredictArg::All => Self::All,
        }
    }
}

/// Runs one of them.
pub(super) fn run(_: &Global, command: Command) -> Result<Report> {
    match command {
        Command::Create { from, to, decoder_ram, predict, resume_interval, no_read_back, out, force } => {
            let base = image::read(&from, Format::Auto)?;
            let target = image::read(&to, Format::Auto)?;
            let progress = Progress::start("delta", 1);
            let options = CreateOptions {
                ram: decoder_ram.0,
                resume_interval,
                read_back: !no_read_back,
                predict: predict.into(),
                class_sizes: true,
                ..CreateOptions::default()
            };
            let created = delta::create(&base.bytes, &target.bytes, &options)
                .map_err(|error| Error::failed(error, "release the full image without this delta"))?;
            drop(progress);
            write_output(&out, &created.patch, force)?;
            let share = 100.0 * created.patch.len() as f64 / target.bytes.len().max(1) as f64;
            let mut words = format!(
                "{}: {} for an image of {} ({share:.1} %), decoder RAM {}",
                out.display(),
                bytes(created.patch.len() as u64),
                bytes(target.bytes.len() as u64),
                decoder_ram
            );
            let full = delta::full_image(&target.bytes, decoder_ram.0, options.level)
                .map_err(|error| Error::failed(error, "try again"))?;
            let mut facts = header_facts(&created.header);
            outcome(&created, full.bytes.len(), &target.bytes, &mut words, &mut facts);
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

/// Adds what a delta is worth: its size in every class, the full image's, and what it couldn't see into.
fn outcome(created: &Created, full: usize, target: &[u8], words: &mut String, facts: &mut Value) {
    use std::fmt::Write;
    let gain = created.patch.len() < full;
    let sizes = created.class_sizes.iter().map(|(ram, len)| format!("{} {len}", ram.name()));
    let _ = write!(words, "\n  by decoder RAM: {} bytes", sizes.collect::<Vec<_>>().join(", "));
    let _ = write!(words, "\n  the full image, compressed for the same decoder: {full} bytes");
    if !gain {
        words.push_str("\n  no gain: release the full image, this delta is not smaller");
    }
    let containers = delta::containers(target);
    for container in &containers {
        let _ = write!(
            words,
            "\n  offset {:#x}: {}, {} bytes; a delta can't see into it (release what is inside uncompressed)",
            container.offset, container.kind, container.len
        );
    }
    facts["gain"] = gain.into();
    facts["full_length"] = full.into();
    facts["class_lengths"] = created.class_sizes.iter().map(|(ram, len)| (ram.name().to_owned(), json!(len))).collect();
    facts["tried"] = created
        .tried
        .iter()
        .map(|tried| {
            json!({"arch": tried.arch.name(), "fields": tried.fields, "load_address": tried.load_address, "length": tried.len})
        })
        .collect();
    facts["containers"] = containers
        .iter()
        .map(|container| {
            json!({"offset": container.offset, "kind": container.kind.to_string(), "length": container.len})
        })
        .collect();
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
