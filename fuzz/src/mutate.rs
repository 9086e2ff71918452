//! A mutator that knows CBOR: it changes items, not bytes, and writes them back deterministically, so that a change gets past
//! the checks of the encoding to those of the content. Signatures are made anew by the targets that need them.

use crate::tree::{Tree, read};

/// A small generator of choices (xorshift): libFuzzer gives a seed for each mutation.
pub struct Choices(u64);

impl Choices {
    /// Starts from libFuzzer's seed.
    pub fn new(seed: u32) -> Self {
        Choices(u64::from(seed) << 16 | 0x9e37)
    }
    /// A number below `below`.
    pub fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below.max(1)
    }
}

/// Numbers at which something changes: heads grow, bounds end, versions and thresholds turn.
const NUMBERS: [u64; 24] = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    9,
    16,
    17,
    23,
    24,
    31,
    32,
    255,
    256,
    5305,
    5306,
    65_535,
    65_536,
    u32::MAX as u64,
    u32::MAX as u64 + 1,
    i64::MAX as u64,
    u64::MAX,
];

/// Changes one item of `tree`.
pub fn change(tree: &mut Tree<'_>, choices: &mut Choices) {
    let count = tree.count();
    let (from, to, how) = (choices.below(count), choices.below(count), choices.below(10));
    // A copy of another item, where one is wanted.
    let donor = if how == 6 { tree.nth(from).cloned() } else { None };
    let Some(item) = tree.nth(to) else { return };
    match (how, &mut *item) {
        (0..=3, Tree::Scalar(_, argument)) => {
            *argument = match choices.below(4) {
                0 => NUMBERS[choices.below(NUMBERS.len())],
                1 => argument.wrapping_add(1),
                2 => argument.wrapping_sub(1),
                _ => *argument ^ 1 << choices.below(64),
            }
        }
        (4, Tree::Scalar(major, _)) => *major ^= 1,
        (0..=4, Tree::Bytes(content) | Tree::Text(content)) => match choices.below(4) {
            0 => {
                let length = choices.below(content.len() + 1);
                content.to_mut().truncate(length);
            }
            1 => content.to_mut().push(b'a' + choices.below(26) as u8),
            2 => content.to_mut().clear(),
            _ if !content.is_empty() => {
                let at = choices.below(content.len());
                content.to_mut()[at] = choices.below(256) as u8;
            }
            _ => {}
        },
        (0..=5, Tree::Array(items)) if !items.is_empty() => {
            let (a, b) = (choices.below(items.len()), choices.below(items.len()));
            match choices.below(4) {
                0 => items.swap(a, b),
                1 => {
                    items.remove(a);
                }
                2 => items.insert(a, items[b].clone()),
                _ => items.truncate(a),
            }
        }
        (0..=5, Tree::Map(entries)) if !entries.is_empty() => {
            let (a, b) = (choices.below(entries.len()), choices.below(entries.len()));
            match choices.below(5) {
                0 => entries.swap(a, b),
                1 => {
                    entries.remove(a);
                }
                2 => entries.insert(a, entries[b].clone()),
                3 => entries.push((Tree::Scalar(0, choices.below(26) as u64), entries[b].1.clone())),
                _ => entries.sort_by_cached_key(|(key, _)| key.bytes()),
            }
        }
        (6, item) => *item = donor.unwrap_or(Tree::Scalar(0, 0)),
        (7, item) => *item = Tree::Scalar(0, NUMBERS[choices.below(NUMBERS.len())]),
        (8, item) => *item = Tree::Array(vec![item.clone()]),
        _ => {}
    }
}

/// Mutates `data[..size]`, a sequence of items, in place; `None` when it is not one and bytes should be mutated instead.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> Option<usize> {
    let mut choices = Choices::new(seed);
    // Every fourth mutation is libFuzzer's own: faults of the encoding come from there.
    if choices.below(4) == 0 {
        return None;
    }
    let (mut items, mut rest) = (Vec::new(), &data[..size]);
    while let Some((item, after)) = read(rest) {
        items.push(item);
        rest = after;
    }
    if items.is_empty() || !rest.is_empty() {
        return None;
    }
    match choices.below(8) {
        0 if items.len() > 1 => {
            let (a, b) = (choices.below(items.len()), choices.below(items.len()));
            items.swap(a, b);
        }
        _ => {
            for _ in 0..=choices.below(3) {
                let at = choices.below(items.len());
                change(&mut items[at], &mut choices);
            }
        }
    }
    let mut out = Vec::with_capacity(2 * size);
    items.iter().for_each(|item| item.write(&mut out));
    (!out.is_empty() && out.len() <= max_size).then(|| {
        data[..out.len()].copy_from_slice(&out);
        out.len()
    })
}

/// The body of a target's `fuzz_mutator!`.
pub fn cbor(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    mutate(data, size, max_size, seed).unwrap_or_else(|| libfuzzer_sys::fuzzer_mutate(data, size, max_size))
}
