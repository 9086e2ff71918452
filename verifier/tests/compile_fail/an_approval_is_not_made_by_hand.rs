//! Outside of a session nothing approves a target.
use sealift_manifests::{Digest, Target};
use sealift_verifier::session::{Approved, Freshness};

fn forge<'b>(target: Target<'b>, digest: Digest) -> Approved<'b> {
    Approved { target, digest, freshness: Freshness::Known }
}

fn main() {}
