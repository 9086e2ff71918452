//! A bounded zstd decoder (RFC 8878): no allocation, no `unsafe`, no panic, and RAM fixed at compile time.
//!
//! It decodes whole blocks into a ring that is the frame's window: [`Entropy::block`] takes one block's content and leaves what it
//! regenerates as the ring's unread bytes, at most a window full. Limits are the caller's: the window (2^10 bytes and up) and the size
//! of a block. Dictionaries are refused; content checksums are skipped (the image's SHA-256 is what counts). What a frame reaches beyond
//! its window may be read from the images themselves ([`Images`]); its blocks may then yield more than the window holds.
//!
//! Literals are decoded while sequences run, straight from the compressed block, so there is no literals buffer; Huffman codes are
//! decoded canonically ([`huffman`]), on hosts by a table ([`lookup`]), FSE entries take two bytes ([`fse`]). One set of FSE tables
//! serves any number of interleaved frames: what a frame may use again (`Repeat_Mode`, "treeless" literals, recent offsets) is kept as
//! [`Memory`], 0.6 KiB.

mod bits;
mod block;
mod frame;
mod fse;
mod huffman;
mod lookup;

pub(super) use block::{BlockHeader, Entropy, Images, Memory, Ring};
pub(super) use frame::{FrameHeader, FrameStart};

/// The bytes are no valid zstd data, or go beyond the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrupt;
