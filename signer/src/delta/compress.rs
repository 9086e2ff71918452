//! zstd frames within a class's limits, cut into blocks and put into the order in which a decoder asks for them.

use std::collections::VecDeque;

use sealift_manifests::delta_format::STREAMS;
use sealift_verifier::delta::walk_frame;
use zstd::{bulk::Compressor, zstd_safe::CParameter};

use super::{CreateError, beside, serial::Section};

/// A block's bytes (header included) and what it yields.
pub(super) struct Block {
    bytes: Vec<u8>,
    regenerated: u32,
}

impl Block {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Compresses `data` into one zstd frame with a window of `1 << window_log` bytes.
pub(super) fn frame(data: &[u8], window_log: u8, level: i32) -> Result<Vec<u8>, CreateError> {
    let mut compressor = Compressor::new(level).map_err(CreateError::Compress)?;
    for parameter in [
        CParameter::WindowLog(u32::from(window_log)),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ] {
        compressor.set_parameter(parameter).map_err(CreateError::Compress)?;
    }
    compressor.compress(data).map_err(CreateError::Compress)
}

/// The blocks of `data` compressed with that window.
pub(super) fn blocks(data: &[u8], window_log: u8, level: i32) -> Result<VecDeque<Block>, CreateError> {
    let mut found = VecDeque::new();
    if data.is_empty() {
        return Ok(found);
    }
    let frame = frame(data, window_log, level)?;
    let mut window = vec![0; 1 << window_log];
    walk_frame(&frame, &mut window, |block, _| {
        if block.end > block.start {
            found.push_back(Block { bytes: frame[block.start..block.end].to_vec(), regenerated: block.regenerated });
        }
    })
    .map_err(|error| {
        CreateError::Internal(format!("our decoder refuses a frame of the reference compressor: {error}"))
    })?;
    Ok(found)
}

/// Sections with less than this are compressed before a second thread has started.
const SMALL: usize = 64 * 1024;

/// A section's bytes in the patch: its length, then blocks in the order of use. Whether a second thread may help is `beside`.
pub(super) fn section(
    section: &Section,
    window_logs: &[u8; STREAMS],
    level: i32,
    beside: bool,
) -> Result<Vec<u8>, CreateError> {
    let queue = |stream: usize| blocks(&section.streams[stream], window_logs[stream], level);
    let queues = if beside && section.raw_len() >= SMALL {
        beside::each(STREAMS, queue)
    } else {
        (0..STREAMS).map(queue).collect()
    };
    let mut queues = queues.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut bytes = section.len.to_le_bytes().to_vec();
    let mut unread = [0u32; STREAMS];
    for &(stream, count) in &section.order {
        let stream = usize::from(stream);
        while unread[stream] < count {
            let Some(block) = queues[stream].pop_front() else {
                return Err(CreateError::Internal("a stream's frame yields less than the stream".into()));
            };
            bytes.extend_from_slice(&block.bytes);
            unread[stream] += block.regenerated;
        }
        unread[stream] -= count;
    }
    Ok(bytes)
}
