//! The proof that a slot holds an approved image.

use embedded_storage::nor_flash::ReadNorFlash;
use sealift_manifests::Image;

use super::slot::{Slot, SlotReader};
use crate::certain::require;
use crate::error::Error;
use crate::session::Approved;

/// An image that stands in a slot and is the one that was approved: its whole length was read back and hashed. Its fields
/// are private and this module alone makes one; only it can be activated.
#[derive(Debug)]
pub struct VerifiedImage<'b> {
    approved: Approved<'b>,
    slot: Slot,
}

impl<'b> VerifiedImage<'b> {
    /// Reads `flash`, the storage of `slot`, back and holds it to what was approved.
    pub fn read_back<F: ReadNorFlash>(approved: Approved<'b>, slot: Slot, flash: F) -> Result<Self, Error> {
        require!(SlotReader::new(flash).holds(&approved.target().image)?, Error::ImageHash);
        Ok(VerifiedImage { approved, slot })
    }

    /// What was approved.
    pub const fn approved(&self) -> &Approved<'b> {
        &self.approved
    }

    /// Where it stands.
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Its length and digest.
    pub const fn image(&self) -> &Image {
        &self.approved.target().image
    }
}
