//! Deltas that the signer made once (`xtask/tests/delta_vectors.rs`): they apply in every class that holds them, whatever the pieces, from
//! every place to resume from, and with nothing missing or left over.

use sealift_manifests::delta_format::{Header, Limits, RamClass, field};
use sealift_manifests::sha256;
use sealift_verifier::delta::{
    Decoder16K, Decoder24K, Decoder64K, DecoderIn, DeltaError, HostDecoder, Lent, NoBase, State,
};

use crate::stores::{Base, Decodes, Slot, decode, promised};

struct Vector {
    name: &'static str,
    old: &'static [u8],
    patch: &'static [u8],
}

macro_rules! vectors {
    ($($name:literal),* $(,)?) => {
        [$(Vector {
            name: $name,
            old: include_bytes!(concat!("vectors/", $name, ".old")),
            patch: include_bytes!(concat!("vectors/", $name, ".sld")),
        }),*]
    };
}

const VECTORS: [Vector; 11] = vectors![
    "thumb_pairs_and_calls_that_moved",
    "risc_v_pairs_that_moved",
    "pointers_of_64_bits_that_moved",
    "xtensa_literals_that_moved",
    "blocks_read_back_from_the_target",
    "sparse_changes_in_many_sections",
    "new_bytes_that_compress",
    "nothing_of_something",
    "something_of_nothing",
    "words_in_another_order_as_one_frame",
    "words_of_nothing_as_one_frame",
];

impl Vector {
    fn header(&self) -> Header {
        Header::parse(self.patch).expect("a header")
    }

    /// The whole target, by its own hash.
    fn came_out(&self, (image, end): (Vec<u8>, Result<State, DeltaError>), how: &str) {
        assert_eq!(end, Ok(State::Done), "{}, {how}", self.name);
        assert_eq!(sha256(&image).0, self.header().target_sha256, "{}, {how}", self.name);
    }
}

/// A decoder of each class, the host's in memory that is lent to it.
fn decoders() -> Vec<(RamClass, Box<dyn Decodes>)> {
    vec![
        (RamClass::Ram16K, Box::new(Decoder16K::new())),
        (RamClass::Ram24K, Box::new(Decoder24K::new())),
        (RamClass::Ram64K, Box::new(Decoder64K::new())),
        (RamClass::Host, Box::new(lent(RamClass::Host.limits(), 4096))),
    ]
}

/// Memory of exactly these limits, for the rest of the process.
fn lent(limits: Limits, work: usize) -> DecoderIn<'static> {
    let shifts = usize::from(limits.shifts);
    let lent = Lent {
        memory: vec![0xaa; limits.memory as usize].leak(),
        work: vec![0xbb; work].leak(),
        keys: vec![0xcccc_cccc; shifts].leak(),
        shifts: vec![0xdddd_dddd; shifts].leak(),
    };
    DecoderIn::new(lent).expect("room to work in")
}

#[test]
fn every_class_that_holds_a_delta_applies_it_and_the_smaller_ones_refuse_it() {
    let mut fitted = 0;
    for (class, mut decoder) in decoders() {
        for vector in &VECTORS {
            let outcome = decode(&mut *decoder, &promised(vector.patch), vector.old, vector.patch, usize::MAX);
            if vector.header().fits(&class.limits()) {
                fitted += 1;
                vector.came_out(outcome, class.name());
            } else {
                assert_eq!(outcome, (vec![], Err(DeltaError::TooLarge)), "{}, {}", vector.name, class.name());
            }
        }
    }
    assert!(fitted < 4 * VECTORS.len() && fitted > 2 * VECTORS.len(), "{fitted}");
}

/// One decoder, used again and again, and one in lent memory: neither shows what it did before.
#[test]
fn a_delta_gives_the_same_image_whatever_the_pieces() {
    for vector in &VECTORS {
        let mut own = Box::new(Decoder64K::new());
        let mut lent = lent(RamClass::Host.limits(), DecoderIn::LEAST_WORK);
        for piece in [1, 7, 96, 333, 4096] {
            let payload = &promised(vector.patch);
            let (old, patch) = (vector.old, vector.patch);
            if vector.header().fits(&RamClass::Ram64K.limits()) {
                vector.came_out(decode(&mut *own, payload, old, patch, piece), &format!("pieces of {piece}"));
            }
            vector.came_out(decode(&mut lent, payload, old, patch, piece), &format!("pieces of {piece}, lent"));
        }
    }
}

