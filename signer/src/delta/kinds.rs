//! Code or data: a flat image holds both, and instructions must not be seen in strings and tables.

use sealift_manifests::delta_format::{Arch, MAX_REGIONS};

use super::{
    matcher::Op,
    predicted::{Map, Prediction},
};

/// Bytes of base that are judged as one.
const BLOCK: usize = 1024;
/// What a further region costs in the patch, in corrected bytes.
const PRICE: f64 = 14.0;

/// Splits the regions of `prediction` where seeing instructions does more harm than good.
pub(super) fn split(prediction: &mut Prediction, ops: &[Op], base: &[u8], target: &[u8]) {
    if prediction.arch == Arch::None {
        return;
    }
    // For each block: corrections needed if it is data, less those needed if it is code.
    let mut harm = vec![0f64; base.len().div_ceil(BLOCK)];
    for (code, sign) in [(true, -1.0), (false, 1.0)] {
        let mut as_one = prediction.clone();
        as_one.map.regions.iter_mut().for_each(|region| region.code = code);
        let predicted = as_one.predict(ops, base, target);
        let mut at = 0usize;
        for op in ops {
            at += op.literals as usize;
            let source = op.source as usize;
            if source < base.len() {
                for place in 0..op.copy as usize {
                    if predicted[at + place] != target[at + place] {
                        harm[(source + place) / BLOCK] += sign;
                    }
                }
            }
            at += op.copy as usize;
        }
    }
    let mut price = PRICE;
    loop {
        let regions = cut(&prediction.map, &harm, price, base.len());
        if regions.regions.len() <= MAX_REGIONS {
            prediction.map = regions;
            return;
        }
        price *= 2.0;
    }
}

/// The map with each region cut into code and data, by the cheapest way through its blocks.
fn cut(map: &Map, harm: &[f64], price: f64, base_len: usize) -> Map {
    let mut starts: Vec<u32> = map.regions.iter().filter_map(|region| region.base).collect();
    starts.sort_unstable();
    let mut result = Map { regions: Vec::new(), ..map.clone() };
    for region in &map.regions {
        let Some(start) = region.base else {
            result.regions.push(*region);
            continue;
        };
        let end = starts.iter().copied().find(|&other| other > start).unwrap_or(base_len as u32);
        let kinds = kinds(start, end, harm, price, region.code);
        for (place, &(from, code)) in kinds.iter().enumerate() {
            let mut part = *region;
            part.base = Some(from);
            part.code = code;
            part.address = region.address.wrapping_add(from - start);
            part.len = match kinds.get(place + 1) {
                Some(next) => next.0 - from,
                None => region.len.saturating_sub(from - start),
            };
            result.regions.push(part);
        }
    }
    result
}

/// (start, code) of each stretch of one kind between two offsets. The first kind wins when nothing speaks against it.
fn kinds(start: u32, end: u32, harm: &[f64], price: f64, first: bool) -> Vec<(u32, bool)> {
    let blocks: Vec<usize> =
        (start as usize / BLOCK..(end as usize).div_ceil(BLOCK).max(start as usize / BLOCK + 1)).collect();
    // Costs of the cheapest way that ends as data or as code, and where each block's way came from.
    let mut cost = [if first { price } else { 0.0 }, if first { 0.0 } else { price }];
    let mut came: Vec<[bool; 2]> = Vec::with_capacity(blocks.len());
    for &block in &blocks {
        let here = harm.get(block).copied().unwrap_or(0.0);
        // `here` counts corrections as data less corrections as code.
        let own = [here.max(0.0), (-here).max(0.0)];
        let mut next = [0.0; 2];
        let mut from = [false; 2];
        for kind in [0usize, 1] {
            let (stay, change) = (cost[kind], cost[1 - kind] + price);
            from[kind] = if stay <= change { kind == 1 } else { kind == 0 };
            next[kind] = stay.min(change) + own[kind];
        }
        came.push(from);
        cost = next;
    }
    let mut kind = cost[1] <= cost[0];
    let mut found: Vec<(u32, bool)> = Vec::new();
    for (&block, from) in blocks.iter().zip(&came).rev() {
        let at = ((block * BLOCK) as u32).max(start);
        match found.last_mut() {
            Some(last) if last.1 == kind => last.0 = at,
            _ => found.push((at, kind)),
        }
        kind = from[usize::from(kind)];
    }
    found.reverse();
    found
}
