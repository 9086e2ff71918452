//! A device that runs version 1 of everything, and what a test asks of it.

use ed25519_dalek::SigningKey;
use sealift_manifests::envelope::{SigStructure, Signature};
use sealift_manifests::{Digest, Envelope, List};
use sealift_verifier::Error;

use crate::fleet::{Device, Files, Fleet, public, sign};

/// A device that was provisioned with the fleet's root and has taken its first release.
pub(crate) fn up_to_date(fleet: &Fleet) -> Device {
    let mut device = provisioned(fleet);
    device.take(&fleet.files().bundle()).expect("the first release is good");
    device
}

/// A device fresh from the factory.
pub(crate) fn provisioned(fleet: &Fleet) -> Device {
    Device::provisioned(fleet.root())
}

/// The bundle is refused for this reason, and whatever was kept before is kept still: nothing of a refused file stays.
#[track_caller]
pub(crate) fn refuses(device: &mut Device, bundle: &[u8], expected: Error) {
    let before = (device.root.clone(), device.state);
    assert_eq!(device.take(bundle), Err(expected));
    assert_eq!((&device.root, device.state), (&before.0, before.1), "a refusal changed what the device keeps");
}

/// The bundle is refused for this reason; files before the bad one were good and may stay.
#[track_caller]
pub(crate) fn refuses_at(device: &mut Device, bundle: &[u8], expected: Error) {
    assert_eq!(device.take(bundle), Err(expected));
}

/// The target is refused for this reason.
#[track_caller]
pub(crate) fn refuses_target(device: &mut Device, bundle: &[u8], target: Digest, expected: Error) {
    assert_eq!(device.select(bundle, Some(target)), Err(expected));
}

/// Signs everything again around changed payloads: an attacker who holds keys signs what pins the change, too.
pub(crate) struct Forgery<'f> {
    pub(crate) fleet: &'f Fleet,
    pub(crate) timestamp: Option<Vec<u8>>,
    pub(crate) snapshot: Option<Vec<u8>>,
    pub(crate) targets: Option<Vec<u8>>,
    pub(crate) product: Option<Vec<u8>>,
}

impl<'f> Forgery<'f> {
    pub(crate) fn of(fleet: &'f Fleet) -> Self {
        Forgery { fleet, timestamp: None, snapshot: None, targets: None, product: None }
    }

    /// The files, with whole files in place of the honest ones where they were given.
    pub(crate) fn files(self) -> Files {
        let fleet = self.fleet;
        let product = self.product.unwrap_or_else(|| sign(&fleet.product_payload(), &fleet.product.all()));
        let targets = self.targets.unwrap_or_else(|| sign(&fleet.targets_payload(), &fleet.roles[3].all()));
        let snapshot =
            self.snapshot.unwrap_or_else(|| sign(&fleet.snapshot_payload(&targets, &product), &fleet.roles[2].all()));
        let timestamp =
            self.timestamp.unwrap_or_else(|| sign(&fleet.timestamp_payload(&snapshot), &fleet.roles[1].all()));
        Files { root: fleet.root(), timestamp, snapshot, targets, product }
    }
}

/// An envelope with signatures as they are given: key ids may lie, signatures may be junk.
pub(crate) fn envelope(payload: &[u8], signatures: &[(Digest, [u8; 64])]) -> Vec<u8> {
    let mut listed: Vec<Signature<'_>> =
        signatures.iter().map(|(key_id, signature)| Signature { key_id: *key_id, signature }).collect();
    listed.sort_by_key(|signature| signature.key_id);
    Envelope { payload, signatures: List::new(&listed) }.encode()
}

/// A key's signature over any message, under its own id.
pub(crate) fn signature(key: &SigningKey, message: &[u8]) -> (Digest, [u8; 64]) {
    use ed25519_dalek::Signer as _;
    (public(key).id(), key.sign(message).to_bytes())
}

/// What a role signature covers.
pub(crate) fn message(payload: &[u8]) -> Vec<u8> {
    SigStructure::new(payload).to_vec()
}
