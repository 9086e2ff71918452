//! CBOR as a tree, for mutation: it reads anything that is roughly CBOR and writes deterministic bytes, or one chosen fault.
//! Strings stay where they are until they are changed: each input is read and written once, and most of it is digests.

use std::borrow::Cow;

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree<'a> {
    /// An integer or simple value: major type and argument.
    Scalar(u8, u64),
    /// A byte string.
    Bytes(Cow<'a, [u8]>),
    /// A byte string that holds an item.
    Wrapped(Box<Tree<'a>>),
    /// A text string, UTF-8 or not.
    Text(Cow<'a, [u8]>),
    /// An array.
    Array(Vec<Tree<'a>>),
    /// A map, as written.
    Map(Vec<(Tree<'a>, Tree<'a>)>),
    /// A tag.
    Tag(u64, Box<Tree<'a>>),
}

const MAX_DEPTH: usize = 12;

/// Reads the first item; the rest is returned.
pub fn read(bytes: &[u8]) -> Option<(Tree<'_>, &[u8])> {
    let mut at = 0;
    let tree = item(bytes, &mut at, 0)?;
    Some((tree, &bytes[at..]))
}

fn take<'a>(bytes: &'a [u8], at: &mut usize, length: usize) -> Option<&'a [u8]> {
    let taken = bytes.get(*at..)?.get(..length)?;
    *at += length;
    Some(taken)
}

fn item<'a>(bytes: &'a [u8], at: &mut usize, depth: usize) -> Option<Tree<'a>> {
    let initial = take(bytes, at, 1)?[0];
    let (major, info) = (initial >> 5, initial & 31);
    let argument = match info {
        0..=23 => u64::from(info),
        24..=27 => take(bytes, at, 1 << (info - 24))?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        _ => return None,
    };
    if depth > MAX_DEPTH {
        return None;
    }
    Some(match major {
        2 | 3 => {
            let content = take(bytes, at, usize::try_from(argument).ok()?)?;
            if major == 3 {
                return Some(Tree::Text(content.into()));
            }
            // Payloads and protected headers hold maps; anything else stays bytes.
            let mut end = 0;
            match content.first().filter(|first| *first >> 5 == 5).and_then(|_| item(content, &mut end, depth + 1)) {
                Some(map) if end == content.len() => Tree::Wrapped(Box::new(map)),
                _ => Tree::Bytes(content.into()),
            }
        }
        4 => {
            let count = argument.min(256) as usize;
            let mut items = Vec::with_capacity(count.min(bytes.len() - *at));
            for _ in 0..count {
                items.push(item(bytes, at, depth + 1)?);
            }
            Tree::Array(items)
        }
        5 => {
            let count = argument.min(256) as usize;
            let mut entries = Vec::with_capacity(count.min(bytes.len() - *at));
            for _ in 0..count {
                entries.push((item(bytes, at, depth + 1)?, item(bytes, at, depth + 1)?));
            }
            Tree::Map(entries)
        }
        6 => Tree::Tag(argument, Box::new(item(bytes, at, depth + 1)?)),
        _ => Tree::Scalar(major, argument),
    })
}

fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let bytes = argument.to_be_bytes();
    let (info, skip) = match argument {
        0..=23 => return out.push(major << 5 | argument as u8),
        24..=0xff => (24, 7),
        0x100..=0xffff => (25, 6),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 0),
    };
    out.push(major << 5 | info);
    out.extend(&bytes[skip..]);
}

impl Tree<'_> {
    /// Appends the shortest form.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Tree::Scalar(major, argument) => head(*major, *argument, out),
            Tree::Bytes(content) => {
                head(2, content.len() as u64, out);
                out.extend(&content[..]);
            }
            Tree::Wrapped(inner) => Tree::Bytes(inner.bytes().into()).write(out),
            Tree::Text(content) => {
                head(3, content.len() as u64, out);
                out.extend(&content[..]);
            }
            Tree::Array(items) => {
                head(4, items.len() as u64, out);
                items.iter().for_each(|item| item.write(out));
            }
            Tree::Map(entries) => {
                head(5, entries.len() as u64, out);
                entries.iter().for_each(|(key, value)| {
                    key.write(out);
                    value.write(out);
                });
            }
            Tree::Tag(number, inner) => {
                head(6, *number, out);
                inner.write(out);
            }
        }
    }

    /// The shortest form.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// How many items there are, this one included.
    pub fn count(&self) -> usize {
        1 + match self {
            Tree::Wrapped(inner) | Tree::Tag(_, inner) => inner.count(),
            Tree::Array(items) => items.iter().map(Tree::count).sum(),
            Tree::Map(entries) => entries.iter().map(|(key, value)| key.count() + value.count()).sum(),
            _ => 0,
        }
    }
}

impl<'a> Tree<'a> {
    /// The item with this number, in the order of writing.
    pub fn nth(&mut self, mut number: usize) -> Option<&mut Tree<'a>> {
        self.find(&mut number)
    }

    fn find(&mut self, left: &mut usize) -> Option<&mut Tree<'a>> {
        if *left == 0 {
            return Some(self);
        }
        *left -= 1;
        match self {
            Tree::Wrapped(inner) | Tree::Tag(_, inner) => inner.find(left),
            Tree::Array(items) => items.iter_mut().find_map(|item| item.find(left)),
            Tree::Map(entries) => {
                entries.iter_mut().find_map(|(key, value)| key.find(left).or_else(|| value.find(left)))
            }
            _ => None,
        }
    }
}
