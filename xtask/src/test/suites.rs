//! The test suites, counted.

use std::process::Command;

use super::{checks, setup::Setup, tally::Outcome};
use crate::{error::Result, process, project};

/// A test that leaves itself out for want of something prints a line that begins so; it then counts as skipped.
const LEFT_OUT: &str = "LEFT OUT:";

/// All unit and integration tests, by cargo-nextest where it is installed, else by `cargo test`.
pub(super) fn tests(setup: &Setup) -> Result<Outcome> {
    checks::announce_firmware();
    let python = setup.python()?;
    // Without them the test of U-Boot's environment says that it is left out.
    if let Err(error) = setup.packages(&["libubootenv-tool"], &["fw_setenv", "fw_printenv"], "U-Boot's own tools") {
        println!("{error}");
    }
    let with_python = |command: &mut Command| {
        command.env("SEALIFT_PYTHON", &python);
    };
    if process::which("cargo-nextest").is_some() {
        let report = project::target().join("nextest/default/junit.xml");
        // A report of an earlier run must not be counted if this one doesn't get as far as writing its own.
        let _ = std::fs::remove_file(&report);
        let mut nextest = process::cargo();
        with_python(nextest.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]));
        println!("{}", process::line(&nextest));
        let succeeded = process::shown(&mut nextest)?;
        return finish(succeeded, from_junit(&project::read_text(&report).unwrap_or_default()));
    }
    let mut cargo = process::cargo();
    with_python(cargo.args(["test", "--workspace", "--locked", "--no-fail-fast", "--all-targets"]));
    libtest(&mut cargo)
}

/// The AWS adapters, in a build of their own: the SDKs behind the cargo feature are most of a build's time.
pub(super) fn aws(_: &Setup) -> Result<Outcome> {
    let server = ["-p", "sealift-server", "--features", "aws", "--locked"];
    let lints = process::cargo().args(["clippy", "--all-targets"]).args(server).args(["--", "-D", "warnings"]).status();
    if !lints.is_ok_and(|status| status.success()) {
        return Ok(Outcome::failed("clippy with the feature aws"));
    }
    libtest(process::cargo().arg("test").args(server).args(["--no-fail-fast", "--test", "ports"]))
}

/// Keys in KMS and on PKCS#11 tokens, in a build of their own for the same reason.
pub(super) fn key_sources(setup: &Setup) -> Result<Outcome> {
    setup.packages(&["softhsm2"], &["softhsm2-util"], "a PKCS#11 token in software, to sign with")?;
    let signer = ["-p", "sealift-signer", "--features", "aws-kms,pkcs11", "--locked"];
    let lints = process::cargo().args(["clippy", "--all-targets"]).args(signer).args(["--", "-D", "warnings"]).status();
    if !lints.is_ok_and(|status| status.success()) {
        return Ok(Outcome::failed("clippy with the features aws-kms and pkcs11"));
    }
    libtest(process::cargo().arg("test").args(signer).args(["--no-fail-fast", "--lib", "--test", "key_sources"]))
}

/// The examples in the documentation.
pub(super) fn doctests(_: &Setup) -> Result<Outcome> {
    libtest(process::cargo().args(["test", "--workspace", "--locked", "--no-fail-fast", "--doc"]))
}

/// The fault model, in a build of its own: the switch that negates branches must not be in any other.
pub(super) fn fault_model(_: &Setup) -> Result<Outcome> {
    let mut cargo = process::cargo();
    cargo.args(["test", "--locked", "-p", "sealift-verifier", "--test", "fault_model"]);
    cargo.arg("--target-dir").arg(project::target().join("fault-model"));
    cargo.env("RUSTFLAGS", "--cfg sealift_fault_model");
    libtest(&mut cargo)
}

/// Runs tests with the standard harness, which says what tests that passed printed: one that left itself out did pass.
fn libtest(command: &mut Command) -> Result<Outcome> {
    command.args(["--", "--show-output"]);
    println!("{}", process::line(command));
    let done = process::output(command)?;
    let out = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        println!("{out}\n{}", String::from_utf8_lossy(&done.stderr));
    }
    finish(done.status.success(), from_libtest(&out))
}

/// A run that failed without a failing test (it didn't compile, say) is a failure too.
fn finish(succeeded: bool, mut outcome: Outcome) -> Result<Outcome> {
    if !succeeded && outcome.failed == 0 {
        outcome.failed = 1;
        outcome.note = "the tests could not be built or run".into();
    }
    Ok(outcome)
}

/// Moves tests that left themselves out from passed to skipped; the first reason is the note.
fn left_out(outcome: &mut Outcome, reasons: &[String]) {
    let count = reasons.len().min(outcome.passed);
    outcome.passed -= count;
    outcome.skipped += count;
    if let Some(first) = reasons.first() {
        outcome.note = format!("{count} left out: {first}");
    }
}

/// Counts of a JUnit report, as nextest writes it.
fn from_junit(xml: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let mut reasons = Vec::new();
    for case in xml.split("<testcase ").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or(case);
        let fails = ["<failure", "<error"].iter().any(|mark| case.contains(mark));
        if fails {
            outcome.failed += 1;
        } else {
            outcome.passed += 1;
            // At most one a test, however many lines it prints.
            let reason =
                case.lines().find_map(|line| line.split_once(LEFT_OUT)).map(|(_, reason)| reason.trim().to_owned());
            reasons.extend(reason);
        }
    }
    left_out(&mut outcome, &reasons);
    outcome
}

/// Counts of what the standard test harness prints.
fn from_libtest(out: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for line in out.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        let count = |what: &str| {
            let part = line.split([';', '.']).map(str::trim).find_map(|part| part.strip_suffix(what));
            part.and_then(|number| number.trim().parse::<usize>().ok()).unwrap_or(0)
        };
        outcome.passed += count("passed");
        outcome.failed += count("failed");
        outcome.skipped += count("ignored");
    }
    let reasons = out.lines().filter_map(|line| line.strip_prefix(LEFT_OUT)).map(|reason| reason.trim().to_owned());
    left_out(&mut outcome, &reasons.collect::<Vec<_>>());
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_results_of_several_binaries_are_added_up() {
        let out = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                   test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let outcome = from_libtest(out);
        assert_eq!((outcome.passed, outcome.failed, outcome.skipped), (5, 1, 1));
    }

    #[test]
    fn a_test_that_left_itself_out_is_not_counted_as_passed() {
        let xml = "<testsuites><testsuite><testcase name=\"a\" time=\"1\"></testcase><testcase name=\"b\"><system-err>\
                   LEFT OUT: no firmware\nLEFT OUT: again</system-err></testcase><testcase name=\"c\"><failure>x</failure>\
                   </testcase></testsuite></testsuites>";
        let outcome = from_junit(xml);
        assert_eq!((outcome.passed, outcome.failed, outcome.skipped), (1, 1, 1));
        let out = "LEFT OUT: no firmware\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured";
        assert_eq!(from_libtest(out).passed, 1);
    }

    #[test]
    fn a_run_that_did_not_compile_is_a_failure() {
        assert_eq!(finish(false, Outcome::default()).unwrap().failed, 1);
    }
}
