//! The checks that aren't tests: formatting, lints, dependencies, documentation, the bare-metal build.

use std::process::Command;

use super::{setup::Setup, tally::Outcome};
use crate::{bare_metal::Toolchain, error::Result, process, project};

/// Runs a command with its output shown: one check.
fn check(command: &mut Command) -> Result<Outcome> {
    println!("{}", process::line(command));
    Ok(if process::shown(command)? { Outcome::passed() } else { Outcome::failed(process::line(command)) })
}

/// `cargo fmt --check`, over the workspace, the bare-metal device and the C interface.
pub(super) fn fmt(setup: &Setup) -> Result<Outcome> {
    setup.rustup_component("rustfmt", "rustfmt")?;
    let ours = check(process::cargo().args(["fmt", "--all", "--check"]))?;
    if ours.failed > 0 {
        return Ok(ours);
    }
    for manifest in ["device/bare-metal/Cargo.toml", "device/capi/Cargo.toml"] {
        let mut fmt = process::cargo();
        fmt.args(["fmt", "--check", "--manifest-path", manifest, "--", "--config-path", "rustfmt.toml"]);
        let outcome = check(&mut fmt)?;
        if outcome.failed > 0 {
            return Ok(outcome);
        }
    }
    Ok(ours)
}

/// Clippy over everything, tests included.
pub(super) fn clippy(setup: &Setup) -> Result<Outcome> {
    setup.rustup_component("clippy", "clippy-driver")?;
    check(process::cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

/// The library crates built alone: cargo unifies features over a workspace, which hides a feature that isn't asked for.
pub(super) fn features(_: &Setup) -> Result<Outcome> {
    let mut sum = Outcome::default();
    for arguments in [
        &["-p", "sealift-manifests", "--no-default-features"][..],
        &["-p", "sealift-manifests", "--all-features"],
        &["-p", "sealift-verifier", "--no-default-features"],
        &["-p", "sealift-verifier", "--all-features"],
    ] {
        let outcome = check(process::cargo().args(["check", "--locked", "--quiet"]).args(arguments))?;
        sum.passed += outcome.passed;
        sum.failed += outcome.failed;
        sum.note.push_str(&outcome.note);
    }
    Ok(sum)
}

/// cargo-deny without its advisory database, which isn't needed to judge licences, bans and sources.
pub(super) fn deny(setup: &Setup) -> Result<Outcome> {
    let deny = setup.cargo_deny()?;
    check(process::command(deny).args(["--locked", "check", "bans", "licenses", "sources"]))
}

/// cargo-deny's advisories: RustSec's database, from the network or from `SEALIFT_ADVISORIES`, a checkout of it; how much that
/// covers is said. Without either this says that nothing was checked.
pub(super) fn advisories(setup: &Setup) -> Result<Outcome> {
    let deny = setup.cargo_deny()?;
    let scratch = tempfile::tempdir().map_err(|source| crate::error::Error::File {
        act: "create",
        path: std::env::temp_dir(),
        source,
    })?;
    if let Some(checkout) = std::env::var_os("SEALIFT_ADVISORIES") {
        // The name is cargo-deny's own for the database's address. Cloned, since it wants to know when it was fetched.
        let place = scratch.path().join("advisory-db-3157b0e258782691");
        process::succeed(process::command("git").args(["clone", "--quiet"]).arg(&checkout).arg(&place))?;
        process::succeed(process::command("git").arg("-C").arg(&place).args(["fetch", "--quiet"]))?;
        let newest = process::command("git").arg("-C").arg(&place).args(["log", "-1", "--format=%cs"]).output();
        let newest = newest.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned()).unwrap_or_default();
        let settings = project::read_text(&project::root().join("deny.toml"))?;
        let own = format!("[advisories]\ndb-path = {:?}\nmaximum-db-staleness = \"P3650D\"", scratch.path());
        let config = scratch.path().join("deny.toml");
        project::write(&config, settings.replacen("[advisories]", &own, 1).as_bytes())?;
        let mut outcome = check(
            process::command(deny)
                .args(["--locked", "--offline", "--config"])
                .arg(&config)
                .args(["check", "advisories"]),
        )?;
        println!("advisories: RustSec's as of {newest}; later ones are NOT covered");
        outcome.note.push_str(&format!(" advisories as of {newest}"));
        return Ok(outcome);
    }
    let fetched = process::output(process::command(&deny).args(["--locked", "fetch", "db"]))?;
    if !fetched.status.success() {
        println!("{}", process::tail(&fetched));
        return Ok(Outcome::skipped(
            "advisories were NOT checked: the database can't be fetched from here (SEALIFT_ADVISORIES=a checkout of it)",
        ));
    }
    check(process::command(deny).args(["--locked", "--offline", "check", "advisories"]))
}

/// Documentation, private items left out, warnings denied.
pub(super) fn doc(_: &Setup) -> Result<Outcome> {
    let mut cargo = process::cargo();
    check(cargo.args(["doc", "--workspace", "--no-deps", "--locked", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// The generated tables of the documents say what the code says.
pub(super) fn tables(_: &Setup) -> Result<Outcome> {
    let stale = crate::docs::stale()?;
    Ok(if stale.is_empty() {
        Outcome::passed()
    } else {
        Outcome::failed(format!("{}: run cargo xtask docs", stale.join(", ")))
    })
}

/// The two crates that devices carry, for a Cortex-M3, with no operating system and no allocator.
pub(super) fn no_std(_: &Setup) -> Result<Outcome> {
    const TARGET: &str = "thumbv7m-none-eabi";
    let toolchain = Toolchain::find(TARGET)?;
    println!("with {} ({toolchain:?})", toolchain.version()?);
    let mut build = toolchain.build(TARGET);
    build.args(["--release", "--locked", "--no-default-features", "-p", "sealift-manifests", "-p", "sealift-verifier"]);
    check(&mut build)
}

/// Boots every checked-in image in QEMU.
pub(super) fn boot(setup: &Setup) -> Result<Outcome> {
    setup.packages(
        &["qemu-system-arm", "qemu-system-misc"],
        &["qemu-system-arm", "qemu-system-riscv32"],
        "an emulator, to boot the sample firmware",
    )?;
    let (mut passed, mut wrong) = (0, Vec::new());
    for (name, found, right) in crate::images::boot_checked_in()? {
        println!("{name}: {found}");
        if right {
            passed += 1;
        } else {
            wrong.push(name);
        }
    }
    Ok(Outcome { passed, failed: wrong.len(), skipped: 0, note: wrong.join(", ") })
}

/// The bootloader and the application of `device/bare-metal`, and the same in C, in QEMU; and that they can't panic.
pub(super) fn bare_metal(setup: &Setup) -> Result<Outcome> {
    setup.packages(
        &["qemu-system-arm", "qemu-system-misc", "gcc-arm-none-eabi"],
        &["qemu-system-arm", "qemu-system-riscv32", "arm-none-eabi-gcc"],
        "an emulator and a C compiler, to run the bare-metal device",
    )?;
    let steps = crate::metal::tell_all()?;
    let panics = crate::bench_device::programs_that_can_panic()?;
    Ok(Outcome { passed: steps, failed: panics.len(), skipped: 0, note: panics.join(", ") })
}

/// Says which tests will be left out for want of real firmware, before they are.
pub(super) fn announce_firmware() {
    match project::firmware() {
        Some(dir) => println!("real firmware pairs: {}", dir.display()),
        None => {
            println!("no real firmware (../shared/firmware or $SEALIFT_FIRMWARE): its tests will be left out or fail")
        }
    }
}
