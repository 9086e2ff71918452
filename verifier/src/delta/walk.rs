//! Walks the blocks of one zstd frame: how the signer learns what each block yields, with the very code that devices run.

use super::{
    error::DeltaError,
    zstd::{BlockHeader, Entropy, FrameStart, Memory, Ring},
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
    let start = FrameStart::parse(*frame.first_chunk().ok_or(DeltaError::Zstd)?)?;
    let mut at = FrameStart::LEN.saturating_add(start.rest());
    let header = start.finish(frame.get(FrameStart::LEN..at).ok_or(DeltaError::Zstd)?)?;
    if header.window > window.len() as u64 {
        return Err(DeltaError::TooLarge);
    }
    let (mut entropy, mut memory, mut written) = (Entropy::NEW, Memory::NEW, 0u32);
    memory.clear();
    loop {
        let block_start = at;
        let block = BlockHeader::parse(*frame.get(at..).and_then(|rest| rest.first_chunk()).ok_or(DeltaError::Zstd)?)?;
        at = at.saturating_add(3);
        let end = at.saturating_add(block.content() as usize);
        let content = frame.get(at..end).ok_or(DeltaError::Zstd)?;
        at = end;
        let before = written;
        let most = window.len() as u32;
        entropy.block(block, content, &mut memory, &mut Ring::new(window, &mut written), most)?;
        let regenerated = written.wrapping_sub(before);
        // What was regenerated may lie around the ring's end: shown in two pieces then.
        let first = before as usize & window.len().wrapping_sub(1);
        let straight = (regenerated as usize).min(window.len().saturating_sub(first));
        let shown = Block { start: block_start, end, regenerated };
        show(shown, window.get(first..).and_then(|tail| tail.get(..straight)).unwrap_or(&[]));
        if straight < regenerated as usize {
            let rest = window.get(..(regenerated as usize).saturating_sub(straight)).unwrap_or(&[]);
            show(Block { start: end, end, regenerated: 0 }, rest);
        }
        if block.last {
            break;
        }
    }
    at = at.saturating_add(if header.checksum { 4 } else { 0 });
    match frame.len().cmp(&at) {
        core::cmp::Ordering::Less => Err(DeltaError::Zstd),
        core::cmp::Ordering::Equal => Ok(()),
        core::cmp::Ordering::Greater => Err(DeltaError::Trailing),
    }
}
