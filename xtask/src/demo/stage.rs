//! What a person sees: headings, the commands that run, how each step ended, and sentences about what it meant.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::error::Result;

/// How one step ended.
pub(super) struct Step {
    /// What was done.
    pub(super) what: String,
    /// Whether it went as the story says.
    pub(super) good: bool,
    /// How long it took.
    pub(super) took: Duration,
}

/// The stage.
pub(super) struct Stage {
    quiet: bool,
    colour: bool,
    begun: Instant,
    acts: usize,
    steps: Vec<Step>,
}

impl Stage {
    /// An empty stage. A quiet one says nothing: its steps are read from the summary.
    pub(super) fn new(quiet: bool) -> Stage {
        let colour = !quiet && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Stage { quiet, colour, begun: Instant::now(), acts: 0, steps: Vec::new() }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Opens an act of the story.
    pub(super) fn act(&mut self, title: &str) {
        self.acts += 1;
        if !self.quiet {
            let heading = format!("{}. {title}", self.acts);
            println!(
                "\n{}{:>w$.1} s",
                self.paint("1", &heading),
                self.begun.elapsed().as_secs_f64(),
                w = 88 - heading.len()
            );
        }
    }

    /// Says a sentence.
    pub(super) fn say(&self, sentence: &str) {
        if !self.quiet {
            println!("   {sentence}");
        }
    }

    /// Shows a command that is about to run, as a person would type it.
    pub(super) fn command(&self, line: &str) {
        if !self.quiet {
            println!("   {}", self.paint("2", &format!("$ {line}")));
        }
    }

    /// Runs a step and tells how it ended; a failure ends the story.
    pub(super) fn step<T>(&mut self, what: &str, run: impl FnOnce(&Stage) -> Result<T>) -> Result<T> {
        let begun = Instant::now();
        let spinner = self.spinner(what);
        let outcome = run(self);
        spinner.finish_and_clear();
        self.record(what, outcome.is_ok(), begun.elapsed());
        outcome
    }

    /// Records a step that ran elsewhere.
    pub(super) fn record(&mut self, what: &str, good: bool, took: Duration) {
        if !self.quiet {
            let mark = if good { self.paint("32", "ok") } else { self.paint("31", "FAILED") };
            println!("   {mark}  {what}  {}", self.paint("2", &format!("{:.2} s", took.as_secs_f64())));
        }
        self.steps.push(Step { what: what.to_owned(), good, took });
    }

    /// Something that moves while a person waits; nothing when nobody watches.
    fn spinner(&self, what: &str) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("   {spinner} {msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let spinner = ProgressBar::new_spinner().with_style(style).with_message(what.to_owned());
        spinner.enable_steady_tick(Duration::from_millis(120));
        spinner
    }

    /// A bar for a number of things of which some are done; hidden when nobody watches.
    pub(super) fn bar(&self, what: &str, total: u64) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let template = "   {msg} [{bar:30}] {pos}/{len} {elapsed}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(what.to_owned())
    }

    /// Prints a table, its first row being the heading.
    pub(super) fn table(&self, rows: &[Vec<String>]) {
        if self.quiet {
            return;
        }
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for (index, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            println!("   {}", if index == 0 { self.paint("1", line.trim_end()) } else { line.trim_end().to_owned() });
        }
    }

    /// The steps so far.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Time since the curtain rose.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}
