//! One release of one component of one product, and the payloads that carry it.

use core::fmt;

use crate::bounds::{MAX_HARDWARE, MAX_IMAGE, MAX_PAYLOADS};
use crate::cbor::{Fault, Reader};
use crate::extension::Extensions;
use crate::key::Digest;
use crate::list::{Item, List};
use crate::role::MAX_FIELDS;

/// One installable image and everything a device must know before it takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The product it is for.
    pub product: &'a str,
    /// The component of the product it replaces.
    pub component: &'a str,
    /// The hardware it runs on, sorted.
    pub hardware: List<'a, &'a str>,
    /// Release version, shown to people and compared with `minimum_version`.
    pub version: Version,
    /// Security counter: rises with releases that must not be undone.
    pub security_counter: u64,
    /// The least version that must be installed before this one: bridge releases.
    pub minimum_version: Option<Version>,
    /// The image as it stands in the slot.
    pub image: Image,
    /// The ways to get it there; the first that fits is the signer's favourite.
    pub payloads: List<'a, Payload>,
    /// SHA-256 of the software bill of materials.
    pub sbom: Option<Digest>,
    /// Extensions that a device must understand or refuse this target.
    pub critical: Extensions<'a>,
    /// Extensions that a device may ignore.
    pub extensions: Extensions<'a>,
}

/// A release version: major, minor, patch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u32; 3]);

/// Length and SHA-256 of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Length in bytes.
    pub length: u32,
    /// SHA-256 of the bytes.
    pub digest: Digest,
}

/// The image that a delta starts from.
pub type Base = Image;

/// One way to get an image into a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// How the payload becomes the image.
    pub codec: Codec,
    /// Length of the payload in bytes.
    pub length: u32,
    /// SHA-256 of the payload.
    pub digest: Digest,
    /// For a delta, the image it starts from.
    pub base: Option<Base>,
    /// RAM that the decoder needs, in bytes; 0 for a raw image.
    pub decoder_ram: u32,
    /// Binary logarithm of the decoder's window; 0 for a raw image.
    pub window_log: u8,
}

/// How a payload becomes an image. Numbers that a reader does not know stay in the list: that payload is not for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Codec(pub u64);

impl Codec {
    /// The payload is the image.
    pub const RAW: Codec = Codec(0);
    /// The payload is the image in zstd frames (RFC 8878) within the stated window.
    pub const ZSTD: Codec = Codec(1);
    /// The payload is a Sealift delta: see `DELTA.md`.
    pub const DELTA: Codec = Codec(2);
}

const PRODUCT: u8 = 1;
const COMPONENT: u8 = 2;
const HARDWARE: u8 = 3;
const VERSION: u8 = 4;
const SECURITY_COUNTER: u8 = 5;
const MINIMUM_VERSION: u8 = 6;
const IMAGE: u8 = 7;
const PAYLOADS: u8 = 8;
const SBOM: u8 = 9;

const CODEC: u8 = 1;
const LENGTH: u8 = 2;
const DIGEST: u8 = 3;
const BASE: u8 = 4;
const DECODER_RAM: u8 = 5;
const WINDOW_LOG: u8 = 6;
/// RFC 8878, section 3.1.1.1.2: the largest window a frame can state, rounded to what 32-bit hosts can address.
const MAX_WINDOW_LOG: u32 = 31;

impl<'a> Target<'a> {
    /// Writes this target's entry. The SHA-256 of these bytes is the digest that a job names it by.
    #[cfg(feature = "alloc")]
    pub fn encoded(&self) -> alloc::vec::Vec<u8> {
        let mut writer = crate::cbor::Writer::new();
        self.encode(&mut writer);
        writer.into_bytes()
    }
}

impl<'a> Item<'a> for Target<'a> {
    fn decode(reader: &mut Reader<'a>) -> Self {
        let mut map = reader.map(MAX_FIELDS);
        map.required(reader, PRODUCT);
        let product = crate::name::decode(reader);
        map.required(reader, COMPONENT);
        let component = crate::name::decode(reader);
        map.required(reader, HARDWARE);
        let hardware = List::decode(reader, 1, MAX_HARDWARE);
        map.required(reader, VERSION);
        let version = Version::decode(reader);
        map.required(reader, SECURITY_COUNTER);
        let security_counter = reader.uint();
        let bridge = map.optional(reader, MINIMUM_VERSION);
        let minimum_version = if bridge { Some(Version::decode(reader)) } else { None };
        map.required(reader, IMAGE);
        let image = Image::decode(reader);
        map.required(reader, PAYLOADS);
        let payloads = List::decode(reader, 1, MAX_PAYLOADS);
        let sbom = if map.optional(reader, SBOM) { Some(Digest::decode(reader)) } else { None };
        let (critical, extensions) = Extensions::decode_both(reader, map);
        Target {
            product,
            component,
            hardware,
            version,
            security_counter,
            minimum_version,
            image,
            payloads,
            sbom,
            critical,
            extensions,
        }
    }

    #[cfg(feature = "alloc")]
    fn encode(&self, writer: &mut crate::cbor::Writer) {
        let optional = usize::from(self.minimum_version.is_some()) + usize::from(self.sbom.is_some());
        writer.map(7 + optional + self.critical.fields() + self.extensions.fields());
        writer.key(PRODUCT).text(self.product);
        writer.key(COMPONENT).text(self.component);
        writer.key(HARDWARE);
        self.hardware.encode(writer);
        writer.key(VERSION);
        self.version.encode(writer);
        writer.key(SECURITY_COUNTER).uint(self.security_counter);
        if let Some(minimum) = self.minimum_version {
            writer.key(MINIMUM_VERSION);
            minimum.encode(writer);
        }
        writer.key(IMAGE);
        self.image.encode(writer);
        writer.key(PAYLOADS);
        self.payloads.encode(writer);
        if let Some(sbom) = self.sbom {
            writer.key(SBOM).bytes(&sbom.0);
        }
        Extensions::encode_both(&self.critical, &self.extensions, writer);
    }
}

