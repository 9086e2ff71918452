//! Pairs that no corpus holds: generated ones of every shape, in every class, with the class's own decoder, beside bsdiff as the oracle;
//! and every byte and every length of patches for every kind of prediction.

#[path = "support/decoding.rs"]
mod decoding;
#[path = "support/programs.rs"]
mod programs;

use std::time::{Duration, Instant};

use decoding::{decode_with, promised};
use programs::{Dice, Field, Program, Set};
use sealift_signer::delta::{self, CreateOptions, Predict, RamClass, containers};
use sealift_verifier::delta::{Decoder16K, Decoder24K, Decoder64K, DeltaError, HostDecoder, Payload};

/// The decoders of all classes, made once; the host's is too large for a thread's stack.
struct Decoders(Box<Decoder16K>, Box<Decoder24K>, Box<Decoder64K>, Vec<HostDecoder>);

impl Decoders {
    fn new() -> Self {
        let mut host = Vec::with_capacity(1);
        host.resize_with(1, HostDecoder::new);
        Self(Box::new(Decoder16K::new()), Box::new(Decoder24K::new()), Box::new(Decoder64K::new()), host)
    }

    fn decode(&mut self, ram: RamClass, old: &[u8], payload: &Payload, patch: &[u8]) -> Result<Vec<u8>, DeltaError> {
        match ram {
            RamClass::Ram16K => decode_with(&mut self.0, old, payload, patch),
            RamClass::Ram24K => decode_with(&mut self.1, old, payload, patch),
            RamClass::Ram64K => decode_with(&mut self.2, old, payload, patch),
            RamClass::Host => decode_with(&mut self.3[0], old, payload, patch),
        }
    }
}

/// What bsdiff makes of it, applied and compared: the oracle must agree that there is a way.
fn oracle(old: &[u8], new: &[u8]) -> Option<usize> {
    // The crate's sort takes no empty base, and minutes for long runs.
    if old.is_empty() || new.is_empty() || old.len() > 200_000 {
        return None;
    }
    let mut raw = Vec::new();
    bsdiff::diff(old, new, &mut raw).unwrap();
    let mut patched = Vec::new();
    bsdiff::patch(old, &mut raw.as_slice(), &mut patched).unwrap();
    assert!(patched == new);
    Some(zstd::bulk::compress(&raw, 19).unwrap().len())
}

fn in_every_class(name: &str, old: &[u8], new: &[u8]) {
    let mut decoders = Decoders::new();
    let bsdiff = oracle(old, new);
    for ram in RamClass::ALL {
        let made = delta::create(old, new, &CreateOptions { ram, ..Default::default() }).unwrap();
        let decoded = decoders.decode(ram, old, &promised(&made.patch, &made.header), &made.patch);
        assert!(decoded.as_deref() == Ok(new), "{name}, {}", ram.name());
        assert!(made.header.fits(&ram.limits()), "{name}, {}", ram.name());
        if let Some(bsdiff) = bsdiff.filter(|_| ram == RamClass::Host) {
            let len = made.patch.len();
            assert!(len <= bsdiff + bsdiff / 20 + 400, "{name}: {len} bytes, bsdiff and zstd {bsdiff}");
        }
        let full = delta::compressed_image(new, ram, 9).unwrap();
        assert!(delta::apply(old, &full).unwrap() == new, "{name}, {}: compressed", ram.name());
    }
}

