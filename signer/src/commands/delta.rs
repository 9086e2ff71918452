//! `sealift delta create|apply|inspect`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use sealift_manifests::bounds::MAX_IMAGE;
use sealift_manifests::{Digest, sha256};
use serde_json::{Value, json};

use super::Global;
use crate::delta::{
    self, CreateOptions, Created, Header, Hints, Inspection, IntoError, Kind, Predict, RamClass, field,
};
use crate::error::{Error, Result};
use crate::image::{self, Format};
use crate::input;
use crate::output::{Report, bytes};
use crate::progress::Progress;
use crate::project::DecoderRam;
use crate::repository::{fill_output, write_output};

/// Subcommands of `delta`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a delta between two images, signed by nobody
    ///
    /// Of firmware in ELF or Intel HEX, the image as it stands in the slot is taken; programs and libraries of an operating system are
    /// files like any other. Architecture and addresses come from ELF files, or are found in the images. Where a delta is no gain, the
    /// full image is written instead, compressed as zstd frames that the same decoder takes.
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
        /// How to read the images
        #[arg(long, value_enum, default_value_t)]
        image_format: Format,
        /// RAM for decoding: 16KiB, 24KiB, 64KiB or host
        #[arg(long, visible_alias = "ram", value_name = "CLASS", default_value = "24KiB")]
        decoder_ram: DecoderRam,
        /// Which address predictions are tried
        #[arg(long, value_enum, default_value_t = PredictArg::All)]
        predict: PredictArg,
        /// Bytes of delta after which a device can resume
        #[arg(long, value_name = "BYTES", default_value_t = 32768)]
        resume_interval: u32,
        /// Leave out what the delta would have in the other decoders' RAM (as without `--predict all`)
        #[arg(long)]
        no_class_sizes: bool,
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
    /// Apply a delta (or a compressed image) with the decoder that devices run
    #[command(after_help = "Example:\n  sealift delta apply --base old.bin --delta new.delta --out new.bin")]
    Apply {
        /// The image it starts from
        #[arg(long, visible_alias = "from", value_name = "FILE")]
        base: PathBuf,
        /// How to read the base
        #[arg(long, value_enum, default_value_t)]
        image_format: Format,
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
        Command::Create {
            from,
            to,
            image_format,
            decoder_ram,
            predict,
            resume_interval,
            no_class_sizes,
            no_read_back,
            out,
            force,
        } => {
            refuse_existing(&out, force)?;
            let base = image::read(&from, image_format)?;
            let target = image::read(&to, image_format)?;
            let progress = Progress::growing("delta");
            let options = CreateOptions {
                ram: decoder_ram.0,
                resume_interval,
                read_back: !no_read_back,
                predict: predict.into(),
                class_sizes: !no_class_sizes && matches!(predict, PredictArg::All),
                hints: Hints { base: base.hint, target: target.hint },
                ..CreateOptions::default()
            };
            let created = delta::create_watched(&base.bytes, &target.bytes, &options, &progress)
                .map_err(|error| Error::failed(error, "release the full image without this delta"))?;
            drop(progress);
            let full = Full::of(&target.bytes, &created, decoder_ram.0, options.level)?;
            let payload = full.instead.as_ref().unwrap_or(&created.patch);
            write_output(&out, payload, force)?;
            let share = 100.0 * payload.len() as f64 / target.bytes.len().max(1) as f64;
            let mut words = format!(
                "{}: {} for an image of {} ({share:.1} %), decoder RAM {}",
                out.display(),
                bytes(payload.len() as u64),
                bytes(target.bytes.len() as u64),
                decoder_ram
            );
            let mut facts = header_facts(&created.header);
            if let Some(loaded) = loaded(target.format) {
                words.push_str(&format!("\n  image: {loaded}, as it stands in the slot"));
            }
            facts["image_format"] = json!(target.format);
            outcome(&created, &full, &target.bytes, &mut words, &mut facts);
            facts["file"] = json!(out);
            facts["codec"] = if full.instead.is_some() { "zstd" } else { "delta" }.into();
            facts["length"] = payload.len().into();
            facts["sha256"] = sha256(payload).to_string().into();
            if let (true, Some(facts)) = (full.instead.is_some(), facts.as_object_mut()) {
                // These are of the delta that was not written.
                for key in ["window_logs", "architecture", "fields", "regions", "shifts", "version"] {
                    facts.remove(key);
                }
            }
            facts["operations"] = created.operations.into();
            facts["sections"] = created.sections.into();
            Ok(Report::new(words, facts))
        }
        Command::Apply { base, image_format, delta, out, force } => {
            refuse_existing(&out, force)?;
            let from = image::read(&base, image_format)?;
            let patch = read(&delta)?;
            let (length, sha256) = fill_output(&out, force, |file| {
                delta::apply_into(&from.bytes, &patch, |bytes| file.write_all(bytes)).map_err(|error| match error {
                    IntoError::Apply(error) => Error::Refused {
                        code: None,
                        fault: format!("{}: {error}", delta.display()),
                        remedy: String::new(),
                    },
                    IntoError::Write(error) => Error::io("write", &out)(error),
                })
            })?;
            let digest = Digest(sha256);
            let words = format!("{}: {}, sha256 {digest}", out.display(), bytes(length as u64));
            Ok(Report::new(words, json!({"file": out, "length": length, "sha256": digest.to_string()})))
        }
        Command::Inspect { file } => inspect(&file, &read(&file)?),
    }
}

