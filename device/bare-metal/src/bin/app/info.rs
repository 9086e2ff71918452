//! Who this image is: a record at a fixed place for tools, and the banner for people.

use core::fmt::Write;

use sealift_bare_metal::board::HARDWARE;

use crate::console::Console;

/// Release of this image.
pub const VERSION: &str = if cfg!(feature = "release-1-1") { "1.1.0" } else { "1.0.0" };

/// Text padded with zeros to a fixed width.
const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

/// The record that factory tools read from the image.
#[repr(C, align(256))]
pub struct ImageInfo {
    magic: [u8; 8],
    version: [u8; 16],
    hardware: [u8; 24],
    product: [u8; 16],
}

/// Kept right after vector table and entry code, at offset 0x100.
#[used]
#[unsafe(link_section = ".image_info")]
static IMAGE_INFO: ImageInfo = ImageInfo {
    magic: *b"STATION\0",
    version: padded(VERSION),
    hardware: padded(HARDWARE),
    product: padded("weather-station"),
};

/// First lines after a reset.
pub fn banner(console: &mut Console) {
    let _ = writeln!(console, "app: weather station {VERSION} on {HARDWARE}");
}
