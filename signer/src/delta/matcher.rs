//! Finds what the target copies from the base: a cost-driven parse over a suffix array.
//!
//! bsdiff takes the longest match and stretches it greedily. Here every position of the target is reached by the cheapest sequence of
//! literals and copies found so far (a Viterbi search with a handful of lanes, one a diagonal): a copy pays little for a byte that is
//! equal, more for one that differs, a literal its share of a byte, and a new copy the price of an operation. So a lane survives bytes
//! that differ as long as that is cheaper than anything else, and short matches pay off where nothing better is known.
//!
//! Memory: 4 bytes a byte of base for the suffix array and half a byte for its milestones, 256 KiB of index, and some 12 bytes an operation considered.

use super::{
    Costs, Watch, beside,
    index::{Index, Place, TOGETHER, common},
};

/// One step of the result: `literals` new bytes, then `copy` bytes from `source` (an offset into base and target end to end).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) literals: u32,
    pub(super) copy: u32,
    pub(super) source: u32,
}

/// Shortest match worth a look.
const SHORTEST: usize = 5;
/// Most lanes kept.
const LANES: usize = 20;
/// Images up to this many bytes are looked at more closely than larger ones, for which that would take too long.
const SMALL: usize = 1 << 20;
/// Parts in which a larger one is parsed: more than threads, since they don't take equally long.
const PARTS: usize = 4;
/// Bytes after which a watcher is told.
const TOLD: usize = 64 * 1024;
/// Bits of the index of the target's own bytes.
const SELF_BITS: u32 = 16;
/// Bytes that index hashes.
const SELF_BYTES: usize = 6;

/// The diagonal that stands for literals.
const LITERAL: i64 = i64::MIN;
/// No node.
const NONE: u32 = u32::MAX;

/// A finished piece of a path: what was done from `start` until the child's start.
struct Node {
    diagonal: i64,
    start: u32,
    parent: u32,
}

/// A path's last piece, still growing.
#[derive(Clone, Copy)]
struct Lane {
    diagonal: i64,
    cost: u64,
    start: u32,
    parent: u32,
    /// The node this lane became when another branched off it.
    node: u32,
    /// The copy must end here.
    end: u32,
    /// Equal bytes in a row.
    streak: u32,
}

/// A parse in progress.
struct Parse<'a, 'b> {
    index: &'a Index<'b>,
    /// The target up to the end of what is parsed, and where that starts.
    target: &'a [u8],
    from: usize,
    costs: &'a Costs,
    read_back: bool,
    nodes: Vec<Node>,
    lanes: Vec<Lane>,
    hashes: Vec<u32>,
    hashed: usize,
    found: Found,
    places: Places,
    pace: Pace,
}

/// How closely is looked.
struct Pace {
    /// A run of equal bytes this long is followed without looking left and right.
    confident: usize,
    /// A run of equal bytes ahead counts like one behind.
    ahead: bool,
    /// Suffixes looked at before and behind the place where the text would be.
    neighbours: (usize, usize),
    /// A match this long holds for a quarter of its length before the next look-up.
    held: usize,
}

/// Where the texts at `count` positions from `from` on are in the index, and the position behind the one that was asked for last.
#[derive(Default)]
struct Places {
    from: usize,
    count: usize,
    next: usize,
    found: [Place; TOGETHER],
}

/// The match that was looked up last: it holds for the positions behind as well, a byte shorter each, so that these need no look-up
/// of their own until a good part of it has gone by.
struct Found {
    diagonal: i64,
    end: usize,
    again: usize,
}

/// How `target` is parsed.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) costs: &'a Costs,
    /// Whether copies may come from the target itself; they then end `margin` bytes before the place they go to.
    pub(super) read_back: bool,
    pub(super) margin: u32,
    /// Whether a second thread may help.
    pub(super) beside: bool,
}

/// Parses `target` (as long as the image, possibly normalised) against the index's base. A large one is parsed in parts that know
/// nothing of each other, so that two threads can; the result does not depend on whether they did.
pub(super) fn parse(index: &Index<'_>, target: &[u8], rules: Rules<'_>, watch: &dyn Watch) -> Vec<Op> {
    let part = |from: usize, to: usize| Parse::new(index, target, rules, from, to).run(rules.margin, watch);
    if target.len() <= SMALL {
        return part(0, target.len());
    }
    let quarter = |place: usize| part(target.len() * place / PARTS, target.len() * (place + 1) / PARTS);
    let parts = if rules.beside { beside::each(PARTS, quarter) } else { (0..PARTS).map(quarter).collect() };
    parts.into_iter().reduce(|first, second| joined(first, second, index.base.len())).unwrap_or_default()
}