#[test]
fn a_delta_goes_on_from_each_place_that_was_named_and_gives_the_same_image() {
    let mut places = 0;
    for vector in VECTORS.iter().filter(|vector| vector.header().fits(&RamClass::Ram64K.limits())) {
        let payload = promised(vector.patch);
        let mut decoder = Box::new(Decoder64K::new());
        decoder.start(&payload, None).unwrap();
        let mut slot = Slot::new(payload.target_len as usize);
        let mut known = Vec::new();
        for (at, byte) in vector.patch.iter().enumerate() {
            assert_eq!(decoder.next_offset() as usize, at, "{}", vector.name);
            assert_eq!(decoder.written() as usize, slot.bytes.len(), "{}", vector.name);
            Decodes::push(&mut *decoder, &[*byte], &mut Base(vector.old), &mut slot).unwrap();
            let point = decoder.resume_point();
            assert!(point.payload() as usize <= at + 1 && point.output() as usize <= slot.bytes.len());
            if known.last() != Some(&point) {
                known.push(point);
            }
        }
        // Of the host's decoder nobody asks for places to go on from: it starts on one all the same.
        let mut lent = lent(RamClass::Host.limits(), 512);
        let whole = slot.bytes;
        // Of the whole image there is nothing to go on with: an installation doesn't ask its decoder then.
        for point in known.into_iter().filter(|point| (point.output() as usize) < whole.len()) {
            let again: [&mut dyn Decodes; 2] = [&mut *decoder, &mut lent];
            for decoder in again {
                let mut slot = Slot::resumed(&whole[..point.output() as usize], whole.len());
                decoder.start(&payload, Some(point)).unwrap();
                let mut progress = decoder.push(vector.patch, &mut Base(vector.old), &mut slot).unwrap();
                if let State::Seek(offset) = progress.state {
                    assert_eq!(offset, point.payload(), "{}", vector.name);
                    assert_eq!(progress.consumed as u32, vector.header().body, "{}: header and map alone", vector.name);
                    let rest = &vector.patch[offset as usize..];
                    progress = decoder.push(rest, &mut Base(vector.old), &mut slot).unwrap();
                    places += 1;
                } else {
                    assert_eq!(point.output(), 0, "{}: it began anew", vector.name);
                }
                assert_eq!(progress.state, State::Done, "{}", vector.name);
                assert!(slot.bytes == whole, "{} from {point:?}", vector.name);
            }
        }
    }
    assert!(places >= 4, "only {places} places");
}

#[test]
fn a_delta_that_is_cut_short_is_not_done_and_one_with_more_behind_it_is_refused() {
    for vector in VECTORS.iter().filter(|vector| vector.header().fits(&RamClass::Ram64K.limits())) {
        let mut decoder = Box::new(Decoder64K::new());
        let payload = &promised(vector.patch);
        for cut in [1, 2, 3, vector.patch.len() / 2, vector.patch.len() - 96] {
            let short = &vector.patch[..vector.patch.len() - cut];
            if !short.is_empty() && short.len() >= 96 {
                let (_, end) = decode(&mut *decoder, payload, vector.old, short, usize::MAX);
                assert!(end == Ok(State::NeedInput) || vector.patch.len() == 96, "{}, {cut}: {end:?}", vector.name);
            }
        }
        let long = [vector.patch, &[0]].concat();
        let (_, end) = decode(&mut *decoder, payload, vector.old, &long, usize::MAX);
        assert_eq!(end, Err(DeltaError::Trailing), "{}", vector.name);
        // It stays refused until it is started again.
        let mut slot = Slot::new(0);
        assert_eq!(Decodes::push(&mut *decoder, &[0], &mut Base(&[]), &mut slot), Err(DeltaError::NotRunning));
    }
}

/// Somebody else's delta, or the right one for another base, length or target.
#[test]
fn a_delta_whose_header_says_other_than_the_metadata_is_refused() {
    let vector = &VECTORS[0];
    let good = promised(vector.patch);
    let mut decoder = Box::new(Decoder64K::new());
    for wrong in 0..4 {
        let mut payload = good;
        match wrong {
            0 => payload.base_len += 1,
            1 => payload.base_sha256[31] ^= 1,
            2 => payload.target_len -= 1,
            _ => payload.target_sha256[0] ^= 1,
        }
        let outcome = decode(&mut *decoder, &payload, vector.old, vector.patch, 64);
        assert_eq!(outcome, (vec![], Err(DeltaError::WrongImages)), "{wrong}");
    }
}

