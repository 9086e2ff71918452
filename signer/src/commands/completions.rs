//! `sealift completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::error::Result;
use crate::output::Report;

/// Options of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sealift completions bash > ~/.local/share/bash-completion/completions/sealift")]
pub(super) struct Options {
    /// The shell to write them for
    shell: Shell,
}

/// Writes the script to standard output.
pub(super) fn run<C: CommandFactory>(options: Options) -> Result<Report> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut C::command(), "sealift", &mut script);
    Ok(Report::Raw(script))
}
