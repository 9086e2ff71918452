//! Firmware images in: ELF, Intel HEX or raw binary. Out comes the image as it stands in the slot.

use std::path::Path;

use ihex::Record;
use object::elf::{FileHeader32, FileHeader64, PT_LOAD, SHF_ALLOC, SHT_NOBITS};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use sealift_manifests::bounds::MAX_IMAGE;

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
    /// By its first bytes.
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
}

/// Reads an image file. Gaps between segments are filled with zeros, as `objcopy -O binary` does, so that an ELF file and
/// its binary give one image.
pub fn read(path: &Path, format: Format) -> Result<Image> {
    let bytes = input::read(path, "image", MAX_IMAGE_FILE, "give the firmware as ELF, Intel HEX or raw binary")?;
    let fault = |fault: String| {
        Error::input(
            path,
            fault,
            "check that the build wrote it whole; `--image-format raw` takes the bytes as they are",
        )
    };
    let format = match format {
        Format::Auto if bytes.starts_with(b"\x7fELF") => Format::Elf,
        Format::Auto if looks_like_hex(&bytes) => Format::Ihex,
        Format::Auto => Format::Raw,
        chosen => chosen,
    };
    let (load_address, bytes) = match format {
        Format::Elf => flatten(elf_segments(&bytes).map_err(fault)?).map_err(fault)?,
        Format::Ihex => flatten(hex_segments(&bytes).map_err(fault)?).map_err(fault)?,
        Format::Raw | Format::Auto => (None, bytes.to_vec()),
    };
    if bytes.len() as u64 > MAX_IMAGE {
        return Err(fault(format!("the image has {} bytes; at most {MAX_IMAGE} can be described", bytes.len())));
    }
    Ok(Image { bytes, format, load_address })
}

/// A colon and 10 hexadecimal digits, the least a record has: no machine code starts so.
fn looks_like_hex(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b':') && bytes.get(1..11).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// Address and content, by ascending address.
type Segments = Vec<(u64, Vec<u8>)>;

fn elf_segments(bytes: &[u8]) -> Result<Segments, String> {
    let read = match bytes.get(4) {
        Some(1) => segments_of::<FileHeader32<object::Endianness>>(bytes),
        Some(2) => segments_of::<FileHeader64<object::Endianness>>(bytes),
        _ => return Err("an ELF file of neither 32 nor 64 bits".into()),
    };
    read.map_err(|error| format!("damaged ELF file: {error}"))
}

/// The bytes of every loaded section at its load address. Sections, not whole segments: a linker may well place the ELF
/// header itself into the first segment, below the address at which the firmware starts. A file without section headers
/// is read by its segments.
fn segments_of<H: FileHeader<Endian = object::Endianness>>(bytes: &[u8]) -> Result<Segments, String> {
    let text = |error: object::read::Error| error.to_string();
    let header = H::parse(bytes).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    let mut loaded = Vec::new();
    for segment in header.program_headers(endian, bytes).map_err(text)? {
        if segment.p_type(endian) == PT_LOAD && segment.p_filesz(endian).into() > 0 {
            let data = segment.data(endian, bytes).map_err(|()| "a segment reaches beyond the end of the file")?;
            loaded.push((segment.p_offset(endian).into(), segment.p_paddr(endian).into(), data));
        }
    }
    let mut parts = Vec::new();
    let sections = header.sections(endian, bytes).map_err(text)?;
    for section in sections.iter() {
        let (start, length): (u64, u64) = (section.sh_offset(endian).into(), section.sh_size(endian).into());
        let allocated = section.sh_flags(endian).0 & SHF_ALLOC.0 != 0;
        if !allocated || section.sh_type(endian) == SHT_NOBITS || length == 0 {
            continue;
        }
        for (offset, address, data) in &loaded {
            let Some(within) = start.checked_sub(*offset).filter(|within| *within < data.len() as u64) else {
                continue;
            };
            let end = within.checked_add(length).filter(|end| *end <= data.len() as u64);
            let end = end.ok_or("a section reaches beyond its segment")?;
            let address = address.checked_add(within).ok_or("an address beyond 64 bits")?;
            parts.push((address, data[within as usize..end as usize].to_vec()));
            break;
        }
    }
    if sections.is_empty() {
        parts = loaded.into_iter().map(|(_, address, data)| (address, data.to_vec())).collect();
    }
    Ok(parts)
}

fn hex_segments(bytes: &[u8]) -> Result<Segments, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("no Intel HEX: {error}"))?;
    let mut segments: Segments = Vec::new();
    let (mut base, mut ended) = (0u64, false);
    for (index, record) in ihex::Reader::new(text).enumerate() {
        let record = record.map_err(|error| format!("Intel HEX, record {}: {error}", index + 1))?;
        match record {
            Record::Data { offset, value } => {
                let address = base + u64::from(offset);
                match segments.last_mut() {
                    Some((start, data)) if *start + data.len() as u64 == address => data.extend(value),
                    _ => segments.push((address, value)),
                }
            }
            Record::ExtendedLinearAddress(upper) => base = u64::from(upper) << 16,
            Record::ExtendedSegmentAddress(segment) => base = u64::from(segment) << 4,
            Record::EndOfFile => ended = true,
            Record::StartSegmentAddress { .. } | Record::StartLinearAddress(_) => {}
        }
    }
    if ended { Ok(segments) } else { Err("Intel HEX without its end-of-file record: the file is cut off".into()) }
}

/// Joins segments into one stretch of memory.
fn flatten(mut segments: Segments) -> Result<(Option<u64>, Vec<u8>), String> {
    segments.retain(|(_, data)| !data.is_empty());
    segments.sort_by_key(|(address, _)| *address);
    let start = segments.first().map(|(address, _)| *address).ok_or("it has nothing to load")?;
    let mut image = Vec::new();
    for (address, data) in segments {
        let end = start + image.len() as u64;
        let gap = address.checked_sub(end).ok_or(format!("two segments overlap at {address:#x}"))?;
        if gap > MAX_GAP {
            return Err(format!(
                "{gap} bytes lie between {end:#x} and {address:#x}: this is not one image; leave out what is not in the slot"
            ));
        }
        image.resize(image.len() + gap as usize, 0);
        image.extend(data);
        if image.len() as u64 > MAX_IMAGE {
            return Err("the image is larger than 4 GiB".into());
        }
    }
    Ok((Some(start), image))
}
