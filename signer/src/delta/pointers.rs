//! Absolute pointers: where the image is loaded, and which other ranges (RAM, other parts of flash) words point to. Both are read off
//! what changed between two matched images: a pointer moved by as much as what it points to.

use sealift_manifests::delta_format::{MAX_REGIONS, field};
use sealift_verifier::delta::Region;

use super::{
    matcher::Op,
    predicted::{Map, Prediction, View},
};

/// A word that changed: its old value, and by how much.
type Change = (u64, i64);

/// A range of values that words of the image hold, change by change.
struct Cluster {
    first: u64,
    last: u64,
    changes: Vec<Change>,
}

/// Changes below this count are no cluster.
const FEWEST: usize = 6;
/// Changes a cluster needs to be a region of its own.
const MANY: usize = 20;
/// Words that change by more are no pointers.
const FARTHEST: u64 = 0x20_0000;
/// Most changes looked at to find the load address.
const LOOKED_AT: usize = 400;

/// Predictions like `prediction`, with pointers of either width added where words look like it; the likelier width first.
pub(super) fn with_pointers(prediction: &Prediction, ops: &[Op], base: &[u8], target: &[u8]) -> Vec<Prediction> {
    let mut found = Vec::new();
    for (bit, wide) in [(field::POINTER32, false), (field::POINTER64, true)] {
        // Words that instructions explain are none.
        let blank = prediction.view(base, false, View::Blank);
        let clusters = clusters(changes(ops, base, &blank, target, wide));
        if clusters.is_empty() && prediction.fields & bit == 0 {
            continue;
        }
        let known = prediction.map.regions.len() > 1 || prediction.map.origin != 0;
        let loaded = if known { None } else { load_address(&clusters, ops, base.len()) };
        let agreeing: usize =
            clusters.iter().map(|cluster| agreement(&cluster.changes) * if wide { 2 } else { 1 }).sum();
        found.extend(extend(prediction, bit, loaded, &clusters).map(|prediction| (agreeing, prediction)));
    }
    found.sort_by_key(|(agreeing, _)| std::cmp::Reverse(*agreeing));
    found.into_iter().map(|(_, prediction)| prediction).collect()
}

/// Aligned words that differ between a copy's source and its place.
fn changes(ops: &[Op], base: &[u8], blank: &[u8], target: &[u8], wide: bool) -> Vec<Change> {
    let width = if wide { 8 } else { 4 };
    let read = |image: &[u8], at: usize| {
        let mut word = [0; 8];
        word[..width].copy_from_slice(&image[at..at + width]);
        u64::from_le_bytes(word)
    };
    let mut found = Vec::new();
    let mut at = 0usize;
    for op in ops {
        let to = at + op.literals as usize;
        at = to + op.copy as usize;
        let source = op.source as usize;
        if source >= base.len() || (source ^ to) & (width - 1) != 0 {
            continue;
        }
        let skip = source.next_multiple_of(width) - source;
        for place in (skip..(op.copy as usize).saturating_sub(width - 1)).step_by(width) {
            let (old, new) = (read(base, source + place), read(target, to + place));
            let change = new.wrapping_sub(old) as i64;
            let explained = blank[source + place..][..width] != base[source + place..][..width];
            if old != new && !explained && old >= 0x100 && change.unsigned_abs() < FARTHEST && new >= 0x100 {
                found.push((old, change));
            }
        }
    }
    found
}

/// Groups of changes whose values lie close together.
fn clusters(mut changes: Vec<Change>) -> Vec<Cluster> {
    changes.sort_unstable();
    let mut found: Vec<Cluster> = Vec::new();
    for change in changes {
        match found.last_mut() {
            Some(cluster) if change.0 - cluster.last < 0x1_0000 => {
                cluster.last = change.0;
                cluster.changes.push(change);
            }
            _ => found.push(Cluster { first: change.0, last: change.0, changes: vec![change] }),
        }
    }
    found.retain(|cluster| cluster.changes.len() >= FEWEST && agreement(&cluster.changes) * 3 >= cluster.changes.len());
    found.sort_by_key(|cluster| std::cmp::Reverse(cluster.changes.len()));
    found.truncate(6);
    found
}

/// Changes that are the same for neighbouring values. What pointers point to moves in pieces; other words change at random.
fn agreement(changes: &[Change]) -> usize {
    changes.windows(2).filter(|pair| pair[0].1 == pair[1].1 && pair[0].0 != pair[1].0).count()
        + changes.windows(2).filter(|pair| pair[0] == pair[1]).count() / 2
}

