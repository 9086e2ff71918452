//! Frame headers (RFC 8878 section 3.1.1.1), for payloads that are standard zstd files.

use super::Corrupt;

/// `Magic_Number` of a zstd frame.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What the first five bytes of a frame say: how long its header is.
pub(in crate::delta) struct FrameStart {
    descriptor: u8,
}

/// What a decoder needs to know of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delta) struct FrameHeader {
    /// Bytes of window (or of content, when the frame is a single segment).
    pub(in crate::delta) window: u64,
    /// Four bytes of checksum follow the last block.
    pub(in crate::delta) checksum: bool,
}

impl FrameStart {
    /// Bytes needed to call [`Self::parse`].
    pub(in crate::delta) const LEN: usize = 5;

    pub(in crate::delta) fn parse(bytes: [u8; Self::LEN]) -> Result<Self, Corrupt> {
        let [m0, m1, m2, m3, descriptor] = bytes;
        // Bit 3 is reserved; bits 0 and 1 would announce a dictionary.
        if [m0, m1, m2, m3] != MAGIC || descriptor & 0x0b != 0 {
            return Err(Corrupt);
        }
        Ok(Self { descriptor })
    }

    fn single_segment(&self) -> bool {
        self.descriptor & 0x20 != 0
    }

    /// Bytes of header behind the first five.
    pub(in crate::delta) fn rest(&self) -> usize {
        let size = match self.descriptor >> 6 {
            0 => usize::from(self.single_segment()),
            1 => 2,
            2 => 4,
            _ => 8,
        };
        size + usize::from(!self.single_segment())
    }

    /// Reads the rest of the header.
    pub(in crate::delta) fn finish(&self, rest: &[u8]) -> Result<FrameHeader, Corrupt> {
        let checksum = self.descriptor & 4 != 0;
        let window = if self.single_segment() {
            let size = rest.iter().rev().fold(0u64, |size, &byte| size << 8 | u64::from(byte));
            if rest.len() == 2 { size + 256 } else { size }
        } else {
            let byte = *rest.first().ok_or(Corrupt)?;
            let base = 1u64 << (10 + (byte >> 3));
            base + (base >> 3) * u64::from(byte & 7)
        };
        Ok(FrameHeader { window, checksum })
    }
}