#[test]
fn a_delta_that_reads_back_is_refused_where_the_slot_cannot() {
    let vector = &VECTORS[4];
    assert!(vector.header().fields & field::READ_BACK != 0, "the vector reads back");
    struct Blind(Vec<u8>);
    impl sealift_verifier::delta::Output for Blind {
        type Error = ();
        const CAN_READ_BACK: bool = false;
        fn write(&mut self, _: u32, bytes: &[u8]) -> Result<(), ()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn read_back(&mut self, _: u32, _: &mut [u8]) -> Result<(), ()> {
            panic!("it can't be read back");
        }
    }
    let mut decoder = Box::new(Decoder64K::new());
    decoder.start(&promised(vector.patch), None).unwrap();
    let mut slot = Blind(Vec::new());
    let end = decoder.push(vector.patch, &mut NoBase, &mut slot);
    assert!(matches!(end, Err(sealift_verifier::delta::Fault::Payload(DeltaError::NeedsReadBack))), "{end:?}");
    assert_eq!(slot.0, []);
    // One that doesn't is applied there.
    let vector = &VECTORS[0];
    decoder.start(&promised(vector.patch), None).unwrap();
    let progress = decoder.push(vector.patch, &mut Base(vector.old), &mut slot).unwrap();
    vector.came_out((slot.0, Ok(progress.state)), "without reading back");
}

/// A slot that can be read back all the same: the header's bit is what devices and servers go by.
#[test]
fn a_delta_that_reads_back_without_saying_so_is_refused() {
    let vector = &VECTORS[4];
    let mut patch = vector.patch.to_vec();
    patch[7] &= !field::READ_BACK;
    let mut decoder = Box::new(Decoder64K::new());
    let (image, end) = decode(&mut *decoder, &promised(&patch), vector.old, &patch, usize::MAX);
    assert_eq!(end, Err(DeltaError::SourceBounds));
    assert!((image.len() as u32) < vector.header().target_len);
}

/// The map that the delta's own numbers make: regions and shifts, in both kinds of decoder.
#[test]
fn the_address_map_of_a_delta_is_read_as_it_was_written() {
    for vector in &VECTORS[..4] {
        let header = vector.header();
        let payload = promised(vector.patch);
        let mut lent = lent(RamClass::Host.limits(), 512);
        let mut host: Vec<HostDecoder> = Vec::with_capacity(1);
        host.resize_with(1, HostDecoder::new);
        for decoder in [&mut lent as &mut dyn Decodes, &mut host[0]] {
            decode(decoder, &payload, vector.old, vector.patch, usize::MAX).1.unwrap();
        }
        for map in [lent.map(), host[0].map()] {
            assert_eq!(map.regions.len(), usize::from(header.regions), "{}", vector.name);
            assert_eq!(
                (map.keys.len(), map.shifts.len()),
                (header.shifts.into(), header.shifts.into()),
                "{}",
                vector.name
            );
            assert!(header.shifts > 0 && map.keys.is_sorted(), "{}: {:x?}", vector.name, map.keys);
            assert_eq!(map.origin & 0xfff, 0, "{}: {:x}", vector.name, map.origin);
        }
        assert_eq!(format!("{:?}", lent.map()), format!("{:?}", host[0].map()), "{}", vector.name);
    }
}

/// Nothing is written outside of the slot, and where a decoder's memory is makes no difference.
#[test]
fn a_changed_byte_anywhere_leads_both_kinds_of_decoder_to_the_same_end() {
    for vector in VECTORS.iter().filter(|vector| vector.header().fits(&RamClass::Ram64K.limits())) {
        let payload = promised(vector.patch);
        let mut lent = lent(RamClass::Ram64K.limits(), 4096);
        let mut own = Box::new(Decoder64K::new());
        // Some thousand places of each: the long ones are the same all over.
        for at in (96..vector.patch.len()).step_by(1 + vector.patch.len() / 2_500) {
            let mut bad = vector.patch.to_vec();
            bad[at] ^= 1 << (at % 8);
            let (image, end) = decode(&mut lent, &payload, vector.old, &bad, usize::MAX);
            let (own_image, own_end) = decode(&mut *own, &payload, vector.old, &bad, usize::MAX);
            assert_eq!(own_end, end, "{}, {at}", vector.name);
            // Short of input, the one with less room to work in may have written more.
            assert!(end != Ok(State::Done) || own_image == image, "{}, {at}", vector.name);
        }
    }
}
