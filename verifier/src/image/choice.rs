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
    choose_available(target, installed, limits, |_| true)
}

/// The same, among the payloads that are `available`: those that came in a file.
pub fn choose_available(
    target: &Target<'_>,
    installed: Option<&Image>,
    limits: &Limits,
    available: impl Fn(&Payload) -> bool,
) -> Result<Choice, Error> {
    if u64::from(target.image.length) > limits.slot {
        return Err(Error::SlotTooSmall);
    }
    let fits = |payload: &Payload| {
        let decodable = payload.decoder_ram <= limits.decoder_ram && payload.window_log <= limits.window_log;
        available(payload) && (payload.codec == Codec::RAW || decodable)
    };
    let usable_base = |payload: &Payload| payload.base.is_some() && payload.base.as_ref() == installed;
    let delta = |payload: &Payload| payload.codec == Codec::DELTA && usable_base(payload) && fits(payload);
    let full = |payload: &Payload| matches!(payload.codec, Codec::RAW | Codec::ZSTD) && fits(payload);
    if let Some(payload) = target.payloads.iter().find(delta) {
        return Ok(Choice::Delta(payload));
    }
    match target.payloads.iter().find(full) {
        Some(payload) if !limits.delta_only => Ok(Choice::Full(payload)),
        _ => Err(Error::NoUsablePayload),
    }
}
