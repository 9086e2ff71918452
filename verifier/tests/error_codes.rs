//! The table of refusals: one code each, forever.

use sealift_manifests::{DecodeError, Fault, Role};
use sealift_verifier::{Error, error::ALL};

#[test]
fn codes_are_unique_and_none_is_a_malformed_one() {
    let mut codes: Vec<u16> = ALL.iter().map(|error| error.code()).collect();
    assert!(codes.iter().all(|code| *code >= 200));
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), ALL.len());
}

#[test]
fn the_list_of_errors_is_whole() {
    // Adding a variant changes the number of codes below 800 that the table's source names.
    let source = include_str!("../src/error.rs");
    let declared = source
        .lines()
        .filter(|line| line.trim_start().starts_with("/// ") && line.contains(": "))
        .filter(|line| {
            line.trim_start()[4..].split(':').next().is_some_and(|code| code.len() == 3 && code.parse::<u16>().is_ok())
        })
        .count();
    assert_eq!(declared, ALL.len());
}

#[test]
fn an_error_reads_as_code_role_and_sentence() {
    assert_eq!(Error::Expired(Role::Timestamp).to_string(), "SL-403 timestamp: expired");
    let malformed = Error::malformed(Role::Root, DecodeError::new(Fault::NotShortest, 7));
    assert_eq!(malformed.to_string(), "SL-103 root: an integer or length is not in its shortest form (at byte 7)");
}
