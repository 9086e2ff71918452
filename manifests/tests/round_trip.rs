//! What is written reads back as the same value, and what is read writes back as the same bytes.

use sealift_manifests::envelope::Signature;
use sealift_manifests::*;

const REPOSITORY: RepositoryId = RepositoryId([7; 16]);

#[test]
fn a_root_reads_back() {
    let keys = [PublicKey([1; 32]), PublicKey([2; 32])];
    let indexes = [0, 1];
    let role = RoleKeys { threshold: 2, keys: List::new(&indexes) };
    let critical = [(9, &b"value"[..])];
    let root = Root {
        header: Header { extensions: Extensions::new(&critical), ..Header::new(REPOSITORY, 1, 1_900_000_000) },
        keys: List::new(&keys),
        roles: [role; 4],
        counter_ceiling: 100,
    };
    let bytes = root.encode();
    assert_eq!(Root::decode(&bytes).unwrap(), root);
    assert_eq!(Root::decode(&bytes).unwrap().encode(), bytes);
}

#[test]
fn targets_read_back_and_are_found_by_digest() {
    let hardware = ["board-a", "board-b"];
    let image = Image { length: 1000, digest: sha256(b"image") };
    let base = Image { length: 900, digest: sha256(b"base") };
    let raw =
        Payload { codec: Codec::RAW, length: 1000, digest: image.digest, base: None, decoder_ram: 0, window_log: 0 };
    let delta = Payload { codec: Codec::DELTA, base: Some(base), decoder_ram: 24_576, window_log: 11, ..raw };
    let payloads = [delta, raw];
    let target = Target {
        product: "thermostat",
        component: "main",
        hardware: List::new(&hardware),
        version: "1.2.3".parse().unwrap(),
        security_counter: 4,
        minimum_version: Some(Version([1, 0, 0])),
        image,
        payloads: List::new(&payloads),
        sbom: Some(sha256(b"sbom")),
        critical: Extensions::NONE,
        extensions: Extensions::NONE,
    };
    let targets = Targets {
        header: Header::new(REPOSITORY, 3, 5),
        name: Some("team-a"),
        targets: List::new(std::slice::from_ref(&target)),
        keys: List::new(&[]),
        delegations: List::new(&[]),
    };
    let bytes = targets.encode();
    let read = Targets::decode(&bytes).unwrap();
    assert_eq!(read, targets);
    assert_eq!(read.encode(), bytes);
    assert_eq!(read.find(&sha256(&target.encoded())), Some(target));

    let signature = Signature { key_id: PublicKey([1; 32]).id(), signature: &[3; 64] };
    let signatures = [signature];
    let envelope = Envelope { payload: &bytes, signatures: List::new(&signatures) };
    let file = envelope.encode();
    assert_eq!(Envelope::decode(&file).unwrap(), envelope);
    assert_eq!(Envelope::decode(&file).unwrap().encode(), file);
    assert_eq!(bundle::files(&[file.clone(), file].concat()).filter(|file| file.is_ok()).count(), 2);
}
