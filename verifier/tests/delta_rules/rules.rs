//! Rules of a delta, each with a delta written byte by byte.

use sealift_manifests::delta_format::{HEADER_LEN, Header, Limits, MAGIC};
use sealift_verifier::delta::{Decoder24K, DecoderIn, DeltaError, Lent, Payload, Region, ResumePoint, State};

use crate::stores::{Base, Decodes, Slot, decode, promised};

const BASE: [u8; 100] = {
    let mut base = [0; 100];
    let mut at = 0;
    while at < 100 {
        base[at] = at as u8;
        at += 1;
    }
    base
};

/// The last block of a stream, stored as it is (RFC 8878, 3.1.1.2).
fn stored(content: &[u8]) -> Vec<u8> {
    let head = (1 | (content.len() as u32) << 3).to_le_bytes();
    [&head[..3], content].concat()
}

/// Numbers as the format writes them: base 128, little-endian.
fn numbers(values: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &value in values {
        let mut value = value;
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
    }
    bytes
}

/// A delta from [`BASE`] to `target` bytes: map, then a section of them with its blocks in the order in which they are asked for.
fn delta(target: u32, map: (u8, u16, &[u32]), sections: &[(u32, &[Vec<u8>])]) -> Vec<u8> {
    let (regions, shifts, values) = map;
    let prelude = if values.is_empty() { vec![] } else { stored(&numbers(values)) };
    let mut bytes = vec![0; HEADER_LEN];
    bytes[..4].copy_from_slice(&MAGIC);
    (bytes[4], bytes[5]) = (1, 1);
    bytes[8..12].copy_from_slice(&100u32.to_le_bytes());
    bytes[12..16].copy_from_slice(&target.to_le_bytes());
    bytes[80..87].fill(10);
    bytes[88..90].copy_from_slice(&shifts.to_le_bytes());
    bytes[90] = regions;
    bytes[92..96].copy_from_slice(&((HEADER_LEN + prelude.len()) as u32).to_le_bytes());
    bytes.extend(prelude);
    for (yields, blocks) in sections {
        bytes.extend(yields.to_le_bytes());
        bytes.extend(blocks.concat());
    }
    bytes
}

const NO_MAP: (u8, u16, &[u32]) = (0, 0, &[]);

/// A copy of 20 bytes from the start of the base, with these runs and differences.
fn copy_with(runs: &[u32], differences: &[u8]) -> Vec<Vec<u8>> {
    let mut blocks = vec![stored(&[0]), stored(&[20]), stored(&[0]), stored(&numbers(runs))];
    if !differences.is_empty() {
        blocks.push(stored(differences));
    }
    blocks
}

fn applied(patch: &[u8]) -> (Vec<u8>, Result<State, DeltaError>) {
    decode(&mut *Box::new(Decoder24K::new()), &promised(patch), &BASE, patch, usize::MAX)
}

/// Runs of unchanged bytes, and what is added to the byte behind each.
#[test]
fn a_difference_stands_behind_the_run_that_counts_up_to_it() {
    for (runs, differences, changed) in [
        (&[20][..], &[][..], &[][..]),
        (&[0, 19], &[5], &[(0, 5)]),
        (&[19], &[5], &[(19, 5)]),
        (&[3, 0, 15], &[5, 250], &[(3, 5), (4, 250)]),
        (&[3, 16], &[5], &[(3, 5)]),
    ] {
        let (image, end) = applied(&delta(20, NO_MAP, &[(20, &copy_with(runs, differences))]));
        let mut expected = BASE[..20].to_vec();
        changed.iter().for_each(|&(at, by): &(usize, u8)| expected[at] = expected[at].wrapping_add(by));
        assert_eq!(end, Ok(State::Done), "{runs:?}");
        assert_eq!(image, expected, "{runs:?}");
    }
}

