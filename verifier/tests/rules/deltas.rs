//! Deltas behind the seam of an installation: through slots of flash, from their hints, and with the errors that a device reports.

use sealift_manifests::delta_format::Header;
use sealift_manifests::{Codec, Payload};
use sealift_verifier::Error;
use sealift_verifier::delta::{self, Decoder16K, Decoder64K, OutOfBounds};
use sealift_verifier::image::*;

use crate::fleet::{Fleet, Release, image_of};
use crate::install::{Nor, approved, nor, release};

struct Vector {
    old: &'static [u8],
    patch: &'static [u8],
}

macro_rules! vector {
    ($name:literal) => {
        Vector {
            old: include_bytes!(concat!("../delta_rules/vectors/", $name, ".old")),
            patch: include_bytes!(concat!("../delta_rules/vectors/", $name, ".sld")),
        }
    };
}

const MOVED: Vector = vector!("thumb_pairs_and_calls_that_moved");
const READS_BACK: Vector = vector!("blocks_read_back_from_the_target");
const SECTIONS: Vector = vector!("sparse_changes_in_many_sections");

impl Vector {
    /// Decoded in memory.
    fn image(&self) -> Vec<u8> {
        let header = Header::parse(self.patch).unwrap();
        let mut image = vec![0; header.target_len as usize];
        let mut decoder = Box::new(Decoder64K::new());
        decoder.start(&delta::Payload::of_delta(&header, self.patch.len() as u32), None).unwrap();
        decoder.push(self.patch, &mut { self.old }, &mut &mut image[..]).unwrap();
        assert_eq!(decoder.header().map(|header| header.target_sha256), Some(image_of(&image).digest.0));
        image
    }

    fn payload(&self) -> Payload {
        let base = Some(image_of(self.old));
        Payload { codec: Codec::DELTA, base, decoder_ram: 1 << 16, window_log: 12, ..Release::raw(self.patch) }
    }

    fn fleet(&self) -> Fleet {
        release(&self.image(), self.payload())
    }

    /// The slot that runs.
    fn base(&self) -> Nor {
        let mut flash = nor();
        flash.put(self.old);
        flash
    }
}

#[test]
fn a_delta_is_installed_from_slot_to_slot() {
    for vector in [MOVED, READS_BACK, SECTIONS] {
        let fleet = vector.fleet();
        approved(&fleet, |approved| {
            let mut slot = nor();
            let mut decoder = Box::new(Decoder64K::new());
            let choice = Choice::Delta(vector.payload());
            let base = Some(vector.base());
            let mut install =
                Install::<_, _, _, 64>::begin(approved, &choice, Slot::B, &mut slot, base, &mut *decoder, None)
                    .unwrap();
            for piece in vector.patch.chunks(50) {
                install.push(piece).unwrap();
            }
            install.finish().unwrap();
            assert!(slot.cells.starts_with(&vector.image()));
        });
    }
}

/// Up to what a whole installation hinted at: its flash, its hint, and how far that goes.
fn interrupted(vector: &Vector, fleet: &Fleet, bytes: usize) -> (Nor, Vec<u8>, u32) {
    approved(fleet, |approved| {
        let mut slot = nor();
        let mut decoder = Box::new(Decoder64K::new());
        let choice = Choice::Delta(vector.payload());
        let base = Some(vector.base());
        let mut install =
            Install::<_, _, _, 4>::begin(approved, &choice, Slot::B, &mut slot, base, &mut *decoder, None).unwrap();
        for byte in &vector.patch[..bytes] {
            install.push(&[*byte]).unwrap();
        }
        let mut record = [0; HINT_RECORD_MAX];
        let length = install.hint(&mut record).unwrap().expect("a hint");
        let hinted = install.hinted();
        drop(install);
        (slot, record[..length].to_vec(), hinted)
    })
}

/// After a resume nothing can tell an altered payload from a badly made one: it is refused at once.
#[test]
fn a_payload_that_does_not_decode_after_a_resume_is_refused_at_once() {
    let vector = READS_BACK;
    let fleet = vector.fleet();
    let (mut slot, hint, hinted) = interrupted(&vector, &fleet, vector.patch.len() - 40);
    assert!(hinted > 0 && hinted < vector.image().len() as u32);
    approved(&fleet, |approved| {
        let mut decoder = Box::new(Decoder64K::new());
        let choice = Choice::Delta(vector.payload());
        let base = Some(vector.base());
        let mut install =
            Install::<_, _, _, 4>::begin(approved, &choice, Slot::B, &mut slot, base, &mut *decoder, Some(&hint))
                .unwrap();
        let Ok(Next::Seek(offset)) = install.push(vector.patch) else { panic!("it goes on elsewhere") };
        let bad = vec![0xff; vector.patch.len() - offset as usize];
        assert_eq!(install.push(&bad), Err(Error::PayloadCorrupt));
    });
}

/// It was cut between the last write and the activation: nothing more of the payload is needed.
#[test]
fn a_hint_of_the_whole_image_needs_nothing_more() {
    let vector = SECTIONS;
    let fleet = vector.fleet();
    let whole = vector.image().len() as u32;
    let (mut slot, hint, hinted) = interrupted(&vector, &fleet, vector.patch.len());
    assert_eq!(hinted, whole, "the vector's image ends where a word does");
    approved(&fleet, |approved| {
        let mut decoder = Box::new(Decoder64K::new());
        let choice = Choice::Delta(vector.payload());
        let base = Some(vector.base());
        let mut install =
            Install::<_, _, _, 4>::begin(approved, &choice, Slot::B, &mut slot, base, &mut *decoder, Some(&hint))
                .unwrap();
        assert_eq!(install.next_offset(), vector.payload().length);
        assert_eq!(install.push(&[]), Ok(Next::Done));
        assert_eq!(install.push(&[0]), Err(Error::PayloadTooLong));
        assert!(install.finish().is_ok());
    });
}

