//! An installation begins with an approval, not with a target that merely decoded.
use embedded_storage::nor_flash::NorFlash;
use sealift_manifests::Target;
use sealift_verifier::image::{Choice, Install, RawDecoder, Slot};

fn install<F: NorFlash>(target: Target<'_>, choice: &Choice, flash: F) {
    let _ = Install::<_, F, _, 64>::begin(target, choice, Slot::B, flash, None, RawDecoder::default(), None);
}

fn main() {}
