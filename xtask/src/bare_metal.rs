//! Compilers for machines without an operating system.
//!
//! Two ways lead there. A rustup toolchain to which the target's `core` was added is the common one. Where rustup can't fetch
//! it (an offline CI, a distribution's own compiler), Debian's `rustc-web` builds `core` from `rust-web-src`.

use std::{path::Path, process::Command};

use crate::{apt, error::Result, process, project};

/// Packages of Debian's bare-metal toolchain.
const DEBIAN: &[&str] = &["rustc-web", "cargo-web", "rust-web-src", "lld"];

/// A toolchain that can compile `no_std` crates for a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Toolchain {
    /// The rustup toolchain that runs this xtask, with the target installed.
    Rustup,
    /// Debian's compiler under `/usr/bin`, which builds `core` first.
    Debian,
}

impl Toolchain {
    /// Finds a toolchain for `target`, installing one if there is none.
    pub(crate) fn find(target: &str) -> Result<Toolchain> {
        if rustup_has(target) {
            return Ok(Toolchain::Rustup);
        }
        if debian_is_there() {
            return Ok(Toolchain::Debian);
        }
        println!("adding rustup's target {target}: core for a machine without an operating system");
        let added = process::output(process::command("rustup").args(["target", "add", target]));
        if added.is_ok_and(|done| done.status.success()) && rustup_has(target) {
            return Ok(Toolchain::Rustup);
        }
        Toolchain::debian()
    }

    /// Debian's toolchain, installed if it is missing.
    pub(crate) fn debian() -> Result<Toolchain> {
        apt::install(DEBIAN, "a Rust compiler that comes with the source of core, for bare-metal targets")?;
        Ok(Toolchain::Debian)
    }

    /// `cargo build` for `target`, to which the caller adds what to build.
    pub(crate) fn build(self, target: &str) -> Command {
        let mut cargo = match self {
            Toolchain::Rustup => process::cargo(),
            Toolchain::Debian => {
                let mut cargo = process::without_cargo(Path::new("/usr/bin/cargo"));
                cargo.env("RUSTC", "/usr/bin/rustc");
                // build-std is a nightly feature; Debian's stable compiler has it too, behind this switch.
                cargo.env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
        };
        cargo.args(["build", "--target", target]);
        if self == Toolchain::Debian {
            cargo.args(["-Zbuild-std=core", "-Zbuild-std-features=compiler-builtins-mem"]);
            // A folder of its own: two compilers in one would rebuild each other's work.
            cargo.arg("--target-dir").arg(project::target().join("bare-metal"));
        }
        cargo
    }

    /// What the compiler calls itself.
    pub(crate) fn version(self) -> Result<String> {
        let mut rustc = match self {
            Toolchain::Rustup => process::command("rustc"),
            Toolchain::Debian => process::without_cargo(Path::new("/usr/bin/rustc")),
        };
        Ok(process::succeed(rustc.arg("--version"))?.trim().to_owned())
    }
}

fn rustup_has(target: &str) -> bool {
    process::output(process::command("rustc").args(["--print", "target-libdir", "--target", target]))
        .is_ok_and(|done| done.status.success() && Path::new(String::from_utf8_lossy(&done.stdout).trim()).is_dir())
}

fn debian_is_there() -> bool {
    ["/usr/bin/rustc", "/usr/bin/cargo", "/usr/lib/rustlib/src/rust/library/core/Cargo.toml", "/usr/bin/ld.lld"]
        .iter()
        .all(|file| Path::new(file).exists())
}
