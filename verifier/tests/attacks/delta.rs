//! Attacks on the delta decoder, with patches written byte by byte: whoever serves them needs no key.

use sealift_manifests::delta_format::{HEADER_LEN, MAGIC};
use sealift_verifier::delta::{BaseReader, Codec, Decoder24K, DeltaError, Fault, NoBase, Output, Payload, State};

/// The target's length in every patch here.
const TARGET_LEN: u32 = 200;

/// A base of 100 bytes that notices reads outside of it.
struct Base;

impl BaseReader for Base {
    type Error = &'static str;

    fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let end = offset as usize + bytes.len();
        if end > 100 {
            return Err("read outside of the base");
        }
        bytes.iter_mut().zip(offset..).for_each(|(byte, at)| *byte = at as u8);
        Ok(())
    }
}

/// A slot that notices what must never happen.
#[derive(Default)]
struct Slot(Vec<u8>);

impl Output for Slot {
    type Error = &'static str;

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        if offset as usize != self.0.len() || self.0.len() + bytes.len() > TARGET_LEN as usize {
            return Err("written out of order or beyond the signed length");
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let end = offset as usize + bytes.len();
        bytes.copy_from_slice(self.0.get(offset as usize..end).ok_or("read back what was never written")?);
        Ok(())
    }
}

fn payload(codec: Codec, bytes: &[u8]) -> Payload {
    let base_len = if codec == Codec::Delta { 100 } else { 0 };
    Payload {
        codec,
        len: bytes.len() as u32,
        sha256: [0; 32],
        base_len,
        base_sha256: [0; 32],
        target_len: TARGET_LEN,
        target_sha256: [0; 32],
    }
}

/// Runs a payload through a decoder; what base or slot complain of is a fault of the decoder.
fn run(decoder: &mut Decoder24K, codec: Codec, bytes: &[u8]) -> (Vec<u8>, Result<State, DeltaError>) {
    let mut slot = Slot::default();
    decoder.start(&payload(codec, bytes), None).expect("a payload to start with");
    let end = match decoder.push(bytes, &mut Base, &mut slot) {
        Ok(progress) => Ok(progress.state),
        Err(Fault::Payload(error)) => Err(error),
        Err(Fault::Base(what) | Fault::Output(what)) => panic!("{what}"),
    };
    (slot.0, end)
}

/// The last block of a stream, stored as it is (RFC 8878, 3.1.1.2).
fn stored(content: &[u8]) -> Vec<u8> {
    [&block_header(true, 0, content.len())[..], content].concat()
}

fn block_header(last: bool, kind: u32, size: usize) -> [u8; 3] {
    let head = (u32::from(last) | kind << 1 | (size as u32) << 3).to_le_bytes();
    [head[0], head[1], head[2]]
}

/// A number as the format writes it: base 128, little-endian.
fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A delta without an address map and with one section of `yields` bytes, its blocks in the order in which they are asked for.
fn delta(fields: u8, yields: u32, blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    bytes[..4].copy_from_slice(&MAGIC);
    (bytes[4], bytes[5], bytes[7]) = (1, 1, fields);
    bytes[8..12].copy_from_slice(&100u32.to_le_bytes());
    bytes[12..16].copy_from_slice(&TARGET_LEN.to_le_bytes());
    bytes[80..87].fill(10);
    bytes[92..96].copy_from_slice(&(HEADER_LEN as u32).to_le_bytes());
    bytes.extend_from_slice(&yields.to_le_bytes());
    bytes.extend(blocks.concat());
    bytes
}

/// A delta whose body is one frame over base and target, with this section.
fn one_frame(section: &[u8]) -> Vec<u8> {
    let mut bytes = delta(0xc0, 0, &[]);
    bytes.truncate(HEADER_LEN);
    bytes[80..87].copy_from_slice(&[12, 0, 0, 0, 0, 0, 0]);
    bytes[87] = 4;
    [&bytes[..], section].concat()
}

/// One operation: literals, then a copy along the diagonal that stands as four bytes in stream 3.
fn operation(literals: &[u8], copied: u64, diagonal: u32) -> [Vec<u8>; 6] {
    // A diagonal's number n from 4 on is zigzag n - 4 from the newest, which is 0 at first.
    let zigzag = ((diagonal << 1) ^ ((diagonal as i32 >> 31) as u32)).wrapping_add(4);
    [
        stored(&number(literals.len() as u64)),
        stored(&number(copied)),
        stored(&[0b1100_0000 | (zigzag >> 24) as u8 & 0x3f]),
        stored(&zigzag.to_be_bytes()[1..]),
        stored(literals),
        stored(&number(copied)),
    ]
}

