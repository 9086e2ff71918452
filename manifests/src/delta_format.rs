//! Byte layout of a Sealift delta (`DELTA.md` beside this crate is the prose): payload codec ids, RAM classes and the fixed
//! header. Everything behind the header is a stream and is read by the verifier's decoder.
//!
//! All integers are little-endian. The header repeats what the signed target already says (lengths and digests), so that a
//! delta file can be inspected and applied by itself; a device compares the two and trusts only the signed ones.

/// First four bytes of every delta. The last byte is no text, so that a transfer in text mode is noticed.
pub const MAGIC: [u8; 4] = *b"SLD\x1a";
/// Version of the layout described here. A decoder refuses every other one.
pub const VERSION: u8 = 1;
/// Length of the fixed header in bytes; the prelude (address map) starts here.
pub const HEADER_LEN: usize = 96;
/// Number of separately compressed streams in a delta's body.
pub const STREAMS: usize = 7;
/// The streams of a delta's body, by their numbers.
pub mod stream {
    /// Numbers of literal bytes, one an operation.
    pub const LITERAL_LEN: usize = 0;
    /// Numbers of copied bytes, one an operation.
    pub const COPY_LEN: usize = 1;
    /// Heads of diagonals: how many more bytes there are, and the upper six bits.
    pub const DIAGONAL: usize = 2;
    /// The lower bytes of diagonals.
    pub const DIAGONAL_LOW: usize = 3;
    /// Lengths of unchanged stretches of copies.
    pub const RUN: usize = 4;
    /// What is added to the byte behind each such stretch.
    pub const DIFFERENCE: usize = 5;
    /// New bytes; and the prelude.
    pub const LITERAL: usize = 6;
}
/// Smallest window of a stream as a power of two: zstd frames know no smaller one.
pub const MIN_WINDOW_LOG: u8 = 10;
/// Largest window of a stream as a power of two: what the `host` class can hold.
pub const MAX_WINDOW_LOG: u8 = 20;
/// Most regions an address map may list (an ESP32 image has 5 to 7 loadable segments).
pub const MAX_REGIONS: usize = 12;
/// Copies from the target itself end at least this many bytes before the write position, so that a slot which buffers a
/// flash page or two can always read them back.
pub const READ_BACK_MARGIN: u32 = 4096;
/// Smallest window of a [`field::FRAME`] body as a power of two: what it does not hold can be read back.
pub const MIN_FRAME_LOG: u8 = READ_BACK_MARGIN.ilog2() as u8;
/// Unit of [`Header::block`] in bytes.
pub const BLOCK_UNIT: u32 = 1024;

/// How a payload carries the image; the number is what a signed target lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// The image as it is.
    Raw = 0,
    /// The image as standard zstd frames, one after the other, inside the limits of the RAM class.
    Zstd = 1,
    /// A Sealift delta against a base image.
    Delta = 2,
}

impl Codec {
    /// The codec with this number, if there is one.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            2 => Some(Self::Delta),
            _ => None,
        }
    }

    /// The number of this codec.
    pub const fn id(self) -> u8 {
        self as u8
    }
}

/// The RAM a decoder needs, everything counted (windows, entropy tables, buffers, address map).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RamClass {
    /// 16 KiB.
    Ram16K = 0,
    /// 24 KiB.
    Ram24K = 1,
    /// 64 KiB.
    Ram64K = 2,
    /// A host or a Linux device: 2 MiB.
    Host = 3,
}

/// What a RAM class allows to a payload. The signer stays inside; a decoder of that class accepts anything inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes for windows and for the block at hand. A delta's windows, and the largest of them again for a block, fit in; so do the
    /// one window and the largest block of a zstd payload.
    pub memory: u32,
    /// Most entries of the shift table.
    pub shifts: u16,
}

impl RamClass {
    /// All classes, smallest first.
    pub const ALL: [Self; 4] = [Self::Ram16K, Self::Ram24K, Self::Ram64K, Self::Host];