#[test]
fn shapes_at_the_edges_come_back_in_every_class() {
    let mut dice = Dice(9);
    let noise = dice.bytes(70_000);
    let mut late = vec![0u8; 3_000_000];
    late[2_999_990] = 7;
    let reversed: Vec<u8> = noise.iter().rev().copied().collect();
    let shapes: Vec<(&str, Vec<u8>, Vec<u8>)> = vec![
        ("both empty", vec![], vec![]),
        ("base empty", vec![], noise.clone()),
        ("target empty", noise.clone(), vec![]),
        ("one byte each", vec![0], vec![255]),
        ("one byte, the same", vec![9], vec![9]),
        ("two bytes", vec![1, 2], vec![2, 1]),
        ("identical", noise.clone(), noise.clone()),
        ("reversed", noise.clone(), reversed),
        ("a run of three million with one byte changed", vec![0; 3_000_000], late),
        ("a run of another byte", vec![0; 500_000], vec![255; 700_000]),
        (
            "runs that grow and shrink",
            [vec![0; 70_000], vec![1; 90_000]].concat(),
            [vec![1; 40_000], vec![0; 99_999]].concat(),
        ),
        ("every byte one higher", noise.clone(), noise.iter().map(|byte| byte.wrapping_add(1)).collect()),
        (
            "every second byte changed",
            noise.clone(),
            noise.iter().enumerate().map(|(at, byte)| byte ^ (at as u8 & 1)).collect(),
        ),
        ("one byte inserted at the front", noise.clone(), [&[1u8][..], &noise].concat()),
        ("noise twice over", noise.clone(), [&noise[..], &noise].concat()),
        ("the last bytes alone", noise.clone(), noise[69_990..].to_vec()),
    ];
    for (name, old, new) in &shapes {
        in_every_class(name, old, new);
    }
}

/// Edits of every kind at random.
fn edited(dice: &mut Dice, old: &[u8]) -> Vec<u8> {
    let mut new = old.to_vec();
    for _ in 0..1 + dice.roll(12) {
        let at = dice.roll(new.len() as u32 + 1) as usize;
        let count = (1 << dice.roll(12)) as usize;
        let end = new.len().min(at + count);
        match dice.roll(7) {
            0 => drop(new.splice(at..at, dice.bytes(count))),
            1 => drop(new.drain(at..end)),
            2 => drop(new.splice(at..end, dice.bytes(count))),
            3 => {
                let from = dice.roll(old.len() as u32 + 1) as usize;
                drop(new.splice(at..at, old[from..old.len().min(from + count)].to_vec()));
            }
            4 => new[at..end].iter_mut().step_by(13).for_each(|byte| *byte = byte.wrapping_add(3)),
            5 => drop(new.splice(at..at, std::iter::repeat_n(count as u8, count))),
            _ => new[at..end].reverse(),
        }
    }
    new
}

#[test]
fn random_edits_of_random_images_come_back_in_every_class() {
    let sets = [Set::Thumb, Set::Arm, Set::A64, Set::Riscv, Set::Xtensa];
    let fields = [Field::ThumbBranch, Field::ArmMovwMovt, Field::A64AdrpAdd, Field::RiscvAuipcAddi, Field::XtensaL32r];
    for round in 0..30u64 {
        let mut dice = Dice(0x1234_5678 + round * 7919);
        let len = dice.roll(30_000) as usize;
        let (old, new) = match round % 3 {
            0 => {
                let old = dice.bytes(len);
                let new = edited(&mut dice, &old);
                (old, new)
            }
            1 => {
                // Few letters: matches everywhere.
                let old: Vec<u8> = dice.bytes(len).iter().map(|byte| byte & 3).collect();
                let new = edited(&mut dice, &old);
                (old, new)
            }
            _ => {
                let kind = (round / 3 % 5) as usize;
                let program = Program::new(sets[kind], fields[kind], 300);
                let old = program.link(0x0800_0000, &[]);
                let moved = program.link(0x0800_0000, &[(dice.roll(130) as usize, 4 * dice.roll(90) as usize)]);
                (old, edited(&mut dice, &moved))
            }
        };
        in_every_class(&format!("round {round}"), &old, &new);
    }
}

#[test]
fn twenty_megabytes_are_bounded_in_time() {
    let program = Program::new(Set::A64, Field::A64AdrpAdd, 2000);
    let one = program.link(0x8_0000, &[]);
    let other = program.link(0x8_0000, &[(40, 64)]);
    let mut dice = Dice(5);
    let mut old = Vec::new();
    let mut new = Vec::new();
    while old.len() < 20 << 20 {
        old.extend_from_slice(&one);
        new.extend_from_slice(&other);
        let noise = dice.bytes(40_000);
        old.extend_from_slice(&noise);
        new.extend_from_slice(&noise[..39_000]);
    }
    let start = Instant::now();
    let options = CreateOptions { predict: Predict::Likeliest, ..Default::default() };
    let made = delta::create(&old, &new, &options).unwrap();
    let taken = start.elapsed();
    println!("{} bytes of patch for {} of image in {taken:?}", made.patch.len(), new.len());
    assert!(taken < Duration::from_secs(300), "{taken:?}");
    assert!(made.patch.len() < new.len() / 20);
    assert!(delta::apply(&old, &made.patch).unwrap() == new);
}

