//! From payload bytes to an image in a slot that may be activated.
//!
//! ```text
//! Approved --choose_payload--> Choice --Install::begin--> Install --push*--> --finish--> VerifiedImage --activate--> trial
//! ```
//!
//! * [`choose_payload`] picks a delta whose base is the installed image, or a full payload, within what the device can hold.
//! * [`Install`] takes the payload's bytes in pieces of any size, counts and hashes them, has them decoded ([`Decode`]) and
//!   written to the slot ([`SlotWriter`]). The base of a delta is hashed before the first write; neither the payload nor the
//!   image ever grows beyond its signed length.
//! * At the end the whole slot is read back and hashed: what was written is what is verified. Only that makes a
//!   [`VerifiedImage`], and only a [`VerifiedImage`] can be activated ([`crate::boot`]).
//!
//! A cut leaves a slot that no boot accepts. [`Install::hint`] writes a record by which the next session may go on where this
//! one stood. It is a hint: bound to payload, base and target by their digests, checked against their bounds, and since no
//! hash state is restored, the hash over the whole slot alone decides.

mod choice;
mod decode;
mod delta;
mod hint;
mod install;
mod slot;
mod verified;
mod writer;

pub use choice::{Choice, Limits, choose_available, choose_payload};
pub use decode::{BaseReader, Decode, Mark, Output, Progress, RawDecoder, State};
pub use hint::HINT_RECORD_MAX;
pub use install::{Install, Next};
pub use slot::{Slot, SlotReader, Slots, image_digest};
pub use verified::VerifiedImage;
pub use writer::SlotWriter;