    /// The class with this number, if there is one.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Ram16K),
            1 => Some(Self::Ram24K),
            2 => Some(Self::Ram64K),
            3 => Some(Self::Host),
            _ => None,
        }
    }

    /// The number of this class.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Bytes of RAM a decoder of this class may take.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Ram16K => 16 * 1024,
            Self::Ram24K => 24 * 1024,
            Self::Ram64K => 64 * 1024,
            Self::Host => 2 * 1024 * 1024,
        }
    }

    /// What payloads of this class may ask for.
    pub const fn limits(self) -> Limits {
        match self {
            Self::Ram16K => Limits { memory: 8 * 1024, shifts: 64 },
            Self::Ram24K => Limits { memory: 13 * 1024, shifts: 448 },
            Self::Ram64K => Limits { memory: 48 * 1024, shifts: 1024 },
            Self::Host => Limits { memory: 1792 * 1024, shifts: 8192 },
        }
    }

    /// The name used on command lines and in `sealift.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ram16K => "16KiB",
            Self::Ram24K => "24KiB",
            Self::Ram64K => "64KiB",
            Self::Host => "host",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name().eq_ignore_ascii_case(name))
    }
}

impl Limits {
    /// Largest window of a zstd payload, as a power of two, and the largest block beside it.
    pub const fn zstd(&self) -> (u8, u32) {
        let log = match (self.memory - self.memory / 4).checked_ilog2() {
            Some(log) => log as u8,
            None => 0,
        };
        let spare = self.memory.saturating_sub(1 << log);
        (log, if spare < 1 << log { spare } else { 1 << log })
    }
}

/// Instruction set whose address fields are predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Arch {
    /// No instruction is looked at (pointers may be).
    None = 0,
    /// ARM Thumb and Thumb-2 (all Cortex-M).
    Thumb = 1,
    /// ARM A32.
    Arm = 2,
    /// AArch64.
    AArch64 = 3,
    /// RISC-V, 32 or 64 bit, with or without compressed instructions.
    RiscV = 4,
    /// Xtensa (ESP8266, ESP32, ESP32-S2, ESP32-S3).
    Xtensa = 5,
}

impl Arch {
    /// The instruction set with this number, if there is one.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Thumb),
            2 => Some(Self::Arm),
            3 => Some(Self::AArch64),
            4 => Some(Self::RiscV),
            5 => Some(Self::Xtensa),
            _ => None,
        }
    }

    /// The name shown to people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Thumb => "thumb",
            Self::Arm => "arm",
            Self::AArch64 => "aarch64",
            Self::RiscV => "riscv",
            Self::Xtensa => "xtensa",
        }
    }
}

/// Which kinds of address fields are predicted, and what the decoder must be able to do. One bit each.
pub mod field {
    /// Branches and calls, PC-relative.
    pub const BRANCH: u8 = 0x01;
    /// Instruction pairs that build an address (ADRP+ADD, AUIPC+ADDI, LUI+ADDI, MOVW+MOVT), and Xtensa's L32R.
    pub const PAIR: u8 = 0x02;
    /// Aligned 32-bit absolute pointers into a region.
    pub const POINTER32: u8 = 0x04;
    /// Aligned 64-bit absolute pointers into a region.
    pub const POINTER64: u8 = 0x08;
    /// Aligned 32-bit words that hold a distance from their own place (jump tables, `.eh_frame`).
    pub const RELATIVE32: u8 = 0x10;
    /// The body is one zstd frame whose window is base and target laid end to end; [`READ_BACK`] is the one other bit beside it.
    pub const FRAME: u8 = 0x40;
    /// The body copies from the target already written: the output must be readable.
    pub const READ_BACK: u8 = 0x80;
    /// Every bit that has a meaning in this version.
    pub const ALL: u8 = BRANCH | PAIR | POINTER32 | POINTER64 | RELATIVE32 | FRAME | READ_BACK;
}

