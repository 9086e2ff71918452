//! Debian packages, installed only when missing, and never without saying so.

use std::path::Path;

use crate::{
    error::{Error, Result},
    process,
};

/// Installs the packages that are missing. `why` is said aloud together with their names.
pub(crate) fn install(packages: &[&str], why: &str) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let typed = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    let failed =
        || Error::Missing { what: missing.join(", "), remedy: format!("install it ({why}); on Debian: {typed}") };
    if process::which("apt-get").is_none() {
        return Err(failed());
    }
    println!("installing {} with apt-get: {why}", missing.join(", "));
    let mut update = as_root("apt-get").ok_or_else(failed)?;
    // A stale package list is no reason to stop: the install may still work, and says better what is wrong.
    let _ = process::output(update.args(["update", "-qq"]))?;
    let mut install = as_root("apt-get").ok_or_else(failed)?;
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing);
    process::succeed(install.env("DEBIAN_FRONTEND", "noninteractive")).map(drop).map_err(|why| {
        eprintln!("{why}");
        failed()
    })
}

fn is_installed(package: &str) -> bool {
    let mut query = process::command("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status}", package]);
    process::output(&mut query).is_ok_and(|done| done.status.success() && done.stdout == b"installed")
}

/// The program as it is for root, through `sudo` for others; `None` when neither is possible.
fn as_root(program: &str) -> Option<std::process::Command> {
    let is_root = process::output(process::command("id").arg("-u")).is_ok_and(|done| done.stdout.trim_ascii() == b"0");
    if is_root {
        return Some(process::command(program));
    }
    let sudo = process::which("sudo")?;
    let mut command = process::command(Path::new(&sudo));
    command.arg("-n").arg("DEBIAN_FRONTEND=noninteractive").arg(program);
    Some(command)
}