/// What the image is of a file that is not the image itself.
fn loaded(format: Format) -> Option<&'static str> {
    match format {
        Format::Elf => Some("what the ELF file loads"),
        Format::Ihex => Some("what the Intel HEX file holds"),
        Format::Raw | Format::Auto => None,
    }
}

/// An output that must not be replaced is found out before the work, not after it.
fn refuse_existing(out: &Path, force: bool) -> Result<()> {
    if !force && out.symlink_metadata().is_ok() {
        return Err(Error::refused(format!("{} exists", out.display()), "choose another name, or add --force"));
    }
    Ok(())
}

/// The full image, compressed for the same decoder.
struct Full {
    len: usize,
    /// Whether `len` is what a release would carry, not merely more than that.
    exact: bool,
    /// The compressed image, where it is smaller than the delta.
    instead: Option<Vec<u8>>,
}

impl Full {
    /// A quick look suffices when the delta is far smaller; the best compression takes longer than many a delta. One frame is
    /// compared with what it is most like.
    fn of(image: &[u8], created: &Created, ram: RamClass, level: i32) -> Result<Self> {
        let patch = created.patch.len();
        let quick = created.full_at_most;
        if patch * 2 < quick && !created.header.is_frame() {
            return Ok(Self { len: quick, exact: false, instead: None });
        }
        let best = delta::compressed_image(image, ram, level).map_err(|error| Error::failed(error, "try again"))?;
        let len = best.len().min(image.len());
        Ok(Self { len, exact: true, instead: (best.len() < patch).then_some(best) })
    }
}

/// Adds what a delta is worth: its size in every class, the full image's, and what it couldn't see into.
fn outcome(created: &Created, full: &Full, target: &[u8], words: &mut String, facts: &mut Value) {
    use std::fmt::Write;
    let patch = created.patch.len();
    let gain = patch < full.len;
    if let Some(best) = created.tried.iter().find(|tried| tried.len == patch && full.instead.is_none()) {
        let _ = write!(words, "\n  predicted: {}", prediction(best.arch.name(), best.fields));
    }
    if !created.class_sizes.is_empty() {
        let sizes = created.class_sizes.iter().map(|(ram, len)| format!("{} {len}", ram.name()));
        let _ = write!(words, "\n  by decoder RAM: {} bytes", sizes.collect::<Vec<_>>().join(", "));
    }
    let about = if full.exact { "" } else { "at most " };
    let _ = write!(words, "\n  the full image, compressed for the same decoder: {about}{} bytes", full.len);
    if gain && created.header.is_frame() {
        let less = 100.0 * (full.len - patch) as f64 / full.len.max(1) as f64;
        let _ = write!(words, "\n  the images have little in common: {less:.1} % less than the full image, compressed");
    }
    if full.instead.is_some() {
        let _ =
            write!(words, "\n  no gain: the delta has {patch} bytes; wrote the full image instead, compressed (zstd)");
    } else if !gain {
        words.push_str("\n  no gain: release the full image as it is, this delta is not smaller");
    }
    facts["delta_length"] = patch.into();
    facts["full_length_exact"] = full.exact.into();
    let full = full.len;
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

/// An instruction set and its predicted fields, for people.
fn prediction(arch: &str, fields: u8) -> String {
    if fields & field::FRAME != 0 {
        return "nothing: one zstd frame over both images".into();
    }
    let mut words: Vec<&str> = if arch == "none" { Vec::new() } else { vec![arch] };
    words.extend(field_names(fields));
    if words.is_empty() { "nothing".into() } else { words.join(", ") }
}

fn field_names(fields: u8) -> Vec<&'static str> {
    let all = [
        (field::BRANCH, "branches"),
        (field::PAIR, "pairs"),
        (field::POINTER32, "pointers of 32 bits"),
        (field::POINTER64, "pointers of 64 bits"),
        (field::RELATIVE32, "distances of 32 bits"),
        (field::FRAME, "one zstd frame over both images"),
    ];
    all.into_iter().filter(|(bit, _)| fields & bit != 0).map(|(_, name)| name).collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    input::read_public(path, "delta", MAX_IMAGE, "make one with `sealift delta create`")
}

