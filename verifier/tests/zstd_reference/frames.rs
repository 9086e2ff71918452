//! Frames written bit by bit (RFC 8878): what the reference's encoder doesn't make, and what it makes rarely. Its decoder judges each as well.

use sealift_verifier::delta::{Codec, Decoder64K, DeltaError, Fault, NoBase, Payload, State};

use crate::{ours, reference};

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A frame with a window of `1 << log` bytes.
fn frame(log: u8, blocks: &[Vec<u8>]) -> Vec<u8> {
    [&MAGIC[..], &[0, (log - 10) << 3], &blocks.concat()].concat()
}

fn block(last: bool, kind: u32, size: usize, content: &[u8]) -> Vec<u8> {
    let head = u32::from(last) | kind << 1 | (size as u32) << 3;
    [&head.to_le_bytes()[..3], content].concat()
}

fn raw(last: bool, content: &[u8]) -> Vec<u8> {
    block(last, 0, content.len(), content)
}

fn compressed(last: bool, literals: &[u8], sequences: &[u8]) -> Vec<u8> {
    let content = [literals, sequences].concat();
    block(last, 2, content.len(), &content)
}

/// No sequences.
const NONE: &[u8] = &[0];

/// Bits as they are given, first ones lowest: (value, width).
fn bits(parts: &[(u64, u32)]) -> Vec<u8> {
    let (mut all, mut width) = (0u128, 0);
    for (value, bits) in parts {
        all |= u128::from(*value) << width;
        width += bits;
    }
    all.to_le_bytes()[..width.div_ceil(8) as usize].to_vec()
}

/// Ours and the reference agree: on this, or on a refusal.
#[track_caller]
fn gives(frame: &[u8], log: u32, expected: Option<&[u8]>) {
    assert_eq!(reference(frame).as_deref(), expected, "the reference");
    assert_eq!(ours(frame, log).as_deref(), expected, "ours");
}

/// Literals of one byte, repeated: sizes of 5, 12 and 20 bits.
fn repeated(byte: u8, size: usize) -> Vec<u8> {
    let size = size as u64;
    let head = match size {
        0..32 => bits(&[(1, 2), (0, 1), (size, 5)]),
        32..4096 => bits(&[(1, 2), (1, 2), (size, 12)]),
        _ => bits(&[(1, 2), (3, 2), (size, 20)]),
    };
    [&head[..], &[byte]].concat()
}

#[test]
fn a_block_may_be_as_large_as_the_window_and_no_larger() {
    for (log, size) in [(10, 31), (10, 1023), (10, 1024), (13, 4095), (13, 4096), (13, 8191), (13, 8192)] {
        gives(&frame(log, &[compressed(true, &repeated(7, size), NONE)]), log.into(), Some(&vec![7; size]));
    }
    for (log, size) in [(10, 1025), (10, 4000), (13, 8193)] {
        assert_eq!(ours(&frame(log, &[compressed(true, &repeated(7, size), NONE)]), log.into()), None, "{size}");
    }
}

/// `count` sequences whose codes are the same for all: literals, offset, match; then the bits of all offsets.
fn sequences(count: usize, codes: [u8; 3], extra: &[(u64, u32)]) -> Vec<u8> {
    let head = match count {
        0..128 => vec![count as u8],
        128..0x7f00 => vec![128 | (count >> 8) as u8, count as u8],
        _ => [&[255][..], &((count - 0x7f00) as u16).to_le_bytes()].concat(),
    };
    // All three tables of one symbol; the highest bit marks where the stream begins.
    let stream = bits(&[extra, &[(1, 1)]].concat());
    [&head[..], &[0x54], &codes, &stream].concat()
}

#[test]
fn sequences_are_counted_in_one_two_or_three_bytes() {
    let start = b"abcdefgh";
    for count in [1, 127, 128, 0x1234, 0x7eff, 0x7f00, 0x7f01, 0x8123] {
        // Matches of three bytes from four bytes back and one byte back, in turn.
        let frame = frame(17, &[raw(false, start), compressed(true, &[0], &sequences(count, [0, 0, 0], &[]))]);
        let expected = ours(&frame, 17).expect("it is a frame");
        assert_eq!(expected.len(), 8 + 3 * count);
        gives(&frame, 17, Some(&expected));
    }
}

