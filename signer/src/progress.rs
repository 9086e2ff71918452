//! Progress on standard error, when a person watches it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::delta::Watch;

/// A bar over a known number of steps. Off a terminal it draws nothing.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts a bar of `steps`; none for fewer than one.
    pub fn start(what: &str, steps: u64) -> Self {
        if steps == 0 {
            return Progress(ProgressBar::hidden());
        }
        // indicatif draws on standard error, and on a terminal alone.
        let bar = ProgressBar::new(steps);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {pos}/{len} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(bar)
    }

    /// A bar whose length becomes known on the way, shown in percent.
    pub fn growing(what: &str) -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {percent:>3} % {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(bar)
    }

    /// Starts a growing bar over, on something else.
    pub fn begin(&self, what: &str) {
        self.0.reset();
        self.0.set_length(0);
        self.0.set_message(what.to_owned());
    }

    /// One step is done.
    pub fn step(&self) {
        self.0.inc(1);
    }
}

impl Watch for Progress {
    fn expect(&self, bytes: u64) {
        self.0.inc_length(bytes);
    }

    fn matched(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
