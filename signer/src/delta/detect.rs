//! What an image is: its instruction set and where it is loaded, from the image itself.

use std::collections::HashMap;

use sealift_manifests::delta_format::{Arch, field};
use sealift_verifier::delta::Region;

use super::{
    hint::{Hints, Segment},
    predicted::{Map, Prediction},
};

/// Instruction sets that are tried, with what is predicted of each.
const SETS: [Arch; 5] = [Arch::Thumb, Arch::Arm, Arch::AArch64, Arch::RiscV, Arch::Xtensa];

/// Stretches that are looked at to recognise a large image's instruction set, and bytes of each.
const SAMPLES: usize = 8;
const SAMPLE: usize = 64 * 1024;

/// Predictions worth a try, the likeliest first: what file formats told, then what the images look like.
pub(super) fn candidates(base: &[u8], target: &[u8], hints: &Hints) -> Vec<Prediction> {
    let fields = field::BRANCH | field::PAIR;
    let pointers = if hints.wide() { field::POINTER64 } else { field::POINTER32 };
    let sets = match hints.arch() {
        Some(arch) => vec![arch],
        None => instruction_sets(base).into_iter().take(2).collect(),
    };
    let mut found = Vec::new();
    if let Some([old, new]) = hints.layouts(base.len(), target.len()) {
        found.extend(sets.iter().filter_map(|&arch| laid_out(arch, fields | pointers, &old, &new)));
    }
    let layouts = esp_layout(base).zip(esp_layout(target));
    for arch in sets.into_iter().filter(|arch| *arch != Arch::None) {
        let laid = layouts.as_ref().filter(|_| matches!(arch, Arch::Xtensa | Arch::RiscV));
        match laid.and_then(|(old, new)| laid_out(arch, fields | field::POINTER32, old, new)) {
            Some(prediction) => found.push(prediction),
            None => found.push(flat(arch, fields, base.len(), target.len())),
        }
    }
    found
}

/// Instruction sets that the image may be made of, the likeliest first. A set's calls hit the same targets again and again if it is
/// the right one, and hardly ever if it isn't.
fn instruction_sets(image: &[u8]) -> Vec<Arch> {
    let mut ranked: Vec<(usize, Arch)> = SETS
        .into_iter()
        .filter_map(|arch| {
            let prediction = flat(arch, field::BRANCH, image.len(), image.len());
            let mut hits: HashMap<u32, usize> = HashMap::new();
            let mut seen = 0;
            for (at, part) in samples(image) {
                seen += part.len();
                for (_, target) in prediction.sightings(part, at as u32, true) {
                    if (target as usize) < image.len() {
                        *hits.entry(target).or_default() += 1;
                    }
                }
            }
            let repeated: usize = hits.values().filter(|&&count| count >= 3).sum();
            (repeated > 20 && repeated > seen / 4000).then_some((repeated, arch))
        })
        .collect();
    ranked.sort_unstable_by_key(|(repeated, _)| std::cmp::Reverse(*repeated));
    let most = ranked.first().map_or(0, |best| best.0);
    ranked.retain(|(repeated, _)| repeated * 3 > most);
    ranked.into_iter().map(|(_, arch)| arch).collect()
}

/// What of an image is looked at: all of it, or of a large one every so many bytes a stretch, with the stretches' offsets.
fn samples(image: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let every = image.len().div_ceil(SAMPLES).max(1);
    let stretch = if image.len() > SAMPLES * SAMPLE { SAMPLE } else { every };
    (0..image.len()).step_by(every).map(move |at| (at, &image[at..image.len().min(at + stretch)]))
}

/// A prediction with one region that covers both images, at address 0.
fn flat(arch: Arch, fields: u8, base_len: usize, target_len: usize) -> Prediction {
    let len = base_len.max(target_len) as u32;
    let region = Region { address: 0, len, base: Some(0), code: true, target_bias: 0 };
    Prediction { arch, fields, map: Map { regions: vec![region], ..Map::default() } }
}

/// A prediction for images whose layouts are known. Pieces are paired in their order.
fn laid_out(arch: Arch, fields: u8, base: &[Segment], target: &[Segment]) -> Option<Prediction> {
    if base.is_empty() || base.len() != target.len() {
        return None;
    }
    let origin = base.iter().chain(target).map(|piece| piece.address).min()? & !0xfff;
    let mut regions = Vec::new();
    for (old, new) in base.iter().zip(target) {
        let address = u32::try_from(old.address.checked_sub(origin)?).ok()?;
        let target_bias = (new.address.checked_sub(origin)? as u32).wrapping_sub(new.offset);
        // Pointers into what the target has at the end are pointers too.
        let end_of = |piece: &Segment| piece.address.checked_add(u64::from(piece.len));
        let end = end_of(old)?.max(end_of(new)?);
        let len = u32::try_from(end.checked_sub(old.address)?).ok()?;
        regions.push(Region { address, len, base: Some(old.offset), code: old.code, target_bias });
    }
    Some(Prediction { arch, fields, map: Map { origin, regions, ..Map::default() } })
}

/// The segments of an ESP8266 or ESP32 application image (`esptool` documents the format), as far as they follow one another.
fn esp_layout(image: &[u8]) -> Option<Vec<Segment>> {
    let &[0xe9, count, ..] = image else { return None };
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?));
    for header in [24usize, 8] {
        let mut layout = Vec::new();
        let mut at = header;
        for _ in 0..count {
            let (Some(address), Some(len)) = (word(at), word(at + 4)) else { break };
            if len == 0 || len as usize > image.len() - at - 8 || address >> 24 == 0 || address & 3 != 0 {
                break;
            }
            // Everything below the internal ROM is mapped for data alone.
            let code = address >= 0x4000_0000;
            layout.push(Segment { offset: at as u32 + 8, address: address.into(), len, code });
            at += 8 + len as usize;
        }
        if count > 0 && layout.len() == usize::from(count) {
            // An ESP8266 image is followed by code that runs from flash, mapped where it lies.
            let rest = at.next_multiple_of(16);
            if header == 8 && image.len() > rest + 4096 {
                let (offset, len) = (rest as u32, (image.len() - rest) as u32);
                layout.push(Segment { offset, address: 0x4020_0000 + u64::from(offset), len, code: true });
            }
            return Some(layout);
        }
    }
    None
}
