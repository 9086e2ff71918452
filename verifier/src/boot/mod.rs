//! Boot and installation as one state machine, which survives a cut at any write.
//!
//! What is kept: a [`DeviceState`] (record [`RecordId::Boot`]), a record beside each slot that says what it must hold, the
//! resume hint, and the security counter. Each record is replaced atomically ([`Records`]); a state machine's step is one such
//! write, and the order of the writes below is the whole argument. `active` runs when nothing is on trial; the other slot is
//! `spare`.
//!
//! | state | event | next | what is written, in this order |
//! |---|---|---|---|
//! | idle(active) | [`BootControl::prepare`] | installing(active) | the spare's record is removed, then the slot may be erased |
//! | installing | a cut | installing | nothing: the hint, if there is one, says where to go on |
//! | installing | [`BootControl::activate`] of a [`VerifiedImage`](crate::image::VerifiedImage) | pending(active) | the spare's record; then state `pending`; then the hint is removed |
//! | pending | `prepare` for another target | installing | state `idle`; then the spare's record is removed |
//! | pending | [`BootControl::boot`], the spare checks | trial(active) | state `trial`; then the spare runs |
//! | pending | `boot`, the spare doesn't check | idle(active), reverted | state `idle`; then the active slot runs |
//! | trial | [`BootControl::confirm`] | idle(spare becomes active), confirmed | state `idle` with the new counter; then the counter is raised |
//! | trial | `boot`: it didn't confirm itself | idle(active), reverted | state `idle`; then the active slot runs |
//! | idle | `boot`, the counter is below the state's | the same | the counter is raised; then the active slot runs |
//! | idle | `boot`, the active slot checks | the same | nothing: no normal boot writes |
//! | idle | `boot`, the active slot doesn't check and the spare does | idle(spare becomes active), fell back | state `idle`; then the spare runs |
//! | any | `boot`, neither checks | the same | nothing: [`Error::NothingBootable`](crate::Error::NothingBootable) |
//! | the state's record is lost | `boot` | pending on the newer image that checks, or idle on the only one | as from there |
//!
//! A slot checks when its record's signatures hold (or the factory wrote it), it is for this repository, product, component
//! and hardware, its security counter is not below the device's, and the whole image has the signed hash. A write that fails
//! never bricks: a trial that can't be recorded isn't run, and everything else runs unrecorded and is recorded by the next boot.
//!
//! The transitions themselves are pure functions of [`DeviceState`]; [`BootControl`] adds the writes.

mod check;
mod control;
mod factory;
mod ports;
mod state;

pub use check::check_slot;
pub use control::{BootControl, Booted};
pub use factory::FactoryImage;
pub use ports::{RecordId, Records, SecurityCounter};
pub use state::{DeviceState, Outcome, Plan, STATE_RECORD_MAX, Trial};
