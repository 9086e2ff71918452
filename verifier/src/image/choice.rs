//! Which of a target's payloads this device takes.

use sealift_manifests::{Codec, Image, Payload, Target};

use crate::error::Error;

/// What this device can decode, and what its link may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// RAM that its decoder has, in bytes; 0 when it takes raw images alone.
    pub decoder_ram: u32,
    /// Binary logarithm of the largest window its decoder holds.
    pub window_log: u8,
    /// Bytes of the slot.
    pub slot: u64,
    /// Takes deltas alone: a metered link.
    pub delta_only: bool,
}

/// A payload of a target, chosen for this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A delta against the installed image.
    Delta(Payload),
    /// The whole image, raw or compressed.
    Full(Payload),
}

impl Choice {
    /// The payload.
    pub const fn payload(&self) -> &Payload {
        match self {
            Choice::Delta(payload) | Choice::Full(payload) => payload,
        }
    }
}

/// Chooses the first delta whose base is the installed image and that fits the decoder; else, unless the link is for deltas
/// alone, the first full payload that fits. The order within a kind is the signer's preference.
pub fn choose_payload(target: &Target<'_>, installed: Option<&Image>, limits: &Limits) -> Result<Choice, Error> {
    if u64::from(target.image.length) > limits.slot {
        return Err(Error::SlotTooSmall);
    }
    let fits = |payload: &Payload| {
        payload.codec == Codec::RAW
            || (payload.decoder_ram <= limits.decoder_ram && payload.window_log <= limits.window_log)
    };
    let usable_base = |payload: &Payload| payload.base.is_some() && payload.base.as_ref() == installed;
    let deltas = target.payloads.iter().filter(|payload| payload.codec == Codec::DELTA);
    if let Some(delta) = deltas.into_iter().find(|payload| usable_base(payload) && fits(payload)) {
        return Ok(Choice::Delta(delta));
    }
    let full = target.payloads.iter().filter(|payload| matches!(payload.codec, Codec::RAW | Codec::ZSTD));
    match full.into_iter().find(fits) {
        Some(payload) if !limits.delta_only => Ok(Choice::Full(payload)),
        _ => Err(Error::NoUsablePayload),
    }
}
