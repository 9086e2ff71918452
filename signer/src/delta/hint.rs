//! What an ELF file tells of the image made from it.

use object::{Architecture, Object, ObjectSegment, SegmentFlags, elf, read::File};
use sealift_manifests::delta_format::Arch;

/// A loadable piece of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the image.
    pub offset: u32,
    /// Address at which code sees it.
    pub address: u64,
    /// Length in bytes.
    pub len: u32,
    /// Whether it holds code.
    pub code: bool,
}

/// Instruction set and layout of an image, known from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageHint {
    /// Instruction set.
    pub arch: Arch,
    /// Its pieces, by offset.
    pub segments: Vec<Segment>,
}

impl ImageHint {
    /// Reads an ELF file whose loadable segments, laid out by physical address, are the image. `None` if it is no such file.
    pub fn from_elf(file: &[u8]) -> Option<Self> {
        let elf = File::parse(file).ok()?;
        let arch = match elf.architecture() {
            // A Cortex-M has an odd entry address; A32 code starts at an even one.
            Architecture::Arm if elf.entry() & 1 == 1 => Arch::Thumb,
            Architecture::Arm => Arch::Arm,
            Architecture::Aarch64 => Arch::AArch64,
            Architecture::Riscv32 | Architecture::Riscv64 => Arch::RiscV,
            Architecture::Xtensa => Arch::Xtensa,
            _ => Arch::None,
        };
        let mut found: Vec<(u64, u64, u64, bool)> = Vec::new();
        for segment in elf.segments() {
            let (_, len) = segment.file_range();
            if len == 0 {
                continue;
            }
            let code = match segment.flags() {
                SegmentFlags::Elf { p_flags, .. } => p_flags.0 & elf::PF_X.0 != 0,
                _ => true,
            };
            found.push((
                physical(&elf, file, segment.address()).unwrap_or(segment.address()),
                segment.address(),
                len,
                code,
            ));
        }
        found.sort_unstable();
        let first = found.first()?.0;
        let segments = found.into_iter().map(|(physical, address, len, code)| {
            Some(Segment {
                offset: u32::try_from(physical - first).ok()?,
                address,
                len: u32::try_from(len).ok()?,
                code,
            })
        });
        Some(Self { arch, segments: segments.collect::<Option<_>>()? })
    }
}

/// The physical address of the segment at a virtual one.
fn physical(elf: &File<'_>, file: &[u8], address: u64) -> Option<u64> {
    use object::read::elf::{ElfFile32, ElfFile64, ProgramHeader};
    if elf.is_64() {
        let parsed = ElfFile64::<object::Endianness>::parse(file).ok()?;
        let endian = parsed.endian();
        let header = parsed.elf_program_headers().iter().find(|header| header.p_vaddr(endian) == address)?;
        Some(header.p_paddr(endian))
    } else {
        let parsed = ElfFile32::<object::Endianness>::parse(file).ok()?;
        let endian = parsed.endian();
        let header = parsed.elf_program_headers().iter().find(|header| u64::from(header.p_vaddr(endian)) == address)?;
        Some(header.p_paddr(endian).into())
    }
}
