//! Bytes for tests of single functions.

/// A xorshift generator, so that every run sees the same bytes.
pub(in crate::delta) fn random(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}
