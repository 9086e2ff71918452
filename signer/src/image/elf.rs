//! ELF files: firmware is the image that its sections make; what an operating system loads stays the file that it is.

use object::Endianness;
use object::elf::{
    DT_NEEDED, EM_AARCH64, EM_ARM, EM_RISCV, EM_XTENSA, ET_REL, FileHeader32, FileHeader64, NT_GNU_ABI_TAG, PF_X,
    PT_INTERP, PT_LOAD, SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS, SHT_SYMTAB, STT_FUNC,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym};

use super::Part;
use crate::delta::{Arch, ImageHint, Segment};

/// What an ELF file starts with.
pub(super) const MAGIC: &[u8] = b"\x7fELF";

/// Whether addresses have 64 bits.
pub(super) fn is_wide(bytes: &[u8]) -> Option<bool> {
    match bytes.get(4) {
        Some(1) => Some(false),
        Some(2) => Some(true),
        _ => None,
    }
}

fn text(error: object::read::Error) -> String {
    error.to_string()
}

/// `narrow` or `wide` of the file, by the size of its addresses.
fn by_class<T>(
    bytes: &[u8],
    narrow: impl Fn(&[u8]) -> Result<T, String>,
    wide: impl Fn(&[u8]) -> Result<T, String>,
) -> Result<T, String> {
    let read = match is_wide(bytes) {
        Some(false) => narrow(bytes),
        Some(true) => wide(bytes),
        None => return Err("an ELF file of neither 32 nor 64 bits".into()),
    };
    read.map_err(|error| format!("damaged ELF file: {error}"))
}

/// The bytes of every loaded section at its load address, and the instruction set.
pub(super) fn parts(bytes: &[u8]) -> Result<(Vec<Part>, Option<Arch>), String> {
    by_class(bytes, parts_of::<FileHeader32<Endianness>>, parts_of::<FileHeader64<Endianness>>)
}

/// What is known of a file that an operating system loads; none for firmware.
pub(super) fn program(bytes: &[u8]) -> Result<Option<ImageHint>, String> {
    by_class(bytes, program_of::<FileHeader32<Endianness>>, program_of::<FileHeader64<Endianness>>)
}

/// The bytes of every loaded section at its load address. Sections, not whole segments: a linker may well place the ELF
/// header itself into the first segment, below the address at which the firmware starts. A file without section headers
/// is read by its segments.
fn parts_of<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<(Vec<Part>, Option<Arch>), String> {
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
    Ok((parts, arch_of(header, endian, bytes)?))
}

