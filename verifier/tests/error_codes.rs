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

/// What a job ends with, and whose file is named: servers and fleets read it off the code.
#[test]
fn each_code_has_its_role_and_what_it_means_for_the_job() {
    let said: Vec<String> = ALL
        .iter()
        .map(|error| {
            let role = error.role().map_or("-", Role::name);
            format!("{} {:?} {role}", error.code(), error.disposition())
        })
        .collect();
    assert_eq!(said.join("\n"), EXPECTED.trim());
}

const EXPECTED: &str = "
201 Permanent root
202 Permanent root
203 Permanent root
204 Permanent root
301 Permanent root
302 Permanent root
303 Permanent -
304 Permanent snapshot
305 Permanent snapshot
306 Permanent snapshot
307 Permanent -
308 Permanent -
309 Permanent targets
310 Permanent targets
401 Stale timestamp
402 Stale timestamp
403 Stale timestamp
404 Transient root
405 Transient -
501 Permanent -
502 Permanent -
503 Permanent -
504 Permanent -
505 Permanent -
506 Permanent -
507 Transient -
508 Permanent -
601 Permanent -
602 Transient -
603 Permanent -
604 Permanent -
605 Permanent -
606 Permanent -
607 Permanent -
608 Permanent -
701 Transient -
702 Permanent -
703 Permanent -
704 Transient -
705 Transient -
706 Transient -
";
