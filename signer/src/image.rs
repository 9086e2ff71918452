//! Firmware images in: ELF, Intel HEX or raw binary. Out comes the image as it stands in the slot.

use std::path::Path;

use ihex::Record;
use object::elf::{
    EM_AARCH64, EM_ARM, EM_RISCV, EM_XTENSA, FileHeader32, FileHeader64, PF_X, PT_LOAD, SHF_ALLOC, SHF_EXECINSTR,
    SHT_NOBITS, SHT_SYMTAB, STT_FUNC,
};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};
use sealift_manifests::bounds::MAX_IMAGE;

use crate::delta::{Arch, ImageHint, Segment};
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
    /// What the format says of the code inside, for deltas.
    pub hint: Option<ImageHint>,
}

/// Reads an image file. Gaps between segments are filled with zeros, as `objcopy -O binary` does, so that an ELF file and
/// its binary give one image.
pub fn read(path: &Path, format: Format) -> Result<Image> {
    let bytes = input::read_public(path, "image", MAX_IMAGE_FILE, "give the firmware as ELF, Intel HEX or raw binary")?;
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
    let (load_address, bytes, hint) = match format {
        Format::Elf => {
            let (parts, arch) = elf_parts(&bytes).map_err(fault)?;
            let wide = bytes.get(4) == Some(&2);
            let (start, image) = flatten(&parts).map_err(fault)?;
            (Some(start), image, Some(ImageHint { arch, wide, segments: layout(&parts, start) }))
        }
        Format::Ihex => {
            let parts = hex_parts(&bytes).map_err(fault)?;
            let (start, image) = flatten(&parts).map_err(fault)?;
            (Some(start), image, Some(ImageHint { arch: None, wide: false, segments: layout(&parts, start) }))
        }
        Format::Raw | Format::Auto => (None, bytes, None),
    };
    if bytes.len() as u64 > MAX_IMAGE {
        return Err(fault(format!("the image has {} bytes; at most {MAX_IMAGE} can be described", bytes.len())));
    }
    Ok(Image { bytes, format, load_address, hint })
}

/// A colon and 10 hexadecimal digits, the least a record has: no machine code starts so.
fn looks_like_hex(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b':') && bytes.get(1..11).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
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

fn elf_parts(bytes: &[u8]) -> Result<(Vec<Part>, Option<Arch>), String> {
    let read = match bytes.get(4) {
        Some(1) => parts_of::<FileHeader32<object::Endianness>>(bytes),
        Some(2) => parts_of::<FileHeader64<object::Endianness>>(bytes),
        _ => return Err("an ELF file of neither 32 nor 64 bits".into()),
    };
    read.map_err(|error| format!("damaged ELF file: {error}"))
}

/// The bytes of every loaded section at its load address. Sections, not whole segments: a linker may well place the ELF
/// header itself into the first segment, below the address at which the firmware starts. A file without section headers
/// is read by its segments.
fn parts_of<H: FileHeader<Endian = object::Endianness>>(bytes: &[u8]) -> Result<(Vec<Part>, Option<Arch>), String> {
    let text = |error: object::read::Error| error.to_string();
    let header = H::parse(bytes).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    // Where in the file, loaded where, seen from there by how much elsewhere, code, content.
    let mut loaded = Vec::new();
    for segment in header.program_headers(endian, bytes).map_err(text)? {
        if segment.p_type(endian) == PT_LOAD && segment.p_filesz(endian).into() > 0 {
            let data = segment.data(endian, bytes).map_err(|()| "a segment reaches beyond the end of the file")?;
            let (load, address): (u64, u64) = (segment.p_paddr(endian).into(), segment.p_vaddr(endian).into());
            let code = segment.p_flags(endian).0 & PF_X.0 != 0;
            loaded.push((segment.p_offset(endian).into(), load, address.wrapping_sub(load), code, data));
        }
    }
    let mut parts = Vec::new();
    let sections = header.sections(endian, bytes).map_err(text)?;
    for section in sections.iter() {
        let (start, length): (u64, u64) = (section.sh_offset(endian).into(), section.sh_size(endian).into());
        let flags: u64 = section.sh_flags(endian).0;
        if flags & SHF_ALLOC.0 == 0 || section.sh_type(endian) == SHT_NOBITS || length == 0 {
            continue;
        }
        for (offset, load, bias, _, data) in &loaded {
            let Some(within) = start.checked_sub(*offset).filter(|within| *within < data.len() as u64) else {
                continue;
            };
            let end = within.checked_add(length).filter(|end| *end <= data.len() as u64);
            let end = end.ok_or("a section reaches beyond its segment")?;
            let load = load.checked_add(within).ok_or("an address beyond 64 bits")?;
            parts.push(Part {
                load,
                address: load.wrapping_add(*bias),
                code: flags & SHF_EXECINSTR.0 != 0,
                bytes: data[within as usize..end as usize].to_vec(),
            });
            break;
        }
    }
    if sections.is_empty() {
        let whole = |(_, load, bias, code, data): (u64, u64, u64, bool, &[u8])| Part {
            load,
            address: load.wrapping_add(bias),
            code,
            bytes: data.to_vec(),
        };
        parts = loaded.into_iter().map(whole).collect();
    }
    let arch = match header.e_machine(endian) {
        EM_AARCH64 => Some(Arch::AArch64),
        EM_RISCV => Some(Arch::RiscV),
        EM_XTENSA => Some(Arch::Xtensa),
        // Thumb code has odd addresses: the entry's, or those of most functions. Without either it shows in the code itself.
        EM_ARM if header.e_entry(endian).into() & 1 == 1 => Some(Arch::Thumb),
        EM_ARM => {
            let symbols = sections.symbols(endian, bytes, SHT_SYMTAB).map_err(text)?;
            let functions = symbols.iter().filter(|symbol| symbol.st_type() == STT_FUNC);
            let (odd, even): (Vec<u64>, Vec<u64>) =
                functions.map(|symbol| symbol.st_value(endian).into()).partition(|address| address & 1 == 1);
            match odd.len().cmp(&even.len()) {
                std::cmp::Ordering::Less => Some(Arch::Arm),
                std::cmp::Ordering::Equal => None,
                std::cmp::Ordering::Greater => Some(Arch::Thumb),
            }
        }
        _ => Some(Arch::None),
    };
    Ok((parts, arch))
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

fn hex_parts(bytes: &[u8]) -> Result<Vec<Part>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("no Intel HEX: {error}"))?;
    let mut parts: Vec<Part> = Vec::new();
    let (mut base, mut ended) = (0u64, false);
    for (index, record) in ihex::Reader::new(text).enumerate() {
        let record = record.map_err(|error| format!("Intel HEX, record {}: {error}", index + 1))?;
        match record {
            Record::Data { offset, value } => {
                let address = base + u64::from(offset);
                match parts.last_mut() {
                    Some(last) if last.load + last.bytes.len() as u64 == address => last.bytes.extend(value),
                    _ => parts.push(Part { load: address, address, code: true, bytes: value }),
                }
            }
            Record::ExtendedLinearAddress(upper) => base = u64::from(upper) << 16,
            Record::ExtendedSegmentAddress(segment) => base = u64::from(segment) << 4,
            Record::EndOfFile => ended = true,
            Record::StartSegmentAddress { .. } | Record::StartLinearAddress(_) => {}
        }
    }
    if ended { Ok(parts) } else { Err("Intel HEX without its end-of-file record: the file is cut off".into()) }
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