/// The fixed header of a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The smallest class whose limits this delta keeps.
    pub ram: RamClass,
    /// Instruction set of the prediction.
    pub arch: Arch,
    /// Bits of [`field`].
    pub fields: u8,
    /// Length of the base image in bytes.
    pub base_len: u32,
    /// Length of the target image in bytes.
    pub target_len: u32,
    /// SHA-256 of the base image.
    pub base_sha256: [u8; 32],
    /// SHA-256 of the target image.
    pub target_sha256: [u8; 32],
    /// Windows of the body's streams, as powers of two. A [`field::FRAME`] body has the first one alone; the others are 0.
    pub window_logs: [u8; STREAMS],
    /// Entries of the shift table in the prelude.
    pub shifts: u16,
    /// Most bytes of content that a block of a [`field::FRAME`] body has, in units of [`BLOCK_UNIT`]; 0 for every other body.
    pub block: u8,
    /// Regions of the address map in the prelude.
    pub regions: u8,
    /// Offset in the file at which the body's first section starts.
    pub body: u32,
}

/// Why 96 bytes are no header of a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Fewer than [`HEADER_LEN`] bytes.
    Truncated,
    /// The first four bytes are not [`MAGIC`]: no delta at all.
    Magic,
    /// Made for another version of the format (the number found).
    Version(u8),
    /// A field has a value without a meaning; the number is its offset in the header.
    Field(u8),
}

