//! Names in requests and on disk. Role names and target paths are whatever a repository signs; here they become names that
//! cannot leave their place.

use std::fmt::Write as _;

use sealift_manifests::sha256;

/// Longest file name that every common file system takes, less room for `.json`.
const MAX_FILE_NAME: usize = 240;

/// Percent-encodes everything but unreserved characters (RFC 3986, section 2.3): what TUF clients ask servers for.
pub(crate) fn quoted(name: &str) -> String {
    encoded(name, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// The path of a target in a URL. It is a path-relative URL already (specification 1.0.34, section 4.5), so that a `%` stays;
/// what would end the path or cannot stand in a URL is encoded.
pub(crate) fn url_path(path: &str) -> String {
    encoded(path, |byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte))
}

fn encoded(text: &str, keep: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if keep(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The name a role's file or a target is kept under: one path segment, never `.`, `..` or empty, and never hidden.
pub(crate) fn file_name(name: &str) -> String {
    let mut quoted = quoted(name);
    if quoted.starts_with('.') {
        quoted.replace_range(..1, "%2E");
    }
    // No quoted name has a `~` followed by hex alone that is this long, but for one that was made to: then one file
    // replaces the other, and is fetched again, since every file is verified where it is used.
    if quoted.is_empty() || quoted.len() > MAX_FILE_NAME { format!("~{}", sha256(name.as_bytes())) } else { quoted }
}

/// Whether a target path stays below a directory: not empty, not absolute, without empty, `.` or `..` segments.
pub(crate) fn is_safe_path(path: &str) -> bool {
    !path.contains(['\\', '\0']) && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// Undoes the percent-encoding of a URL's path; `None` for what is none.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_names_are_quoted_with_nothing_safe() {
        assert_eq!(quoted("../a b?#é"), "..%2Fa%20b%3F%23%C3%A9");
    }

    #[test]
    fn a_kept_name_is_one_visible_segment() {
        for name in [".", "..", "", "/", "../x", "a/b", ".hidden", "a\\b", "nul\0", &"x".repeat(5_000)] {
            let file = file_name(name);
            assert!(!file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\\', '\0']), "{name:?} {file}");
            assert!(file.len() <= 250);
        }
        assert_ne!(file_name(&"x".repeat(5_000)), file_name(&"x".repeat(5_001)));
    }

    #[test]
    fn a_target_path_keeps_its_percent_signs_and_loses_its_question_marks() {
        assert_eq!(url_path("dir/a%20b c?d#e"), "dir/a%20b%20c%3Fd%23e");
    }

    #[test]
    fn unsafe_target_paths_are_known() {
        for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", "a\\b", "a\0"] {
            assert!(!is_safe_path(path), "{path:?}");
        }
        assert!(is_safe_path("a/b..c/.d"));
    }
}
