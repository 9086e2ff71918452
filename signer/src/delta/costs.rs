//! What the parse believes that things cost, in 1/1024 of a byte of patch.

/// Prices of the parse.
#[derive(Clone, Debug)]
pub(super) struct Costs {
    /// A copied byte that needs no correction.
    pub(super) equal: u64,
    /// A copied byte that needs one, after an equal byte.
    pub(super) unequal: u64,
    /// A copied byte that needs one, right after another.
    pub(super) unequal_again: u64,
    /// A literal byte.
    pub(super) literal: u64,
    /// Starting literals.
    pub(super) literals: u64,
    /// Starting a copy, its two lengths included.
    pub(super) copy: u64,
    /// Each seven bits of a new diagonal.
    pub(super) diagonal_byte: u64,
    /// A lane this much dearer than the cheapest is dropped.
    pub(super) drop: u64,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            equal: 6,
            unequal: 1650,
            unequal_again: 1150,
            literal: 780,
            literals: 400,
            copy: 1300,
            diagonal_byte: 850,
            drop: 5200,
        }
    }
}

impl Costs {
    /// A copy on a recent diagonal.
    pub(super) fn recent(&self, depth: usize) -> u64 {
        self.copy + 200 + 150 * depth as u64
    }

    /// A copy on a diagonal `step` away from the newest.
    pub(super) fn fresh(&self, step: i64) -> u64 {
        let bits = 65 - u64::from(step.unsigned_abs().leading_zeros());
        self.copy + self.diagonal_byte * bits.div_ceil(7).max(1)
    }
}
