//! Tools that checks need and a new machine lacks: installed when missing, under `target/` where that is possible.

use std::path::PathBuf;

use crate::{
    apt,
    error::{Error, Result},
    process, project,
};

/// Version of cargo-deny that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// Python packages that tests use as independent implementations, pinned.
const PYTHON_PACKAGES: &str = "xtask/python-packages.txt";

/// What may be installed, and where it went.
pub(super) struct Setup {
    may_install: bool,
}

impl Setup {
    /// Set-up that installs, or one that only finds.
    pub(super) fn new(may_install: bool) -> Setup {
        Setup { may_install }
    }

    fn allow(&self, what: &str, remedy: &str) -> Result<()> {
        if self.may_install {
            return Ok(());
        }
        Err(Error::Missing { what: what.into(), remedy: remedy.into() })
    }

    /// Debian packages.
    pub(super) fn packages(&self, packages: &[&str], programs: &[&str], why: &str) -> Result<()> {
        if programs.iter().all(|program| process::which(program).is_some()) {
            return Ok(());
        }
        self.allow(&packages.join(", "), "run without --no-install")?;
        apt::install(packages, why)
    }

    /// A component of the rustup toolchain.
    pub(super) fn rustup_component(&self, component: &str, program: &str) -> Result<()> {
        let mut probe = process::command(program);
        if process::output(probe.arg("--version")).is_ok_and(|done| done.status.success()) {
            return Ok(());
        }
        self.allow(component, &format!("rustup component add {component}"))?;
        println!("adding rustup's component {component}");
        process::succeed(process::command("rustup").args(["component", "add", component])).map(drop)
    }

    /// cargo-deny: the one on `PATH`, or one of the pinned version under `target/tools`.
    ///
    /// Built without optimisation: that takes one minute instead of four on two cores, and it runs for a second.
    pub(super) fn cargo_deny(&self) -> Result<PathBuf> {
        let tools = project::target().join("tools");
        let own = tools.join("bin/cargo-deny");
        let has_version = |program: &PathBuf| {
            let version = process::output(process::command(program).arg("--version"));
            version.is_ok_and(|done| String::from_utf8_lossy(&done.stdout).contains(CARGO_DENY))
        };
        for found in process::which("cargo-deny").into_iter().chain([own.clone()]) {
            if has_version(&found) {
                return Ok(found);
            }
        }
        let typed = format!("cargo install cargo-deny --locked --version {CARGO_DENY}");
        self.allow("cargo-deny", &typed)?;
        println!(
            "building cargo-deny {CARGO_DENY} under {} (about a minute): it checks the dependencies",
            tools.display()
        );
        let mut install = process::cargo();
        install.args(["install", "cargo-deny", "--locked", "--debug", "--version", CARGO_DENY]);
        install.args(["--config", "profile.dev.debug=false", "--root"]).arg(&tools);
        // Its own folder: sharing ours would rebuild common dependencies of the workspace with other flags.
        install.arg("--target-dir").arg(tools.join("build"));
        process::succeed(&mut install)?;
        // The intermediate files are hundreds of megabytes; a leftover only costs disk, so it is no failure.
        let _ = std::fs::remove_dir_all(tools.join("build"));
        Ok(own)
    }

    /// A Python with the packages of [`PYTHON_PACKAGES`], in a virtual environment under `target/`.
    pub(super) fn python(&self) -> Result<PathBuf> {
        let list = project::read_text(&project::root().join(PYTHON_PACKAGES))?;
        let home = project::target().join("python");
        let (python, installed) = (home.join("bin/python"), home.join("installed.txt"));
        if python.exists() && std::fs::read_to_string(&installed).is_ok_and(|was| was == list) {
            return Ok(python);
        }
        self.allow("the Python packages of the tests", "run without --no-install")?;
        let venv = || process::output(process::command("python3").args(["-m", "venv", "--clear"]).arg(&home));
        println!("making a Python environment in {}: independent implementations that judge ours", home.display());
        if !venv().is_ok_and(|done| done.status.success()) {
            apt::install(&["python3", "python3-venv"], "Python, for independent implementations that judge ours")?;
            process::succeed(process::command("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
        }
        let mut pip = process::command(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", PYTHON_PACKAGES]);
        println!(
            "installing with pip: {}",
            list.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(", ")
        );
        process::succeed(&mut pip)?;
        project::write(&installed, list.as_bytes())?;
        Ok(python)
    }
}