/// What a section's streams hold it must use: a run that counts beyond its end, a byte too many in any stream.
#[test]
fn a_section_that_leaves_something_over_is_refused() {
    let good = copy_with(&[3, 16], &[5]);
    assert_eq!(applied(&delta(20, NO_MAP, &[(20, &good)])).1, Ok(State::Done));
    assert_eq!(applied(&delta(20, NO_MAP, &[(20, &copy_with(&[21], &[]))])).1, Err(DeltaError::Operation));
    assert_eq!(applied(&delta(20, NO_MAP, &[(20, &copy_with(&[3, 17], &[5]))])).1, Err(DeltaError::Operation));
    for stream in 0..good.len() {
        let mut bad = good.clone();
        let content = [&bad[stream][3..], &[0]].concat();
        bad[stream] = stored(&content);
        assert_eq!(applied(&delta(20, NO_MAP, &[(20, &bad)])).1, Err(DeltaError::Operation), "block {stream}");
    }
    // And a stream that ends before the section does is not waited for.
    let short = copy_with(&[3], &[5]);
    assert_eq!(applied(&delta(20, NO_MAP, &[(20, &short), (0, &[stored(&[0])])])).1, Err(DeltaError::Operation));
}

#[test]
fn an_operation_without_bytes_and_a_section_without_bytes_are_refused() {
    let nothing = [stored(&[0]), stored(&[0])];
    assert_eq!(applied(&delta(20, NO_MAP, &[(20, &nothing)])).1, Err(DeltaError::Operation));
    assert_eq!(applied(&delta(20, NO_MAP, &[(0, &nothing)])).1, Err(DeltaError::OutputBounds));
    assert_eq!(applied(&delta(20, NO_MAP, &[(21, &nothing)])).1, Err(DeltaError::OutputBounds));
}

/// Several copies: by a step from the newest diagonal, and by the place of a recent one, which then is the newest.
#[test]
fn recent_diagonals_are_named_newest_first() {
    // Sources of four copies of one byte: 50 (a step of 50), 31 (of -20, from 50 to 30), again along 50, again along 30.
    let zigzag = |step: i32| ((step << 1) ^ (step >> 31)) as u32 + 4;
    let mut heads = Vec::new();
    let mut lower = Vec::new();
    for number in [zigzag(50), zigzag(-20), 1, 1, 3, 2] {
        if number < 64 {
            heads.push(number as u8);
        } else {
            heads.push(0x40);
            lower.push(number as u8);
        }
    }
    let blocks = [stored(&[0; 6]), stored(&[1; 6]), stored(&heads), stored(&lower), stored(&numbers(&[6]))];
    let (image, end) = applied(&delta(6, NO_MAP, &[(6, &blocks)]));
    assert_eq!(end, Ok(State::Done));
    // Diagonals 50, 30, 50, 30; then the one before the beginning, and the one that was second at the end: all are 0 but two.
    assert_eq!(image, [50, 31, 52, 33, 4, 35 + 20]);
}

/// Origin, regions, keys, shifts.
type Map = (u64, Vec<Region>, Vec<u32>, Vec<u32>);

fn map_of(patch: &[u8]) -> Result<Map, DeltaError> {
    let mut decoder = Box::new(Decoder24K::new());
    decode(&mut *decoder, &promised(patch), &BASE, patch, 5).1?;
    let map = decoder.map();
    Ok((map.origin, map.regions.to_vec(), map.keys.to_vec(), map.shifts.to_vec()))
}

