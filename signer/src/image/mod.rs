//! Firmware images in: ELF, Intel HEX or raw binary. Out comes the image as it stands in the slot.

mod elf;
mod hex;

use std::path::Path;

use sealift_manifests::bounds::MAX_IMAGE;

use crate::delta::{ImageHint, Segment};
use crate::error::{Error, Result};
use crate::input;

/// Longest image file. ELF files carry debug information many times the image's size.
const MAX_IMAGE_FILE: u64 = 2 << 30;
/// Longest stretch of fill between two segments. A larger one means that RAM or option bytes are among the segments.
const MAX_GAP: u64 = 1 << 20;

/// How an image file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// By its first bytes; an ELF file of a program that an operating system loads counts as raw.
    #[default]
    Auto,
    /// The loaded sections of an ELF file, by their load (physical) address.
    Elf,
    /// Intel HEX records.
    Ihex,
    /// The bytes as they are.
    Raw,
}

/// An image as it stands in the slot.
#[derive(Debug)]
pub struct Image {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The format it came in.
    pub format: Format,
    /// The address of the first byte, where the format says it.
    pub load_address: Option<u64>,
    /// What the format says of the code inside, for deltas.
    pub hint: Option<ImageHint>,
}

/// Reads an image file. Gaps between segments are filled with zeros, as `objcopy -O binary` does, so that an ELF file and
/// its binary give one image. What an operating system loads from a file (a program, a library, a kernel module) is that file.
pub fn read(path: &Path, format: Format) -> Result<Image> {
    let bytes = input::read_public(path, "image", MAX_IMAGE_FILE, "give the firmware as ELF, Intel HEX or raw binary")?;
    let fault = |fault: String| {
        Error::input(
            path,
            fault,
            "check that the build wrote it whole; `--image-format raw` takes the bytes as they are",
        )
    };
    let mut program = None;
    let format = match format {
        Format::Auto if bytes.starts_with(elf::MAGIC) => {
            program = elf::program(&bytes).map_err(fault)?;
            if program.is_some() { Format::Raw } else { Format::Elf }
        }
        Format::Auto if hex::is_likely(&bytes) => Format::Ihex,
        Format::Auto => Format::Raw,
        chosen => chosen,
    };
    let (load_address, bytes, hint) = match format {
        Format::Elf => {
            let (parts, arch) = elf::parts(&bytes).map_err(fault)?;
            let (start, image) = flatten(&parts).map_err(fault)?;
            (
                Some(start),
                image,
                Some(ImageHint { arch, wide: elf::is_wide(&bytes) == Some(true), segments: layout(&parts, start) }),
            )
        }
        Format::Ihex => {
            let parts = hex::parts(&bytes).map_err(fault)?;
            let (start, image) = flatten(&parts).map_err(fault)?;
            (Some(start), image, Some(ImageHint { arch: None, wide: false, segments: layout(&parts, start) }))
        }
        Format::Raw | Format::Auto => (None, bytes, program),
    };
    if bytes.len() as u64 > MAX_IMAGE {
        return Err(fault(format!("the image has {} bytes; at most {MAX_IMAGE} can be described", bytes.len())));
    }
    Ok(Image { bytes, format, load_address, hint })
}

/// A stretch of the image.
struct Part {
    /// Where it is loaded, which is its place in the image.
    load: u64,
    /// Where code sees it.
    address: u64,
    code: bool,
    bytes: Vec<u8>,
}

/// Where the pieces of the image are seen: neighbours that are seen side by side are one.
fn layout(parts: &[Part], start: u64) -> Vec<Segment> {
    let mut parts: Vec<&Part> = parts.iter().filter(|part| !part.bytes.is_empty()).collect();
    parts.sort_by_key(|part| part.load);
    let mut found: Vec<Segment> = Vec::new();
    for part in parts {
        let offset = (part.load - start) as u32;
        let end = offset + part.bytes.len() as u32;
        match found.last_mut() {
            Some(last) if part.address.wrapping_sub(last.address) == u64::from(offset - last.offset) => {
                last.len = end - last.offset;
                last.code |= part.code;
            }
            _ => found.push(Segment { offset, address: part.address, len: end - offset, code: part.code }),
        }
    }
    found
}

/// Joins the parts into one stretch of memory.
fn flatten(parts: &[Part]) -> Result<(u64, Vec<u8>), String> {
    let mut parts: Vec<&Part> = parts.iter().filter(|part| !part.bytes.is_empty()).collect();
    parts.sort_by_key(|part| part.load);
    let start = parts.first().map(|part| part.load).ok_or("it has nothing to load")?;
    let mut image = Vec::new();
    for &Part { load: address, ref bytes, .. } in parts {
        let end = start + image.len() as u64;
        let gap = address.checked_sub(end).ok_or(format!("two segments overlap at {address:#x}"))?;
        if gap > MAX_GAP {
            return Err(format!(
                "{gap} bytes lie between {end:#x} and {address:#x}: this is not one image; leave out what is not in the slot"
            ));
        }
        image.resize(image.len() + gap as usize, 0);
        image.extend(bytes);
        if image.len() as u64 > MAX_IMAGE {
            return Err("the image is larger than 4 GiB".into());
        }
    }
    Ok((start, image))
}
