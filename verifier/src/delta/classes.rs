//! Decoders of the four RAM classes.

use sealift_manifests::delta_format::{Limits, RamClass};

use super::Decoder;

/// A decoder for payloads of the 16 KiB class.
pub type Decoder16K = Decoder<{ memory(RamClass::Ram16K) }, { shifts(RamClass::Ram16K) }>;
/// A decoder for payloads of the 24 KiB class.
pub type Decoder24K = Decoder<{ memory(RamClass::Ram24K) }, { shifts(RamClass::Ram24K) }>;
/// A decoder for payloads of the 64 KiB class.
pub type Decoder64K = Decoder<{ memory(RamClass::Ram64K) }, { shifts(RamClass::Ram64K) }>;
/// A decoder for payloads of every class; too large for a stack, put it in a `Box` or a `static`.
pub type HostDecoder = Decoder<{ memory(RamClass::Host) }, { shifts(RamClass::Host) }>;

const fn memory(class: RamClass) -> usize {
    class.limits().memory as usize
}

const fn shifts(class: RamClass) -> usize {
    class.limits().shifts as usize
}

impl<const MEMORY: usize, const SHIFTS: usize> Decoder<MEMORY, SHIFTS> {
    /// What this decoder can take.
    pub const LIMITS: Limits = Limits { memory: MEMORY as u32, shifts: SHIFTS as u16 };

    /// RAM of this decoder in bytes, everything counted except some 400 bytes of stack.
    pub const RAM: usize = size_of::<Self>();
}