#[test]
fn damaged_patches_of_every_prediction_stay_in_bounds_and_end() {
    let mut decoders = Decoders::new();
    let (mut refused, mut wrong, mut harmless) = (0u32, 0u32, 0u32);
    for (set, field) in [
        (Set::Thumb, Field::ThumbMovwMovt),
        (Set::Arm, Field::ArmMovwMovt),
        (Set::A64, Field::A64AdrpLoad),
        (Set::A64, Field::Pointer64),
        (Set::Riscv, Field::RiscvLuiStore),
        (Set::Xtensa, Field::XtensaL32r),
    ] {
        let program = Program::new(set, field, 200);
        let (old, new) = (program.link(0x8000, &[]), program.link(0x8000, &[(20, 16), (90, 80)]));
        for ram in [RamClass::Ram16K, RamClass::Ram24K, RamClass::Ram64K] {
            let made = delta::create(&old, &new, &CreateOptions { ram, ..Default::default() }).unwrap();
            let payload = promised(&made.patch, &made.header);
            assert!(decoders.decode(ram, &old, &payload, &made.patch).as_ref() == Ok(&new));
            let start = Instant::now();
            for at in 0..made.patch.len() {
                let mut bad = made.patch.clone();
                bad[at] ^= 1 << (at % 8);
                match decoders.decode(ram, &old, &payload, &bad) {
                    Err(_) => refused += 1,
                    Ok(image) if image == new => harmless += 1,
                    Ok(_) => wrong += 1,
                }
                assert!(decoders.decode(ram, &old, &payload, &made.patch[..at]).is_err(), "{field:?}, {at} bytes");
            }
            let each = start.elapsed() / (2 * made.patch.len() as u32);
            assert!(each < Duration::from_millis(200), "{field:?}: {each:?} a patch");
        }
    }
    println!("{refused} refused, {wrong} wrong images, {harmless} without effect");
    assert!(refused > 1000 && wrong > 100 && harmless * 20 < refused + wrong);
}

#[test]
fn damaged_compressed_images_are_refused() {
    let program = Program::new(Set::Thumb, Field::Pointer32, 300);
    let new = program.link(0x0800_0000, &[]);
    for ram in [RamClass::Ram16K, RamClass::Ram64K] {
        let full = delta::compressed_image(&new, ram, 19).unwrap();
        assert!(delta::apply(&[], &full).unwrap() == new);
        for at in 4..full.len() {
            let mut bad = full.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(delta::apply(&[], &bad).as_ref().map_or(true, |image| *image == new), "byte {at}");
            if at % 7 == 0 {
                assert!(delta::apply(&[], &full[..at]).is_err(), "{at} bytes");
            }
        }
    }
}

#[test]
fn compressed_and_encrypted_parts_are_recognised_wherever_they_stand() {
    let mut dice = Dice(3);
    let code = Program::new(Set::Thumb, Field::ThumbBranch, 500).link(0, &[]);
    for (magic, kind) in [
        (&[0x1f, 0x8b, 8, 0][..], "gzip"),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        (&[0x04, 0x22, 0x4d, 0x18], "lz4"),
        (b"hsqs", "squashfs"),
        (&[], "compressed or encrypted data"),
    ] {
        for before in [0, 4000, 9001] {
            let image = [&code[..before], magic, &dice.bytes(60_000), &code[..]].concat();
            let found = containers(&image);
            assert!(found.iter().any(|found| found.kind.to_string() == kind), "{kind} at {before}: {found:?}");
        }
    }
    assert!(containers(&code).is_empty());
}
