//! A decoder that lost its RAM goes on from its last resume point: with the payload from there on (HTTP Range), and with what was
//! written before.

use sealift_signer::delta::{self, Codec, CreateOptions, Created, Header, RamClass};
use sealift_verifier::delta::{Decoder24K, DeltaError, Fault, Payload, ResumePoint, State};

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

fn promised(codec: Codec, bytes: &[u8], old: &[u8], new: &[u8], header: Option<&Header>) -> Payload {
    Payload {
        codec,
        len: bytes.len() as u32,
        sha256: [7; 32],
        base_len: old.len() as u32,
        base_sha256: header.map_or([0; 32], |header| header.base_sha256),
        target_len: new.len() as u32,
        target_sha256: header.map_or([0; 32], |header| header.target_sha256),
    }
}

/// Decodes, losing all RAM after every `life` bytes of payload, and says how many bytes were fetched in all.
fn with_resets(old: &[u8], payload: &Payload, bytes: &[u8], life: usize) -> (Vec<u8>, usize) {
    let mut slot = vec![0xff; payload.target_len as usize];
    let mut record: Option<[u8; ResumePoint::LEN]> = None;
    let mut fetched = 0;
    for life in (0..).map(|lives| life + lives * 512) {
        // What a boot does: a new decoder, the journal's record, the payload from where the decoder wants it.
        let mut decoder = Box::new(Decoder24K::new());
        let point = record.map(|record| ResumePoint::from_bytes(&record).unwrap());
        decoder.start(payload, point).unwrap();
        let mut at = decoder.next_offset() as usize;
        let mut left = life;
        while left > 0 {
            let piece = &bytes[at..bytes.len().min(at + left.min(100))];
            let progress = decoder.push(piece, &mut &*old, &mut &mut slot[..]).unwrap();
            at += progress.consumed;
            fetched += progress.consumed;
            left = left.saturating_sub(progress.consumed);
            match progress.state {
                State::Done => return (slot, fetched),
                State::Seek(offset) => at = offset as usize,
                State::NeedInput => assert!(!piece.is_empty(), "wants more than there is"),
            }
        }
        let point = decoder.resume_point();
        record = Some(point.to_bytes());
        // Whatever was written behind the point counts as lost.
        slot[point.output() as usize..].fill(0xee);
    }
    unreachable!()
}

/// Decoders that live for a few bytes, and for many, get there; those that live long fetch little twice.
fn survives_resets(old: &[u8], new: &[u8], created: &Created) {
    let payload = promised(Codec::Delta, &created.patch, old, new, Some(&created.header));
    for life in [300, 3000, 7000, 15_000] {
        let (slot, fetched) = with_resets(old, &payload, &created.patch, life);
        assert!(slot == new, "lives of {life}");
        if life >= 7000 {
            assert!(fetched < created.patch.len() * 3, "lives of {life}: {fetched} bytes fetched");
        }
    }
}

/// A pair whose delta has several sections.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let old = noise(1, 120_000);
    let mut new = old.clone();
    for at in (0..100_000).step_by(1000).rev() {
        new.splice(at..at + 10, noise(at as u64, 300));
    }
    (old, new)
}

#[test]
fn a_delta_survives_resets_at_every_distance() {
    let (old, new) = pair();
    let options = CreateOptions { resume_interval: 4096, ..CreateOptions::default() };
    let created = delta::create(&old, &new, &options).unwrap();
    assert!(created.sections >= 5, "{} sections", created.sections);
    survives_resets(&old, &new, &created);
}

/// What zstd's blocks would use again of blocks before a section, a decoder that begins there doesn't have: the signer puts it in.
#[test]
fn a_body_of_one_frame_survives_resets_at_every_distance() {
    // Every image of a few of 40 pieces: many short matches, some in the base, some in the target. The second half has other
    // bytes, so that tables change on the way.
    let pieces: Vec<Vec<u8>> = (0..40).map(|at| noise(at + 100, 5 + at as usize % 9)).collect();
    let image = |seed, count| -> Vec<u8> {
        let order = noise(seed, count);
        let shift = |at: usize| if at * 2 > count { 0x55 } else { 0 };
        order
            .iter()
            .enumerate()
            .flat_map(|(at, byte)| pieces[usize::from(byte % 40)].iter().map(move |piece| piece ^ shift(at)))
            .chain(noise(seed, 700))
            .collect()
    };
    let (old, new) = (image(1, 3_000), image(2, 16_000));
    let options = CreateOptions { resume_interval: 1024, ..CreateOptions::default() };
    let created = delta::create(&old, &new, &options).unwrap();
    assert!(created.header.is_frame() && created.sections >= 3, "{} sections", created.sections);
    survives_resets(&old, &new, &created);
}

#[test]
fn full_images_survive_resets_too() {
    let new: Vec<u8> = noise(3, 3000).iter().flat_map(|byte| [byte % 7; 200]).collect();
    for (codec, bytes) in
        [(Codec::Raw, new.clone()), (Codec::Zstd, delta::full_image(&new, RamClass::Ram24K, 3).unwrap().bytes)]
    {
        let payload = promised(codec, &bytes, &[], &new, None);
        let (slot, _) = with_resets(&[], &payload, &bytes, 2000);
        assert!(slot == new, "{codec:?}");
    }
}

#[test]
fn a_record_of_another_payload_is_refused_and_a_wrong_one_stays_inside_the_slot() {
    let (old, new) = pair();
    let options = CreateOptions { resume_interval: 4096, ..CreateOptions::default() };
    let created = delta::create(&old, &new, &options).unwrap();
    let payload = promised(Codec::Delta, &created.patch, &old, &new, Some(&created.header));
    let mut decoder = Box::new(Decoder24K::new());
    decoder.start(&payload, None).unwrap();
    let mut slot = vec![0; new.len()];
    decoder.push(&created.patch[..created.patch.len() / 2], &mut &old[..], &mut &mut slot[..]).unwrap();
    let good = decoder.resume_point();
    assert!(good.output() > 0);

    let other = Payload { sha256: [8; 32], ..payload };
    assert_eq!(decoder.start(&other, Some(good)), Err(DeltaError::Resume));
    assert!(ResumePoint::from_bytes(&good.to_bytes()[1..]).is_none());

    // Every bit of the record flipped: refused, or decoded into an error or some image, but always inside the slot.
    for bit in 0..ResumePoint::LEN * 8 {
        let mut record = good.to_bytes();
        record[bit / 8] ^= 1 << (bit % 8);
        let Some(point) = ResumePoint::from_bytes(&record) else { continue };
        if decoder.start(&payload, Some(point)).is_err() {
            continue;
        }
        let mut at = decoder.next_offset() as usize;
        loop {
            match decoder.push(&created.patch[at.min(created.patch.len())..], &mut &old[..], &mut &mut slot[..]) {
                Ok(progress) => match progress.state {
                    State::Seek(offset) => at = offset as usize,
                    State::NeedInput | State::Done => break,
                },
                Err(fault) => {
                    assert!(matches!(fault, Fault::Payload(_)), "bit {bit}: {fault:?}");
                    break;
                }
            }
        }
    }
}