/// What a delta says of itself; of a compressed image, what is in it.
pub(super) fn inspect(path: &Path, patch: &[u8]) -> Result<Report> {
    let refused = |error| Error::input(path, error, "make it again with `sealift delta create`");
    if delta::kind(patch) == Kind::Compressed {
        let image = delta::apply(&[], patch).map_err(refused)?;
        let digest = sha256(&image);
        let words = format!(
            "{}: full image, compressed (zstd), {}, no base, not verified\n  to     {} bytes, sha256 {digest}",
            path.display(),
            bytes(patch.len() as u64),
            image.len()
        );
        let target = json!({"length": image.len(), "sha256": digest.to_string()});
        return Ok(Report::new(words, json!({"kind": "zstd", "length": patch.len(), "target": target})));
    }
    let inspection: Inspection = delta::inspect(patch).map_err(refused)?;
    let header = &inspection.header;
    let mut words = format!(
        "{}: delta, {}, not verified\n  from   {} bytes, sha256 {}\n  to     {} bytes, sha256 {}\n  needs  decoder RAM {}, \
         windows {:?}{}\n  fields {}\n  map    {} bytes, {} regions, {} shifts",
        path.display(),
        bytes(inspection.len as u64),
        header.base_len,
        hex::encode(header.base_sha256),
        header.target_len,
        hex::encode(header.target_sha256),
        header.ram.name(),
        header.window_logs.into_iter().filter(|log| *log > 0).map(|log| 1u32 << log).collect::<Vec<_>>(),
        if inspection.read_back { ", a slot that can be read while it is written" } else { "" },
        prediction(header.arch.name(), header.fields),
        inspection.prelude_len,
        header.regions,
        header.shifts,
    );
    let mut regions = Vec::new();
    for region in &inspection.regions {
        let address = inspection.origin.wrapping_add(region.address.into());
        let kind = match (region.base, region.code) {
            (None, _) => "RAM",
            (_, true) => "code",
            (_, false) => "data",
        };
        let from = region.base.map_or(String::new(), |base| format!(", from {base:#x} in the base"));
        words.push_str(&format!("\n         {address:#010x} {kind}, {} bytes{from}", region.len));
        regions.push(json!({"address": address, "length": region.len, "kind": kind, "base_offset": region.base}));
    }
    let mut facts = header_facts(header);
    facts["kind"] = "delta".into();
    facts["length"] = inspection.len.into();
    facts["read_back"] = inspection.read_back.into();
    facts["map"] = json!({
        "length": inspection.prelude_len, "origin": inspection.origin, "regions": regions,
        "shifts": inspection.shifts.iter().map(|(from, by)| json!([from, by])).collect::<Vec<_>>(),
    });
    facts["body_offset"] = header.body.into();
    Ok(Report::new(words, facts))
}

fn header_facts(header: &Header) -> Value {
    json!({
        "base": {"length": header.base_len, "sha256": hex::encode(header.base_sha256)},
        "target": {"length": header.target_len, "sha256": hex::encode(header.target_sha256)},
        "decoder_ram": header.ram.bytes(), "ram_class": header.ram.name(), "window_logs": header.window_logs,
        "architecture": header.arch.name(), "fields": field_names(header.fields),
        "regions": header.regions, "shifts": header.shifts, "version": sealift_manifests::delta_format::VERSION,
    })
}
