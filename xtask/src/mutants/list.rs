//! The mutants there are, as cargo-mutants lists them.

use std::ops::Range;

use crate::error::{Error, Result};

/// What a mutant changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub(super) enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

/// One small change of the code.
#[derive(Clone, Debug, serde::Deserialize)]
pub(super) struct Mutant {
    /// File, place and change: the name it has in every list.
    pub(super) name: String,
    /// Path in the project.
    pub(super) file: String,
    pub(super) genre: Genre,
    /// What stands in the place instead.
    pub(super) replacement: String,
    span: Span,
}

#[derive(Clone, Debug, serde::Deserialize)]
struct Span {
    start: Position,
    end: Position,
}

/// Line and column in characters, both from 1.
#[derive(Clone, Debug, serde::Deserialize)]
struct Position {
    line: usize,
    column: usize,
}

impl Mutant {
    /// The text of its file, changed.
    pub(super) fn apply(&self, text: &str) -> Option<String> {
        let Range { start, end } = self.bytes(text)?;
        Some([&text[..start], &self.replacement, &text[end..]].concat())
    }

    /// Where in its file's text.
    pub(super) fn bytes(&self, text: &str) -> Option<Range<usize>> {
        let at = |position: &Position| {
            let mut lines = text.split_inclusive('\n');
            let before: usize = lines.by_ref().take(position.line.checked_sub(1)?).map(str::len).sum();
            let line = lines.next()?;
            let mut starts = line.char_indices().map(|(at, _)| at).chain([line.len()]);
            Some(before + starts.nth(position.column.checked_sub(1)?)?)
        };
        Some(at(&self.span.start)?..at(&self.span.end)?)
    }
}

#[cfg(test)]
impl Mutant {
    /// One at these bytes of a text.
    pub(super) fn at(name: &str, text: &str, bytes: Range<usize>, replacement: &str, genre: Genre) -> Mutant {
        let position = |at: usize| Position {
            line: text[..at].matches('\n').count() + 1,
            column: text[..at].chars().rev().take_while(|c| *c != '\n').count() + 1,
        };
        let span = Span { start: position(bytes.start), end: position(bytes.end) };
        Mutant { name: name.into(), file: "a.rs".into(), genre, replacement: replacement.into(), span }
    }
}

/// Reads the list that `cargo mutants --list --json` writes.
pub(super) fn parse(json: &str) -> Result<Vec<Mutant>> {
    serde_json::from_str(json)
        .map_err(|e| Error::Content { path: "cargo mutants --list --json".into(), what: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines and columns count characters; a text is cut by bytes.
    #[test]
    fn a_place_is_found_behind_letters_of_two_bytes() {
        let text = "// äö\nlet ü = a + b;\n";
        let at = text.find('+').unwrap();
        assert_eq!(Mutant::at("", text, at..at + 1, "-", Genre::BinaryOperator).bytes(text), Some(at..at + 1));
        let changed = Mutant::at("", text, at..at + 1, "-", Genre::BinaryOperator).apply(text);
        assert_eq!(changed.as_deref(), Some("// äö\nlet ü = a - b;\n"));
        let json = r#"[{"name": "n", "file": "f", "genre": "BinaryOperator", "replacement": "-", "package": "p",
            "span": {"start": {"line": 2, "column": 11}, "end": {"line": 2, "column": 12}}}]"#;
        assert_eq!(parse(json).unwrap()[0].bytes(text), Some(at..at + 1));
    }
}