fn decoder() -> Box<Decoder24K> {
    Box::new(Decoder24K::new())
}

#[test]
fn attack_42_the_patches_written_here_are_right_where_they_are_not_wrong() {
    let good = operation(&[7; 120], 80, (5 - 120i32) as u32);
    let (image, end) = run(&mut decoder(), Codec::Delta, &delta(0, TARGET_LEN, &good));
    assert_eq!(end, Ok(State::Done));
    assert_eq!(image, [vec![7; 120], (5..85).collect()].concat());
}

/// bspatch took lengths for signed numbers and wrote in front of its buffer (CVE-2014-9862).
#[test]
fn attack_42_a_length_that_would_be_negative_is_refused() {
    for (literals, copied) in [
        (u64::from(u32::MAX), 0),
        (0, u64::from(u32::MAX)),
        (1 << 31, 0),
        // Their sum is 200 modulo 2^32.
        (u64::from(u32::MAX) - 99, 300),
        (300, u64::from(u32::MAX) - 99),
        // More than 32 bits, which a device would cut off.
        ((1 << 32) + 200, 0),
        (u64::MAX, 1),
    ] {
        let mut blocks = operation(&[7; 120], 80, 0);
        (blocks[0], blocks[1]) = (stored(&number(literals)), stored(&number(copied)));
        let (image, end) = run(&mut decoder(), Codec::Delta, &delta(0, TARGET_LEN, &blocks));
        assert!(matches!(end, Err(DeltaError::OutputBounds | DeltaError::Operation)), "{literals}, {copied}: {end:?}");
        assert_eq!(image, [], "{literals}, {copied}: nothing is written");
    }
}

/// A control block that seeks out of the base (CVE-2020-14315).
#[test]
fn attack_43_a_copy_from_outside_of_the_base_is_refused() {
    for source in [21i64, 100, -1, -80, i64::from(i32::MAX), i64::from(i32::MIN), i64::from(u32::MAX)] {
        let diagonal = (source - 120) as u32;
        let blocks = operation(&[7; 120], 80, diagonal);
        let (image, end) = run(&mut decoder(), Codec::Delta, &delta(0, TARGET_LEN, &blocks));
        assert_eq!(end, Err(DeltaError::SourceBounds), "from {source}");
        assert!(image.len() <= 120, "from {source}: nothing of the copy is written");
    }
}

#[test]
fn attack_43_a_section_that_would_yield_more_than_the_target_is_refused() {
    for yields in [TARGET_LEN + 1, u32::MAX, 1 << 31, 0] {
        let (image, end) = run(&mut decoder(), Codec::Delta, &delta(0, yields, &operation(&[7; 120], 81, 0)));
        assert!(matches!(end, Err(DeltaError::OutputBounds | DeltaError::Operation)), "{yields}: {end:?}");
        assert_eq!(image, [], "{yields}");
    }
}

#[test]
fn attack_44_a_decompression_bomb_ends_at_the_signed_length() {
    // Three bytes that stand for a block of 1 KiB, again and again; the frame says a window of 1 KiB.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00];
    for _ in 0..10_000 {
        bomb.extend(block_header(false, 1, 1024));
        bomb.push(0);
    }
    let (image, end) = run(&mut decoder(), Codec::Zstd, &bomb);
    assert_eq!(end, Err(DeltaError::Zstd));
    assert_eq!(image, [], "a block that yields more than is left of the image leaves nothing");
    // The same of a body that is one frame, whose blocks may be larger than the decoder's whole memory.
    for yields in [TARGET_LEN, u32::MAX] {
        let section = [&yields.to_le_bytes()[..], &[0; 12], &bomb[6..]].concat();
        let (image, end) = run(&mut decoder(), Codec::Delta, &one_frame(&section));
        assert!(matches!(end, Err(DeltaError::Zstd | DeltaError::OutputBounds)), "{yields}: {end:?}");
        assert_eq!(image, [], "{yields}");
    }
    // A block larger than its window, and a window larger than the device's memory.
    for (window, size) in [(0x00, 1025), (0x50, 1)] {
        let bomb = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, window][..], &block_header(true, 1, size), &[0]].concat();
        let (image, end) = run(&mut decoder(), Codec::Zstd, &bomb);
        assert!(matches!(end, Err(DeltaError::TooLarge | DeltaError::Zstd)), "{end:?}");
        assert_eq!(image, []);
    }
}

