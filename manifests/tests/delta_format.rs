//! The numbers of the delta format: what devices in the field were built with, written down a second time from DELTA.md. A change here
//! is a change of the format.

use sealift_manifests::delta_format::{
    Arch, BLOCK_UNIT, Codec, HEADER_LEN, Header, HeaderError, Limits, MAX_REGIONS, MAX_WINDOW_LOG, MIN_FRAME_LOG,
    MIN_WINDOW_LOG, RamClass, STREAMS, VERSION, field,
};

fn header() -> Header {
    Header {
        ram: RamClass::Ram64K,
        arch: Arch::RiscV,
        fields: 0x17,
        base_len: 0x0403_0201,
        target_len: 0x0807_0605,
        base_sha256: std::array::from_fn(|at| 0x20 + at as u8),
        target_sha256: std::array::from_fn(|at| 0x60 + at as u8),
        window_logs: [10, 11, 12, 13, 14, 15, 16],
        shifts: 0x0a09,
        block: 0,
        regions: 12,
        body: 0x0e0d_0c0b,
    }
}

/// The header of a body that is one frame.
fn frame() -> Header {
    Header {
        arch: Arch::None,
        fields: 0xc0,
        window_logs: [12, 0, 0, 0, 0, 0, 0],
        shifts: 0,
        block: 9,
        regions: 0,
        ..header()
    }
}

#[test]
fn every_byte_of_a_header_stands_where_the_format_says() {
    let mut expected = b"SLD\x1a\x01\x02\x04\x17\x01\x02\x03\x04\x05\x06\x07\x08".to_vec();
    expected.extend(0x20..0x40);
    expected.extend(0x60..0x80);
    expected.extend([10, 11, 12, 13, 14, 15, 16, 0, 0x09, 0x0a, 12, 0, 0x0b, 0x0c, 0x0d, 0x0e]);
    assert_eq!(header().to_bytes()[..], expected);
    assert_eq!((HEADER_LEN, VERSION, STREAMS), (96, 1, 7));
    assert_eq!(Header::parse(&expected), Ok(header()));
}

#[test]
fn a_header_of_one_frame_says_what_its_blocks_take() {
    let mut expected = header().to_bytes();
    expected[6..8].copy_from_slice(&[0, 0xc0]);
    expected[80..92].copy_from_slice(&[12, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]);
    assert_eq!(frame().to_bytes(), expected);
    assert_eq!(Header::parse(&expected), Ok(frame()));
    assert!(frame().is_frame() && !header().is_frame());
    // What a frame has no use for is refused, and so is a slot that need not be readable.
    for (at, value) in [(6, 1), (7, 0x40), (7, 0xc1), (7, 0xd0), (80, 0), (81, 12), (86, 12), (88, 1), (89, 1), (90, 1)]
    {
        let mut bad = expected;
        bad[at] = value;
        let expected = HeaderError::Field(if (80..87).contains(&at) { 80 } else { 7 });
        assert_eq!(Header::parse(&bad), Err(expected), "{value:#x} at {at}");
    }
    // Two that would take each other back.
    for (one, other) in [(6, 88), (88, 89), (89, 90), (6, 90)] {
        let mut bad = expected;
        (bad[one], bad[other]) = (1, 1);
        assert_eq!(Header::parse(&bad), Err(HeaderError::Field(7)), "{one} and {other}");
    }
}

#[test]
fn numbers_of_codecs_classes_and_instruction_sets_stand_for_what_they_stood_for() {
    let codecs = [Codec::Raw, Codec::Zstd, Codec::Delta];
    let sets = [Arch::None, Arch::Thumb, Arch::Arm, Arch::AArch64, Arch::RiscV, Arch::Xtensa];
    for id in 0..=u8::MAX {
        let at = usize::from(id);
        assert_eq!(Codec::from_id(id), codecs.get(at).copied());
        assert_eq!(RamClass::from_id(id), RamClass::ALL.get(at).copied());
        assert_eq!(Arch::from_id(id), sets.get(at).copied());
    }
    assert!((0..).zip(codecs).all(|(id, codec)| codec.id() == id));
    assert!((0..).zip(RamClass::ALL).all(|(id, class)| class.id() == id));
    assert!((0u8..).zip(sets).all(|(id, set)| set as u8 == id));
    assert_eq!(sets.map(Arch::name), ["none", "thumb", "arm", "aarch64", "riscv", "xtensa"]);
    let fields = [
        field::BRANCH,
        field::PAIR,
        field::POINTER32,
        field::POINTER64,
        field::RELATIVE32,
        field::FRAME,
        field::READ_BACK,
    ];
    assert_eq!(fields, [1, 2, 4, 8, 16, 64, 128]);
    assert!(fields.iter().all(|bit| field::ALL & bit != 0));
}