impl Version {
    fn decode(reader: &mut Reader<'_>) -> Self {
        reader.array_of(3);
        Version([(); 3].map(|()| reader.uint_up_to(u32::MAX)))
    }

    #[cfg(feature = "alloc")]
    fn encode(&self, writer: &mut crate::cbor::Writer) {
        writer.array(3);
        self.0.iter().for_each(|part| {
            writer.uint((*part).into());
        });
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `1.2.3`, `1.2` or `1`; parts left out are 0.
impl core::str::FromStr for Version {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let mut parts = [0; 3];
        let mut given = text.split('.');
        for part in &mut parts {
            match given.next() {
                Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    *part = digits.parse().map_err(|_| Fault::BadText)?;
                }
                Some(_) => return Err(Fault::BadText),
                // There is always a first part: the others may be left out.
                None => {}
            }
        }
        if given.next().is_none() { Ok(Version(parts)) } else { Err(Fault::BadText) }
    }
}

impl Image {
    fn decode(reader: &mut Reader<'_>) -> Self {
        reader.array_of(2);
        Image { length: length(reader), digest: Digest::decode(reader) }
    }

    #[cfg(feature = "alloc")]
    fn encode(&self, writer: &mut crate::cbor::Writer) {
        writer.array(2).uint(self.length.into()).bytes(&self.digest.0);
    }
}

/// A length of at least one byte.
fn length(reader: &mut Reader<'_>) -> u32 {
    // The bound makes the cast exact.
    let length = reader.uint_up_to(MAX_IMAGE as u32);
    if length == 0 {
        reader.refuse(Fault::BadValue);
    }
    length
}

impl<'a> Item<'a> for Payload {
    fn decode(reader: &mut Reader<'a>) -> Self {
        let mut map = reader.map(MAX_FIELDS);
        map.required(reader, CODEC);
        let codec = Codec(reader.uint());
        map.required(reader, LENGTH);
        let length = length(reader);
        map.required(reader, DIGEST);
        let digest = Digest::decode(reader);
        let base = if map.optional(reader, BASE) { Some(Image::decode(reader)) } else { None };
        let (mut decoder_ram, mut window_log) = (0, 0);
        if map.optional(reader, DECODER_RAM) {
            // The bound makes the cast exact; 0 is written by leaving both out.
            decoder_ram = reader.uint_up_to(u32::MAX);
            map.required(reader, WINDOW_LOG);
            window_log = reader.uint_up_to(MAX_WINDOW_LOG) as u8;
            if decoder_ram == 0 || window_log == 0 {
                reader.refuse(Fault::BadValue);
            }
        }
        map.finish(reader);
        // What a codec of this format version needs; a codec that is not known here may need anything.
        let complete = match codec {
            Codec::RAW => base.is_none() && decoder_ram == 0,
            Codec::ZSTD => base.is_none() && decoder_ram != 0,
            Codec::DELTA => base.is_some() && decoder_ram != 0,
            _ => true,
        };
        if !complete {
            reader.refuse(Fault::BadValue);
        }
        Payload { codec, length, digest, base, decoder_ram, window_log }
    }

    #[cfg(feature = "alloc")]
    fn encode(&self, writer: &mut crate::cbor::Writer) {
        let decoder = self.decoder_ram != 0;
        writer.map(3 + usize::from(self.base.is_some()) + 2 * usize::from(decoder));
        writer.key(CODEC).uint(self.codec.0);
        writer.key(LENGTH).uint(self.length.into());
        writer.key(DIGEST).bytes(&self.digest.0);
        if let Some(base) = &self.base {
            writer.key(BASE);
            base.encode(writer);
        }
        if decoder {
            writer.key(DECODER_RAM).uint(self.decoder_ram.into());
            writer.key(WINDOW_LOG).uint(self.window_log.into());
        }
    }
}
