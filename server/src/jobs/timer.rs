//! Step timers and in-progress timers.

use sealift_jobs::ExecutionStatus;

use super::{Effect, end, observed};
use crate::ledger::{Ledger, LedgerError};

/// Ends every execution whose timer is due at `now` as TIMED_OUT; returns how many.
///
/// At most `most` are ended, so that one call stays short; call again while it returns `most`.
///
/// # Errors
/// [`LedgerError`] when the database fails.
pub fn fire_timers(
    ledger: &mut Ledger<'_>,
    now: u64,
    most: usize,
    effects: &mut Vec<Effect>,
) -> Result<usize, LedgerError> {
    for fired in 0..most {
        let Some((thing, job, number)) = ledger.due(now)? else { return Ok(fired) };
        let Some(execution) = ledger.execution(&thing, &job, number)? else { return Ok(fired) };
        observed(ledger, &thing, effects, |ledger, effects| {
            end(ledger, execution, ExecutionStatus::TimedOut, now, effects)
        })?;
    }
    Ok(most)
}
