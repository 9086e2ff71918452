//! The last events, in a ring that forgets the oldest.

use crate::text::Event;

/// Events kept.
pub const DEPTH: usize = if cfg!(feature = "release-1-1") { 24 } else { 16 };

/// One event.
#[derive(Clone, Copy)]
pub struct Entry {
    /// When, in seconds since boot.
    pub second: u32,
    /// What.
    pub event: Event,
    /// A value that belongs to it.
    pub value: i32,
}

/// The ring.
pub struct Journal {
    entries: [Option<Entry>; DEPTH],
    written: usize,
}

impl Journal {
    /// An empty ring.
    pub fn new() -> Self {
        Journal { entries: [None; DEPTH], written: 0 }
    }

    /// Adds an event.
    pub fn add(&mut self, second: u32, event: Event, value: i32) {
        self.entries[self.written % DEPTH] = Some(Entry { second, event, value });
        self.written += 1;
    }

    /// Events from the oldest kept to the newest.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        (0..DEPTH).filter_map(move |i| self.entries[(self.written + i) % DEPTH])
    }

    /// Events since boot, the forgotten ones included.
    pub fn written(&self) -> usize {
        self.written
    }
}
