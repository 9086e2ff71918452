//! Outside of its module nothing makes a verified image.
use sealift_verifier::image::{Slot, VerifiedImage};
use sealift_verifier::session::Approved;

fn forge(approved: Approved<'_>) -> VerifiedImage<'_> {
    VerifiedImage { approved, slot: Slot::B }
}

fn main() {}