/// The instruction set, as far as the file tells it.
fn arch_of<H: FileHeader<Endian = Endianness>>(
    header: &H,
    endian: Endianness,
    bytes: &[u8],
) -> Result<Option<Arch>, String> {
    Ok(match header.e_machine(endian) {
        EM_AARCH64 => Some(Arch::AArch64),
        EM_RISCV => Some(Arch::RiscV),
        EM_XTENSA => Some(Arch::Xtensa),
        // Thumb code has odd addresses: the entry's, or those of most functions. Without either it shows in the code itself.
        EM_ARM if header.e_entry(endian).into() & 1 == 1 => Some(Arch::Thumb),
        EM_ARM => {
            let sections = header.sections(endian, bytes).map_err(text)?;
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
    })
}

/// A file that asks for a dynamic linker or for libraries, that bears the note of the system it is for, or that is yet to be linked:
/// its segments as they lie in the file.
fn program_of<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Option<ImageHint>, String> {
    let header = H::parse(bytes).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    let mut loaded_by_a_system = header.e_type(endian) == ET_REL;
    let mut segments = Vec::new();
    for segment in header.program_headers(endian, bytes).map_err(text)? {
        // What is damaged is told by who reads firmware.
        let libraries = segment.dynamic(endian, bytes).ok().flatten().unwrap_or_default();
        let mut notes = segment.notes(endian, bytes).ok().flatten();
        let mut is_tagged = false;
        while let Some(Ok(Some(note))) = notes.as_mut().map(|notes| notes.next()) {
            is_tagged |= note.name() == b"GNU" && note.n_type(endian) == NT_GNU_ABI_TAG;
        }
        loaded_by_a_system |= segment.p_type(endian) == PT_INTERP
            || libraries.iter().any(|entry| entry.d_tag(endian) == DT_NEEDED)
            || is_tagged;
        let (offset, length): (u64, u64) = (segment.p_offset(endian).into(), segment.p_filesz(endian).into());
        if segment.p_type(endian) == PT_LOAD
            && length > 0
            && let (Ok(offset), Ok(len)) = (u32::try_from(offset), u32::try_from(length))
        {
            let code = segment.p_flags(endian).0 & PF_X.0 != 0;
            segments.push(Segment { offset, address: segment.p_vaddr(endian).into(), len, code });
        }
    }
    if !loaded_by_a_system {
        return Ok(None);
    }
    segments.sort_by_key(|segment| segment.offset);
    // An object file has none, and one that has them elsewhere is matched without.
    if segments.first().is_none_or(|first| first.offset != 0) {
        segments.clear();
    }
    let wide = is_wide(bytes).unwrap_or(false);
    Ok(Some(ImageHint { arch: arch_of(header, endian, bytes)?, wide, segments }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: usize = 64;
    const ENTRY: usize = 56;

    /// A file of 64 bits for AArch64 with these segments: type, offset, length, content.
    fn file(kind: u16, segments: &[(u32, u64, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[16..18].copy_from_slice(&kind.to_le_bytes());
        bytes[18..20].copy_from_slice(&183u16.to_le_bytes());
        bytes[20] = 1;
        bytes[32..40].copy_from_slice(&(HEADER as u64).to_le_bytes());
        bytes[52..54].copy_from_slice(&(HEADER as u16).to_le_bytes());
        bytes[54..56].copy_from_slice(&(ENTRY as u16).to_le_bytes());
        bytes[56..58].copy_from_slice(&(segments.len() as u16).to_le_bytes());
        let mut behind = HEADER + ENTRY * segments.len();
        for (kind, address, content) in segments {
            let mut entry = [0; ENTRY];
            entry[..4].copy_from_slice(&kind.to_le_bytes());
            entry[4] = 5;
            // The first segment that is loaded has the headers.
            let offset = if *kind == PT_LOAD.0 { 0 } else { behind as u64 };
            entry[8..16].copy_from_slice(&offset.to_le_bytes());
            entry[16..24].copy_from_slice(&address.to_le_bytes());
            entry[24..32].copy_from_slice(&address.to_le_bytes());
            entry[32..40].copy_from_slice(&(behind as u64 + content.len() as u64 - offset).to_le_bytes());
            entry[48..56].copy_from_slice(&4u64.to_le_bytes());
            bytes.extend(entry);
            behind += content.len();
        }
        segments.iter().for_each(|(.., content)| bytes.extend(*content));
        bytes
    }

    const EXECUTABLE: u16 = 2;
    const SHARED: u16 = 3;
    const LOAD: (u32, u64, &[u8]) = (1, 0x40_0000, &[0x1f; 64]);

    #[test]
    fn what_a_system_loads_is_told_from_firmware() {
        let needed = [&1u64.to_le_bytes()[..], &7u64.to_le_bytes(), &[0; 16]].concat();
        let named = [&14u64.to_le_bytes()[..], &7u64.to_le_bytes(), &[0; 16]].concat();
        let note = |kind: u32| [&[4, 0, 0, 0, 4, 0, 0, 0][..], &kind.to_le_bytes(), b"GNU\0", &[0; 4]].concat();
        let of = |kind: u16, more: &[(u32, u64, &[u8])]| program(&file(kind, &[&[LOAD], more].concat())).unwrap();
        assert_eq!(of(EXECUTABLE, &[]), None, "firmware");
        assert_eq!(of(SHARED, &[(2, 0, &named)]), None, "firmware that relocates itself");
        assert_eq!(of(EXECUTABLE, &[(4, 0, &note(3))]), None, "firmware with a build id");
        for (kind, more) in
            [(EXECUTABLE, (3, 0, &b"/lib/ld.so\0"[..])), (SHARED, (2, 0, &needed)), (EXECUTABLE, (4, 0, &note(1)))]
        {
            let hint = of(kind, &[more]).unwrap_or_else(|| panic!("{more:?} is taken for firmware"));
            assert_eq!((hint.arch, hint.wide), (Some(Arch::AArch64), true));
            let &[Segment { offset: 0, address: 0x40_0000, code: true, .. }] = &hint.segments[..] else {
                panic!("{hint:?}")
            };
        }
        let module = program(&file(1, &[])).unwrap().unwrap();
        assert_eq!(module.segments, []);
    }

    #[test]
    fn a_damaged_file_is_no_program() {
        let whole = file(SHARED, &[LOAD, (2, 0, &[1, 0, 0, 0, 0, 0, 0, 0]), (4, 0, &[0xff; 12])]);
        assert_eq!(program(&whole), Ok(None));
        for len in 0..whole.len() {
            let _ = program(&whole[..len]);
        }
    }
}