/// Offset values 1 to 3 name the three last ones, and without literals those after: the last means the newest less one.
#[test]
fn recent_offsets_are_named_as_the_reference_names_them() {
    let start: Vec<u8> = (0..40).collect();
    for literals in [0u8, 1] {
        for value in [1u64, 2, 3, 4, 5, 20] {
            let code = value.ilog2();
            let extra = [(value - (1 << code), code)];
            let literal = if literals == 1 { vec![1 << 3, 99] } else { vec![0] };
            let frame = frame(
                10,
                &[raw(false, &start), compressed(true, &literal, &sequences(1, [literals, code as u8, 0], &extra))],
            );
            let back = match (value, literals) {
                (1, 1) => Some(1),
                (2, 1) | (1, 0) => Some(4),
                (3, 1) | (2, 0) => Some(8),
                // One less one.
                (3, 0) => None,
                _ => Some(value as usize - 3),
            };
            let expected = back.map(|back| {
                let mut all = start.clone();
                all.extend(vec![99; literals.into()]);
                (0..3).for_each(|_| all.push(all[all.len() - back]));
                all
            });
            gives(&frame, 10, expected.as_deref());
        }
    }
}

/// A match from as far back as the window is large; and from further.
#[test]
fn a_match_reaches_to_the_windows_end_and_not_beyond() {
    let start: Vec<u8> = (0..1024u32).map(|at| (at * 7 % 251) as u8).collect();
    for (before, back, good) in
        [(0, 1024, true), (0, 1023, true), (100, 1024, true), (100, 1025, false), (100, 1100, false)]
    {
        let value = back + 3u64;
        let code = value.ilog2();
        let found = sequences(1, [0, code as u8, 0], &[(value - (1 << code), code)]);
        let all = [&start[..], &start[..before]].concat();
        let blocks = [raw(false, &all[..1024]), raw(false, &all[1024..]), compressed(true, &[0], &found)];
        let expected = good.then(|| {
            let mut all = all.clone();
            (0..3).for_each(|_| all.push(all[all.len() - back as usize]));
            all
        });
        assert_eq!(ours(&frame(10, &blocks), 10), expected, "{back} back from {}", all.len());
        if good {
            assert_eq!(reference(&frame(10, &blocks)), expected);
        }
    }
}

/// A table of one symbol that takes all 2^log places; and one of a log that is too large.
#[test]
fn a_table_is_as_large_as_its_code_allows_and_no_larger() {
    // Literal lengths: the table is compressed, those of offsets and matches have one symbol each.
    let table = |log: u32| {
        // The count of the first symbol, plus one, as the largest value of all (RFC 8878, 4.1.1).
        let all = (1u64 << (log + 1)) - 1;
        let stream = bits(&[(0, log), (1, 1)]);
        [&[1, 0x94][..], &bits(&[(u64::from(log) - 5, 4), (all, log + 1)]), &[0, 0], &stream].concat()
    };
    for log in 5..=9 {
        let frame = frame(10, &[raw(false, b"abcdefgh"), compressed(true, &[0], &table(log))]);
        gives(&frame, 10, Some(b"abcdefghefg"));
    }
    for log in 10..=12 {
        gives(&frame(10, &[raw(false, b"abcdefgh"), compressed(true, &[0], &table(log))]), 10, None);
    }
}

/// Literals in one Huffman stream under weights as they are given, each in half a byte.
fn huffman(weights: &[u8], padding: u8, size: u64, stream: &[u8]) -> Vec<u8> {
    let mut packed = vec![127 + weights.len() as u8];
    packed.extend(weights.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(padding)));
    coded(&packed, size, stream)
}

fn coded(code: &[u8], size: u64, stream: &[u8]) -> Vec<u8> {
    let length = (code.len() + stream.len()) as u64;
    [&bits(&[(2, 2), (0, 2), (size, 10), (length, 10)])[..], code, stream].concat()
}

