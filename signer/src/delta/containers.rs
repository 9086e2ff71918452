//! Containers whose content is compressed or encrypted already: a delta can't see into them, and the user should know.

use std::fmt;

/// What was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    /// gzip member (RFC 1952).
    Gzip,
    /// xz stream.
    Xz,
    /// zstd frame (RFC 8878).
    Zstd,
    /// LZ4 frame.
    Lz4,
    /// bzip2 stream.
    Bzip2,
    /// ZIP local file.
    Zip,
    /// SquashFS file system.
    SquashFs,
    /// U-Boot legacy image.
    UImage,
    /// Flattened image tree or device tree.
    Fit,
    /// Nothing known, but the bytes look random: compressed or encrypted.
    HighEntropy,
}

/// A container in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container {
    /// Offset of its first byte.
    pub offset: usize,
    /// What it is.
    pub kind: ContainerKind,
    /// Bytes that look random from there on, in steps of 4 KiB.
    pub len: usize,
}

impl fmt::Display for ContainerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Bzip2 => "bzip2",
            Self::Zip => "zip",
            Self::SquashFs => "squashfs",
            Self::UImage => "U-Boot image",
            Self::Fit => "flattened image tree",
            Self::HighEntropy => "compressed or encrypted data",
        })
    }
}

/// Bytes whose randomness is judged at a time.
const PIECE: usize = 4096;

/// The compressed or encrypted parts of an image, and the wrappers it starts with.
pub fn containers(image: &[u8]) -> Vec<Container> {
    let mut found = Vec::new();
    if let Some(kind) = wrapper(image) {
        found.push(Container { offset: 0, kind, len: image.len() });
    }
    let mut random_from = None;
    for (piece, bytes) in image.chunks(PIECE).enumerate() {
        let offset = piece * PIECE;
        match (is_random(bytes), random_from) {
            (true, None) => random_from = Some(offset),
            (false, Some(start)) => {
                found.extend(container(image, start, offset));
                random_from = None;
            }
            _ => {}
        }
    }
    if let Some(start) = random_from {
        found.extend(container(image, start, image.len()));
    }
    found
}

/// A random stretch of at least two pieces, by the name its start gives it.
fn container(image: &[u8], start: usize, end: usize) -> Option<Container> {
    if end - start < 2 * PIECE && end != image.len() {
        return None;
    }
    // Its header lies in the first random piece or in the one before, which is random only in part.
    let from = start.saturating_sub(PIECE);
    for offset in from..(start + PIECE).min(end) {
        if let Some(kind) = compressed(&image[offset..]) {
            return Some(Container { offset, kind, len: end - offset });
        }
    }
    Some(Container { offset: start, kind: ContainerKind::HighEntropy, len: end - start })
}

fn compressed(bytes: &[u8]) -> Option<ContainerKind> {
    match bytes {
        [0x1f, 0x8b, 8, flags, ..] if flags & 0xe0 == 0 => Some(ContainerKind::Gzip),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(ContainerKind::Xz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(ContainerKind::Zstd),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some(ContainerKind::Lz4),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Some(ContainerKind::Bzip2),
        [b'P', b'K', 3, 4, ..] => Some(ContainerKind::Zip),
        [b'h', b's', b'q', b's', ..] => Some(ContainerKind::SquashFs),
        _ => None,
    }
}

fn wrapper(bytes: &[u8]) -> Option<ContainerKind> {
    match bytes {
        [0x27, 0x05, 0x19, 0x56, ..] => Some(ContainerKind::UImage),
        [0xd0, 0x0d, 0xfe, 0xed, ..] => Some(ContainerKind::Fit),
        _ => None,
    }
}

/// Whether bytes are spread as evenly as random ones would be: chi-squared over byte values, far below what code and text reach.
fn is_random(bytes: &[u8]) -> bool {
    if bytes.len() < PIECE / 2 {
        return false;
    }
    let mut counts = [0u32; 256];
    bytes.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
    let expected = bytes.len() as f64 / 256.0;
    let chi: f64 = counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
    // 255 degrees of freedom: random data exceed 400 once in a hundred million pieces; deflate's output stays below 500.
    chi < 500.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gzip_member_inside_code_like_bytes_is_named_with_its_place() {
        let code: Vec<u8> = (0u32..40_000).flat_map(|n| (n / 7 * 4).to_le_bytes()).take(40_000).collect();
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let mut image = code.clone();
        image.extend_from_slice(&[0x1f, 0x8b, 8, 0]);
        image.extend((0..50_000).map(|_| random()));
        image.extend_from_slice(&code);
        let found = containers(&image);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].offset, found[0].kind), (40_000, ContainerKind::Gzip));
        assert!(containers(&code).is_empty());
    }
}
