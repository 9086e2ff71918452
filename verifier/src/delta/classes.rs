//! Decoders of the four RAM classes.

use sealift_manifests::delta_format::{Limits, RamClass};

use super::Decoder;

/// A decoder for payloads of the 16 KiB class.
pub type Decoder16K = Decoder<{ windows(RamClass::Ram16K) }, { block(RamClass::Ram16K) }, { shifts(RamClass::Ram16K) }>;
/// A decoder for payloads of the 24 KiB class.
pub type Decoder24K = Decoder<{ windows(RamClass::Ram24K) }, { block(RamClass::Ram24K) }, { shifts(RamClass::Ram24K) }>;
/// A decoder for payloads of the 64 KiB class.
pub type Decoder64K = Decoder<{ windows(RamClass::Ram64K) }, { block(RamClass::Ram64K) }, { shifts(RamClass::Ram64K) }>;
/// A decoder for payloads of every class; too large for a stack, put it in a `Box` or a `static`.
pub type HostDecoder = Decoder<{ windows(RamClass::Host) }, { block(RamClass::Host) }, { shifts(RamClass::Host) }>;

const fn windows(class: RamClass) -> usize {
    class.limits().windows as usize
}

const fn block(class: RamClass) -> usize {
    class.limits().block as usize
}

const fn shifts(class: RamClass) -> usize {
    class.limits().shifts as usize
}

impl<const WINDOWS: usize, const BLOCK: usize, const SHIFTS: usize> Decoder<WINDOWS, BLOCK, SHIFTS> {
    /// What this decoder can take.
    pub const LIMITS: Limits = Limits { windows: WINDOWS as u32, block: BLOCK as u32, shifts: SHIFTS as u16 };

    /// RAM of this decoder in bytes, everything counted except some 400 bytes of stack.
    pub const RAM: usize = size_of::<Self>();
}
