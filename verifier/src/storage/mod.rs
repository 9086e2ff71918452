//! What a device remembers, in NOR flash: trusted root, floors, slot records, boot state, counter, resume hint.
//!
//! [`DeviceStore`] serves the ports of [`crate::boot`]. Below it, [`FlashRecords`] keeps short values under small keys on any [`NorFlash`](embedded_storage::nor_flash::NorFlash) with
//! words of 1 to 32 bytes that are written once, and sectors of 256 bytes to 128 KiB. Its region is two halves of whole
//! sectors, each with room for every value; both carry the same log.
//!
//! ```text
//!            write                              write                             write
//!   opened ---------> a new generation: -------------------> append to one half, -------> ...
//!     |               erase the spare half, copy every        read it back, then the
//!     | read          value and the new one, read it back,    other; no room, or an
//!     v               write its start (this commits), then    error: a new generation
//!   (no write)        the same in the other half
//! ```
//!
//! * A word is only ever written in the same power cycle in which its sector was erased: after a reset nobody knows how far
//!   a write or an erasure had come, not even where it reads as erased. So the first write after a reset begins a new
//!   generation, and nothing is appended to what an earlier power cycle left.
//! * An entry counts when its seal holds, a generation when its start does. Both bind generation and offset, so that remains
//!   of an earlier log are never taken for a part of this one.
//! * Rot in one half is read from the other, and mended by the next write. Where both are hit the value is *lost*, and stays so
//!   until it is written again: an older one never comes back in its place. One case is told from nothing: the very last entry,
//!   rotten in both halves, looks like a write that was cut, and the value before it counts.
//! * A second fault in one power cycle's wake is beyond it: if the cut fell between the two halves and the newer one then
//!   rots, the older generation counts.
//!
//! **Wear.** Nothing is written by opening or reading. A power cycle that writes erases each sector of the region once, and
//! once more whenever a half has filled up. With 10,000 cycles, four writing power cycles an update (download, trial,
//! confirm, and one to spare) and halves that hold one session, that is 2,500 updates.

//!
//! **Why not sequential-storage** (8.0.2, the best kept store on these traits): a value must fit one sector, and a slot record
//! has up to 5,606 bytes where sectors have 4 KiB or 256 bytes; when the newest value rots, its map gives the one before it,
//! so a floor would fall without a word; and it is written for `async` callers, with assertions and `unreachable!` that would
//! bring the panic machinery along. What it does better, and this store does not need: fine-grained wear levelling over many
//! pages, for data that is written often.

mod entry;
mod halves;
mod log;
mod ports;

pub use log::FlashRecords;
pub use ports::{DeviceStore, StoredCounter, StoredRecords};
