//! Only an image that was read back from its slot can be activated.
use sealift_verifier::boot::{BootControl, Records, SecurityCounter};
use sealift_verifier::session::Approved;

fn activate<R: Records, C: SecurityCounter>(mut control: BootControl<R, C>, approved: Approved<'_>) {
    let _ = control.activate(approved, &mut []);
}

fn main() {}
