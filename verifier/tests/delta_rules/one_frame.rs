//! Rules of a body that is one frame: zstd over base and target laid end to end.

use std::io::Write;

use sealift_manifests::delta_format::{Arch, HEADER_LEN, Header, RamClass, field};
use sealift_verifier::delta::{
    BaseReader, Decoder16K, Decoder24K, Decoder64K, DecoderIn, DeltaError, Fault, Lent, Output, State, walk_frame_over,
};
use zstd::{stream::write::Encoder, zstd_safe::CParameter};

use crate::stores::{Decodes, decode, promised};

/// Numbers that repeat in pieces of some ten bytes, so that zstd finds matches near and far.
fn texture(mut seed: u32, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let word = u64::from(seed >> 24).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bytes.extend_from_slice(&word.to_le_bytes()[..3 + (seed >> 16 & 3) as usize]);
    }
    bytes.truncate(len);
    bytes
}

/// The blocks of the reference's frame of `target` with `base` as its prefix, each of at most `block` bytes of image.
fn reference(base: &[u8], target: &[u8], block: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut encoder = Encoder::with_ref_prefix(&mut frame, 19, base).unwrap();
    for parameter in [CParameter::WindowLog(20), CParameter::ContentSizeFlag(false), CParameter::ChecksumFlag(false)] {
        encoder.set_parameter(parameter).unwrap();
    }
    for piece in target.chunks(block) {
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap();
    // Magic number, descriptor and window, and the empty last block: what a body does without.
    frame.strip_suffix(&[1, 0, 0]).expect("an empty last block")[6..].to_vec()
}

fn section(yields: u32, recent: [u32; 3], blocks: &[u8]) -> Vec<u8> {
    let mut bytes = yields.to_le_bytes().to_vec();
    recent.iter().for_each(|offset| bytes.extend_from_slice(&offset.to_le_bytes()));
    [&bytes[..], blocks].concat()
}

/// A delta of one frame with a window of 4 KiB.
fn delta(base_len: usize, target_len: usize, block: u8, sections: &[Vec<u8>]) -> Vec<u8> {
    let header = Header {
        ram: RamClass::Ram16K,
        arch: Arch::None,
        fields: field::FRAME | field::READ_BACK,
        base_len: base_len as u32,
        target_len: target_len as u32,
        base_sha256: [1; 32],
        target_sha256: [2; 32],
        window_logs: [12, 0, 0, 0, 0, 0, 0],
        shifts: 0,
        block,
        regions: 0,
        body: HEADER_LEN as u32,
    };
    [&header.to_bytes()[..], &sections.concat()].concat()
}

/// Recent offsets at the beginning of a frame (RFC 8878 section 3.1.1.5).
const FIRST: [u32; 3] = [1, 4, 8];

/// An RLE block: `count` times this byte.
fn rle(byte: u8, count: u32) -> Vec<u8> {
    [&(1 << 1 | count << 3).to_le_bytes()[..3], &[byte]].concat()
}

fn applied(base: &[u8], patch: &[u8]) -> (Vec<u8>, Result<State, DeltaError>) {
    decode(&mut *Box::new(Decoder16K::new()), &promised(patch), base, patch, usize::MAX)
}

#[test]
fn what_the_reference_makes_with_the_base_as_prefix_applies_in_every_class_and_in_any_pieces() {
    let (base, target) = (texture(1, 30_000), [texture(2, 50_000), vec![0; 9_000], texture(1, 10_000)].concat());
    let whole = section(target.len() as u32, FIRST, &reference(&base, &target, 4_000));
    let patch = delta(base.len(), target.len(), 4, &[whole]);
    assert!(patch.len() < target.len() / 2, "{} bytes: matches were found", patch.len());
    let payload = promised(&patch);
    let least = Header::parse(&patch).unwrap().memory().unwrap() as usize;
    assert_eq!(least, 8_192, "what the 16 KiB class has");
    let (mut memory, mut work) = (vec![0xaa; least], vec![0xbb; DecoderIn::LEAST_WORK]);
    let lent = Lent { memory: &mut memory, work: &mut work, keys: &mut [], shifts: &mut [] };
    let mut lent = DecoderIn::new(lent).unwrap();
    let decoders: [&mut dyn Decodes; 4] = [
        &mut *Box::new(Decoder16K::new()),
        &mut *Box::new(Decoder24K::new()),
        &mut *Box::new(Decoder64K::new()),
        &mut lent,
    ];
    for decoder in decoders {
        for piece in [1, 977, usize::MAX] {
            let (image, end) = decode(decoder, &payload, &base, &patch, piece);
            assert_eq!(end, Ok(State::Done), "pieces of {piece}");
            assert!(image == target, "pieces of {piece}");
        }
    }
}

/// The frame was made with more before its beginning than the signed base has.
#[test]
fn a_match_from_before_the_base_is_refused() {
    let (before, base) = (texture(3, 20_000), texture(4, 6_000));
    let target = [&base[..3_000], &before[..9_000]].concat();
    let frame = reference(&[&before[..], &base].concat(), &target, 4_000);
    let patch = |base: &[u8]| delta(base.len(), target.len(), 4, &[section(target.len() as u32, FIRST, &frame)]);
    let whole = [&before[..], &base].concat();
    assert_eq!(applied(&whole, &patch(&whole)), (target.clone(), Ok(State::Done)));
    let (image, end) = applied(&base, &patch(&base));
    assert_eq!(end, Err(DeltaError::Zstd));
    assert!(target.starts_with(&image) && image.len() < target.len());
}

#[test]
fn a_block_may_yield_more_than_the_window_and_never_more_than_its_section() {
    let of = |target, sections: &[Vec<u8>]| applied(&[], &delta(0, target, 4, sections));
    let good = of(100_000, &[section(100_000, FIRST, &rle(7, 100_000))]);
    assert_eq!(good, (vec![7; 100_000], Ok(State::Done)));
    // Two blocks, two sections: each begins where the one before it ended.
    let two = [section(9_000, FIRST, &[rle(1, 4_000), rle(2, 5_000)].concat()), section(1_000, FIRST, &rle(3, 1_000))];
    let expected = [vec![1; 4_000], vec![2; 5_000], vec![3; 1_000]].concat();
    assert_eq!(of(10_000, &two), (expected, Ok(State::Done)));
    for (yields, blocks) in [(999, rle(1, 1_000)), (1_000, [rle(1, 600), rle(2, 401)].concat())] {
        let (image, end) = of(1_000, &[section(yields, FIRST, &blocks)]);
        assert_eq!(end, Err(DeltaError::Zstd), "{yields}");
        assert!(image.len() <= 600, "the block that is too large leaves nothing");
    }
    assert_eq!(of(1_000, &[section(1_001, FIRST, &rle(1, 1_000))]).1, Err(DeltaError::OutputBounds));
    assert_eq!(of(1_000, &[section(0, FIRST, &rle(1, 1_000))]).1, Err(DeltaError::OutputBounds));
    // A section that goes on when its frame has said that it ended.
    let mut ended = rle(1, 600);
    ended[0] |= 1;
    let (_, end) = of(1_000, &[section(1_000, FIRST, &[ended, rle(1, 400)].concat())]);
    assert_eq!(end, Err(DeltaError::Operation));
}

/// A block of one match of three bytes without literals at the first recent offset.
fn repeat_newest() -> Vec<u8> {
    // Raw literals, none; one sequence; literal length 1 at least is needed to name the newest offset: one literal.
    let literals = [1 << 3, 0x5a];
    // RLE tables: literal length 1, offset code 0 (value 1: the newest), match length code 0 (3 bytes); then an empty bitstream.
    let sequences = [1, 0b0101_0100, 1, 0, 0, 1];
    let content = [&literals[..], &sequences].concat();
    [&(2 << 1 | (content.len() as u32) << 3).to_le_bytes()[..3], &content].concat()
}

#[test]
fn a_section_begins_with_the_recent_offsets_that_it_names() {
    let base: Vec<u8> = (0..50).collect();
    let of = |recent| applied(&base, &delta(50, 4, 4, &[section(4, recent, &repeat_newest())]));
    // One literal is written; from there back by the offset: into the base, or the literal itself.
    assert_eq!(of([51, 4, 8]), (vec![0x5a, 0, 1, 2], Ok(State::Done)));
    assert_eq!(of([11, 4, 8]), (vec![0x5a, 40, 41, 42], Ok(State::Done)));
    assert_eq!(of([1, 4, 8]), (vec![0x5a; 4], Ok(State::Done)));
    // From the base's last byte on into the target.
    assert_eq!(of([2, 4, 8]), (vec![0x5a, 49, 0x5a, 49], Ok(State::Done)));
    for refused in [0, 52, u32::MAX] {
        assert_eq!(of([refused, 4, 8]).1, Err(DeltaError::Zstd), "{refused}");
    }
}

/// A store that fails at its `n`-th call.
struct Failing<'a>(&'a [u8], Vec<u8>, u32);

