//! What ran, what failed, and what was left out.

use std::time::Duration;

/// What a check or a suite came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Ran and passed.
    pub(super) passed: usize,
    /// Ran and failed.
    pub(super) failed: usize,
    /// Didn't run.
    pub(super) skipped: usize,
    /// Why something failed or was left out.
    pub(super) note: String,
}

impl Outcome {
    /// One check that passed.
    pub(super) fn passed() -> Outcome {
        Outcome { passed: 1, ..Outcome::default() }
    }

    /// One check that failed.
    pub(super) fn failed(note: impl Into<String>) -> Outcome {
        Outcome { failed: 1, note: note.into(), ..Outcome::default() }
    }

    /// One check that didn't run.
    pub(super) fn skipped(note: impl Into<String>) -> Outcome {
        Outcome { skipped: 1, note: note.into(), ..Outcome::default() }
    }
}

/// The summary of a run.
#[derive(Default)]
pub(super) struct Tally {
    rows: Vec<(&'static str, Outcome, Duration)>,
}

impl Tally {
    /// Adds the outcome of one check.
    pub(super) fn add(&mut self, name: &'static str, outcome: Outcome, took: Duration) {
        self.rows.push((name, outcome, took));
    }

    /// True when something passed and nothing failed.
    pub(super) fn is_good(&self) -> bool {
        let (passed, failed, _) = self.sums();
        failed == 0 && passed > 0
    }

    fn sums(&self) -> (usize, usize, usize) {
        self.rows.iter().fold((0, 0, 0), |(passed, failed, skipped), (_, outcome, _)| {
            (passed + outcome.passed, failed + outcome.failed, skipped + outcome.skipped)
        })
    }

    /// Prints the table and, as the last line, the three sums.
    pub(super) fn print(&self) {
        println!("\n{:<12}{:>8}{:>8}{:>9}{:>9}  note", "check", "passed", "failed", "skipped", "seconds");
        for (name, outcome, took) in &self.rows {
            let Outcome { passed, failed, skipped, note } = outcome;
            println!("{name:<12}{passed:>8}{failed:>8}{skipped:>9}{:>9.1}  {note}", took.as_secs_f64());
        }
        let (passed, failed, skipped) = self.sums();
        println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_in_which_nothing_passed_is_not_good() {
        let mut tally = Tally::default();
        assert!(!tally.is_good());
        tally.add("a", Outcome::skipped("no tool"), Duration::ZERO);
        assert!(!tally.is_good());
        tally.add("b", Outcome::passed(), Duration::ZERO);
        assert!(tally.is_good());
        tally.add("c", Outcome::failed("it broke"), Duration::ZERO);
        assert!(!tally.is_good());
        assert_eq!(tally.sums(), (1, 1, 1));
    }
}
