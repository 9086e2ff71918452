//! What a run counted, for its last line.

use std::time::Instant;

/// Counts of one part of the simulation. All of them passed, or the run stops at the first that doesn't.
pub(crate) struct Counts {
    what: &'static str,
    begun: Instant,
    /// Power cuts.
    pub(crate) cuts: u64,
    /// Operations that failed with the power on.
    pub(crate) failures: u64,
    /// Rotten bits.
    pub(crate) rotten: u64,
}

impl Counts {
    pub(crate) fn begin(what: &'static str) -> Self {
        Counts { what, begun: Instant::now(), cuts: 0, failures: 0, rotten: 0 }
    }

    /// Whether the long run was asked for: `SEALIFT_POWER_CUTS=long`.
    pub(crate) fn is_long() -> bool {
        std::env::var_os("SEALIFT_POWER_CUTS").is_some_and(|value| value == "long")
    }

    pub(crate) fn end(self) {
        println!(
            "{}: {} power cuts, {} failed operations, {} rotten bits: 0 failures, in {:.1} s",
            self.what,
            self.cuts,
            self.failures,
            self.rotten,
            self.begun.elapsed().as_secs_f32()
        );
    }
}