impl Failing<'_> {
    fn call(&mut self) -> Result<(), &'static str> {
        self.2 = self.2.checked_sub(1).ok_or("called again after it failed")?;
        if self.2 == 0 { Err("failed") } else { Ok(()) }
    }
}

impl BaseReader for Failing<'_> {
    type Error = &'static str;
    fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.call()?;
        bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
        Ok(())
    }
}

impl Output for Failing<'_> {
    type Error = &'static str;
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        assert_eq!(offset as usize, self.1.len());
        self.call()?;
        self.1.extend_from_slice(bytes);
        Ok(())
    }
    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.call()?;
        bytes.copy_from_slice(&self.1[offset as usize..][..bytes.len()]);
        Ok(())
    }
}

/// A read, a write or a read back that fails in the midst of a block: that is what is told, and nothing is asked after it.
#[test]
fn a_store_that_fails_in_the_midst_of_a_block_ends_it() {
    let base = texture(5, 9_000);
    let target = [&base[..5_000], &texture(6, 6_000), &base[..200], &texture(6, 3_000)].concat();
    let whole = section(target.len() as u32, FIRST, &reference(&base, &target, 4_000));
    let patch = delta(base.len(), target.len(), 4, &[whole]);
    let mut decoder = Box::new(Decoder16K::new());
    let never = u32::MAX;
    let mut run = |of_base, of_output| {
        let (mut base, mut output) = (Failing(&base, vec![], of_base), Failing(&[], vec![], of_output));
        decoder.start(&promised(&patch), None).unwrap();
        let end = decoder.push(&patch, &mut base, &mut output);
        assert!(target.starts_with(&output.1));
        (end, never - base.2, never - output.2)
    };
    let (end, reads, writes) = run(never, never);
    assert_eq!(end.map(|progress| progress.state), Ok(State::Done));
    assert!(reads > 10 && writes > 60, "{reads} reads, {writes} writes and reads back");
    for n in 1..=reads {
        assert_eq!(run(n, never).0, Err(Fault::Base("failed")), "read {n}");
    }
    for n in 1..=writes {
        assert_eq!(run(never, n).0, Err(Fault::Output("failed")), "write {n}");
    }
}

