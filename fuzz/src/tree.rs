//! CBOR as a tree, for mutation: it reads anything that is roughly CBOR and writes deterministic bytes, or one chosen fault.

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// An integer or simple value: major type and argument.
    Scalar(u8, u64),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A byte string that holds an item.
    Wrapped(Box<Tree>),
    /// A text string, UTF-8 or not.
    Text(Vec<u8>),
    /// An array.
    Array(Vec<Tree>),
    /// A map, as written.
    Map(Vec<(Tree, Tree)>),
    /// A tag.
    Tag(u64, Box<Tree>),
}

const MAX_DEPTH: usize = 12;

/// Reads the first item; the rest is returned.
pub fn read(bytes: &[u8]) -> Option<(Tree, &[u8])> {
    let mut at = 0;
    let tree = item(bytes, &mut at, 0)?;
    Some((tree, &bytes[at..]))
}

fn take<'a>(bytes: &'a [u8], at: &mut usize, length: usize) -> Option<&'a [u8]> {
    let taken = bytes.get(*at..)?.get(..length)?;
    *at += length;
    Some(taken)
}

fn item(bytes: &[u8], at: &mut usize, depth: usize) -> Option<Tree> {
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
                return Some(Tree::Text(content.to_vec()));
            }
            // Payloads and protected headers hold maps; anything else stays bytes.
            let mut end = 0;
            match content.first().filter(|first| *first >> 5 == 5).and_then(|_| item(content, &mut end, depth + 1)) {
                Some(map) if end == content.len() => Tree::Wrapped(Box::new(map)),
                _ => Tree::Bytes(content.to_vec()),
            }
        }
        4 => Tree::Array((0..argument.min(256)).map(|_| item(bytes, at, depth + 1)).collect::<Option<_>>()?),
        5 => {
            let mut entry = || Some((item(bytes, at, depth + 1)?, item(bytes, at, depth + 1)?));
            Tree::Map((0..argument.min(256)).map(|_| entry()).collect::<Option<_>>()?)
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

impl Tree {
    /// Appends the shortest form.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Tree::Scalar(major, argument) => head(*major, *argument, out),
            Tree::Bytes(content) => {
                head(2, content.len() as u64, out);
                out.extend(content);
            }
            Tree::Wrapped(inner) => Tree::Bytes(inner.bytes()).write(out),
            Tree::Text(content) => {
                head(3, content.len() as u64, out);
                out.extend(content);
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

    /// The item with this number, in the order of writing.
    pub fn nth(&mut self, mut number: usize) -> Option<&mut Tree> {
        if number == 0 {
            return Some(self);
        }
        number -= 1;
        let children: Vec<&mut Tree> = match self {
            Tree::Wrapped(inner) | Tree::Tag(_, inner) => vec![inner],
            Tree::Array(items) => items.iter_mut().collect(),
            Tree::Map(entries) => entries.iter_mut().flat_map(|(key, value)| [key, value]).collect(),
            _ => return None,
        };
        for child in children {
            let count = child.count();
            if number < count {
                return child.nth(number);
            }
            number -= count;
        }
        None
    }
}
