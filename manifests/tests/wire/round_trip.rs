//! What is written reads back as the same value, and whatever is read writes back as the same bytes.

use std::fmt::Debug;

use proptest::prelude::*;
use sealift_manifests::report::{Report, SignedReport};
use sealift_manifests::*;

use crate::documents::{self, Kind, recode};
use crate::values;

/// `decode(encode(x)) == x`, and the same bytes again.
fn reads_back<T: PartialEq + Debug>(
    value: T,
    encode: fn(&T) -> Vec<u8>,
    decode: fn(&'static [u8]) -> Result<T, DecodeError>,
) -> Result<(), TestCaseError> {
    let bytes: &'static [u8] = Box::leak(encode(&value).into_boxed_slice());
    let read = decode(bytes).map_err(|why| TestCaseError::fail(why.to_string()))?;
    prop_assert_eq!(encode(&read), bytes);
    prop_assert_eq!(read, value);
    Ok(())
}

proptest! {
    #[test]
    fn a_root_reads_back(value in values::root()) {
        reads_back(value, Root::encode, Root::decode)?;
    }

    #[test]
    fn a_timestamp_reads_back(value in values::timestamp()) {
        reads_back(value, Timestamp::encode, Timestamp::decode)?;
    }

    #[test]
    fn a_snapshot_reads_back(value in values::snapshot()) {
        reads_back(value, Snapshot::encode, Snapshot::decode)?;
    }

    #[test]
    fn targets_read_back(value in values::targets()) {
        reads_back(value, Targets::encode, Targets::decode)?;
    }

    #[test]
    fn an_envelope_reads_back(value in values::envelope()) {
        reads_back(value, Envelope::encode, Envelope::decode)?;
    }

    #[test]
    fn a_report_reads_back(value in values::report()) {
        reads_back(value, Report::encode, Report::decode)?;
    }

    #[test]
    fn a_signed_report_reads_back(value in values::signed_report()) {
        reads_back(value, SignedReport::encode, SignedReport::decode)?;
    }

    #[test]
    fn a_target_is_found_by_the_digest_of_its_entry(value in values::targets()) {
        let bytes = value.encode();
        let read = Targets::decode(&bytes).unwrap();
        for target in value.targets.iter() {
            prop_assert_eq!(read.find(&sha256(&target.encoded())), Some(target));
        }
        prop_assert_eq!(read.find(&sha256(b"no such target")), None);
    }
}

/// One change to some bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        1 => at().prop_map(Change::Remove),
        1 => (at(), at()).prop_map(|(a, b)| Change::Swap(a, b)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Set(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Change::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
        Change::Remove(at) => {
            bytes.remove(at.index(bytes.len()));
        }
        Change::Swap(a, b) => {
            let (a, b) = (a.index(bytes.len()), b.index(bytes.len()));
            bytes.swap(a, b);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_192))]
    #[test]
    fn changed_bytes_that_still_decode_write_back_as_they_are(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let all = documents::all();
        let (kind, document) = which.get(&all);
        let mut bytes = document.bytes();
        changes.iter().for_each(|change| apply(&mut bytes, change));
        if let Ok(written) = recode(*kind, &bytes) {
            prop_assert_eq!(written, bytes);
        }
    }
}

/// Every byte set to every value: none of it panics, and what decodes writes back as it is. Some must decode, or this shows
/// nothing.
#[test]
fn every_byte_set_to_every_value_is_refused_or_writes_back_as_it_is() {
    for (kind, document) in documents::all() {
        let bytes = document.bytes();
        let mut decoded = 0;
        for at in 0..bytes.len() {
            for value in 0..=u8::MAX {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(written) = recode(kind, &changed) {
                    assert_eq!(written, changed, "{kind:?} with byte {at} set to {value}");
                    decoded += usize::from(value != bytes[at]);
                }
            }
        }
        assert!(decoded > 1000, "{kind:?}: only {decoded} changed documents decode");
    }
}

#[test]
fn a_bundle_gives_each_file_as_its_own_bytes() {
    let files: Vec<Vec<u8>> = [documents::root(), documents::timestamp(), documents::snapshot()]
        .map(|role| documents::envelope_of(role).bytes())
        .into();
    let bundle = files.concat();
    let read: Result<Vec<&[u8]>, _> = bundle::files(&bundle).collect();
    assert_eq!(read.unwrap(), files);
}

#[test]
fn a_bundle_ends_at_its_first_fault() {
    let file = documents::envelope_of(documents::timestamp()).bytes();
    let broken = [file.clone(), vec![0xd8, 0x62, 0x85], file.clone()].concat();
    let read: Vec<_> = bundle::files(&broken).collect();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0], Ok(&file[..]));
    assert_eq!(read[1], Err(DecodeError::new(Fault::BadValue, file.len() + 2)));
}

/// Nothing at all is not a bundle of no files.
#[test]
fn an_empty_bundle_is_cut_short() {
    let read: Vec<_> = bundle::files(&[]).collect();
    assert_eq!(read, [Err(DecodeError::new(Fault::Truncated, 0))]);
}

#[test]
fn recode_covers_every_kind() {
    let kinds: Vec<Kind> = documents::all().into_iter().map(|(kind, _)| kind).collect();
    for kind in
        [Kind::Root, Kind::Timestamp, Kind::Snapshot, Kind::Targets, Kind::Envelope, Kind::Report, Kind::SignedReport]
    {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
}
