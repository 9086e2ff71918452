//! An index of the base: its suffix array, and searches in it that wait for memory together.
//!
//! A search in a large image is a chain of some ten places in memory, each known only when the one before has arrived. The parse
//! mostly asks for one position after the other, so several searches go on side by side, step by step, and wait but once a step.

use libsais::SuffixArrayConstruction;

use super::beside;

/// An index of the base, for any number of parses.
pub(super) struct Index<'a> {
    pub(super) base: &'a [u8],
    suffixes: Vec<i32>,
    /// Where suffixes that start with each pair of bytes begin.
    buckets: Vec<u32>,
    /// First bytes of every so many suffixes, side by side: a search among them finds most of its way in the processor's cache,
    /// where each step through the suffixes themselves would wait for memory twice.
    milestones: Vec<u64>,
}

/// Bases with less than this are indexed before a second thread has started.
const SMALL: usize = 256 * 1024;
/// Suffixes from one milestone to the next.
const MILESTONE: usize = 16;
/// Searches that go on side by side.
pub(super) const TOGETHER: usize = 8;

/// Where a text would be among the suffixes: behind `low`, and how far the suffixes of its first two bytes reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    low: u32,
    floor: u32,
    ceiling: u32,
}

/// The first eight bytes, so that they compare as text does; zeros follow the end.
#[inline]
fn start_of(text: &[u8]) -> u64 {
    if let Some(start) = text.first_chunk() {
        return u64::from_be_bytes(*start);
    }
    let mut start = [0; 8];
    start[..text.len()].copy_from_slice(text);
    u64::from_be_bytes(start)
}

/// A search: the text is behind `low` (or it is the first one) and not behind `high`.
#[derive(Clone, Copy, Default)]
struct Search {
    start: u64,
    low: usize,
    high: usize,
    /// Where the next step looks, and what is there.
    middle: usize,
    suffix: usize,
    found: u64,
}

/// The suffix array.
fn suffixes(base: &[u8]) -> Vec<i32> {
    if base.is_empty() {
        return Vec::new();
    }
    let construction = SuffixArrayConstruction::for_text(base).in_owned_buffer32();
    construction.single_threaded().run().map(|array| array.into_vec()).unwrap_or_default()
}

/// Where the suffixes that start with each pair of bytes begin in it.
fn buckets(base: &[u8]) -> Vec<u32> {
    let mut buckets = vec![0u32; 65_537];
    for pair in base.windows(2) {
        buckets[usize::from(u16::from_be_bytes([pair[0], pair[1]])) + 1] += 1;
    }
    // The last byte is a suffix of its own and comes first among those with its first byte.
    if let Some(&last) = base.last() {
        buckets[usize::from(last) << 8] += 1;
    }
    for at in 1..buckets.len() {
        buckets[at] += buckets[at - 1];
    }
    buckets
}

impl<'a> Index<'a> {
    pub(super) fn new(base: &'a [u8]) -> Self {
        let (buckets, suffixes) = if base.len() < SMALL {
            (buckets(base), suffixes(base))
        } else {
            beside::both(|| buckets(base), || suffixes(base))
        };
        let milestones = suffixes.iter().step_by(MILESTONE).map(|&at| start_of(&base[at as usize..])).collect();
        Self { base, suffixes, buckets, milestones }
    }

    /// The places of the texts that start at `at` and the positions behind it, as far as there are `N`.
    pub(super) fn places<const N: usize>(&self, target: &[u8], at: usize) -> [Place; N] {
        let mut places = [Place::default(); N];
        let mut searches = [Search::default(); N];
        for (offset, (place, search)) in places.iter_mut().zip(&mut searches).enumerate() {
            let Some(text @ &[first, second, ..]) = target.get(at + offset..) else { break };
            let bucket = usize::from(u16::from_be_bytes([first, second]));
            // A one-byte suffix (the base's last byte) may be counted at the bucket's start.
            (place.floor, place.ceiling) = (self.buckets[bucket], self.buckets[bucket + 1]);
            place.ceiling = place.ceiling.max(place.floor);
            (search.low, search.high) = (place.floor as usize, place.ceiling as usize);
            search.start = start_of(text);
        }
        // Zeros that stand for bytes behind the target's end would say too much.
        if target.len() >= at + N - 1 + 8 {
            self.narrow(&mut searches);
        }
        self.close(&mut searches, target, at);
        for (place, search) in places.iter_mut().zip(&searches) {
            place.low = search.low as u32;
        }
        places
    }

