//! What a deployment may set.

use sealift_verifier::trust::Policy;

use crate::fetch::Pace;
use crate::key::KeyIds;

/// Settings of an [`crate::Updater`].
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Key ids: recomputed, or opaque for repositories that follow TAP 12.
    pub key_ids: KeyIds,
    /// The trust machine's policy.
    pub policy: Policy,
    /// Where the time comes from.
    pub clock: Clock,
    /// Bounds on what a server can make the client do.
    pub limits: Limits,
    /// How slowly a server may send.
    pub pace: Pace,
    /// Whether targets of repositories with consistent snapshots are named by their hash (section 6.2.2).
    pub hash_prefixed_targets: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            key_ids: KeyIds::default(),
            policy: Policy::production(),
            clock: Clock::System,
            limits: Limits::default(),
            pace: Pace::default(),
            hash_prefixed_targets: true,
        }
    }
}

/// Where the time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The system's clock.
    System,
    /// The application knows: seconds since 1970-01-01T00:00:00Z.
    At(u64),
    /// Nobody knows: nothing is known to be expired. Versions still protect against what is old.
    Unknown,
}

/// Bounds on what a server can make the client do. Lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most root updates in one refresh. Each is kept, so that the next refresh goes on.
    pub roots: u32,
    /// Longest root file.
    pub root_length: u64,
    /// Longest timestamp file.
    pub timestamp_length: u64,
    /// Longest snapshot file, whatever length the timestamp states.
    pub snapshot_length: u64,
    /// Longest targets file, whatever length the snapshot states.
    pub targets_length: u64,
    /// Most roles that one look-up visits.
    pub visited_roles: usize,
}

impl Default for Limits {
    /// Room for the largest repositories in public use, and little enough to be refused quickly.
    fn default() -> Self {
        Limits {
            roots: 256,
            root_length: 512_000,
            timestamp_length: 16_384,
            snapshot_length: 2_000_000,
            targets_length: 5_000_000,
            visited_roles: 128,
        }
    }
}