/// The operations of two parts that follow one another: what goes on across the seam is one.
fn joined(mut first: Vec<Op>, mut second: Vec<Op>, base_len: usize) -> Vec<Op> {
    if let (Some(last), Some(next)) = (first.last_mut(), second.first_mut()) {
        if last.copy == 0 {
            next.literals += last.literals;
            first.pop();
        } else if next.literals == 0
            && last.source.checked_add(last.copy) == Some(next.source)
            && (next.source as usize) < base_len
        {
            next.literals = last.literals;
            (next.source, next.copy) = (last.source, last.copy + next.copy);
            first.pop();
        }
    }
    first.append(&mut second);
    first
}

impl<'a, 'b> Parse<'a, 'b> {
    /// For the bytes from `from` to `to`.
    fn new(index: &'a Index<'b>, target: &'a [u8], rules: Rules<'a>, from: usize, to: usize) -> Self {
        let pace = if target.len() <= SMALL {
            Pace { confident: 32, ahead: false, neighbours: (3, 5), held: 32 }
        } else {
            Pace { confident: 16, ahead: true, neighbours: (1, 2), held: 8 }
        };
        Self {
            index,
            target: &target[..to],
            from,
            costs: rules.costs,
            read_back: rules.read_back,
            nodes: Vec::new(),
            lanes: Vec::new(),
            hashes: if rules.read_back { vec![NONE; 1 << SELF_BITS] } else { Vec::new() },
            // Of what was hashed longer ago, hardly anything would be left.
            hashed: from.saturating_sub(4 << SELF_BITS),
            found: Found { diagonal: 0, end: 0, again: 0 },
            places: Places::default(),
            pace,
        }
    }
}

impl Parse<'_, '_> {
    fn run(&mut self, margin: u32, watch: &dyn Watch) -> Vec<Op> {
        let start = self.from as u32;
        self.lanes.push(Lane { diagonal: LITERAL, cost: 0, start, parent: NONE, node: NONE, end: NONE, streak: 0 });
        let mut at = self.from;
        let mut told = at;
        while at < self.target.len() {
            if at >= told + TOLD {
                watch.matched((at - told) as u64);
                told = at;
            }
            let best = self.best();
            let lane = self.lanes[best];
            if lane.diagonal != LITERAL && (lane.streak as usize >= self.pace.confident || self.pace.ahead) {
                let run = self.run_of(&lane, at);
                if run >= 16 {
                    let lane = &mut self.lanes[best];
                    lane.cost += self.costs.equal * run as u64;
                    lane.streak += run as u32;
                    let kept = *lane;
                    self.lanes.clear();
                    self.lanes.push(kept);
                    at += run;
                    continue;
                }
            }
            self.branch(best, at, margin);
            self.advance(at);
            at += 1;
        }
        watch.matched((self.target.len() - told) as u64);
        self.trace()
    }

    fn best(&self) -> usize {
        (0..self.lanes.len()).min_by_key(|&lane| self.lanes[lane].cost).unwrap_or(0)
    }

    /// Equal bytes ahead on a lane.
    fn run_of(&self, lane: &Lane, at: usize) -> usize {
        let source = (at as i64 + lane.diagonal) as usize;
        let base = self.index.base;
        if source < base.len() {
            common(&base[source..], &self.target[at..])
        } else if lane.end == NONE {
            // A copy from the base ends with the base.
            0
        } else {
            let ahead = common(&self.target[source - base.len()..], &self.target[at..]);
            ahead.min((lane.end as usize).saturating_sub(at))
        }
    }

    /// Makes the best lane's path so far a node, once.
    fn node(&mut self, lane: usize, at: usize) -> u32 {
        let Lane { diagonal, start, parent, node, .. } = self.lanes[lane];
        if start as usize == at {
            return parent;
        }
        if node != NONE {
            return node;
        }
        let id = self.nodes.len() as u32;
        self.nodes.push(Node { diagonal, start, parent });
        self.lanes[lane].node = id;
        id
    }

    /// Diagonals of the last copies on a lane's path, newest first.
    fn recent(&self, lane: &Lane) -> [i64; 4] {
        let mut recent = [LITERAL; 4];
        let (mut count, mut next) = (0, lane.parent);
        let mut diagonal = lane.diagonal;
        for _ in 0..12 {
            if diagonal != LITERAL && !recent.contains(&diagonal) {
                recent[count] = diagonal;
                count += 1;
                if count == recent.len() {
                    break;
                }
            }
            let Some(node) = self.nodes.get(next as usize) else { break };
            (diagonal, next) = (node.diagonal, node.parent);
        }
        recent
    }