/// What a slot is handed at a time: 256 bytes, and what is left at a block's end.
#[test]
fn what_a_block_yields_goes_to_the_slot_in_pieces_of_256_bytes() {
    let patch = delta(0, 100_000, 4, &[section(100_000, FIRST, &rle(7, 100_000))]);
    let mut decoder = Box::new(Decoder16K::new());
    decoder.start(&promised(&patch), None).unwrap();
    let (mut base, mut output) = (Failing(&[], vec![], u32::MAX), Failing(&[], vec![], u32::MAX));
    decoder.push(&patch, &mut base, &mut output).unwrap();
    assert_eq!(u32::MAX - output.2, 100_000u32.div_ceil(256));
}

/// How the signer learns where a frame's blocks are, what they yield, and with which recent offsets they begin.
#[test]
fn a_frame_over_a_base_is_walked_block_by_block() {
    let (base, target) = (texture(7, 20_000), [texture(8, 9_000), vec![3; 2_000], texture(7, 5_000)].concat());
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50];
    let frame = [&head[..], &reference(&base, &target, 1_500), &[1, 0, 0]].concat();
    let mut blocks = Vec::new();
    walk_frame_over(&base, &target, &frame, |block| blocks.push(block)).unwrap();
    assert_eq!((blocks[0].start, blocks[0].recent), (head.len(), FIRST));
    assert!(blocks.windows(2).all(|pair| pair[0].end == pair[1].start));
    assert_eq!(blocks.last().map(|block| (block.end, block.regenerated)), Some((frame.len(), 0)), "the empty last one");
    assert_eq!(blocks.iter().map(|block| block.regenerated as usize).sum::<usize>(), target.len());
    // A section for every block: what is told of each is what a decoder needs to begin with it, but for tables.
    let (mut written, mut begun) = (0, 0);
    for block in &blocks {
        let body = section(block.regenerated, block.recent, &frame[block.start..block.end]);
        let before = section(written.max(1), FIRST, &frame[head.len()..block.start]);
        let sections = if written == 0 { vec![body] } else { vec![before, body] };
        let end = written + block.regenerated;
        let (image, ended) = applied(&base, &delta(base.len(), end as usize, 4, &sections));
        if ended == Ok(State::Done) {
            assert!(image == target[..end as usize], "from {written}");
            begun += 1;
        }
        written = end;
    }
    assert!(begun > 4, "{begun} blocks need no table of another");
    // One byte of target less than the frame yields, a frame cut short, one with more behind it.
    let walk = |target: &[u8], frame: &[u8]| walk_frame_over(&base, target, frame, |_| ());
    assert_eq!(walk(&target[1..], &frame), Err(DeltaError::Zstd));
    assert_eq!(walk(&target, &frame[..frame.len() - 1]), Err(DeltaError::Zstd));
    assert_eq!(walk(&target, &[&frame[..], &[0]].concat()), Err(DeltaError::Trailing));
    assert_eq!(walk_frame_over(&base[15_000..], &target, &frame, |_| ()), Err(DeltaError::Zstd), "less base");
}
