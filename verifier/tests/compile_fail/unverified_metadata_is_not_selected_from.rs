//! A targets file that merely decoded has no way to an approval: only a session that verified its chain selects.
use sealift_manifests::{Digest, Targets};
use sealift_verifier::session::{Approved, DeviceFacts};

fn select<'b>(targets: &Targets<'b>, digest: &Digest, device: &DeviceFacts) -> Approved<'b> {
    targets.select(digest, device).unwrap()
}

fn main() {}
