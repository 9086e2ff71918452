//! Booting an image in QEMU.

use std::{path::Path, process::Command, time::Duration};

use super::Boots;
use crate::{
    error::{Error, Result},
    metal::Board,
    process,
};

/// A healthy image ends in well under a second; this is for a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an image that should hang is watched.
const HANG: Duration = Duration::from_secs(3);

/// Boots a raw image on the an385 or the RISC-V machine, without a bootloader, and tells how it ended; `None` without QEMU.
pub(super) fn boot(board: Board, image: &Path, expected: Boots) -> Result<Option<Boots>> {
    let qemu = if board == Board::Virt { "qemu-system-riscv32" } else { "qemu-system-arm" };
    if process::which(qemu).is_none() {
        return Ok(None);
    }
    let mut command = Command::new(qemu);
    // Images stand where a bootloader would have copied them to. An Armv7-M core takes its first stack and entry from address 0,
    // so the vector table has to be there too.
    let at = |address: &str| format!("loader,file={},addr={address},force-raw=on", image.display());
    if board == Board::Virt {
        command.args(["-M", "virt", "-bios", "none", "-device", &format!("{},cpu-num=0", at("0x80100000"))]);
    } else {
        command.args(["-M", "mps2-an385", "-cpu", "cortex-m3", "-icount", "shift=0"]);
        command.args(["-device", &at("0"), "-device", &at("0x100000")]);
        command.args(["-semihosting-config", "enable=on,target=native"]);
    }
    command.args(["-nographic", "-monitor", "none", "-serial", "file:/dev/null"]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let start = |source| Error::Start { program: qemu.into(), source };
    let mut child = command.spawn().map_err(start)?;
    let deadline = std::time::Instant::now() + if expected == Boots::Hangs { HANG } else { PATIENCE };
    loop {
        if let Some(status) = child.try_wait().map_err(start)? {
            return match status.code() {
                Some(0) => Ok(Some(Boots::Healthy)),
                Some(1) => Ok(Some(Boots::Unhealthy)),
                Some(2) => Ok(Some(Boots::WrongHardware)),
                _ => Err(Error::Content { path: image.into(), what: format!("QEMU ended with {status}") }),
            };
        }
        if std::time::Instant::now() > deadline {
            child.kill().and_then(|()| child.wait()).map_err(start)?;
            return Ok(Some(Boots::Hangs));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
