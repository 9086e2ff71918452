//! The signer's side of address prediction: an owned address map, whole images seen through it, and what a copy yields.

use sealift_manifests::delta_format::{Arch, field};
use sealift_verifier::delta::{
    AddressMap, Region,
    predict::{Place, retarget},
};

use super::{matcher::Op, serial};

/// An address map that owns its tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    pub(super) origin: u64,
    pub(super) regions: Vec<Region>,
    pub(super) keys: Vec<u32>,
    pub(super) shifts: Vec<u32>,
}

impl Map {
    pub(super) fn view(&self) -> AddressMap<'_> {
        AddressMap { origin: self.origin, regions: &self.regions, keys: &self.keys, shifts: &self.shifts }
    }

    /// The numbers of the prelude.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.regions.is_empty() && self.keys.is_empty() {
            return bytes;
        }
        serial::push_number(&mut bytes, self.origin as u32);
        serial::push_number(&mut bytes, (self.origin >> 32) as u32);
        for region in &self.regions {
            for number in [region.address, region.len, region.base.map_or(0, |base| base + 1), region.target_bias] {
                serial::push_number(&mut bytes, number);
            }
        }
        let mut last = 0;
        for &key in &self.keys {
            serial::push_number(&mut bytes, key - last);
            last = key;
        }
        last = 0;
        for &shift in &self.shifts {
            serial::push_number(&mut bytes, serial::zigzag(shift.wrapping_sub(last)));
            last = shift;
        }
        bytes
    }
}

/// What is predicted, and with which map.
#[derive(Clone, Debug)]
pub(super) struct Prediction {
    pub(super) arch: Arch,
    pub(super) fields: u8,
    pub(super) map: Map,
}

impl Prediction {
    /// No prediction at all.
    pub(super) fn none() -> Self {
        Self { arch: Arch::None, fields: 0, map: Map::default() }
    }

    pub(super) fn is_none(&self) -> bool {
        self.arch == Arch::None && self.fields & !field::READ_BACK == 0
    }

    /// What a decoder has before corrections: predicted bytes for copies, zeros for literals.
    pub(super) fn predict(&self, ops: &[Op], base: &[u8], target: &[u8]) -> Vec<u8> {
        let mut predicted = vec![0; target.len()];
        let mut at = 0usize;
        for op in ops {
            at += op.literals as usize;
            let (to, len) = (at as u32, op.copy as usize);
            let piece = &mut predicted[at..at + len];
            match (op.source as usize).checked_sub(base.len()) {
                None => piece.copy_from_slice(&base[op.source as usize..op.source as usize + len]),
                Some(own) => piece.copy_from_slice(&target[own..own + len]),
            }
            if !self.is_none()
                && let Some(place) = self.place(op, to, base.len())
            {
                retarget(piece, 0, len, &place);
            }
            at += len;
        }
        predicted
    }

    /// Where a copy comes from and goes to, as the decoder has it.
    fn place(&self, op: &Op, to: u32, base_len: usize) -> Option<Place<'_>> {
        let map = self.map.view();
        let place = |from, to, map, piece_len| Place {
            arch: self.arch,
            fields: self.fields,
            map,
            from,
            to,
            pinned: false,
            piece: from,
            piece_len,
        };
        if let Some(own) = (op.source as usize).checked_sub(base_len) {
            let identity = AddressMap { keys: &[], shifts: &[], ..map };
            return Some(place(map.target_address(own as u32), map.target_address(to), identity, 0));
        }
        let region = map.region_of(op.source)?;
        let from = region.address.wrapping_add(op.source.wrapping_sub(region.base?));
        Some(place(from, to.wrapping_add(region.target_bias), map, op.copy))
    }
}