/// Two symbols of a bit each: 1 0 1.
const THREE: &[u8] = &[0b1101];

#[test]
fn the_half_byte_behind_an_odd_number_of_weights_says_nothing() {
    for padding in [0, 1, 15] {
        let literals = huffman(&[1], padding, 3, THREE);
        gives(&frame(10, &[compressed(true, &literals, NONE)]), 10, Some(&[1, 0, 1]));
    }
}

#[test]
fn codes_have_eleven_bits_and_no_more() {
    let longest = [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1];
    // A symbol of one bit; one of eleven.
    for (stream, symbol) in [(bits(&[(1, 1), (1, 1)]), 0u8), (bits(&[(0, 11), (1, 1)]), 10)] {
        let literals = huffman(&longest, 0, 1, &stream);
        gives(&frame(10, &[compressed(true, &literals, NONE)]), 10, Some(&[symbol]));
    }
    // Each with as many bits as its first symbol would have. (The reference takes codes of twelve bits, which RFC 8878, 4.2.1 forbids and no
    // encoder makes.)
    for (weights, width, why) in [
        (&[12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1][..], 12, "a weight of twelve"),
        (&[11, 11, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 12, "a code of twelve bits"),
        (&[4, 1, 1], 4, "what is left is no power of two"),
    ] {
        let literals = huffman(weights, 0, 1, &bits(&[(0, width), (1, 1)]));
        let frame = frame(10, &[compressed(true, &literals, NONE)]);
        assert_eq!(ours(&frame, 10), None, "{why}");
    }
}

/// Weights of 1 and 2, half of the table each; three symbols, of two bits, two bits and one.
#[test]
fn a_table_of_weights_has_a_log_of_six_at_most() {
    for (log, good) in [(6u32, true), (7, false)] {
        let half = 1u64 << (log - 1);
        let counts = [(u64::from(log) - 5, 4), (1, log), (0, 2), (half + 1, log), ((1 << log) - 1, log)];
        let table = bits(&counts);
        let states = bits(&[(0, 2 * log), (1, 1)]);
        let code = [&[(table.len() + states.len()) as u8][..], &table, &states].concat();
        let literals = coded(&code, 1, &bits(&[(1, 1), (1, 1)]));
        gives(&frame(10, &[compressed(true, &literals, NONE)]), 10, good.then_some(&[2][..]));
    }
}

/// `count` weights, `more` of them one more than `least`, compressed with a table that gives each of the two half of its 64 states.
fn compressed_weights(count: usize, least: u8, more: usize) -> Vec<u8> {
    // RFC 8878, 4.1.1: symbols spread over the states, and numbered in their order.
    let mut symbols = [0u8; 64];
    let mut place = 0;
    for at in 0..64 {
        symbols[place] = if at < 32 { least } else { least + 1 };
        place = (place + 43) % 64;
    }
    let next_of = |state: usize| 2 * symbols[..state].iter().filter(|symbol| **symbol == symbols[state]).count();
    let mut dice = 1u64;
    let read = loop {
        // Two states in turn, each step by one bit, which leads to either of two states.
        let mut states = [0usize, 1].map(|_| roll(&mut dice) as usize % 64);
        let mut read: Vec<bool> =
            states.iter().flat_map(|state| (0..6).rev().map(move |at| state >> at & 1 != 0)).collect();
        let mut made: Vec<u8> = Vec::new();
        for at in 0..count - 2 {
            made.push(symbols[states[at % 2]]);
            let bit = roll(&mut dice) & 1 != 0;
            read.push(bit);
            states[at % 2] = next_of(states[at % 2]) + usize::from(bit);
        }
        made.extend([symbols[states[count % 2]], symbols[states[(count + 1) % 2]]]);
        if made.iter().filter(|weight| **weight > least).count() == more {
            break read;
        }
    };
    // Read from its end: the first bit stands highest, below the mark.
    let mut stream = vec![0u8; read.len() / 8 + 1];
    for (at, bit) in [true].iter().chain(&read).rev().enumerate() {
        stream[at / 8] |= u8::from(*bit) << (at % 8);
    }
    // The smaller weight that there is none of, and the two that there are.
    let none: &[(u64, u32)] = if least == 0 { &[] } else { &[(1, 6), (0, 2)] };
    let table = bits(&[&[(1, 4)], none, &[(33, 6), (63, 6)]].concat());
    [&[(table.len() + stream.len()) as u8][..], &table, &stream].concat()
}

fn roll(dice: &mut u64) -> u64 {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *dice >> 33
}

/// The last weight is not sent: 255 of them make a code of all bytes, and one more would be a byte that is none.
#[test]
fn a_code_has_a_symbol_for_each_byte_and_no_more() {
    // A quarter of all codes is the last symbol's; or, where half of the others have none, half.
    for (count, least, more, width, expected) in [
        (255, 1, 129, 2, Some(&[255][..])),
        (254, 1, 130, 2, Some(&[254])),
        (256, 1, 128, 2, None),
        (255, 0, 128, 1, Some(&[255])),
        (256, 0, 128, 1, None),
    ] {
        let literals = coded(&compressed_weights(count, least, more), 1, &bits(&[((1 << width) - 1, width), (1, 1)]));
        gives(&frame(10, &[compressed(true, &literals, NONE)]), 10, expected);
    }
}

/// Four streams share the literals evenly, and the last has what is left: of fewer than six there is nothing to share.
#[test]
fn four_streams_have_six_literals_or_more() {
    for (size, each, last, good) in
        [(5u64, 2u32, 1, false), (6, 2, 0, true), (7, 2, 1, true), (8, 2, 2, true), (9, 3, 0, true), (1, 1, 0, false)]
    {
        let stream = |count: u32| bits(&[(0, count), (1, 1)]);
        let code = [128, 0x10, 1, 0, 1, 0, 1, 0];
        let streams = [stream(each), stream(each), stream(each), stream(last)].concat();
        let length = (code.len() + streams.len()) as u64;
        let literals = [&bits(&[(2, 2), (1, 2), (size, 10), (length, 10)])[..], &code, &streams].concat();
        let frame = frame(10, &[compressed(true, &literals, NONE)]);
        assert_eq!(ours(&frame, 10), good.then(|| vec![0; size as usize]), "{size}");
    }
}

/// What a device decodes: whole files of one frame or several.
fn decoded(file: &[u8], target: usize) -> Result<(State, Vec<u8>), DeltaError> {
    let payload = Payload::of_full(Codec::Zstd, file.len() as u32, target as u32);
    let mut decoder = Box::new(Decoder64K::new());
    decoder.start(&payload, None).unwrap();
    let mut image = vec![0; target];
    match decoder.push(file, &mut NoBase, &mut &mut image[..]) {
        Ok(progress) => Ok((progress.state, image)),
        Err(Fault::Payload(error)) => Err(error),
        Err(Fault::Base(what) | Fault::Output(what)) => panic!("{what}"),
    }
}

/// A frame that goes by the code of the one before it is none: each stands alone.
#[test]
fn a_frame_remembers_nothing_of_the_one_before_it() {
    let first = frame(10, &[compressed(true, &huffman(&[1], 0, 3, THREE), NONE)]);
    let treeless = [&bits(&[(3, 2), (0, 2), (3, 10), (1, 10)])[..], THREE].concat();
    let second = frame(10, &[compressed(true, &treeless, NONE)]);
    let within = frame(10, &[compressed(false, &huffman(&[1], 0, 3, THREE), NONE), compressed(true, &treeless, NONE)]);
    assert_eq!(decoded(&within, 6), Ok((State::Done, vec![1, 0, 1, 1, 0, 1])));
    assert_eq!(decoded(&[&first[..], &first].concat(), 6), Ok((State::Done, vec![1, 0, 1, 1, 0, 1])));
    assert_eq!(decoded(&[&first[..], &second].concat(), 6), Err(DeltaError::Zstd));
}

/// Magic, reserved bits, dictionaries.
#[test]
fn a_frame_of_another_kind_is_refused() {
    let good = frame(10, &[raw(true, b"abc")]);
    gives(&good, 10, Some(b"abc"));
    for (at, bit) in [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (4, 2), (4, 8)] {
        let mut bad = good.clone();
        bad[at] ^= bit;
        assert_eq!(ours(&bad, 10), None, "byte {at}, bit {bit}");
        // A dictionary of no bytes to look up would be the next byte's.
        assert_eq!(decoded(&bad, 3), Err(DeltaError::Zstd), "byte {at}, bit {bit}");
    }
}

/// Eighths of a power of two; what needs more than there is is refused before it is decoded.
#[test]
fn a_window_has_steps_of_an_eighth() {
    for (exponent, eighths) in [(0u8, 0u8), (0, 1), (1, 0), (1, 4), (2, 7), (3, 0)] {
        let window = (1024 << exponent) / 8 * (8 + u32::from(eighths));
        let mut file = frame(10, &[raw(true, b"abc")]);
        file[5] = exponent << 3 | eighths;
        for log in 10..14 {
            assert_eq!(ours(&file, log).is_some(), window <= 1 << log, "{window} in {}", 1 << log);
        }
        assert_eq!(decoded(&file, 3), Ok((State::Done, b"abc".to_vec())));
    }
    // Of 64 KiB, a window has 32: and a block beside it.
    let with = |log| decoded(&frame(log, &[raw(true, b"abc")]), 3);
    let (most, _) = sealift_manifests::delta_format::RamClass::Ram64K.limits().zstd();
    assert_eq!(with(most), Ok((State::Done, b"abc".to_vec())));
    assert_eq!(with(most + 1), Err(DeltaError::TooLarge));
}

/// A single segment says its size, in one, two, four or eight bytes, and is its own window.
#[test]
fn a_single_segment_is_its_own_window() {
    for (flag, size) in
        [(0u8, 0u64), (0, 1), (0, 2), (0, 255), (1, 256), (1, 2000), (2, 2000), (2, 3), (3, 1000), (3, 2000)]
    {
        let bytes = match flag {
            0 => vec![size as u8],
            1 => ((size - 256) as u16).to_le_bytes().to_vec(),
            2 => (size as u32).to_le_bytes().to_vec(),
            _ => size.to_le_bytes().to_vec(),
        };
        let content: Vec<u8> = (0..size).map(|at| at as u8).collect();
        let (one, two) = content.split_at(content.len() / 2);
        let file = [&MAGIC[..], &[flag << 6 | 0x20], &bytes, &raw(false, one), &raw(true, two)].concat();
        gives(&file, 11, Some(&content));
        assert_eq!(ours(&file, 10).is_some(), size <= 1024, "{size}");
        if size > 0 {
            assert_eq!(decoded(&file, size as usize), Ok((State::Done, content)), "{size} in {} bytes", bytes.len());
        }
    }
    // A size that only fits four bytes, beside a window.
    let file = [&MAGIC[..], &[2 << 6, 0], &3u32.to_le_bytes(), &raw(true, b"abc")].concat();
    gives(&file, 10, Some(b"abc"));
}

/// Around the ring's end a block is shown in two pieces, and otherwise in one.
#[test]
fn a_block_is_shown_once_and_no_empty_piece_of_it() {
    let content: Vec<u8> = (0..3000u32).map(|at| (at % 253) as u8).collect();
    let blocks: Vec<Vec<u8>> = content.chunks(750).enumerate().map(|(at, part)| raw(at == 3, part)).collect();
    let mut window = vec![0; 1024];
    let mut lengths = Vec::new();
    let shown =
        sealift_verifier::delta::walk_frame(&frame(10, &blocks), &mut window, |_, piece| lengths.push(piece.len()));
    assert_eq!(shown, Ok(()));
    // 750; to 1,024 and on; to 2,048 and on; up to 3,000.
    assert_eq!(lengths, [750, 274, 476, 548, 202, 750]);
}