    /// Lets literals and new copies branch off the best lane.
    fn branch(&mut self, best: usize, at: usize, margin: u32) {
        let lane = self.lanes[best];
        if lane.diagonal != LITERAL {
            let cost = lane.cost + self.costs.literals;
            let better = match self.lanes.iter().position(|other| other.diagonal == LITERAL) {
                Some(other) if self.lanes[other].cost <= cost => None,
                other => Some(other),
            };
            if let Some(other) = better {
                let parent = self.node(best, at);
                let literal =
                    Lane { diagonal: LITERAL, cost, start: at as u32, parent, node: NONE, end: NONE, streak: 0 };
                match other {
                    Some(other) => self.lanes[other] = literal,
                    None => self.lanes.push(literal),
                }
            }
            if lane.streak as usize >= self.pace.confident {
                return;
            }
        }
        let recent = self.recent(&lane);
        let text = &self.target[at..];
        let base = self.index.base;
        for (depth, &diagonal) in recent.iter().enumerate() {
            if diagonal == LITERAL || diagonal == lane.diagonal {
                continue;
            }
            let source = at as i64 + diagonal;
            if source < 0 || source as usize >= base.len() || base[source as usize] != text[0] {
                continue;
            }
            let ahead = base[source as usize..].iter().zip(text).take(12).filter(|(a, b)| a == b).count();
            if ahead >= 5 {
                self.enter(best, diagonal, self.costs.recent(depth), at, NONE);
            }
        }
        // No use looking for what the lane itself already is.
        let near = (at as i64 + recent.iter().copied().find(|&d| d != LITERAL).unwrap_or(0)).max(0) as usize;
        if at >= self.found.again {
            let place = self.place(at);
            let (offset, len) = self.index.longest(text, place, near, self.pace.neighbours);
            let skip = if len >= self.pace.held { len / 4 } else { 1 };
            self.found = Found { diagonal: offset as i64 - at as i64, end: at + len, again: at + skip };
        }
        let len = self.found.end.saturating_sub(at);
        if len >= SHORTEST {
            self.candidate(best, self.found.diagonal, len, at, NONE, &recent);
        }
        if self.read_back {
            self.own(best, at, margin, &recent);
        }
    }

    /// Where the text at `at` is in the index. Where two were asked for one after the other, more will be.
    fn place(&mut self, at: usize) -> Place {
        let Places { from, count, next, found } = &mut self.places;
        let follows = at == *next;
        *next = at + 1;
        if !(*from..*from + *count).contains(&at) {
            (*from, *count) = (at, if follows { TOGETHER } else { 2 });
            if follows {
                *found = self.index.places(self.target, at);
            } else {
                found[..2].copy_from_slice(&self.index.places::<2>(self.target, at));
            }
        }
        found[at - *from]
    }

    /// Copies from the target itself.
    fn own(&mut self, best: usize, at: usize, margin: u32, recent: &[i64; 4]) {
        let until = at.saturating_sub(margin as usize);
        while self.hashed + SELF_BYTES <= until {
            let hash = hash(&self.target[self.hashed..]);
            self.hashes[hash] = self.hashed as u32;
            self.hashed += 1;
        }
        if at + SELF_BYTES > self.target.len() {
            return;
        }
        let found = self.hashes[hash(&self.target[at..])];
        if found == NONE {
            return;
        }
        let source = found as usize;
        let len = common(&self.target[source..until], &self.target[at..]);
        if len >= SELF_BYTES {
            let diagonal = (self.index.base.len() + source) as i64 - at as i64;
            let end = (at + until - source) as u32;
            self.candidate(best, diagonal, len, at, end, recent);
        }
    }

    fn candidate(&mut self, best: usize, diagonal: i64, len: usize, at: usize, end: u32, recent: &[i64; 4]) {
        let price = match recent.iter().position(|&other| other == diagonal) {
            Some(depth) => self.costs.recent(depth),
            None => {
                let newest = recent.iter().copied().find(|&d| d != LITERAL).unwrap_or(0);
                self.costs.fresh(diagonal - newest)
            }
        };
        // A copy that can't even beat literals over its whole equal run is none.
        if price + self.costs.equal * (len as u64) < self.costs.literal * len as u64 + self.costs.literals {
            self.enter(best, diagonal, price, at, end);
        }
    }

