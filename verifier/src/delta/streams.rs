//! The body's streams: zstd frames that take turns in one sequential payload.
//!
//! No tag says whose block comes next: the decoder asks for a block of the stream it has run dry, and the signer, which knows
//! that order, has put it there. A block is decoded at once into its stream's window, where it waits to be read.

use sealift_manifests::delta_format::STREAMS;

use super::{
    decoder::Pause,
    error::DeltaError,
    zstd::{BlockHeader, Entropy, Images, Memory, Ring},
};

/// One stream's place in the shared window memory, and its positions.
#[derive(Clone, Copy)]
struct Stream {
    start: u32,
    /// Bytes of window; a power of two, or 0 for none.
    window: u32,
    written: u32,
    read: u32,
    ended: bool,
}

/// All streams, with the one set of entropy tables they share.
#[repr(C)]
pub(super) struct Streams {
    /// Bytes of all windows.
    windows: u32,
    streams: [Stream; STREAMS],
    memories: [Memory; STREAMS],
    entropy: Entropy,
}

/// A number being read, seven bits a byte, lowest first.
#[derive(Clone, Copy)]
pub(super) struct Varint {
    value: u32,
    shift: u32,
}

impl Varint {
    pub(super) const NEW: Self = Self { value: 0, shift: 0 };

    /// Adds a byte; the number, if it was the last one. Numbers beyond 32 bits are refused.
    fn push(&mut self, byte: u8) -> Result<Option<u32>, DeltaError> {
        let bits = u32::from(byte & 0x7f);
        if self.shift > 28 || self.shift == 28 && bits > 15 {
            return Err(DeltaError::Operation);
        }
        self.value |= bits << self.shift;
        self.shift += 7;
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        let value = self.value;
        *self = Self::NEW;
        Ok(Some(value))
    }
}

impl Streams {
    pub(super) const NEW: Self = Self {
        entropy: Entropy::NEW,
        memories: [const { Memory::NEW }; STREAMS],
        streams: [Stream { start: 0, window: 0, written: 0, read: 0, ended: false }; STREAMS],
        windows: 0,
    };

    /// Starts new frames with these windows, one after the other in the shared memory. A log of 0 stands for no window.
    pub(super) fn reset(&mut self, window_logs: &[u8; STREAMS]) {
        let mut start = 0;
        for (stream, log) in self.streams.iter_mut().zip(window_logs) {
            let window = if *log == 0 { 0 } else { 1u32 << (log & 31) };
            *stream = Stream { start, window, written: 0, read: 0, ended: false };
            start = start.saturating_add(window);
        }
        self.windows = start;
        self.memories.iter_mut().for_each(Memory::clear);
    }

    /// Bytes of all windows.
    pub(super) fn windows(&self) -> usize {
        self.windows as usize
    }

    /// Whether the stream's last block was read.
    pub(super) fn ended(&self, stream: usize) -> bool {
        self.streams.get(stream).is_none_or(|stream| stream.ended)
    }

    /// Whether every byte of every stream was used, where nobody takes them at once.
    pub(super) fn drained(&self) -> bool {
        self.streams.iter().all(|stream| stream.written == stream.read)
    }

    /// Decodes a block of `stream`, which yields at most `most` bytes; `images`, if there are any, take all of them.
    pub(super) fn block(
        &mut self,
        stream: usize,
        header: BlockHeader,
        content: &[u8],
        windows: &mut [u8],
        most: Option<u32>,
        images: Option<&mut (dyn Images + '_)>,
    ) -> Result<(), DeltaError> {
        let memory = self.memories.get_mut(stream).ok_or(DeltaError::Zstd)?;
        let stream = self.streams.get_mut(stream).ok_or(DeltaError::Zstd)?;
        let window = windows.get_mut(stream.start as usize..).and_then(|tail| tail.get_mut(..stream.window as usize));
        let mut ring = Ring::new(window.ok_or(DeltaError::TooLarge)?, &mut stream.written, images);
        // What nobody takes has to fit.
        self.entropy.block(header, content, memory, &mut ring, most.unwrap_or(stream.window))?;
        stream.ended = header.last;
        Ok(())
    }

    /// A section of a body's one frame begins at `written` of the target, with these recent offsets. Returns the part of its window
    /// that the bytes before it belong in: none where it goes on from a section before.
    pub(super) fn begin_frame<'w>(&mut self, written: u32, recent: [u32; 3], window: &'w mut [u8]) -> &'w mut [u8] {
        let ([stream, ..], [memory, ..]) = (&mut self.streams, &mut self.memories);
        memory.clear();
        *memory.recent() = recent;
        stream.ended = false;
        if stream.written > 0 {
            return &mut [];
        }
        stream.written = written.min(stream.window);
        window.get_mut(..stream.written as usize).unwrap_or(&mut [])
    }

    /// The next bytes of `stream` that lie in one piece; none: a block is due.
    pub(super) fn readable<'a>(&self, stream: usize, windows: &'a [u8]) -> &'a [u8] {
        let Some(stream) = self.streams.get(stream) else { return &[] };
        let first = stream.read & stream.window.wrapping_sub(1);
        let unread = stream.written.wrapping_sub(stream.read);
        let count = unread.min(stream.window.saturating_sub(first));
        let start = stream.start.saturating_add(first) as usize;
        windows.get(start..).and_then(|tail| tail.get(..count as usize)).unwrap_or(&[])
    }

    /// Marks `count` readable bytes as used.
    pub(super) fn skip(&mut self, stream: usize, count: u32) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.read = stream.read.wrapping_add(count);
        }
    }

    /// The next byte of `stream`.
    #[inline]
    pub(super) fn byte(&mut self, stream: usize, windows: &[u8]) -> Result<u8, Pause> {
        let place = self.streams.get_mut(stream).ok_or(Pause::Block(stream as u8))?;
        if place.read == place.written {
            return Err(Pause::Block(stream as u8));
        }
        let at = place.start.wrapping_add(place.read & place.window.wrapping_sub(1));
        place.read = place.read.wrapping_add(1);
        windows.get(at as usize).copied().ok_or(Pause::Block(stream as u8))
    }

    /// The next number of `stream`; `number` keeps what was read of it when a block is due.
    pub(super) fn varint(
        &mut self,
        stream: usize,
        number: &mut Varint,
        windows: &[u8],
    ) -> Result<Result<u32, Pause>, DeltaError> {
        loop {
            match self.byte(stream, windows) {
                Ok(byte) => {
                    if let Some(value) = number.push(byte)? {
                        return Ok(Ok(value));
                    }
                }
                Err(pause) => return Ok(Err(pause)),
            }
        }
    }
}
