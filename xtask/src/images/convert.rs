//! One linked ELF file as the forms in which firmware is handed around.

use std::path::Path;

use object::{Object, ObjectSegment};

use crate::error::{Error, Result};

/// Bytes of one Intel HEX data record.
const HEX_LINE: usize = 16;

/// The wanted forms of an ELF file, each with its file name ending.
pub(super) fn formats(elf: &[u8], wanted: &'static [&'static str]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let (base, raw) = flatten(elf)?;
    wanted
        .iter()
        .map(|&ending| {
            let bytes = match ending {
                "elf" => elf.to_vec(),
                "hex" => intel_hex(base, &raw)?.into_bytes(),
                _ => raw.clone(),
            };
            Ok((ending, bytes))
        })
        .collect()
}

fn malformed(what: impl ToString) -> Error {
    Error::Content { path: Path::new("the linked ELF file").into(), what: what.to_string() }
}

/// The loadable bytes in one piece, and the address of the first.
fn flatten(elf: &[u8]) -> Result<(u32, Vec<u8>)> {
    let file = object::read::elf::ElfFile32::<object::Endianness>::parse(elf).map_err(malformed)?;
    let mut parts: Vec<(u32, &[u8])> = Vec::new();
    for (header, segment) in file.elf_program_headers().iter().zip(file.segments()) {
        let data = segment.data().map_err(malformed)?;
        // The physical address is where a programmer puts the bytes; .data's virtual address is in RAM.
        if !data.is_empty() {
            parts.push((header.p_paddr.get(file.endian()), data));
        }
    }
    parts.sort_by_key(|(address, _)| *address);
    let base = parts.first().ok_or_else(|| malformed("it has no loadable segment"))?.0;
    let mut raw = Vec::new();
    for (address, data) in parts {
        let offset = (address - base) as usize;
        if offset < raw.len() {
            return Err(malformed(format!("two segments overlap at {address:#x}")));
        }
        raw.resize(offset, 0xff);
        raw.extend_from_slice(data);
    }
    Ok((base, raw))
}

/// Intel HEX with an extended linear address record for each 64 KiB.
fn intel_hex(base: u32, raw: &[u8]) -> Result<String> {
    let mut records = Vec::new();
    let mut upper = None;
    for (index, value) in raw.chunks(HEX_LINE).enumerate() {
        let address = base + (index * HEX_LINE) as u32;
        let high = (address >> 16) as u16;
        if upper != Some(high) {
            records.push(ihex::Record::ExtendedLinearAddress(high));
            upper = Some(high);
        }
        records.push(ihex::Record::Data { offset: address as u16, value: value.to_vec() });
    }
    records.push(ihex::Record::EndOfFile);
    let mut text = ihex::create_object_file_representation(&records).map_err(malformed)?;
    text.push('\n');
    Ok(text)
}
