//! `cargo xtask docs`: the tables in the documents that follow from the code.

use std::{fmt::Write, path::PathBuf, process::ExitCode};

use sealift_manifests::Fault;
use sealift_verifier::{Disposition, Error as Refusal, error};

use crate::{attacks, dependencies, error::Result, marked, project};

/// Options of `cargo xtask docs`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write nothing; fail if a document is not up to date
    #[arg(long)]
    check: bool,
}

/// Writes the documents, or tells which are stale.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.check {
        let stale = stale()?;
        stale.iter().for_each(|name| println!("{name} is stale: run cargo xtask docs"));
        return Ok(if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for (path, _, new) in documents()? {
        project::write(&path, new.as_bytes())?;
        println!("wrote {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Names of the documents that aren't what `cargo xtask docs` would write.
pub(crate) fn stale() -> Result<Vec<String>> {
    let documents = documents()?.into_iter().filter(|(_, old, new)| old != new);
    Ok(documents.filter_map(|(path, ..)| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
}

/// Each document with its text as it is and as it should be.
fn documents() -> Result<Vec<(PathBuf, String, String)>> {
    // A document with two tables is written once for each: each takes the text as the one before left it.
    let tables = [
        ("ARCHITECTURE.md", vec![("error codes", error_codes())]),
        ("SECURITY.md", vec![("known attacks", attacks::table()?), ("dependencies", dependencies::table()?)]),
    ];
    let document = |(name, marks): (&str, Vec<(&str, String)>)| {
        let path = project::root().join(name);
        let old = project::read_text(&path)?;
        let mut new = old.clone();
        for (mark, table) in marks {
            new = marked::replace(&new, mark, &table, &path)?;
        }
        Ok((path, old, new))
    };
    tables.into_iter().map(document).collect()
}

fn error_codes() -> String {
    let mut table = String::from("| code | what it says | what becomes of the job |\n|---|---|---|\n");
    for fault in Fault::ALL {
        let _ = writeln!(table, "| SL-{} | malformed: {} | REJECTED |", 100 + fault as u16, fault.message());
    }
    for refusal in error::ALL {
        let fate = match refusal.disposition() {
            Disposition::Permanent => "REJECTED",
            Disposition::Transient => "FAILED, tried again",
            Disposition::Stale => "the newest metadata is fetched; failing that FAILED, tried again",
        };
        let _ = writeln!(table, "| SL-{} | {} | {fate} |", Refusal::code(*refusal), refusal.message());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_numbers_leave_no_gap() {
        let numbers: Vec<u8> = Fault::ALL.into_iter().map(|fault| fault as u8).collect();
        assert_eq!(numbers, (1..=numbers.len() as u8).collect::<Vec<_>>());
    }
}
