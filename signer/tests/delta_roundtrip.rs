//! Deltas made by the signer come out of the device's decoder as the target, byte for byte: in every RAM class, in pieces of any
//! size, on images of every shape.

use sealift_signer::delta::{self, ApplyError, CreateOptions, IntoError, RamClass};
use sealift_verifier::delta::{Decoder, Decoder16K, Decoder24K, Decoder64K, Payload, State};

/// Pseudo-random bytes, the same ones each time.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len).map(|_| (next() >> 32) as u8).collect()
}

/// Text-like bytes with structure, so that there is something to match and to compress.
fn prose(seed: u64, len: usize) -> Vec<u8> {
    let words: Vec<Vec<u8>> = (0..64).map(|word| noise(seed * 64 + word, 3 + word as usize % 9)).collect();
    let choice = noise(seed + 1000, len);
    choice.iter().flat_map(|&byte| words[usize::from(byte) % 64].iter().copied()).take(len).collect()
}

/// Pairs of every shape: the name says which.
fn pairs() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let old = prose(1, 40_000);
    let mut inserted = old.clone();
    inserted.splice(10_000..10_000, noise(2, 700));
    inserted.splice(30_000..30_100, noise(3, 5));
    let mut sprinkled = old.clone();
    for at in (0..sprinkled.len()).step_by(97) {
        sprinkled[at] ^= 0x55;
    }
    let swapped = [&old[20_000..], &old[..20_000]].concat();
    vec![
        ("identical", old.clone(), old.clone()),
        ("inserted and removed", old.clone(), inserted),
        ("every 97th byte changed", old.clone(), sprinkled),
        ("halves swapped", old.clone(), swapped),
        ("shorter", old.clone(), old[..777].to_vec()),
        ("grown by repeating itself", old.clone(), old.repeat(3)),
        ("new material that repeats itself far away", vec![], prose(9, 30_000).repeat(2)),
        ("noise", noise(4, 20_000), noise(5, 20_000)),
        ("from nothing", vec![], old.clone()),
        ("to nothing", old.clone(), vec![]),
        ("one byte", vec![1], vec![2]),
        ("zeros", vec![0; 50_000], vec![0; 60_000]),
    ]
}

/// Decodes in pieces of `piece` bytes.
fn decode<const M: usize, const S: usize>(old: &[u8], patch: &[u8], piece: usize) -> Vec<u8> {
    let header = delta::inspect(patch).unwrap().header;
    let payload = Payload::of_delta(&header, patch.len() as u32);
    let mut target = vec![0; header.target_len as usize];
    let mut decoder = Box::new(Decoder::<M, S>::new());
    decoder.start(&payload, None).unwrap();
    let mut state = State::NeedInput;
    for piece in patch.chunks(piece) {
        assert_eq!(state, State::NeedInput);
        let progress = decoder.push(piece, &mut &*old, &mut &mut target[..]).unwrap();
        assert_eq!(progress.consumed, piece.len());
        state = progress.state;
    }
    assert_eq!(state, State::Done);
    target
}

#[test]
fn every_shape_of_pair_comes_back_in_every_class() {
    for (name, old, new) in pairs() {
        for ram in RamClass::ALL {
            let created = delta::create(&old, &new, &CreateOptions { ram, ..Default::default() }).unwrap();
            assert!(delta::apply(&old, &created.patch).unwrap() == new, "{name}, {}", ram.name());
        }
    }
}

#[test]
fn pieces_of_any_size_give_the_same_target() {
    for (name, old, new) in pairs() {
        let created =
            delta::create(&old, &new, &CreateOptions { ram: RamClass::Ram16K, ..Default::default() }).unwrap();
        for piece in [1, 2, 7, 64, 1000, usize::MAX] {
            let patch = &created.patch;
            let decoded = match piece % 3 {
                0 => decode16(&old, patch, piece),
                1 => decode24(&old, patch, piece),
                _ => decode64(&old, patch, piece),
            };
            assert!(decoded == new, "{name}, pieces of {piece}");
        }
    }
}