/// A block of one literal and one match: three bytes from 61 bytes back, in zstd's predefined tables (RFC 8878, 3.1.1.3.2.2).
fn match_from_61_bytes_back() -> Vec<u8> {
    // Raw literals of one byte; one sequence; all tables predefined. The bits, read from the end: a 1 that ends them, state 2 (one
    // literal), state 1 (offset code 6), state 0 (length 3), six bits of offset.
    let content = [1 << 3, b'x', 1, 0, 0x00, 0x10, 0x84];
    [&block_header(true, 2, content.len())[..], &content].concat()
}

/// A decoder that is used again must not show what it held before (RUSTSEC-2024-0400): here it once held a secret.
#[test]
fn attack_45_a_match_from_before_the_beginning_of_a_frame_is_refused_and_shows_nothing() {
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00];
    let secret = [&head[..], &block_header(false, 0, 64), &[0x5e; 64], &match_from_61_bytes_back()].concat();
    let mut decoder = decoder();
    let (image, end) = run(&mut decoder, Codec::Zstd, &secret);
    assert_eq!(end, Ok(State::NeedInput), "the same block behind 64 bytes is right");
    assert_eq!(image.len(), 68);
    let (image, end) = run(&mut decoder, Codec::Zstd, &[&head[..], &match_from_61_bytes_back()].concat());
    assert_eq!(end, Err(DeltaError::Zstd));
    assert!(!image.contains(&0x5e), "what the decoder held before was shown");
    // Nor from one frame to the next of the same payload.
    let two = [&secret[..], &head, &match_from_61_bytes_back()].concat();
    let (image, end) = run(&mut decoder, Codec::Zstd, &two);
    assert_eq!(end, Err(DeltaError::Zstd));
    assert!(image[68..].is_empty() || image[68..] == *b"x", "more than its own literal was shown");
}

/// Nor may a body that is one frame, whose matches reach into the base, reach beyond it or behind what is written.
#[test]
fn attack_45_a_frame_over_base_and_target_reaches_no_further_than_they_do() {
    let reach = |base_len: u32| {
        let section = [&4u32.to_le_bytes()[..], &[0; 12], &match_from_61_bytes_back()].concat();
        let mut bytes = one_frame(&section);
        bytes[8..12].copy_from_slice(&base_len.to_le_bytes());
        let mut decoder = decoder();
        let payload = Payload { base_len, ..payload(Codec::Delta, &bytes) };
        decoder.start(&payload, None).expect("a payload to start with");
        let (base, mut slot) = (vec![0x33; base_len as usize], Slot::default());
        let end = decoder.push(&bytes, &mut &base[..], &mut slot);
        (slot.0, end.map(|progress| progress.state))
    };
    // One literal, then from 61 bytes before its end: 60 bytes of base are enough, 59 are not.
    let (image, end) = reach(60);
    assert_eq!((image, end.is_ok()), (vec![b'x', 0x33, 0x33, 0x33], true));
    let (image, end) = reach(59);
    assert!(matches!(end, Err(Fault::Payload(DeltaError::Zstd))), "{end:?}");
    assert_eq!(image, b"x");
}

/// The slot still holds the image before last: a copy from the target must not bring it back.
#[test]
fn attack_45_a_copy_from_what_is_not_yet_written_is_refused() {
    // Sources count base and target end to end: 100 is the target's first byte.
    for source in [100u32, 101, 219, 220, 250] {
        let blocks = operation(&[7; 120], 80, source.wrapping_sub(120));
        let (image, end) = run(&mut decoder(), Codec::Delta, &delta(0x80, TARGET_LEN, &blocks));
        assert_eq!(end, Err(DeltaError::SourceBounds), "from {source}");
        assert!(image.len() <= 120);
    }
}

#[test]
fn attack_41_a_delta_on_a_device_without_a_base_is_refused() {
    let bytes = delta(0, TARGET_LEN, &operation(&[7; 120], 80, (-120i32) as u32));
    let mut decoder = decoder();
    decoder.start(&payload(Codec::Delta, &bytes), None).expect("a payload to start with");
    let end = decoder.push(&bytes, &mut NoBase, &mut Slot::default());
    assert!(matches!(end, Err(Fault::Base(_))), "{end:?}");
}