/// Origin in two halves; regions of five numbers; steps between keys; zigzag steps between shifts.
#[test]
fn an_address_map_is_read_number_by_number() {
    let whole = [(20, &copy_with(&[20], &[])[..])];
    let region = |address, len, base, code, target_bias| Region { address, len, base, code, target_bias };
    let values = [
        0x8000_0000,
        0xffff_ffff, // origin
        0x1000,
        60,
        2,
        0,
        7, // code
        0x5000,
        40,
        1,
        60,
        0xffff_fff0, // data
        0x9000,
        0x400,
        0,
        5,
        6, // RAM: its offset means nothing
        0x1000,
        0x20,
        0x30, // keys
        8,
        7,
        1, // shifts: 4, then -4, then -1
    ];
    let (origin, regions, keys, shifts) = map_of(&delta(20, (3, 3, &values), &whole)).unwrap();
    assert_eq!(origin, 0xffff_ffff_8000_0000);
    let expected = [
        region(0x1000, 60, Some(0), true, 7),
        region(0x5000, 40, Some(60), false, 0xffff_fff0),
        region(0x9000, 0x400, None, false, 6),
    ];
    assert_eq!(regions, expected);
    assert_eq!(keys, [0x1000, 0x1020, 0x1050]);
    assert_eq!(shifts, [4, 0, u32::MAX]);
    // Shifts alone, regions alone.
    let (origin, regions, keys, shifts) = map_of(&delta(20, (0, 1, &[0, 1, 9, 4]), &whole)).unwrap();
    assert_eq!((origin, regions.len(), keys, shifts), (1 << 32, 0, vec![9], vec![2]));
    let (_, regions, keys, _) = map_of(&delta(20, (1, 0, &[0, 0, 1, 2, 1, 3, 4]), &whole)).unwrap();
    assert_eq!((regions, keys), (vec![region(1, 2, Some(3), false, 4)], vec![]));
}

#[test]
fn an_address_map_with_a_number_too_many_or_without_meaning_is_refused() {
    let whole = [(20, &copy_with(&[20], &[])[..])];
    for (regions, shifts, values, why) in [
        (1, 0, &[0, 0, 1, 2, 3, 0, 0][..], "a kind of region that is none"),
        (1, 0, &[0, 0, 1, 2, 1, 0, 0, 0], "a number too many"),
        (0, 2, &[0, 0, u32::MAX, 1, 0, 0], "keys beyond 32 bits"),
    ] {
        assert_eq!(map_of(&delta(20, (regions, shifts, values), &whole)).err(), Some(DeltaError::Prelude), "{why}");
    }
    // The body begins where the header says, or not at all.
    let mut patch = delta(20, (1, 0, &[0, 0, 1, 2, 1, 3, 4]), &whole);
    patch[92] += 1;
    assert_eq!(map_of(&patch).err(), Some(DeltaError::Prelude));
}

/// Two sections of ten bytes, and the place between them.
fn two_sections() -> (Vec<u8>, u32) {
    let section = || [stored(&[0]), stored(&[10]), stored(&[0]), stored(&[10])];
    let patch = delta(20, NO_MAP, &[(10, &section()), (10, &section())]);
    let body = (patch.len() - HEADER_LEN) / 2;
    (patch.clone(), (HEADER_LEN + body) as u32)
}

fn resumed(patch: &[u8], point: ResumePoint) -> Result<(Vec<u8>, State), DeltaError> {
    let mut decoder = Box::new(Decoder24K::new());
    Decodes::start(&mut *decoder, &promised(patch), Some(point))?;
    let mut slot = Slot::resumed(&BASE[..point.output() as usize], 20);
    let progress = Decodes::push(&mut *decoder, patch, &mut Base(&BASE), &mut slot)?;
    let State::Seek(offset) = progress.state else { return Ok((slot.bytes, progress.state)) };
    let rest = &patch[offset as usize..];
    let progress = Decodes::push(&mut *decoder, rest, &mut Base(&BASE), &mut slot)?;
    Ok((slot.bytes, progress.state))
}

