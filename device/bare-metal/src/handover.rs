//! What the bootloader tells the application, in memory that neither clears.

use sealift_verifier::image::Slot;

use crate::board::HANDOVER;

const MAGIC: u32 = 0x5ea1_1f7a;

/// The slot that runs, and whether it runs on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The slot.
    pub slot: Slot,
    /// On trial.
    pub trial: bool,
}

impl Handover {
    /// Leaves it for the application.
    pub fn leave(self) {
        let words = [MAGIC, self.slot as u32, u32::from(self.trial)];
        // SAFETY: the linker scripts keep this memory out of both programs.
        unsafe { (HANDOVER as *mut [u32; 3]).write_volatile(words) }
    }

    /// Takes it; `None` when no bootloader left one.
    pub fn take() -> Option<Self> {
        // SAFETY: as in `leave`.
        let [magic, slot, trial] = unsafe { (HANDOVER as *const [u32; 3]).read_volatile() };
        let slot = if slot == Slot::A as u32 { Slot::A } else { Slot::B };
        (magic == MAGIC).then_some(Handover { slot, trial: trial != 0 })
    }
}
