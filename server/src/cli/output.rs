//! What people and programs read.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use super::Failure;

/// Prints a value as one line of JSON.
pub(super) fn json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(&text),
        Err(error) => eprintln!("sealift-server: the answer can't be written: {error}"),
    }
}

/// Prints a line; a reader that has gone away isn't an error.
pub(super) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints rows under a head, in columns.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|h| h.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let show = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(padded.join("  ").trim_end());
    };
    show(&head.map(str::to_owned));
    rows.iter().for_each(|row| show(row));
}

/// A time for people.
pub(super) fn time(seconds: u64) -> String {
    let stamp = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    stamp.map_or_else(|| seconds.to_string(), |t| t.to_string())
}

/// Prints an error, as JSON on stdout when that was asked for and in words on stderr always.
pub(super) fn failure(failure: &Failure, as_json: bool) -> ExitCode {
    if as_json {
        json(
            &serde_json::json!({ "error": { "code": failure.code, "message": failure.message, "exit": failure.exit } }),
        );
    }
    eprintln!("sealift-server: {}", failure.message);
    ExitCode::from(failure.exit)
}
