//! CBOR as a tree that says exactly which bytes it becomes: deterministic ones, or a named fault. It shares no code with
//! the writer under test.

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Uint(u64),
    /// `-1 - n`.
    Negative(u64),
    Bytes(Vec<u8>),
    /// A byte string that wraps an item: it stays a tree, so that faults can be put inside.
    Wrapped(Box<Tree>),
    Text(String),
    Array(Vec<Tree>),
    /// In the order in which it is written.
    Map(Vec<(Tree, Tree)>),
    Tag(u64, Box<Tree>),
    /// Bytes as they stand.
    Raw(Vec<u8>),
}

/// How heads are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heads {
    Shortest,
    /// The head with this number takes the next longer form.
    OneTooLong(usize),
    /// The head with this number, if it is a string, array or map, is of indefinite length.
    OneIndefinite(usize),
}

impl Tree {
    /// The deterministic bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_with(Heads::Shortest).0
    }

    /// The bytes, and whether the fault that was asked for found its head.
    pub(crate) fn bytes_with(&self, heads: Heads) -> (Vec<u8>, bool) {
        let mut writer = TreeWriter { heads, count: 0, hit: false };
        let mut out = Vec::new();
        writer.item(self, &mut out);
        (out, writer.hit)
    }

    /// Every item of the tree, itself first, by its path of child numbers.
    pub(crate) fn paths(&self) -> Vec<Vec<usize>> {
        let mut all = vec![vec![]];
        for (number, child) in self.children().into_iter().enumerate() {
            all.extend(child.paths().into_iter().map(|path| [vec![number], path].concat()));
        }
        all
    }

    fn children(&self) -> Vec<&Tree> {
        match self {
            Tree::Array(items) => items.iter().collect(),
            Tree::Map(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
            Tree::Tag(_, item) | Tree::Wrapped(item) => vec![item],
            _ => vec![],
        }
    }

    /// The item at a path.
    pub(crate) fn at(&mut self, path: &[usize]) -> &mut Tree {
        let Some((first, rest)) = path.split_first() else { return self };
        let child = match self {
            Tree::Array(items) => &mut items[*first],
            Tree::Map(entries) => {
                let (key, value) = &mut entries[first / 2];
                if first % 2 == 0 { key } else { value }
            }
            Tree::Tag(_, item) | Tree::Wrapped(item) => item,
            leaf => panic!("no child {first} in {leaf:?}"),
        };
        child.at(rest)
    }

    /// The value of a map's unsigned key.
    pub(crate) fn field(&mut self, key: u64) -> &mut Tree {
        let Tree::Map(entries) = self else { panic!("not a map: {self:?}") };
        &mut entries.iter_mut().find(|(found, _)| *found == Tree::Uint(key)).unwrap().1
    }

    /// The entries of a map.
    pub(crate) fn entries(&mut self) -> &mut Vec<(Tree, Tree)> {
        let Tree::Map(entries) = self else { panic!("not a map: {self:?}") };
        entries
    }

    /// The items of an array.
    pub(crate) fn items(&mut self) -> &mut Vec<Tree> {
        let Tree::Array(items) = self else { panic!("not an array: {self:?}") };
        items
    }
}

struct TreeWriter {
    heads: Heads,
    count: usize,
    hit: bool,
}

impl TreeWriter {
    fn head(&mut self, major: u8, argument: u64, out: &mut Vec<u8>) -> bool {
        let mine = self.count;
        self.count += 1;
        if self.heads == Heads::OneIndefinite(mine) && (2..=5).contains(&major) {
            self.hit = true;
            out.push(major << 5 | 31);
            return true;
        }
        let mut width = match argument {
            0..=23 => 0,
            24..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 4,
            _ => 8,
        };
        if self.heads == Heads::OneTooLong(mine) && width < 8 {
            self.hit = true;
            width = if width == 0 { 1 } else { width * 2 };
        }
        let info = match width {
            0 => argument as u8,
            1 => 24,
            2 => 25,
            4 => 26,
            _ => 27,
        };
        out.push(major << 5 | info);
        out.extend(&argument.to_be_bytes()[8 - width..]);
        false
    }

    fn string(&mut self, major: u8, content: &[u8], out: &mut Vec<u8>) {
        if self.head(major, content.len() as u64, out) {
            // One definite chunk, then the break.
            let count = self.count;
            self.head(major, content.len() as u64, out);
            self.count = count;
            out.extend(content);
            out.push(0xff);
        } else {
            out.extend(content);
        }
    }

    fn item(&mut self, tree: &Tree, out: &mut Vec<u8>) {
        match tree {
            Tree::Uint(value) => {
                self.head(0, *value, out);
            }
            Tree::Negative(n) => {
                self.head(1, *n, out);
            }
            Tree::Bytes(content) => self.string(2, content, out),
            Tree::Wrapped(item) => {
                let mut content = Vec::new();
                // The head of the string is counted before those inside; its length is known after them.
                let mine = self.count;
                self.count += 1;
                self.item(item, &mut content);
                let after = self.count;
                self.count = mine;
                self.string(2, &content, out);
                self.count = after;
            }
            Tree::Text(text) => self.string(3, text.as_bytes(), out),
            Tree::Array(items) => {
                let open = self.head(4, items.len() as u64, out);
                items.iter().for_each(|item| self.item(item, out));
                if open {
                    out.push(0xff);
                }
            }
            Tree::Map(entries) => {
                let open = self.head(5, entries.len() as u64, out);
                for (key, value) in entries {
                    self.item(key, out);
                    self.item(value, out);
                }
                if open {
                    out.push(0xff);
                }
            }
            Tree::Tag(number, item) => {
                self.head(6, *number, out);
                self.item(item, out);
            }
            Tree::Raw(bytes) => out.extend(bytes),
        }
    }
}