    /// Narrows searches by milestones alone.
    fn narrow(&self, searches: &mut [Search]) {
        // Among milestones from `low` on, the first one that is not before the text. Without branches that depend on the text: half of
        // them would go the other way than the processor guessed.
        let mut longest = 0;
        let mut left = [0; TOGETHER];
        let mut before = [0; TOGETHER];
        for ((search, left), before) in searches.iter().zip(&mut left).zip(&mut before) {
            let (first, last) = (search.low.div_ceil(MILESTONE), search.high.div_ceil(MILESTONE));
            (*before, *left) = (first, last.saturating_sub(first));
            longest = longest.max(*left);
        }
        while longest > 0 {
            longest /= 2;
            for ((search, left), before) in searches.iter().zip(&mut left).zip(&mut before) {
                let half = left.div_ceil(2);
                let milestone = self.milestones.get((*before + half).saturating_sub(1)).copied().unwrap_or(u64::MAX);
                *before += half * usize::from(milestone < search.start) * usize::from(half > 0);
                *left -= half;
            }
        }
        for (search, before) in searches.iter_mut().zip(before) {
            let (first, last) = (search.low.div_ceil(MILESTONE), search.high.div_ceil(MILESTONE));
            if last <= first {
                continue;
            }
            // Hardly ever is there one that starts like the text.
            let alike = &self.milestones[before..last];
            let mut reach = 1;
            while alike.get(reach - 1).is_some_and(|&milestone| milestone == search.start) {
                reach *= 2;
            }
            let alike = &alike[..alike.len().min(reach)];
            let behind = before + alike.partition_point(|&milestone| milestone == search.start);
            if before > first {
                search.low = (before - 1) * MILESTONE;
            }
            if behind < last {
                search.high = behind * MILESTONE;
            }
        }
    }

    /// Ends searches among the suffixes themselves.
    fn close(&self, searches: &mut [Search], target: &[u8], at: usize) {
        // First what memory is waited for, for all; then what depends on it.
        loop {
            let mut open = false;
            for search in searches.iter_mut() {
                search.middle = search.low + (search.high - search.low) / 2;
                open |= search.high - search.low > 1;
                search.suffix = self.suffixes.get(search.middle).map_or(0, |&suffix| suffix as usize);
            }
            if !open {
                return;
            }
            for search in searches.iter_mut() {
                search.found = start_of(&self.base[search.suffix..]);
            }
            for (offset, search) in searches.iter_mut().enumerate() {
                if search.high - search.low <= 1 {
                    continue;
                }
                let (suffix, text) = (&self.base[search.suffix..], &target[at + offset..]);
                let before = if search.found != search.start && suffix.len() >= 8 && text.len() >= 8 {
                    search.found < search.start
                } else {
                    let len = common(suffix, text);
                    suffix.get(len) < text.get(len)
                };
                *(if before { &mut search.low } else { &mut search.high }) = search.middle;
            }
        }
    }

    /// Longest match of `text`, whose place is known, in the base: (offset, length). Among equals the one nearest to `near` of some
    /// neighbours.
    pub(super) fn longest(
        &self,
        text: &[u8],
        place: Place,
        near: usize,
        (before, behind): (usize, usize),
    ) -> (usize, usize) {
        let mut best = (0usize, 0usize);
        let (low, floor, ceiling) = (place.low as usize, place.floor as usize, place.ceiling as usize);
        let from = low.saturating_sub(before).max(floor);
        for at in from..(low + behind).min(ceiling) {
            let offset = self.suffixes[at] as usize;
            let len = common(&self.base[offset..], text);
            if len > best.1 || len == best.1 && offset.abs_diff(near) < best.0.abs_diff(near) {
                best = (offset, len);
            }
        }
        best
    }
}

/// Length of the common start of two slices.
pub(super) fn common(a: &[u8], b: &[u8]) -> usize {
    let mut len = 0;
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let x = u64::from_le_bytes(x.try_into().unwrap_or_default());
        let y = u64::from_le_bytes(y.try_into().unwrap_or_default());
        if x != y {
            return len + ((x ^ y).trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    len + a[len.min(a.len())..].iter().zip(&b[len.min(b.len())..]).take_while(|(x, y)| x == y).count()
}
