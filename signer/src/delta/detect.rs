//! What an image is: its instruction set and where it is loaded, from the image itself.

use std::collections::HashMap;

use sealift_manifests::delta_format::{Arch, field};
use sealift_verifier::delta::Region;

use super::predicted::{Map, Prediction};

/// Instruction sets that are tried, with what is predicted of each.
const SETS: [Arch; 5] = [Arch::Thumb, Arch::Arm, Arch::AArch64, Arch::RiscV, Arch::Xtensa];

/// Loadable pieces of an image: offset, address, length, whether it holds code.
pub(super) type Layout = Vec<(u32, u64, u32, bool)>;

/// Instruction sets that the image may be made of, the likeliest first. A set's calls hit the same targets again and again if it is
/// the right one, and hardly ever if it isn't.
pub(super) fn instruction_sets(image: &[u8]) -> Vec<Arch> {
    let mut ranked: Vec<(usize, Arch)> = SETS
        .into_iter()
        .filter_map(|arch| {
            let prediction = flat(arch, field::BRANCH, image.len(), image.len());
            let mut hits: HashMap<u32, usize> = HashMap::new();
            for (_, target) in prediction.sightings(image, 0, true) {
                if (target as usize) < image.len() {
                    *hits.entry(target).or_default() += 1;
                }
            }
            let repeated: usize = hits.values().filter(|&&count| count >= 3).sum();
            (repeated > 20 && repeated > image.len() / 4000).then_some((repeated, arch))
        })
        .collect();
    ranked.sort_unstable_by(|a, b| b.0.cmp(&a.0));
    let most = ranked.first().map_or(0, |best| best.0);
    ranked.retain(|(repeated, _)| repeated * 3 > most);
    ranked.into_iter().map(|(_, arch)| arch).collect()
}

/// A prediction with one region that covers both images, at address 0.
pub(super) fn flat(arch: Arch, fields: u8, base_len: usize, target_len: usize) -> Prediction {
    let len = base_len.max(target_len) as u32;
    let region = Region { address: 0, len, base: Some(0), code: true, target_bias: 0 };
    Prediction { arch, fields, map: Map { regions: vec![region], ..Map::default() } }
}

/// A prediction for images whose layouts are known. Pieces are paired in their order.
pub(super) fn laid_out(arch: Arch, fields: u8, base: &Layout, target: &Layout) -> Option<Prediction> {
    if base.is_empty() || base.len() != target.len() {
        return None;
    }
    let origin = base.iter().chain(target).map(|piece| piece.1).min()? & !0xfff;
    let mut regions = Vec::new();
    for (old, new) in base.iter().zip(target) {
        let address = u32::try_from(old.1.checked_sub(origin)?).ok()?;
        let target_bias = (new.1.checked_sub(origin)? as u32).wrapping_sub(new.0);
        let moved = (new.1 as u32).wrapping_sub(old.1 as u32);
        let len = old.2.max(new.2.wrapping_add(moved).min(new.2 + 0x1_0000));
        regions.push(Region { address, len, base: Some(old.0), code: old.3, target_bias });
    }
    Some(Prediction { arch, fields, map: Map { origin, regions, ..Map::default() } })
}

/// The segments of an ESP8266 or ESP32 application image (`esptool` documents the format), as far as they follow one another.
pub(super) fn esp_layout(image: &[u8]) -> Option<Layout> {
    let &[0xe9, count, ..] = image else { return None };
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?));
    for header in [24usize, 8] {
        let mut layout = Layout::new();
        let mut at = header;
        for _ in 0..count {
            let (Some(address), Some(len)) = (word(at), word(at + 4)) else { break };
            if len == 0 || len as usize > image.len() - at - 8 || address >> 24 == 0 || address & 3 != 0 {
                break;
            }
            // Everything below the internal ROM is mapped for data alone.
            layout.push((at as u32 + 8, u64::from(address), len, address >= 0x4000_0000));
            at += 8 + len as usize;
        }
        if count > 0 && layout.len() == usize::from(count) {
            // An ESP8266 image is followed by code that runs from flash, mapped where it lies.
            let rest = at.next_multiple_of(16);
            if header == 8 && image.len() > rest + 4096 {
                layout.push((rest as u32, 0x4020_0000 + rest as u64, (image.len() - rest) as u32, true));
            }
            return Some(layout);
        }
    }
    None
}
