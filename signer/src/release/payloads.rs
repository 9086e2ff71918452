//! The ways an image gets into a slot: itself, compressed, or as a delta from a former image.

use sealift_manifests::delta_format::RamClass;
use sealift_manifests::{Codec, Image, Payload, sha256};
use serde_json::{Value, json};

use super::history::Base;
use crate::delta::{self, CreateOptions, Hints};
use crate::error::{Error, Result};
use crate::image;
use crate::progress::Progress;

/// zstd's highest level: payloads are made once and sent to thousands.
const LEVEL: i32 = 22;

/// A payload that was made: what the metadata says of it, its bytes, and what it starts from.
#[derive(Debug)]
pub struct Made {
    /// What is signed.
    pub payload: Payload,
    /// The bytes to publish.
    pub bytes: Vec<u8>,
    /// Name of the former image of a delta.
    pub from: Option<String>,
}

/// The codec's name.
pub fn codec_name(codec: Codec) -> String {
    match codec {
        Codec::RAW => "raw".into(),
        Codec::ZSTD => "zstd".into(),
        Codec::DELTA => "delta".into(),
        Codec(number) => format!("codec {number}"),
    }
}

impl Made {
    /// Facts for `--json`.
    pub fn facts(&self) -> Value {
        json!({
            "codec": codec_name(self.payload.codec), "length": self.payload.length,
            "sha256": self.payload.digest.to_string(), "from": self.from,
            "base_sha256": self.payload.base.map(|base| base.digest.to_string()),
            "decoder_ram": self.payload.decoder_ram, "window_log": self.payload.window_log,
        })
    }
}

/// Makes every payload worth having: deltas, smallest first, then the compressed image, then the image itself. One that is
/// not smaller than the next plainer form is left out; all keep the limits of the product's decoder class.
pub(super) fn make(new: &image::Image, bases: &[Base], ram: RamClass) -> Result<Vec<Made>> {
    let image = &new.bytes[..];
    let digest = sha256(image);
    let raw =
        Payload { codec: Codec::RAW, length: image.len() as u32, digest, base: None, decoder_ram: 0, window_log: 0 };
    let mut plain = vec![Made { payload: raw, bytes: image.to_vec(), from: None }];
    let full = delta::full_image(image, ram, LEVEL)
        .map_err(|error| Error::failed(format!("compressing the image: {error}"), ""))?;
    if full.codec == delta::Codec::Zstd {
        let (bytes, window_log) = (full.bytes, ram.limits().zstd().0);
        let payload = Payload {
            codec: Codec::ZSTD,
            length: bytes.len() as u32,
            digest: sha256(&bytes),
            decoder_ram: ram.bytes(),
            window_log,
            ..raw
        };
        plain.insert(0, Made { payload, bytes, from: None });
    }
    let smallest = plain[0].bytes.len();

    let mut deltas: Vec<Made> = Vec::new();
    let progress = Progress::growing("delta");
    for base in bases {
        let from = Image { length: base.image.bytes.len() as u32, digest: sha256(&base.image.bytes) };
        let known = deltas.iter().any(|made| made.payload.base == Some(from));
        // From an image to itself there is nothing to send.
        if !known && from.digest != digest {
            progress.begin(&format!("delta from {}", base.name));
            let made = make_delta(base, from, new, ram, &progress)?;
            if made.bytes.len() < smallest {
                deltas.push(made);
            }
        }
    }
    deltas.sort_by_key(|made| made.bytes.len());
    deltas.extend(plain);
    Ok(deltas)
}

fn make_delta(base: &Base, from: Image, new: &image::Image, ram: RamClass, progress: &Progress) -> Result<Made> {
    let hints = Hints { base: base.image.hint.clone(), target: new.hint.clone() };
    let options = CreateOptions { ram, hints, ..CreateOptions::default() };
    let created = delta::create_watched(&base.image.bytes, &new.bytes, &options, progress).map_err(|error| {
        Error::failed(format!("delta from {}: {error}", base.name), "leave it out with --no-deltas")
    })?;
    let payload = Payload {
        codec: Codec::DELTA,
        length: created.patch.len() as u32,
        digest: sha256(&created.patch),
        base: Some(from),
        decoder_ram: created.header.ram.bytes(),
        window_log: created.header.window_logs.into_iter().max().unwrap_or_default(),
    };
    Ok(Made { payload, bytes: created.patch, from: Some(base.name.clone()) })
}

#[cfg(test)]
mod tests {
    use sealift_verifier::delta::{Codec, Decoder16K, Decoder24K, Decoder64K, NoBase, Payload, RamClass, State};

    use crate::delta::full_image;

    /// The devices' own decoders take what the reference compressor makes, each within its class.
    #[test]
    fn every_class_decodes_its_compressed_image() {
        let image: Vec<u8> = (0..200_000u32).map(|index| (index.wrapping_mul(index >> 5) >> 7) as u8).collect();
        macro_rules! decodes {
            ($class:ident, $decoder:ty) => {{
                let bytes = full_image(&image, RamClass::$class, super::LEVEL).unwrap().bytes;
                assert!(bytes.len() < image.len());
                let payload = Payload::of_full(Codec::Zstd, bytes.len() as u32, image.len() as u32);
                let mut decoder = Box::new(<$decoder>::new());
                decoder.start(&payload, None).unwrap();
                let mut slot = vec![0; image.len()];
                let progress = decoder.push(&bytes, &mut NoBase, &mut &mut slot[..]).unwrap();
                assert_eq!(progress.state, State::Done);
                assert!(slot == image, "{}", stringify!($class));
            }};
        }
        decodes!(Ram16K, Decoder16K);
        decodes!(Ram24K, Decoder24K);
        decodes!(Ram64K, Decoder64K);
    }
}
