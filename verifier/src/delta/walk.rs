//! Walks the blocks of one zstd frame: how the signer learns what each block yields, with the very code that devices run.

use sealift_manifests::delta_format::READ_BACK_MARGIN;

use super::{
    error::DeltaError,
    zstd::{BlockHeader, Entropy, FrameStart, Images, Memory, Ring},
};

/// A block inside a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Offset in the frame of the block's three-byte header.
    pub start: usize,
    /// Offset behind the block's content.
    pub end: usize,
    /// Bytes the block regenerates.
    pub regenerated: u32,
    /// The recent offsets before it (RFC 8878 section 3.1.1.5).
    pub recent: [u32; 3],
}

/// Decodes the one standard zstd frame in `frame`, with `window` (a power of two of bytes) as its window, and shows every block with
/// what it yields. Blocks may be as large as the window.
///
/// # Errors
/// [`DeltaError::Zstd`] for malformed frames, [`DeltaError::TooLarge`] for a frame with a larger window, and
/// [`DeltaError::Trailing`] when bytes follow the frame.
pub fn walk_frame(frame: &[u8], window: &mut [u8], mut show: impl FnMut(Block, &[u8])) -> Result<(), DeltaError> {
    if !window.len().is_power_of_two() {
        return Err(DeltaError::TooLarge);
    }
    let mut walk = Walk::start(frame)?;
    if walk.window > window.len() as u64 {
        return Err(DeltaError::TooLarge);
    }
    while !walk.ended {
        let (before, most) = (walk.written, window.len() as u32);
        let block = walk.block(window, most, None)?;
        // What was regenerated may lie around the ring's end: shown in two pieces then.
        let first = before as usize & window.len().wrapping_sub(1);
        let regenerated = block.regenerated as usize;
        let straight = regenerated.min(window.len().saturating_sub(first));
        show(block, window.get(first..).and_then(|tail| tail.get(..straight)).unwrap_or(&[]));
        if straight < regenerated {
            let rest = window.get(..regenerated.saturating_sub(straight)).unwrap_or(&[]);
            show(Block { start: block.end, regenerated: 0, ..block }, rest);
        }
    }
    walk.end()
}

/// The same for a frame that makes `target` with `base` as its prefix (`zstd --patch-from`), whatever window it asks for.
///
/// # Errors
/// As [`walk_frame`]; whether it makes `target` is not looked at.
pub fn walk_frame_over(
    base: &[u8],
    target: &[u8],
    frame: &[u8],
    mut show: impl FnMut(Block),
) -> Result<(), DeltaError> {
    let mut walk = Walk::start(frame)?;
    let mut window = [0; READ_BACK_MARGIN as usize];
    while !walk.ended {
        let mut images = Known { base, target, written: walk.written as usize };
        let most = (target.len() as u32).saturating_sub(walk.written);
        show(walk.block(&mut window, most, Some(&mut images))?);
    }
    walk.end()
}

/// Images that are there as a whole.
struct Known<'a> {
    base: &'a [u8],
    target: &'a [u8],
    written: usize,
}

impl Images for Known<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.written = self.written.saturating_add(bytes.len());
    }

    fn read(&mut self, distance: u32, bytes: &mut [u8]) -> usize {
        let source = match self.written.checked_sub(distance as usize) {
            Some(place) => self.target.get(place..),
            None => {
                let back = (distance as usize).saturating_sub(self.written);
                self.base.len().checked_sub(back).and_then(|place| self.base.get(place..))
            }
        };
        let from = source.unwrap_or(&[]);
        bytes.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        bytes.len().min(from.len())
    }
}

/// A frame, and how far it was walked.
struct Walk<'a> {
    frame: &'a [u8],
    window: u64,
    checksum: bool,
    at: usize,
    written: u32,
    ended: bool,
    entropy: Entropy,
    memory: Memory,
}

impl<'a> Walk<'a> {
    fn start(frame: &'a [u8]) -> Result<Self, DeltaError> {
        let start = FrameStart::parse(*frame.first_chunk().ok_or(DeltaError::Zstd)?)?;
        let at = FrameStart::LEN.saturating_add(start.rest());
        let header = start.finish(frame.get(FrameStart::LEN..at).ok_or(DeltaError::Zstd)?)?;
        let (window, checksum) = (header.window, header.checksum);
        let mut memory = Memory::NEW;
        memory.clear();
        Ok(Self { frame, window, checksum, at, written: 0, ended: false, entropy: Entropy::NEW, memory })
    }

    fn block(
        &mut self,
        window: &mut [u8],
        most: u32,
        images: Option<&mut (dyn Images + '_)>,
    ) -> Result<Block, DeltaError> {
        let start = self.at;
        let header = self.frame.get(start..).and_then(|rest| rest.first_chunk()).ok_or(DeltaError::Zstd)?;
        let header = BlockHeader::parse(*header)?;
        let content = start.saturating_add(3);
        let end = content.saturating_add(header.content() as usize);
        let (before, recent) = (self.written, *self.memory.recent());
        let content = self.frame.get(content..end).ok_or(DeltaError::Zstd)?;
        let mut ring = Ring::new(window, &mut self.written, images);
        self.entropy.block(header, content, &mut self.memory, &mut ring, most)?;
        (self.at, self.ended) = (end, header.last);
        Ok(Block { start, end, regenerated: self.written.wrapping_sub(before), recent })
    }

    /// Nothing but a checksum follows the last block.
    fn end(&self) -> Result<(), DeltaError> {
        let end = self.at.saturating_add(if self.checksum { 4 } else { 0 });
        match self.frame.len().cmp(&end) {
            core::cmp::Ordering::Less => Err(DeltaError::Zstd),
            core::cmp::Ordering::Equal => Ok(()),
            core::cmp::Ordering::Greater => Err(DeltaError::Trailing),
        }
    }
}
