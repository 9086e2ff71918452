//! `sealift doctor`.

use std::fmt::Write;

use clap::Args;
use serde_json::json;

use super::Global;
use crate::clock;
use crate::doctor::examine;
use crate::error::Result;
use crate::output::Report;
use crate::project::Project;

const EXAMPLES: &str = "\
Examples:
  sealift doctor
  sealift doctor --strict --json    # in CI, or from cron: exit code 3 when there is a warning

It tells of roles that expire soon, thresholds as high as the number of keys, one key in many roles, example keys, keys
that no role names or that never signed, and key files that others can read. It opens no key and asks nobody.";

/// Options of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Exit with code 3 when there is a warning (notes don't count)
    #[arg(long)]
    strict: bool,
}

/// Examines the project.
pub(super) fn run(global: &Global, options: &Options) -> Result<Report> {
    // Example keys are something to find here, not a reason to stop.
    let project = Project::load(&global.project, true)?;
    let examination = examine(&project, clock::judging_time()?)?;
    let mut text = String::new();
    for finding in &examination.findings {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: {}: {} [{}]", finding.severity, finding.place, finding.fault, finding.rule);
        let _ = writeln!(text, "  help: {}", finding.remedy);
    }
    let warnings = examination.findings.iter().filter(|finding| finding.severity == "warning").count();
    let notes = examination.findings.len() - warnings;
    let _ = writeln!(text, "{} roles and keys examined: {warnings} warnings, {notes} notes", examination.examined);
    let json = json!({
        "examined": examination.examined, "warnings": warnings, "notes": notes, "findings": examination.findings,
    });
    Ok(match options.strict && warnings > 0 {
        true => Report::Wanting { text, json },
        false => Report::new(text, json),
    })
}
