//! Installations: which payload, where it goes on, and how it ends.

use sealift_manifests::{Base, Codec, Digest, Image, Payload, Version};
use sealift_verifier::Error;
use sealift_verifier::image::*;
use sealift_verifier::record::RecordWriter;
use sealift_verifier::session::{Approved, DeviceFacts, Session, TrustState};
use sealift_verifier::trust::{Policy, Time};

use crate::flash::{Flash, Power};
use crate::fleet::*;

/// A slot with words of four bytes.
pub(crate) type Nor = Flash<1, 4, 1024>;

pub(crate) fn nor() -> Nor {
    Nor::new(&Power::default(), 32 * 1024)
}

/// A release of this image, as this payload.
pub(crate) fn release(image: &[u8], payload: Payload) -> Fleet {
    let mut release = Release::new([1, 1, 0]);
    (release.image, release.payloads, release.security_counter) = (image.to_vec(), vec![payload], 5);
    Fleet { targets: vec![release], ..Fleet::default() }
}

/// Verifies the fleet's one target and passes the proof on.
pub(crate) fn approved<R>(fleet: &Fleet, use_it: impl FnOnce(Approved<'_>) -> R) -> R {
    let files = fleet.files();
    let bundle = files.bundle();
    let mut session =
        Session::new(IDENTITY, &files.root, TrustState::default(), Time::AtLeast(NOW), Policy::production()).unwrap();
    session.supply_bundle(&bundle, |_| Ok(())).unwrap();
    let facts = DeviceFacts { security_counter: 3, installed: Some(Version([1, 0, 0])) };
    use_it(session.select(&fleet.targets[0].digest(), &facts).unwrap())
}

fn payload_of(codec: Codec, bytes: &[u8]) -> Payload {
    Payload { codec, ..Release::raw(bytes) }
}

/// Installs a raw payload into slot B in pieces as they are given; what each push said, and the end.
fn installed(image: &[u8], pieces: &[&[u8]]) -> (Vec<Result<Next, Error>>, Result<(), Error>) {
    let fleet = release(image, Release::raw(&pieces.concat()));
    approved(&fleet, |approved| {
        let choice = Choice::Full(fleet.targets[0].payloads[0]);
        let mut install =
            Install::<_, Nor, _, 64>::begin(approved, &choice, Slot::B, nor(), None, RawDecoder::default(), None)
                .unwrap();
        let said = pieces.iter().map(|piece| install.push(piece)).collect();
        (said, install.finish().map(drop))
    })
}

/// Signed as it is, with more behind the image than the image: not an altered payload, but a bad one.
#[test]
fn a_signed_payload_that_goes_on_behind_its_image_is_corrupt_and_not_altered() {
    let image = [7; 300];
    assert_eq!(installed(&image, &[&image]), (vec![Ok(Next::Done)], Ok(())));
    let (said, end) = installed(&image, &[&image, &[0]]);
    assert_eq!((said, end), (vec![Ok(Next::More), Ok(Next::Done)], Err(Error::PayloadCorrupt)));
    let (said, end) = installed(&image, &[&image[..299]]);
    assert_eq!((said, end), (vec![Ok(Next::More)], Err(Error::PayloadCorrupt)));
}

/// Every byte of the image is there, and its hash is right; but what its payload promised behind it is not.
#[test]
fn a_payload_without_the_checksum_that_it_announces_is_corrupt() {
    use sealift_verifier::delta::Decoder64K;
    let image: Vec<u8> = (0..500u32).map(|at| (at % 7) as u8).collect();
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.window_log(10).unwrap();
    std::io::Write::write_all(&mut encoder, &image).unwrap();
    let whole = encoder.finish().unwrap();
    for (cut, expected) in [(0, Ok(())), (4, Err(Error::PayloadCorrupt)), (1, Err(Error::PayloadCorrupt))] {
        let bytes = &whole[..whole.len() - cut];
        let payload = Payload { decoder_ram: 16 * 1024, window_log: 10, ..payload_of(Codec::ZSTD, bytes) };
        let fleet = release(&image, payload);
        let end = approved(&fleet, |approved| {
            let mut decoder = Box::new(Decoder64K::new());
            let choice = Choice::Full(payload);
            let mut install =
                Install::<_, Nor, _, 64>::begin(approved, &choice, Slot::B, nor(), None, &mut *decoder, None).unwrap();
            install.push(bytes).unwrap();
            assert_eq!(install.written(), 500);
            install.finish().map(drop)
        });
        assert_eq!(end, expected, "{cut} bytes missing");
    }
}

/// The record of a place before the image's first byte: nobody writes one, and it is not passed on.
#[test]
fn a_hint_of_no_bytes_is_no_hint() {
    let image = [7; 300];
    let payload = Release::raw(&image);
    let fleet = release(&image, payload);
    let mut record = [0; HINT_RECORD_MAX];
    let mut writer = RecordWriter::new(&mut record, 1);
    writer.u8(Slot::B as u8);
    for digest in [fleet.targets[0].digest(), payload.digest, Digest([0; 32])] {
        writer.bytes(&digest.0);
    }
    writer.bytes(&[0; 4]).bytes(&[0; Mark::TOKEN]);
    let length = writer.finish().unwrap();
    approved(&fleet, |approved| {
        let choice = Choice::Full(payload);
        let hint = Some(&record[..length]);
        let install =
            Install::<_, Nor, _, 64>::begin(approved, &choice, Slot::B, nor(), None, RawDecoder::default(), hint)
                .unwrap();
        assert_eq!(install.hint(&mut [0; HINT_RECORD_MAX]), Ok(None));
        assert_eq!(install.hinted(), 0);
    });
}

/// The raw decoder's mark is four bytes, and zeros.
#[test]
fn a_mark_of_another_decoder_is_refused_by_the_raw_one() {
    let (payload, image) = (Release::raw(&[7; 300]), image_of(&[7; 300]));
    let mut token = [0; Mark::TOKEN];
    token[2..4].copy_from_slice(&[1, 44]);
    let mut decoder = RawDecoder::default();
    assert_eq!(decoder.start(&payload, &image, Some(&token)), Ok(()));
    // Through a reference, it is the same decoder.
    fn offset_of(decoder: impl Decode) -> u32 {
        decoder.next_offset()
    }
    assert_eq!((offset_of(decoder), offset_of(&mut decoder)), (300, 300));
    for at in 4..Mark::TOKEN {
        let mut other = token;
        other[at] = 1;
        assert_eq!(decoder.start(&payload, &image, Some(&other)), Err(Error::StateCorrupt), "byte {at}");
    }
    token[3] += 1;
    assert_eq!(decoder.start(&payload, &image, Some(&token)), Err(Error::StateCorrupt));
}

#[test]
fn an_image_that_fills_the_slot_fits_it() {
    let release = Release::new([1, 1, 0]);
    let length = release.image.len() as u64;
    let choose = |slot| {
        let limits = Limits { decoder_ram: 0, window_log: 0, slot, delta_only: false };
        release.with(|target| choose_payload(&target, None, &limits).map(drop))
    };
    assert_eq!(choose(length), Ok(()));
    assert_eq!(choose(length - 1), Err(Error::SlotTooSmall));
}

#[test]
fn a_delta_from_another_base_is_passed_over() {
    let mut release = Release::new([1, 1, 0]);
    let raw = release.payloads[0];
    let base = |bytes: &[u8]| -> Option<Base> { Some(image_of(bytes)) };
    let delta = |bytes: &[u8]| Payload { codec: Codec::DELTA, base: base(bytes), ..Release::raw(bytes) };
    release.payloads = vec![delta(b"one"), delta(b"two"), raw];
    let limits = Limits { decoder_ram: 1 << 20, window_log: 20, slot: 1 << 20, delta_only: false };
    let choose = |installed: Option<&Image>| release.with(|target| choose_payload(&target, installed, &limits));
    assert_eq!(choose(Some(&image_of(b"two"))), Ok(Choice::Delta(delta(b"two"))));
    assert_eq!(choose(Some(&image_of(b"three"))), Ok(Choice::Full(raw)));
    assert_eq!(choose(None), Ok(Choice::Full(raw)));
}

/// In the flash, in the buffer, and over the seam between them; never what wasn't written.
#[test]
fn a_writer_reads_back_exactly_what_was_written() {
    let image: Vec<u8> = (0..=99).collect();
    let mut writer = SlotWriter::<_, 64>::new(nor(), 200).unwrap();
    writer.write(&image).unwrap();
    assert_eq!((writer.flushed(), writer.position()), (64, 100));
    for from in 0..100 {
        for to in from..=100 {
            let mut bytes = vec![0xaa; to - from];
            assert_eq!(Output::read_back(&mut writer, from as u32, &mut bytes), Ok(()));
            assert_eq!(bytes, image[from..to], "{from} to {to}");
        }
    }
    for (from, length) in [(100, 1), (99, 2), (0, 101), (150, 10), (u32::MAX, 1), (u32::MAX, 2)] {
        let refused = Output::read_back(&mut writer, from, &mut vec![0; length]);
        assert_eq!(refused, Err(Error::PayloadCorrupt), "{length} from {from}");
    }
}