    fn enter(&mut self, best: usize, diagonal: i64, price: u64, at: usize, end: u32) {
        if self.lanes[best].diagonal == diagonal {
            return;
        }
        let cost = self.lanes[best].cost + price;
        let place = self.lanes.iter().position(|lane| lane.diagonal == diagonal);
        if place.is_some_and(|lane| self.lanes[lane].cost <= cost) {
            return;
        }
        let parent = self.node(best, at);
        let lane = Lane { diagonal, cost, start: at as u32, parent, node: NONE, end, streak: 0 };
        match place {
            Some(place) => self.lanes[place] = lane,
            None if self.lanes.len() < LANES => self.lanes.push(lane),
            None => {
                let worst = (0..self.lanes.len()).max_by_key(|&lane| self.lanes[lane].cost).unwrap_or(0);
                if self.lanes[worst].cost > cost {
                    self.lanes[worst] = lane;
                }
            }
        }
    }

    /// Moves every lane over the byte at `at`, and drops those that can't win any more.
    fn advance(&mut self, at: usize) {
        let (base, target, costs) = (self.index.base, self.target, self.costs);
        let byte = target[at];
        let mut least = u64::MAX;
        for lane in &mut self.lanes {
            lane.node = NONE;
            if lane.diagonal == LITERAL {
                lane.cost += costs.literal;
            } else {
                let source = (at as i64 + lane.diagonal) as usize;
                let other = match source.checked_sub(base.len()) {
                    None => base.get(source),
                    Some(own) if (at as u32) < lane.end && lane.end != NONE => target.get(own),
                    Some(_) => None,
                };
                match other {
                    Some(&other) if other == byte => {
                        lane.cost += costs.equal;
                        lane.streak += 1;
                    }
                    Some(_) => {
                        lane.cost += if lane.streak == 0 { costs.unequal_again } else { costs.unequal };
                        lane.streak = 0;
                    }
                    None => lane.cost = u64::MAX / 2,
                }
            }
            least = least.min(lane.cost);
        }
        let bound = least + costs.drop;
        self.lanes.retain(|lane| lane.cost <= bound);
    }

    /// The cheapest path as operations.
    fn trace(&mut self) -> Vec<Op> {
        let best = self.lanes[self.best()];
        let mut pieces = vec![(best.diagonal, best.start)];
        let mut next = best.parent;
        while let Some(node) = self.nodes.get(next as usize) {
            pieces.push((node.diagonal, node.start));
            next = node.parent;
        }
        pieces.reverse();
        let ends = pieces.iter().skip(1).map(|piece| piece.1).chain([self.target.len() as u32]);
        let mut ops = Vec::new();
        let mut literals = 0;
        for (&(diagonal, start), end) in pieces.iter().zip(ends) {
            if start == end {
                continue;
            }
            if diagonal == LITERAL {
                literals += end - start;
            } else {
                ops.push(Op { literals, copy: end - start, source: (i64::from(start) + diagonal) as u32 });
                literals = 0;
            }
        }
        if literals > 0 {
            ops.push(Op { literals, copy: 0, source: 0 });
        }
        ops
    }
}

fn hash(bytes: &[u8]) -> usize {
    let mut word = [0; 8];
    word[..SELF_BYTES].copy_from_slice(&bytes[..SELF_BYTES]);
    (u64::from_le_bytes(word).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SELF_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_target_is_parsed_alike_on_one_thread_and_on_two_and_its_seam_cuts_no_copy() {
        let mut state = 0x9e37_79b9u32;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        };
        let base: Vec<u8> = (0..SMALL + 4096).map(|_| random()).collect();
        let mut target = base.clone();
        target.splice(70_000..70_010, (0..300).map(|_| random()));
        let costs = Costs::default();
        let rules = Rules { costs: &costs, read_back: true, margin: 4096, beside: true };
        let index = Index::new(&base);
        let ops = parse(&index, &target, rules, &());
        assert_eq!(ops, parse(&index, &target, Rules { beside: false, ..rules }, &()));
        assert_eq!(ops.iter().map(|op| (op.literals + op.copy) as usize).sum::<usize>(), target.len());
        let seam = target.len() as u32 / 2;
        let mut at = 0;
        for op in &ops {
            at += op.literals;
            assert_ne!(at, seam, "a copy starts where the halves meet: {ops:?}");
            at += op.copy;
        }
        assert!(ops.len() <= 3, "{ops:?}");
    }
}
