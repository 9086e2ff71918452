//! A [`DecodeError`] in two bytes, so that an [`Error`](crate::Error) fits one register.

use core::fmt;
use core::num::NonZeroU16;

use sealift_manifests::{DecodeError, Fault};

/// Bits of the offset; the fault's number stands above them.
const OFFSET_BITS: u32 = 12;
/// This offset, or one behind it.
const FAR: u16 = (1 << OFFSET_BITS) - 1;

/// What is wrong with a file's bytes, and where. Offsets are exact below 4,095: everywhere in a role's signed bytes, which are
/// 3,584 at most.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Malformation(NonZeroU16);

impl Malformation {
    /// What is wrong.
    pub const fn fault(self) -> Fault {
        match Fault::from_number(self.number()) {
            Some(fault) => fault,
            None => Fault::BadValue,
        }
    }

    /// The number of the fault.
    pub const fn number(self) -> u8 {
        (self.0.get() >> OFFSET_BITS) as u8
    }

    /// Offset in bytes of what was seen; 4,095 stands for everything from there on.
    pub const fn offset(self) -> usize {
        (self.0.get() & FAR) as usize
    }
}

impl From<DecodeError> for Malformation {
    fn from(error: DecodeError) -> Self {
        let offset = u16::try_from(error.offset()).unwrap_or(FAR).min(FAR);
        // Faults have numbers from 1 to 14, so this is never zero.
        let word = u16::from(error.number()) << OFFSET_BITS | offset;
        Malformation(NonZeroU16::new(word).unwrap_or(NonZeroU16::MAX))
    }
}

impl fmt::Debug for Malformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.fault(), self.offset())
    }
}

impl fmt::Display for Malformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.offset() == usize::from(FAR) { " or later" } else { "" };
        write!(f, "at byte {}{more}", self.offset())
    }
}
