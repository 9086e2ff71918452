//! The deterministic subset of CBOR (RFC 8949, section 4.2.1) that Sealift uses: unsigned and negative integers, byte and
//! text strings, arrays, maps and tags, all of definite length and in shortest form.

mod decode;
#[cfg(feature = "alloc")]
mod encode;

pub use decode::{DecodeError, Fault, MapReader, Reader};
#[cfg(feature = "alloc")]
pub use encode::Writer;