/// Names a class's decoder without its numbers.
macro_rules! decode_with {
    ($name:ident, $decoder:ty) => {
        fn $name(old: &[u8], patch: &[u8], piece: usize) -> Vec<u8> {
            fn by<const M: usize, const S: usize>(
                _: std::marker::PhantomData<Decoder<M, S>>,
                old: &[u8],
                patch: &[u8],
                piece: usize,
            ) -> Vec<u8> {
                decode::<M, S>(old, patch, piece)
            }
            by(std::marker::PhantomData::<$decoder>, old, patch, piece)
        }
    };
}
decode_with!(decode16, Decoder16K);
decode_with!(decode24, Decoder24K);
decode_with!(decode64, Decoder64K);

#[test]
fn a_delta_is_smaller_than_the_bsdiff_crates_where_both_find_the_same_matches() {
    for (name, old, new) in pairs() {
        if old.is_empty() {
            continue;
        }
        let mut raw = Vec::new();
        bsdiff::diff(&old, &new, &mut raw).unwrap();
        // The oracle: bsdiff's own patch must give the target too, and compressed alike it bounds ours.
        let mut patched = Vec::new();
        bsdiff::patch(&old, &mut raw.as_slice(), &mut patched).unwrap();
        assert!(patched == new, "{name}: bsdiff");
        let baseline = zstd::bulk::compress(&raw, 22).unwrap().len();
        // The host class, since the baseline has no limit of window either.
        let options = CreateOptions { ram: RamClass::Host, ..Default::default() };
        let ours = delta::create(&old, &new, &options).unwrap().patch.len();
        // 96 bytes of header (two digests) and a resume point or two are the price of a device's needs.
        assert!(ours <= baseline + baseline / 20 + 250, "{name}: {ours} bytes, bsdiff and zstd {baseline}");
    }
}

#[test]
fn a_delta_against_another_base_is_refused_by_its_hash() {
    let (_, old, new) = pairs().swap_remove(1);
    let created = delta::create(&old, &new, &CreateOptions::default()).unwrap();
    let mut other = old.clone();
    other[5] ^= 1;
    assert!(matches!(delta::apply(&other, &created.patch), Err(ApplyError::WrongBase(..))));
    assert!(matches!(delta::apply(&old, &created.patch[..created.patch.len() - 1]), Err(ApplyError::Truncated(_))));
    assert!(matches!(delta::apply(&old, b"not a delta at all"), Err(ApplyError::Truncated(_))));
}

#[test]
fn a_large_delta_is_written_while_it_is_decoded_and_counts_only_with_the_right_hashes() {
    // New material that comes back: copies from the target, over the borders of what is handed to the writer at a time.
    let old = prose(1, 600_000);
    let new = [&noise(2, 100_001)[..], &old[3000..], &noise(2, 100_001)[40_000..], &noise(2, 100_001)].concat();
    let patch = delta::create(&old, &new, &CreateOptions::default()).unwrap().patch;
    assert!(patch.len() < 120_000 && delta::inspect(&patch).unwrap().read_back);
    let into = |base: &[u8], patch: &[u8]| {
        let mut written = Vec::new();
        let result = delta::apply_into(base, patch, |bytes| {
            written.extend_from_slice(bytes);
            Ok(())
        });
        (result, written)
    };
    let (result, written) = into(&old, &patch);
    assert_eq!(result.unwrap().0, new.len());
    assert!(written == new);
    // Without copies from the target it says so, and slots that can't be read back take it.
    let plain = [&old[3000..], &noise(7, 100_000), &old[..9000]].concat();
    let forward = delta::create(&old, &plain, &CreateOptions::default()).unwrap().patch;
    assert!(!delta::inspect(&forward).unwrap().read_back);
    let (result, written) = into(&old, &forward);
    assert!(result.is_ok() && written == plain);

    let mut other = old.clone();
    other[5] ^= 1;
    assert!(matches!(into(&other, &patch).0, Err(IntoError::Apply(ApplyError::WrongBase(..)))));
    assert!(matches!(into(&old[1..], &patch).0, Err(IntoError::Apply(ApplyError::WrongBase(..)))));
    assert!(matches!(into(&old, &patch[..patch.len() - 1]).0, Err(IntoError::Apply(ApplyError::Truncated(_)))));
    let mut bent = patch.clone();
    bent[60] ^= 1; // in the target's hash
    assert!(matches!(into(&old, &bent).0, Err(IntoError::Apply(ApplyError::WrongTarget(..)))));
    let full = |_: &[u8]| Err(std::io::Error::other("no space left"));
    assert!(matches!(delta::apply_into(&old, &patch, full), Err(IntoError::Write(_))));
}
