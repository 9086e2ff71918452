//! What an update costs in metadata. `cargo test -p sealift-verifier --test bundle_size -- --nocapture` prints it.

mod fleet;

use fleet::*;
use sealift_manifests::{Codec, Payload};

#[test]
fn a_bundle_with_one_image_and_two_deltas_fits_in_one_and_a_half_kib() {
    let mut release = Release::new([1, 2, 0]);
    let [full] = release.payloads[..] else { unreachable!("one payload") };
    let zstd = Payload { codec: Codec::ZSTD, length: 180_000, decoder_ram: 24_576, window_log: 11, ..full };
    let delta = |seed: u8| Payload {
        codec: Codec::DELTA,
        base: Some(image_of(&vec![seed; 320_000])),
        length: 22_000 + u32::from(seed),
        ..zstd
    };
    release.payloads = vec![delta(1), delta(2), zstd];
    release.image = vec![0; 320_016];
    let fleet = Fleet { targets: vec![release], ..Fleet::default() };
    let files = fleet.files();
    let bundle = files.bundle();
    println!(
        "bundle: {} bytes (timestamp {}, snapshot {}, targets {}, product targets {}); root {}",
        bundle.len(),
        files.timestamp.len(),
        files.snapshot.len(),
        files.targets.len(),
        files.product.len(),
        files.root.len()
    );
    assert!(bundle.len() <= 1536);
    Device::provisioned(files.root).take(&bundle).unwrap();
}