/// Whether enough changed words are distances from their own place to something that moved: jump tables, `.eh_frame`.
pub(super) fn has_distances(ops: &[Op], base: &[u8], target: &[u8]) -> bool {
    let moves = moves(ops, base.len());
    let word = |image: &[u8], at: usize| Some(u32::from_le_bytes(*image.get(at..)?.first_chunk()?));
    let mut found = 0;
    let mut at = 0usize;
    for op in ops {
        let to = at + op.literals as usize;
        at = to + op.copy as usize;
        let source = op.source as usize;
        if source >= base.len() {
            continue;
        }
        let skip = source.next_multiple_of(4) - source;
        for place in (skip..(op.copy as usize).saturating_sub(3)).step_by(4) {
            let (Some(old), Some(new)) = (word(base, source + place), word(target, to + place)) else { continue };
            if old == new || (old as i32).unsigned_abs() >= 1 << 23 {
                continue;
            }
            let Ok(aim) = u64::try_from((source + place) as i64 + i64::from(old as i32)) else { continue };
            let by = to as i64 - source as i64;
            found += usize::from(
                moved(&moves, aim).is_some_and(|shift| shift - by == i64::from(new.wrapping_sub(old) as i32)),
            );
            if found >= MANY {
                return true;
            }
        }
    }
    false
}

/// Copies from the base as (first offset, offset behind, how far it went), by offset.
fn moves(ops: &[Op], base_len: usize) -> Vec<(u64, u64, i64)> {
    let mut moves: Vec<(u64, u64, i64)> = Vec::new();
    let mut at = 0u32;
    for op in ops {
        at += op.literals;
        if op.copy >= 8 && (op.source as usize) < base_len {
            let source = u64::from(op.source);
            moves.push((source, source + u64::from(op.copy), i64::from(at) - i64::from(op.source)));
        }
        at += op.copy;
    }
    moves.sort_unstable();
    moves
}

/// How far what was at `offset` has gone, if it was copied.
fn moved(moves: &[(u64, u64, i64)], offset: u64) -> Option<i64> {
    let after = moves.partition_point(|piece| piece.0 <= offset);
    moves[after.saturating_sub(4)..after].iter().rev().find(|piece| offset < piece.1).map(|piece| piece.2)
}

/// The load address at which the most changed words point to something that moved just as they changed.
fn load_address(clusters: &[Cluster], ops: &[Op], base_len: usize) -> Option<u64> {
    let moves = moves(ops, base_len);
    let len = base_len as u64;
    let step = if base_len > 4 << 20 { 4096 } else { 256 };
    let mut best = (0usize, 0u32, 0u64);
    for cluster in clusters.iter().filter(|cluster| cluster.last - cluster.first < len) {
        let stride = cluster.changes.len().div_ceil(LOOKED_AT);
        let looked_at: Vec<Change> = cluster.changes.iter().step_by(stride).copied().collect();
        let mut address = cluster.last.saturating_sub(len).next_multiple_of(step);
        while address <= cluster.first {
            let right = looked_at.iter().filter(|change| moved(&moves, change.0 - address) == Some(change.1)).count();
            let candidate = (right * stride, address.trailing_zeros(), address);
            if right * 5 >= looked_at.len() * 2 && candidate > best {
                best = candidate;
            }
            address += step;
        }
    }
    (best.0 >= FEWEST).then_some(best.2)
}

/// The prediction with regions for the image at `loaded` (or where it is known to be) and for each cluster outside of it.
fn extend(prediction: &Prediction, bit: u8, loaded: Option<u64>, clusters: &[Cluster]) -> Option<Prediction> {
    let old = &prediction.map;
    // A region at an absolute address: (address, length, base, target bias less the origin).
    let mut regions: Vec<(u64, u64, Option<u32>, u32, bool)> = old
        .regions
        .iter()
        .map(|region| {
            let address = loaded.unwrap_or(old.origin + u64::from(region.address));
            (address, u64::from(region.len), region.base, region.target_bias.wrapping_sub(region.address), region.code)
        })
        .collect();
    // Without a known place the image's own addresses start at 0, and must not be taken for pointers.
    let placed = loaded.is_some() || old.regions.len() > 1 || old.origin != 0;
    for cluster in clusters {
        let inside = placed
            && regions.iter().any(|(address, len, ..)| cluster.first >= *address && cluster.last < address + len);
        let agreeing = agreement(&cluster.changes) * 2 >= cluster.changes.len();
        if !inside && agreeing && cluster.changes.len() >= MANY && regions.len() < MAX_REGIONS {
            let first = cluster.first & !0xff;
            regions.push((first, (cluster.last + 0x100 - first) & !0xff, None, 0, false));
        }
    }
    let origin = regions.iter().map(|region| region.0).min()? & !0xfff;
    let mut map = Map { origin, ..Map::default() };
    for (address, len, base, bias, code) in regions {
        let address = u32::try_from(address - origin).ok()?;
        map.regions.push(Region {
            address,
            len: u32::try_from(len).ok()?,
            base,
            code,
            target_bias: if base.is_some() { bias.wrapping_add(address) } else { 0 },
        });
    }
    Some(Prediction { arch: prediction.arch, fields: prediction.fields | bit, map })
}
