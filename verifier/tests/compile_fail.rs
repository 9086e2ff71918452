//! Misuse that does not compile.

/// Each file under `compile_fail/` says in its first line what it shows. The expected messages are those of the compiler
/// that `rust-version` names; `TRYBUILD=overwrite` writes them anew.
#[test]
fn unverified_values_cannot_be_used_as_verified_ones() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
