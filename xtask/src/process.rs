//! Running other programs.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::{
    error::{Error, Result},
    project,
};

/// A program on `PATH`, if it is there.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// A command in the project's root.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(project::root()).stdin(Stdio::null());
    command
}

/// The cargo that runs this xtask.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A command without what the outer cargo and rustup left in the environment, for another toolchain.
pub(crate) fn without_cargo(program: &Path) -> Command {
    let mut command = command(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let inherited = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| text.starts_with(prefix));
        if inherited || ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"].contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
    command
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs to the end with the output captured; fails when it can't be started.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|source| Error::Start { program, source })
}

/// Runs to the end with the output shown as it comes; true on success.
pub(crate) fn shown(command: &mut Command) -> Result<bool> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.status().map(|status| status.success()).map_err(|source| Error::Start { program, source })
}

/// Runs to the end with the output captured; fails unless it succeeds. Returns its standard output.
pub(crate) fn succeed(command: &mut Command) -> Result<String> {
    let done = output(command)?;
    if !done.status.success() {
        return Err(Error::Failed { line: line(command), status: done.status, tail: tail(&done) });
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The last lines that a program printed.
pub(crate) fn tail(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
