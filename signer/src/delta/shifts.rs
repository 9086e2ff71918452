//! The shift table: which few steps of "from here on, things have moved by this much" explain the most fields.

use std::collections::HashMap;

use super::{
    matcher::Op,
    predicted::{Map, Prediction},
};

/// A field's target in the base, how far it moved, and how many fields say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sample {
    pub(super) target: u32,
    pub(super) shift: u32,
    pub(super) count: u32,
}

/// What the fields in copied pieces say of where their targets have gone. Targets inside of the piece itself are left out when
/// `within` is false: a decoder moves them with the piece anyway.
pub(super) fn samples(prediction: &Prediction, ops: &[Op], base: &[u8], target: &[u8], within: bool) -> Vec<Sample> {
    let mut found: Vec<(u32, u32)> = Vec::new();
    let mut at = 0u32;
    for op in ops {
        at += op.literals;
        let (to, end) = (at, at + op.copy);
        at = end;
        let source = op.source as usize;
        if op.copy < 4 || source >= base.len() {
            continue;
        }
        for piece in prediction.pieces(op.source, to, op.copy) {
            let (from, new, source, len) = (piece.from, piece.to, piece.source as usize, piece.len as usize);
            let old = prediction.sightings(&base[source..source + len], from, piece.code);
            let place = piece.target as usize;
            let new_ones = prediction.sightings(&target[place..place + len], new, piece.code);
            let mut others = new_ones.into_iter().peekable();
            for (place, was) in old {
                while others.next_if(|other| other.0 < place).is_some() {}
                let Some((_, is)) = others.next_if(|other| other.0 == place) else { continue };
                let inside = was.wrapping_sub(from) < piece.len;
                let shift = is.wrapping_sub(was);
                if within || !inside || shift != new.wrapping_sub(from) {
                    found.push((was, shift));
                }
            }
        }
    }
    found.sort_unstable();
    let mut samples: Vec<Sample> = Vec::new();
    for (target, shift) in found {
        match samples.last_mut() {
            Some(last) if (last.target, last.shift) == (target, shift) => last.count += 1,
            _ => samples.push(Sample { target, shift, count: 1 }),
        }
    }
    samples
}

/// A table of at most `most` entries that explains as many fields as pay for an entry. `price` is an entry's cost in fields.
pub(super) fn table(samples: &[Sample], most: usize, price: f64, map: &mut Map) {
    let mut price = price;
    let mut entries = fit(samples, price);
    // Too many: entries have to be worth more.
    let (mut low, mut high) = (price, price);
    while entries.len() > most {
        low = high;
        high *= 2.0;
        entries = fit(samples, high);
    }
    for _ in 0..6 {
        if high - low < 0.2 {
            break;
        }
        price = f64::midpoint(low, high);
        let tried = fit(samples, price);
        if tried.len() > most {
            low = price;
        } else {
            high = price;
            entries = tried;
        }
    }
    (map.keys, map.shifts) = entries.into_iter().unzip();
}

/// The best path through the samples: being at the right shift earns a sample's fields, changing the shift costs `price`.
fn fit(samples: &[Sample], price: f64) -> Vec<(u32, u32)> {
    /// A visit: at which target, with which shift, after which visit.
    struct Visit {
        target: u32,
        shift: u32,
        before: usize,
    }
    const NONE: usize = usize::MAX;
    let mut visits: Vec<Visit> = Vec::with_capacity(samples.len());
    // For each shift: earnings of the best path that is at it, and that path's last visit.
    let mut at: HashMap<u32, (f64, usize)> = HashMap::from([(0, (0.0, NONE))]);
    let mut best = (0.0, NONE);
    let mut same_target = 0;
    while same_target < samples.len() {
        let target = samples[same_target].target;
        let end = samples[same_target..].iter().take_while(|sample| sample.target == target).count() + same_target;
        let before = best;
        for sample in &samples[same_target..end] {
            let switched = (before.0 - price, before.1);
            let (earned, last) = match at.get(&sample.shift) {
                Some(&stayed) if stayed.0 >= switched.0 => stayed,
                _ => switched,
            };
            let earned = earned + f64::from(sample.count);
            visits.push(Visit { target, shift: sample.shift, before: last });
            let now = (earned, visits.len() - 1);
            at.insert(sample.shift, now);
            if now.0 > best.0 {
                best = now;
            }
        }
        same_target = end;
    }
    let mut path = Vec::new();
    let mut next = best.1;
    while let Some(visit) = visits.get(next) {
        path.push((visit.target, visit.shift));
        next = visit.before;
    }
    path.reverse();
    // Only changes are entries.
    let mut last = 0;
    path.retain(|&(_, shift)| std::mem::replace(&mut last, shift) != shift);
    path
}