impl Header {
    /// Reads a header from the first [`HEADER_LEN`] bytes of `bytes`.
    ///
    /// # Errors
    /// [`HeaderError`] names what is wrong. Unknown numbers and bits are refused, never skipped.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let b: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(HeaderError::Truncated)?;
        if b[..4] != MAGIC {
            return Err(HeaderError::Magic);
        }
        if b[4] != VERSION {
            return Err(HeaderError::Version(b[4]));
        }
        let word = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let digest = |at: usize| {
            let mut digest = [0; 32];
            digest.copy_from_slice(&b[at..at + 32]);
            digest
        };
        let header = Self {
            ram: RamClass::from_id(b[5]).ok_or(HeaderError::Field(5))?,
            arch: Arch::from_id(b[6]).ok_or(HeaderError::Field(6))?,
            fields: b[7],
            base_len: word(8),
            target_len: word(12),
            base_sha256: digest(16),
            target_sha256: digest(48),
            window_logs: [b[80], b[81], b[82], b[83], b[84], b[85], b[86]],
            block: b[87],
            shifts: u16::from_le_bytes([b[88], b[89]]),
            regions: b[90],
            body: word(92),
        };
        if header.fields & !field::ALL != 0 {
            return Err(HeaderError::Field(7));
        }
        let frame = header.is_frame();
        // What a frame has no use for is 0 beside it.
        if frame && (header.fields != field::FRAME | field::READ_BACK || b[6] | b[88] | b[89] | b[90] != 0) {
            return Err(HeaderError::Field(7));
        }
        let (streams, least) = if frame { (1, MIN_FRAME_LOG) } else { (STREAMS, MIN_WINDOW_LOG) };
        for (stream, log) in header.window_logs.iter().enumerate() {
            let good = if stream < streams { (least..=MAX_WINDOW_LOG).contains(log) } else { *log == 0 };
            if !good {
                return Err(HeaderError::Field(80));
            }
        }
        if b[87] != 0 && !frame {
            return Err(HeaderError::Field(87));
        }
        if usize::from(header.regions) > MAX_REGIONS {
            return Err(HeaderError::Field(90));
        }
        if b[91] != 0 {
            return Err(HeaderError::Field(91));
        }
        if (header.body as usize) < HEADER_LEN {
            return Err(HeaderError::Field(92));
        }
        Ok(header)
    }

    /// The header's bytes; [`Header::parse`] reads them back.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut b = [0; HEADER_LEN];
        b[..4].copy_from_slice(&MAGIC);
        b[4] = VERSION;
        b[5] = self.ram.id();
        b[6] = self.arch as u8;
        b[7] = self.fields;
        b[8..12].copy_from_slice(&self.base_len.to_le_bytes());
        b[12..16].copy_from_slice(&self.target_len.to_le_bytes());
        b[16..48].copy_from_slice(&self.base_sha256);
        b[48..80].copy_from_slice(&self.target_sha256);
        b[80..87].copy_from_slice(&self.window_logs);
        b[87] = self.block;
        b[88..90].copy_from_slice(&self.shifts.to_le_bytes());
        b[90] = self.regions;
        b[92..].copy_from_slice(&self.body.to_le_bytes());
        b
    }

    /// Whether the body is one zstd frame over base and target.
    pub const fn is_frame(&self) -> bool {
        self.fields & field::FRAME != 0
    }

    /// Bytes of memory that the windows and the largest block take; `None` where a window has no size.
    pub fn memory(&self) -> Option<u32> {
        let (mut windows, mut largest) = (0u32, 0u32);
        for log in self.window_logs {
            // A log of 0 stands for no window.
            let window = 1u32.checked_shl(u32::from(log))? & !1;
            windows = windows.saturating_add(window);
            largest = largest.max(window);
        }
        let block = if self.is_frame() { u32::from(self.block) * BLOCK_UNIT } else { largest };
        Some(windows.saturating_add(block))
    }

    /// Whether a decoder of `class` can hold this delta.
    pub fn fits(&self, limits: &Limits) -> bool {
        self.memory().is_some_and(|memory| memory <= limits.memory) && self.shifts <= limits.shifts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            ram: RamClass::Ram24K,
            arch: Arch::Thumb,
            fields: field::BRANCH | field::POINTER32,
            base_len: 318_368,
            target_len: 320_016,
            base_sha256: [0xb5; 32],
            target_sha256: [0x7a; 32],
            window_logs: [10, 10, 10, 10, 11, 11, 11],
            shifts: 320,
            block: 0,
            regions: 2,
            body: 700,
        }
    }

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        assert_eq!(Header::parse(&header().to_bytes()), Ok(header()));
    }

    #[test]
    fn each_field_without_meaning_is_refused_by_its_offset() {
        let good = header().to_bytes();
        for (at, value, expected) in [
            (0, 0, HeaderError::Magic),
            (4, 2, HeaderError::Version(2)),
            (5, 9, HeaderError::Field(5)),
            (6, 9, HeaderError::Field(6)),
            (7, 0x40, HeaderError::Field(7)),
            (81, 9, HeaderError::Field(80)),
            (83, 40, HeaderError::Field(80)),
            (87, 1, HeaderError::Field(87)),
            (90, 13, HeaderError::Field(90)),
            (91, 1, HeaderError::Field(91)),
        ] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(Header::parse(&bad), Err(expected), "byte {at}");
        }
        let mut bad = good;
        bad[92..].copy_from_slice(&95u32.to_le_bytes());
        assert_eq!(Header::parse(&bad), Err(HeaderError::Field(92)));
        assert_eq!(Header::parse(&good[..HEADER_LEN - 1]), Err(HeaderError::Truncated));
    }

    #[test]
    fn windows_and_shifts_beyond_the_class_do_not_fit() {
        assert!(header().fits(&RamClass::Ram24K.limits()));
        assert!(!Header { window_logs: [20; STREAMS], ..header() }.fits(&RamClass::Ram24K.limits()));
        assert!(!Header { shifts: 449, ..header() }.fits(&RamClass::Ram24K.limits()));
        assert!(RamClass::ALL.iter().all(|class| RamClass::from_id(class.id()) == Some(*class)));
        assert_eq!(RamClass::from_name("24kib"), Some(RamClass::Ram24K));
    }
}