#[test]
fn a_class_allows_what_devices_were_built_for() {
    let expected = [
        ("16KiB", 16_384, Limits { memory: 8_192, shifts: 56 }, (12, 4_096)),
        ("24KiB", 24_576, Limits { memory: 13_312, shifts: 432 }, (13, 5_120)),
        ("64KiB", 65_536, Limits { memory: 49_152, shifts: 1_024 }, (15, 16_384)),
        ("host", 2_097_152, Limits { memory: 1_835_008, shifts: 8_192 }, (20, 786_432)),
    ];
    for (class, (name, bytes, limits, zstd)) in RamClass::ALL.into_iter().zip(expected) {
        assert_eq!((class.name(), class.bytes(), class.limits(), class.limits().zstd()), (name, bytes, limits, zstd));
        for spelt in [name.to_owned(), name.to_uppercase(), name.to_lowercase()] {
            assert_eq!(RamClass::from_name(&spelt), Some(class));
        }
    }
    assert_eq!(RamClass::from_name("32KiB"), None);
}

/// The largest block is what the window leaves, and never above the window.
#[test]
fn the_window_of_a_zstd_payload_leaves_room_for_a_block() {
    for (memory, expected) in
        [(0, (0, 0)), (1, (0, 0)), (3, (1, 1)), (8, (2, 4)), (5_462, (12, 1_366)), (5_460, (11, 2_048))]
    {
        assert_eq!(Limits { memory, shifts: 0 }.zstd(), expected, "{memory} bytes");
    }
}

#[test]
fn a_header_is_taken_up_to_each_bound_and_refused_beyond_it() {
    let with = |change: fn(&mut Header)| {
        let mut header = header();
        change(&mut header);
        Header::parse(&header.to_bytes()).map(|_| ())
    };
    assert_eq!((MIN_WINDOW_LOG, MAX_WINDOW_LOG, MAX_REGIONS), (10, 20, 12));
    assert_eq!(with(|header| header.window_logs = [10, 20, 10, 20, 10, 20, 10]), Ok(()));
    assert_eq!(with(|header| header.window_logs[6] = 21), Err(HeaderError::Field(80)));
    assert_eq!(with(|header| header.window_logs[6] = 9), Err(HeaderError::Field(80)));
    let window = |log| {
        let window_logs = [log, 0, 0, 0, 0, 0, 0];
        Header::parse(&Header { window_logs, ..frame() }.to_bytes()).map(|_| ())
    };
    assert_eq!((MIN_FRAME_LOG, BLOCK_UNIT), (12, 1024));
    assert_eq!(
        [11, 12, 20, 21].map(window),
        [Err(HeaderError::Field(80)), Ok(()), Ok(()), Err(HeaderError::Field(80))]
    );
    assert_eq!(with(|header| header.regions = 12), Ok(()));
    assert_eq!(with(|header| header.regions = 13), Err(HeaderError::Field(90)));
    assert_eq!(with(|header| header.body = 96), Ok(()));
    assert_eq!(with(|header| header.body = 95), Err(HeaderError::Field(92)));
}

/// The windows of all streams and the largest of them again: for the block at hand.
#[test]
fn a_delta_fits_a_class_up_to_its_last_byte() {
    let [a, b] = [[10, 10, 10, 10, 10, 10, 10], [10, 10, 10, 10, 10, 10, 11]];
    let fits = |window_logs, shifts, memory, most| {
        Header { window_logs, shifts, ..header() }.fits(&Limits { memory, shifts: most })
    };
    for (logs, needs) in [(a, 8 * 1024), (b, 6 * 1024 + 2048 + 2048)] {
        assert!(fits(logs, 5, needs, 5));
        assert!(!fits(logs, 5, needs - 1, 5));
        assert!(!fits(logs, 6, needs, 5));
    }
    // A frame's window, and its largest block.
    let frame_fits = |memory| frame().fits(&Limits { memory, shifts: 0 });
    assert!(frame_fits(13 * 1024) && !frame_fits(13 * 1024 - 1));
    // What can't be counted fits nowhere.
    assert!(!fits([31; 7], 0, u32::MAX - 1, 0));
    assert!(!fits([10, 10, 10, 10, 10, 10, 32], 0, u32::MAX, 0));
}