#[test]
fn a_place_to_go_on_from_is_refused_unless_it_is_of_this_payload_and_within_it() {
    let (patch, middle) = two_sections();
    let payload = promised(&patch);
    let mut decoder = Box::new(Decoder24K::new());
    decoder.start(&payload, None).unwrap();
    let mut slot = Slot::new(20);
    Decodes::push(&mut *decoder, &patch[..middle as usize], &mut Base(&BASE), &mut slot).unwrap();
    let good = decoder.resume_point();
    assert_eq!((good.payload(), good.output()), (middle, 10));
    let record = good.to_bytes();
    assert_eq!(ResumePoint::from_bytes(&record), Some(good));
    assert_eq!(resumed(&patch, good), Ok((BASE[..20].to_vec(), State::Done)));
    // Version, codec, the two zero bytes.
    for (at, value) in [(0, 0), (0, 2), (1, 3), (2, 1), (3, 1)] {
        let mut bad = record;
        bad[at] = value;
        assert_eq!(ResumePoint::from_bytes(&bad), None, "byte {at} is {value}");
    }
    assert_eq!(ResumePoint::from_bytes(&record[..19]), None);
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = record;
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        ResumePoint::from_bytes(&changed).expect("a record")
    };
    let length = patch.len() as u32;
    for (what, point) in [
        ("of another codec", with(1, &[1])),
        ("of another payload", with(12, &[record[12] ^ 1])),
        ("of another payload, by the last byte", with(19, &[record[19] ^ 1])),
        ("behind the payload", with(4, &(length + 1).to_le_bytes())),
        ("behind the image", with(8, &21u32.to_le_bytes())),
        ("before the body", with(4, &(HEADER_LEN as u32 - 1).to_le_bytes())),
        ("at the payload's first byte", with(4, &[0; 4])),
    ] {
        assert_eq!(resumed(&patch, point), Err(DeltaError::Resume), "{what}");
    }
    // The body's first byte is within: the first section then ends the image, and the second is too many.
    assert_eq!(resumed(&patch, with(4, &(HEADER_LEN as u32).to_le_bytes())), Err(DeltaError::Trailing));
    // Another payload altogether: the point is bound to its hash, its base's and its image's.
    for other in [
        Payload { sha256: [1; 32], ..payload },
        Payload { base_sha256: [1; 32], ..payload },
        Payload { target_sha256: [1; 32], ..payload },
    ] {
        assert_eq!(decoder.start(&other, Some(good)), Err(DeltaError::Resume));
        let mut slot = Slot::new(20);
        let stopped = Decodes::push(&mut *decoder, &patch, &mut Base(&BASE), &mut slot);
        assert_eq!(stopped, Err(DeltaError::NotRunning), "it was not started");
    }
}

/// The classes' limits are the signer's promise; a host lends what a delta asks for, and not a byte less.
#[test]
fn memory_that_is_lent_is_the_limit() {
    let whole = [(20, &copy_with(&[20], &[])[..])];
    let patch = delta(20, (0, 2, &[0, 0, 9, 9, 4, 4]), &whole);
    let needs = 8 * 1024;
    let run = |memory: usize, work: usize, keys: usize, shifts: usize| {
        let (mut memory, mut work) = (vec![0; memory], vec![0; work]);
        let (mut keys, mut shifts) = (vec![0; keys], vec![0; shifts]);
        let lent = Lent { memory: &mut memory, work: &mut work, keys: &mut keys, shifts: &mut shifts };
        let mut decoder = DecoderIn::new(lent)?;
        decode(&mut decoder, &promised(&patch), &BASE, &patch, usize::MAX).1
    };
    assert_eq!(run(needs, 256, 2, 2), Ok(State::Done));
    assert_eq!(run(needs + 1, 4096, 9, 9), Ok(State::Done));
    for (what, refused) in [
        ("memory", run(needs - 1, 256, 2, 2)),
        ("none", run(0, 256, 2, 2)),
        ("work", run(needs, 255, 2, 2)),
        ("keys", run(needs, 256, 1, 2)),
        ("shifts", run(needs, 256, 2, 1)),
    ] {
        assert_eq!(refused, Err(DeltaError::TooLarge), "{what}");
    }
    let header = Header::parse(&patch).unwrap();
    assert!(header.fits(&Limits { memory: needs as u32, shifts: 2 }));
}
