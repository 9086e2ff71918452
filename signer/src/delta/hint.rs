//! What a file format tells of an image: its instruction set and where its pieces are seen.

use sealift_manifests::delta_format::Arch;

/// A loadable piece of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the image.
    pub offset: u32,
    /// Address at which code sees it.
    pub address: u64,
    /// Length in bytes.
    pub len: u32,
    /// Whether it holds code.
    pub code: bool,
}

/// Instruction set and layout of an image, known from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageHint {
    /// Instruction set; `None`: not known (Intel HEX tells addresses alone).
    pub arch: Option<Arch>,
    /// Whether pointers have 64 bits.
    pub wide: bool,
    /// Its pieces, by offset; the first one starts the image.
    pub segments: Vec<Segment>,
}

/// What is known of the two images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Of the base.
    pub base: Option<ImageHint>,
    /// Of the target.
    pub target: Option<ImageHint>,
}

impl Hints {
    /// The instruction set, unless the two images disagree.
    pub(super) fn arch(&self) -> Option<Arch> {
        let of = |hint: &Option<ImageHint>| hint.as_ref().and_then(|hint| hint.arch);
        match (of(&self.base), of(&self.target)) {
            (Some(old), Some(new)) if old != new => None,
            (old, new) => old.or(new),
        }
    }

    /// Whether pointers have 64 bits.
    pub(super) fn wide(&self) -> bool {
        [&self.base, &self.target].into_iter().flatten().any(|hint| hint.wide)
    }

    /// The layouts of base and target, piece by piece. What is known of one image alone is taken for the other, too: a product's
    /// link address hardly ever changes.
    pub(super) fn layouts(&self, base_len: usize, target_len: usize) -> Option<[Vec<Segment>; 2]> {
        if let (Some(old), Some(new)) = (&self.base, &self.target)
            && old.segments.len() == new.segments.len()
            && !old.segments.is_empty()
        {
            return Some([old.segments.clone(), new.segments.clone()]);
        }
        let start = |hint: &Option<ImageHint>| Some(hint.as_ref()?.segments.first()?.address);
        let (old, new) = (start(&self.base), start(&self.target));
        let whole = |address: Option<u64>, len: usize| {
            Some(vec![Segment { offset: 0, address: address?, len: u32::try_from(len).ok()?, code: true }])
        };
        Some([whole(old.or(new), base_len)?, whole(new.or(old), target_len)?])
    }
}
