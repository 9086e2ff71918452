//! Operations as the byte streams of a body, and the order in which a decoder uses them up.

use sealift_manifests::delta_format::{STREAMS, stream};

use super::matcher::Op;

/// Diagonals that have a short name.
const RECENT: usize = 4;

/// A section's streams.
#[derive(Default)]
pub(super) struct Section {
    /// Target bytes the section yields.
    pub(super) len: u32,
    pub(super) streams: [Vec<u8>; STREAMS],
    /// Bytes in the order of use: stream and count.
    pub(super) order: Vec<(u8, u32)>,
}

impl Section {
    fn used(&mut self, stream: usize, from: usize) {
        let count = (self.streams[stream].len() - from) as u32;
        if count == 0 {
            return;
        }
        match self.order.last_mut() {
            Some((last, sum)) if usize::from(*last) == stream => *sum += count,
            _ => self.order.push((stream as u8, count)),
        }
    }

    fn number(&mut self, stream: usize, mut value: u32) {
        let from = self.streams[stream].len();
        while value >= 0x80 {
            self.streams[stream].push(value as u8 | 0x80);
            value >>= 7;
        }
        self.streams[stream].push(value as u8);
        self.used(stream, from);
    }

    fn bytes(&mut self, stream: usize, bytes: &[u8]) {
        let from = self.streams[stream].len();
        self.streams[stream].extend_from_slice(bytes);
        self.used(stream, from);
    }

    /// A head with the upper six bits and the number of further bytes, then these, high ones first.
    fn diagonal(&mut self, code: u32) {
        let more = [6, 14, 22].into_iter().filter(|bits| code >> bits != 0).count();
        self.bytes(stream::DIAGONAL, &[(more as u8) << 6 | (code >> (8 * more)) as u8]);
        self.bytes(stream::DIAGONAL_LOW, &code.to_be_bytes()[4 - more..]);
    }

    /// Bytes of all streams, before compression.
    pub(super) fn raw_len(&self) -> usize {
        self.streams.iter().map(Vec::len).sum()
    }
}

/// Serialises `ops`, which start at `start` in `target`; `difference` is what corrections add, for every byte of the target (zero
/// for literals).
pub(super) fn section(ops: &[Op], start: u32, target: &[u8], difference: &[u8]) -> Section {
    let mut section = Section::default();
    let mut recent = [0u32; RECENT];
    let mut at = start;
    // Copied bytes of the section that come before each correction, and their values.
    let mut runs = corrections(ops, start, difference).into_iter().peekable();
    let mut copied = 0u32;
    let mut run_read = false;
    for op in ops {
        section.number(stream::LITERAL_LEN, op.literals);
        section.number(stream::COPY_LEN, op.copy);
        let to = at + op.literals;
        if op.copy > 0 {
            let diagonal = op.source.wrapping_sub(to);
            section.diagonal(diagonal_code(diagonal, &mut recent));
        }
        section.bytes(stream::LITERAL, &target[at as usize..to as usize]);
        at = to + op.copy;
        let end = copied + op.copy;
        // A run is read when its first byte is copied, the correction when its own byte is.
        while copied < end {
            let Some(&(run, place, value)) = runs.peek() else { break };
            if !run_read {
                section.number(stream::RUN, run);
                run_read = true;
            }
            if place >= end {
                break;
            }
            if let Some(value) = value {
                section.bytes(stream::DIFFERENCE, &[value]);
            }
            copied = place + 1;
            run_read = false;
            runs.next();
        }
        copied = end;
    }
    section.len = at - start;
    section
}

/// (zero bytes before it, its place among the copied bytes, value) of each correction; a last one without a value for the zeros
/// behind.
fn corrections(ops: &[Op], start: u32, difference: &[u8]) -> Vec<(u32, u32, Option<u8>)> {
    let mut found = Vec::new();
    let (mut at, mut copied, mut next) = (start, 0u32, 0u32);
    for op in ops {
        at += op.literals;
        for &byte in &difference[at as usize..(at + op.copy) as usize] {
            if byte != 0 {
                found.push((copied - next, copied, Some(byte)));
                next = copied + 1;
            }
            copied += 1;
        }
        at += op.copy;
    }
    if next < copied {
        found.push((copied - next, copied, None));
    }
    found
}

/// The number that names a diagonal; moves it to the front of the recent ones.
fn diagonal_code(diagonal: u32, recent: &mut [u32; RECENT]) -> u32 {
    let (code, depth) = match recent.iter().position(|&other| other == diagonal) {
        Some(depth) => (depth as u32, depth),
        None => (RECENT as u32 + zigzag(diagonal.wrapping_sub(recent[0])), RECENT - 1),
    };
    recent[..=depth].rotate_right(1);
    recent[0] = diagonal;
    code
}

/// 0, -1, 1, -2 to 0, 1, 2, 3, modulo 2^32.
pub(super) fn zigzag(value: u32) -> u32 {
    value << 1 ^ ((value as i32) >> 31) as u32
}

/// Appends a number as the prelude has them.
pub(super) fn push_number(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
