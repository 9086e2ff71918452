//! Bodies of one frame: the target as one zstd frame whose window is base and target laid end to end (`zstd --patch-from`), in blocks
//! that a small decoder holds. For images that have little in common: where copies are short and many, zstd's own are cheaper.

use std::io::Write;

use sealift_manifests::delta_format::{Arch, BLOCK_UNIT, HEADER_LEN, Header, MIN_FRAME_LOG, RamClass, STREAMS, field};
use sealift_verifier::delta::{Block, walk_frame_over};
use zstd::{bulk, stream::write::Encoder, zstd_safe::CParameter};

use super::{CreateError, restart::Tables};

/// Window in memory, as a power of two: as small as may be, so that blocks can be large, but on hosts, which read back in larger pieces.
fn window_log(ram: RamClass) -> u8 {
    match ram {
        RamClass::Ram16K | RamClass::Ram24K => MIN_FRAME_LOG,
        RamClass::Ram64K => 13,
        RamClass::Host => 16,
    }
}

/// Most content of a block beside that window.
fn most_content(ram: RamClass) -> usize {
    let memory = ram.limits().memory - (1 << window_log(ram));
    (memory / BLOCK_UNIT * BLOCK_UNIT).min(MOST_BLOCK) as usize
}

/// Most bytes that a block of zstd yields or has as content (RFC 8878 section 3.1.1.2.4).
const MOST_BLOCK: u32 = 128 * 1024;
/// A section of a frame costs no window and few tables, but a frame's blocks are large: it gets this many intervals of a body that
/// is made of operations.
const INTERVALS: usize = 4;
/// Sections begin at multiples of so many bytes of target, so that a device's flash words before them are whole, and what is before a
/// section is durable when the section begins.
const ALIGNED: usize = 256;
/// Logs of zstd's tables at most: 4 bytes an entry of each.
const MOST_TABLE_LOG: u32 = 24;

/// A body of one frame, with its header, but for the images' lengths and digests.
pub(super) struct Over {
    /// Header and sections.
    pub(super) patch: Vec<u8>,
    pub(super) header: Header,
    pub(super) sections: usize,
}

/// Makes `target` from `base`; `header` says what they are.
pub(super) fn over(
    base: &[u8],
    target: &[u8],
    ram: RamClass,
    resume_interval: u32,
    level: i32,
    header: &Header,
) -> Result<Over, CreateError> {
    let most = most_content(ram);
    let interval = resume_interval.max(1024) as usize * INTERVALS;
    // A section begins with a block: none is longer than what a section should have.
    let mut frame = frame(base, target, most.min(interval) / ALIGNED * ALIGNED, level, true)?;
    let mut blocks = blocks(base, target, &frame)?;
    if blocks.iter().any(|block| content(&frame, block).len() > most) {
        frame = self::frame(base, target, most, level, false)?;
        blocks = self::blocks(base, target, &frame)?;
    }
    // One section needs nothing that zstd has not put into its blocks.
    let body = sections(&frame, &blocks, interval).filter(|body| body.largest <= most);
    let body = body.or_else(|| sections(&frame, &blocks, usize::MAX)).filter(|body| body.largest <= most);
    let body = body.ok_or_else(|| CreateError::Internal("a block of one frame is too large".into()))?;
    let mut window_logs = [0; STREAMS];
    window_logs[0] = window_log(ram);
    let header = Header {
        ram,
        arch: Arch::None,
        fields: field::FRAME | field::READ_BACK,
        window_logs,
        shifts: 0,
        block: body.largest.div_ceil(BLOCK_UNIT as usize) as u8,
        regions: 0,
        body: HEADER_LEN as u32,
        ..*header
    };
    let mut patch = header.to_bytes().to_vec();
    patch.extend_from_slice(&body.bytes);
    Ok(Over { patch, header, sections: body.sections })
}

