//! The signer's side of address prediction: an owned address map, whole images seen through it, and what a copy yields.

use std::cell::RefCell;

use sealift_manifests::delta_format::{Arch, field};
use sealift_verifier::delta::{
    AddressMap, Region,
    predict::{MapMover, Mover, Place, retarget},
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
        AddressMap::new(self.origin, &self.regions, &self.keys, &self.shifts)
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
            let kind = if region.base.is_none() { 0 } else { 1 + u32::from(region.code) };
            for number in [region.address, region.len, kind, region.base.unwrap_or(0), region.target_bias] {
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

/// How a whole image is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Fields blanked: images look alike wherever things are.
    Blank,
    /// Fields show the targets' new addresses, by the map's shifts: the base's side.
    Moved,
    /// Fields show their targets: the target's side.
    Plain,
}

/// A stretch of a copy inside of one region.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Offsets in base and target, and length.
    pub(super) source: u32,
    pub(super) target: u32,
    pub(super) len: u32,
    /// Old and new address of its first byte.
    pub(super) from: u32,
    pub(super) to: u32,
    /// Whether instructions are looked for.
    pub(super) code: bool,
}

/// A field's target, seen at an offset of the piece that was scanned.
pub(super) type Sighting = (u32, u32);

/// Sends every target to one place.
struct Blank(u32);

impl Mover for Blank {
    fn moved(&self, _: usize, _: u32) -> u32 {
        self.0
    }
}

/// Notes what it is asked for.
struct Recorder<'a>(&'a RefCell<Vec<Sighting>>);

impl Mover for Recorder<'_> {
    fn moved(&self, at: usize, target: u32) -> u32 {
        self.0.borrow_mut().push((at as u32, target));
        target
    }
}

impl Prediction {
    /// No prediction at all.
    pub(super) fn none() -> Self {
        Self { arch: Arch::None, fields: 0, map: Map::default() }
    }

    /// Address of the image's first byte.
    pub(super) fn load_address(&self) -> u64 {
        let first = self.map.regions.iter().filter(|region| region.base.is_some()).min_by_key(|region| region.base);
        first.map_or(0, |region| {
            self.map.origin.wrapping_add(u64::from(region.address)).wrapping_sub(u64::from(region.base.unwrap_or(0)))
        })
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
            if !self.is_none() {
                self.retarget(piece, op, to, base.len());
            }
            at += len;
        }
        predicted
    }

    /// Retargets a copy as the decoder does.
    fn retarget(&self, bytes: &mut [u8], op: &Op, to: u32, base_len: usize) {
        let map = self.map.view();
        if let Some(own) = (op.source as usize).checked_sub(base_len) {
            let Some(region) = map.target_region(own as u32) else { return };
            let identity = map.unmoved();
            let (from, to) = ((own as u32).wrapping_add(region.target_bias), to.wrapping_add(region.target_bias));
            let mover = MapMover { map: identity, piece: from, len: 0, shift: 0 };
            self.retarget_piece(bytes, region.code, from, to, mover);
            return;
        }
        for piece in self.pieces(op.source, to, op.copy) {
            let start = (piece.target - to) as usize;
            let mover = MapMover { map, piece: piece.from, len: piece.len, shift: piece.to.wrapping_sub(piece.from) };
            let bytes = &mut bytes[start..start + piece.len as usize];
            self.retarget_piece(bytes, piece.code, piece.from, piece.to, mover);
        }
    }

    fn retarget_piece(&self, bytes: &mut [u8], code: bool, from: u32, to: u32, mover: MapMover<'_>) {
        let place = Place {
            arch: if code { self.arch } else { Arch::None },
            fields: self.fields,
            map: self.map.view(),
            mover,
            from,
            to,
            pinned: false,
        };
        retarget(bytes, 0, bytes.len(), &place);
    }

    /// The pieces of a copy from `source` to `target`, cut where regions start, as far as they lie in regions.
    pub(super) fn pieces(&self, mut source: u32, mut target: u32, mut len: u32) -> Vec<Piece> {
        let map = self.map.view();
        let mut pieces = Vec::new();
        while len > 0 {
            let now = len.min(map.until_next_region(source));
            if let Some((region, base)) = map.region_of(source).and_then(|region| Some((region, region.base?))) {
                let from = region.address.wrapping_add(source.wrapping_sub(base));
                let to = target.wrapping_add(region.target_bias);
                pieces.push(Piece { source, target, len: now, from, to, code: region.code });
            }
            (source, target, len) = (source + now, target + now, len - now);
        }
        pieces
    }

    /// A whole image seen so that what has merely moved looks the same. `of_target` says whose regions apply.
    pub(super) fn view(&self, image: &[u8], of_target: bool, view: View) -> Vec<u8> {
        let mut seen = image.to_vec();
        self.scan(&mut seen, of_target, |bytes, from, code| {
            let map = self.map.view();
            // Pinned to the origin, a distance shows its target.
            match view {
                View::Blank => self.pass(bytes, code, from, 0, Blank(0)),
                View::Moved => self.pass(bytes, code, from, 0, MapMover { map, piece: 0, len: 0, shift: 0 }),
                View::Plain => {
                    let map = map.unmoved();
                    self.pass(bytes, code, from, 0, MapMover { map, piece: 0, len: 0, shift: 0 });
                }
            }
        });
        seen
    }

    fn pass(&self, bytes: &mut [u8], code: bool, from: u32, to: u32, mover: impl Mover) {
        let arch = if code { self.arch } else { Arch::None };
        let place = Place { arch, fields: self.fields, map: self.map.view(), mover, from, to, pinned: true };
        retarget(bytes, 0, bytes.len(), &place);
    }

    /// Calls `visit` with the bytes of each region of an image and their first address.
    fn scan(&self, image: &mut [u8], of_target: bool, mut visit: impl FnMut(&mut [u8], u32, bool)) {
        let mut starts: Vec<(usize, u32, bool)> = self
            .map
            .regions
            .iter()
            .filter_map(|region| {
                let base = region.base?;
                // Where the target has a region follows from its bias.
                let start = if of_target { region.address.wrapping_sub(region.target_bias) } else { base };
                Some((start as usize, region.address, region.code))
            })
            .filter(|(start, ..)| *start < image.len())
            .collect();
        starts.sort_unstable();
        for (place, &(start, address, code)) in starts.iter().enumerate() {
            let end = starts.get(place + 1).map_or(image.len(), |next| next.0);
            visit(&mut image[start..end], address, code);
        }
    }

    /// The targets of all fields in `piece`, whose first byte is at address `from`.
    pub(super) fn sightings(&self, piece: &[u8], from: u32, code: bool) -> Vec<Sighting> {
        let found = RefCell::new(Vec::new());
        let mut piece = piece.to_vec();
        self.pass(&mut piece, code, from, 0, Recorder(&found));
        found.into_inner()
    }
}
