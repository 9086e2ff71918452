//! The full image as a payload: raw, or as zstd frames that a device of the class can decode.

use std::io::Write;

use sealift_manifests::delta_format::{Codec, RamClass};
use zstd::{stream::write::Encoder, zstd_safe::CParameter};

use super::CreateError;

/// Bytes of image in a frame; a device can resume where one starts.
const FRAME: usize = 256 * 1024;

/// An image as a payload.
#[derive(Clone, Debug)]
pub struct FullImage {
    /// [`Codec::Raw`] or [`Codec::Zstd`].
    pub codec: Codec,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// The image as the smallest payload without a base that a decoder of the class takes.
///
/// # Errors
/// [`CreateError::Compress`] if zstd fails.
pub fn full_image(image: &[u8], ram: RamClass, level: i32) -> Result<FullImage, CreateError> {
    let compressed = compressed_image(image, ram, level)?;
    if compressed.len() < image.len() {
        Ok(FullImage { codec: Codec::Zstd, bytes: compressed })
    } else {
        Ok(FullImage { codec: Codec::Raw, bytes: image.to_vec() })
    }
}

/// The image as zstd frames within the class's limits, even where that does not make it smaller. Their checksums are for people
/// (`zstd -t`); a device goes by the signed hash.
///
/// # Errors
/// [`CreateError::Compress`] if zstd fails.
pub fn compressed_image(image: &[u8], ram: RamClass, level: i32) -> Result<Vec<u8>, CreateError> {
    let (window_log, block) = ram.limits().zstd();
    let mut compressed = Vec::new();
    // An empty image is one empty frame.
    let frames = image.chunks(FRAME.max(4 << window_log)).chain(image.is_empty().then_some(image));
    for frame in frames {
        let mut encoder = Encoder::new(&mut compressed, level).map_err(CreateError::Compress)?;
        for parameter in [
            CParameter::WindowLog(u32::from(window_log)),
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(true),
            CParameter::DictIdFlag(false),
        ] {
            encoder.set_parameter(parameter).map_err(CreateError::Compress)?;
        }
        // Not for the header: level 22 takes 670 MB of tables for what it does not know the length of.
        encoder.set_pledged_src_size(Some(frame.len() as u64)).map_err(CreateError::Compress)?;
        for piece in frame.chunks(block.min(128 * 1024) as usize) {
            // A flush ends the block, so that none is larger than the decoder's memory.
            encoder.write_all(piece).and_then(|()| encoder.flush()).map_err(CreateError::Compress)?;
        }
        encoder.finish().map_err(CreateError::Compress)?;
    }
    Ok(compressed)
}
