//! Decisions that one skipped or inverted branch must not turn.
//!
//! A fault attack (a dip of the voltage, a pulse on the clock) can make a processor skip an instruction, and so take a branch
//! the wrong way. [`require!`] decides twice, in opposite senses, in two branches that the compiler may not merge.
//!
//! In a build with `--cfg sealift_fault_model` each such branch is counted and the one that a test names is negated:
//! `verifier/tests/fault_model.rs` goes through all of them, one at a time.

use core::hint::black_box;

/// Returns the error unless the condition holds, decided twice.
macro_rules! require {
    ($condition:expr, $error:expr) => {{
        let condition: bool = $condition;
        #[cfg(sealift_fault_model)]
        $crate::certain::fault::decides(condition);
        if !$crate::certain::branch(condition) {
            return Err($error);
        }
        if $crate::certain::branch(!condition) {
            return Err($error);
        }
    }};
}
pub(crate) use require;

/// Passes a refusal on, decided twice: for checks that return nothing else.
macro_rules! pass {
    ($result:expr) => {{
        let result: Result<(), $crate::error::Error> = $result;
        #[cfg(sealift_fault_model)]
        $crate::certain::fault::decides(result.is_ok());
        if !$crate::certain::branch(result.is_ok()) {
            return Err(result.err().unwrap_or($crate::error::Error::WrongState));
        }
        if $crate::certain::branch(result.is_err()) {
            return Err(result.err().unwrap_or($crate::error::Error::WrongState));
        }
    }};
}
pub(crate) use pass;

/// Whether a condition holds, where yes is the dangerous answer: one wrong turn makes it no.
#[inline(always)]
#[cfg_attr(sealift_fault_model, track_caller)]
pub(crate) fn surely(condition: bool) -> bool {
    #[cfg(sealift_fault_model)]
    fault::decides(condition);
    branch(condition) & !branch(!condition)
}

/// Whether a condition holds, where no is the dangerous answer: one wrong turn makes it yes.
#[inline(always)]
#[cfg_attr(sealift_fault_model, track_caller)]
pub(crate) fn possibly(condition: bool) -> bool {
    #[cfg(sealift_fault_model)]
    fault::decides(!condition);
    branch(condition) | !branch(!condition)
}

/// A condition on its way into a branch: opaque to the compiler. Out of line, which is half the code at each use.
#[inline(never)]
pub(crate) fn branch(condition: bool) -> bool {
    let condition = black_box(condition);
    #[cfg(sealift_fault_model)]
    let condition = condition ^ fault::is_now();
    condition
}

/// The fault model's switch.
#[cfg(sealift_fault_model)]
pub mod fault {
    extern crate std;

    use core::panic::Location;
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::collections::BTreeSet;
    use std::sync::{Mutex, PoisonError};

    static PASSED: AtomicUsize = AtomicUsize::new(0);
    static NEGATED: AtomicUsize = AtomicUsize::new(usize::MAX);
    static REFUSED: Mutex<BTreeSet<(&str, u32)>> = Mutex::new(BTreeSet::new());

    /// Starts to count anew; the branch of this number will be negated, once.
    pub fn negate(number: usize) {
        NEGATED.store(number, Relaxed);
        PASSED.store(0, Relaxed);
    }

    /// Branches passed since.
    pub fn passed() -> usize {
        PASSED.load(Relaxed)
    }

    /// Guarded places, by file and line, that something was brought to which they have to refuse.
    pub fn refusals() -> BTreeSet<(&'static str, u32)> {
        REFUSED.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A guarded place decides; `allows` is its answer without any fault.
    #[track_caller]
    pub(crate) fn decides(allows: bool) {
        if !allows {
            let place = Location::caller();
            REFUSED.lock().unwrap_or_else(PoisonError::into_inner).insert((place.file(), place.line()));
        }
    }

    pub(super) fn is_now() -> bool {
        PASSED.fetch_add(1, Relaxed) == NEGATED.load(Relaxed)
    }
}