/// The store's own error, not the decoder's guess at one.
#[test]
fn an_error_of_base_or_slot_is_passed_on_as_it_is() {
    struct Failing(Option<Error>, &'static [u8]);
    impl BaseReader for Failing {
        fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
            bytes.copy_from_slice(&self.1[offset as usize..][..bytes.len()]);
            self.0.map_or(Ok(()), Err)
        }
    }
    struct Full(Vec<u8>, Option<Error>, Option<Error>);
    impl Output for Full {
        fn write(&mut self, _: u32, bytes: &[u8]) -> Result<(), Error> {
            self.0.extend_from_slice(bytes);
            self.1.map_or(Ok(()), Err)
        }
        fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
            bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
            self.2.map_or(Ok(()), Err)
        }
    }
    let vector = READS_BACK;
    let run = |base: Option<Error>, write: Option<Error>, back: Option<Error>| {
        let mut decoder = Box::new(Decoder64K::new());
        Decode::start(&mut *decoder, &vector.payload(), &image_of(&vector.image()), None).unwrap();
        let mut output = Full(Vec::new(), write, back);
        let pushed = Decode::push(&mut *decoder, vector.patch, &mut Failing(base, vector.old), &mut output);
        pushed.map(|progress| (progress.state, output.0 == vector.image()))
    };
    assert_eq!(run(None, None, None), Ok((State::Done, true)));
    assert_eq!(run(Some(Error::BaseMismatch), None, None), Err(Error::BaseMismatch));
    assert_eq!(run(None, Some(Error::SlotTooSmall), None), Err(Error::SlotTooSmall));
    assert_eq!(run(None, None, Some(Error::WrongState)), Err(Error::WrongState));
}

#[test]
fn a_delta_that_the_decoder_has_no_room_for_and_a_mark_of_another_are_told_apart() {
    let vector = READS_BACK;
    let image = image_of(&vector.image());
    let mut small = Box::new(Decoder16K::new());
    Decode::start(&mut *small, &vector.payload(), &image, None).unwrap();
    struct Nothing;
    impl BaseReader for Nothing {
        fn read_at(&mut self, _: u32, _: &mut [u8]) -> Result<(), Error> {
            panic!("nothing is read")
        }
    }
    impl Output for Nothing {
        fn write(&mut self, _: u32, _: &[u8]) -> Result<(), Error> {
            panic!("nothing is written")
        }
        fn read_back(&mut self, _: u32, _: &mut [u8]) -> Result<(), Error> {
            panic!("nothing is read back")
        }
    }
    let refused = Decode::push(&mut *small, vector.patch, &mut Nothing, &mut Nothing);
    assert_eq!(refused, Err(Error::DecoderTooSmall));
    // A mark that can be read, of another payload.
    let token = small.mark().token;
    let other = Payload { digest: image_of(b"another").digest, ..vector.payload() };
    assert_eq!(Decode::start(&mut *small, &other, &image, Some(&token)), Err(Error::StateCorrupt));
    assert_eq!(Decode::start(&mut *small, &other, &image, Some(&[0xff; Mark::TOKEN])), Err(Error::StateCorrupt));
}

/// Images in memory: a read or write outside of one is an error, and changes nothing.
#[test]
fn a_slice_is_a_base_and_a_target_up_to_its_end() {
    use delta::{BaseReader, Output};
    let mut bytes = [0; 4];
    assert_eq!(BaseReader::read_at(&mut &[1, 2, 3, 4, 5][..], 1, &mut bytes), Ok(()));
    assert_eq!(bytes, [2, 3, 4, 5]);
    assert_eq!(BaseReader::read_at(&mut &[1, 2, 3, 4, 5][..], 2, &mut bytes), Err(OutOfBounds));
    let mut image = [0; 5];
    let mut target = &mut image[..];
    assert_eq!(Output::write(&mut target, 2, &[7, 8, 9]), Ok(()));
    assert_eq!(Output::write(&mut target, 3, &[1, 1, 1]), Err(OutOfBounds));
    assert_eq!(Output::read_back(&mut target, 1, &mut bytes), Ok(()));
    assert_eq!(bytes, [0, 7, 8, 9]);
    assert_eq!(Output::read_back(&mut target, 2, &mut bytes), Err(OutOfBounds));
    assert_eq!(image, [0, 0, 7, 8, 9]);
}

/// Devices keep these records across updates of their own verifier.
#[test]
fn a_resume_record_is_bound_to_the_exclusive_or_of_three_digests() {
    let header = Header::parse(MOVED.patch).unwrap();
    let payload = delta::Payload {
        sha256: [0x0f; 32],
        base_sha256: [0x35; 32],
        target_sha256: [0x51; 32],
        ..delta::Payload::of_delta(&header, 1)
    };
    let mut decoder = Box::new(Decoder64K::new());
    decoder.start(&payload, None).unwrap();
    assert_eq!(decoder.resume_point().to_bytes()[12..], [0x0f ^ 0x35 ^ 0x51; 8]);
}
