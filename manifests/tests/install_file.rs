//! The install file is split where the bundle ends, and refuses what is neither bundle nor payload.

use sealift_manifests::envelope::Signature;
use sealift_manifests::{Envelope, Fault, List, PublicKey, install_file};

fn bundle() -> Vec<u8> {
    let signatures = [Signature { key_id: PublicKey([1; 32]).id(), signature: &[3; 64] }];
    Envelope { payload: b"role", signatures: List::new(&signatures) }.encode().repeat(3)
}

fn payloads(file: &[u8]) -> Vec<Vec<u8>> {
    let (_, payloads) = install_file::split(file).unwrap();
    payloads.map(|payload| payload.unwrap().to_vec()).collect()
}

#[test]
fn payloads_follow_the_bundle() {
    let mut file = bundle();
    assert_eq!(payloads(&file), Vec::<Vec<u8>>::new(), "a bundle is an install file without payloads");
    install_file::append(&mut file, &[0xd8; 70_000]);
    install_file::append(&mut file, b"delta");
    assert_eq!(install_file::split(&file).unwrap().0, bundle());
    assert_eq!(payloads(&file), [vec![0xd8; 70_000], b"delta".to_vec()]);
}

#[test]
fn every_truncation_is_noticed() {
    let mut file = bundle();
    let whole_bundle = file.len();
    install_file::append(&mut file, b"payload");
    for length in 0..file.len() {
        let cut = &file[..length];
        let complete = install_file::split(cut).is_ok_and(|(_, mut payloads)| payloads.all(|payload| payload.is_ok()));
        assert_eq!(complete, length > 0 && length % (whole_bundle / 3) == 0, "cut at {length} of {}", file.len());
    }
}

#[test]
fn what_is_neither_envelope_nor_byte_string_is_refused() {
    let mut file = bundle();
    file.push(0x01);
    let faults: Vec<_> = install_file::split(&file).unwrap().1.collect();
    assert_eq!(faults.len(), 1, "nothing follows an error");
    assert_eq!(faults[0].unwrap_err().fault(), Fault::WrongType);
    assert!(install_file::split(&bundle().repeat(5)).is_err(), "more role files than a bundle may have");
}