/// The frame. Blocks end where `most` bytes of image do, or, if they are to be `large`, where their content is expected to have as many.
fn frame(base: &[u8], target: &[u8], most: usize, level: i32, large: bool) -> Result<Vec<u8>, CreateError> {
    let failed = CreateError::Compress;
    let mut frame = Vec::new();
    let mut encoder = Encoder::with_ref_prefix(&mut frame, level, base).map_err(failed)?;
    let reach = (base.len() + target.len()).max(1024).next_power_of_two().ilog2();
    for parameter in [
        CParameter::WindowLog(reach),
        CParameter::ChainLog((reach + 1).min(MOST_TABLE_LOG)),
        CParameter::HashLog(reach.min(MOST_TABLE_LOG)),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ] {
        encoder.set_parameter(parameter).map_err(failed)?;
    }
    encoder.set_pledged_src_size(Some(target.len() as u64)).map_err(failed)?;
    let mut rest = target;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(if large { piece(rest, most)? } else { most.min(rest.len()) });
        // A flush ends the block.
        encoder.write_all(now).and_then(|()| encoder.flush()).map_err(failed)?;
        rest = later;
    }
    encoder.finish().map_err(failed)?;
    Ok(frame)
}

/// Bytes of image that make a block with at most `most` bytes of content, as a quick look has it, which finds no match before them.
fn piece(rest: &[u8], most: usize) -> Result<usize, CreateError> {
    let longest = rest.len().min(MOST_BLOCK as usize);
    let mut len = most.min(longest);
    for _ in 0..3 {
        let quick = bulk::compress(&rest[..len], 1).map_err(CreateError::Compress)?.len();
        // A little less than would fit, since what comes next may be denser.
        let next = (len * (most - most / 16) / quick.max(1)).clamp(most.min(longest), longest);
        let enough = next <= len + len / 16;
        len = if enough { len.min(next) } else { next };
        if enough {
            break;
        }
    }
    Ok(if len < rest.len() { len / ALIGNED * ALIGNED } else { len })
}

/// A block's bytes behind its header.
fn content<'a>(frame: &'a [u8], block: &Block) -> &'a [u8] {
    &frame[block.start + 3..block.end]
}

/// The blocks that yield something.
fn blocks(base: &[u8], target: &[u8], frame: &[u8]) -> Result<Vec<Block>, CreateError> {
    let mut found = Vec::new();
    walk_frame_over(base, target, frame, |block| found.extend((block.regenerated > 0).then_some(block))).map_err(
        |error| CreateError::Internal(format!("our decoder refuses a frame of the reference compressor: {error}")),
    )?;
    Ok(found)
}

struct Body {
    bytes: Vec<u8>,
    sections: usize,
    /// Most content of a block.
    largest: usize,
}

/// Sections of about `interval` bytes. What a block takes over from one in a section before, it gets again; `None` where it can't.
fn sections(frame: &[u8], blocks: &[Block], interval: usize) -> Option<Body> {
    let mut body = Body { bytes: Vec::new(), sections: 0, largest: 0 };
    let mut tables = Tables::default();
    let (mut start, mut yields, mut written) = (0, 0u32, 0);
    let close = |bytes: &mut Vec<u8>, start: usize, yields: u32| {
        if let Some(place) = bytes.get_mut(start..start + 4) {
            place.copy_from_slice(&yields.to_le_bytes());
        }
    };
    for block in blocks {
        if body.sections == 0 || body.bytes.len() - start >= interval && written % ALIGNED == 0 {
            close(&mut body.bytes, start, yields);
            (start, yields) = (body.bytes.len(), 0);
            body.sections += 1;
            body.bytes.extend_from_slice(&[0; 4]);
            block.recent.iter().for_each(|offset| body.bytes.extend_from_slice(&offset.to_le_bytes()));
            tables.forget();
        }
        let (header, content) = tables.complete(&frame[block.start..block.start + 3], content(frame, block))?;
        body.largest = body.largest.max(content.len());
        body.bytes.extend_from_slice(&header);
        body.bytes.extend_from_slice(&content);
        yields += block.regenerated;
        written += block.regenerated as usize;
    }
    close(&mut body.bytes, start, yields);
    Some(body)
}
