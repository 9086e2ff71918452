//! The same device in C: `device/capi/example`, compiled by Debian's arm-none-eabi-gcc against the static library.

use std::path::{Path, PathBuf};

use super::firmware::Board;
use crate::{apt, bare_metal::Toolchain, error::Result, images, process, project};

/// The library and where the compiler's work goes.
pub(super) struct CExample {
    library: PathBuf,
    folder: PathBuf,
}

impl CExample {
    /// Builds the static library.
    pub(super) fn start(folder: &Path) -> Result<CExample> {
        apt::install(&["gcc-arm-none-eabi"], "a C compiler for microcontrollers, for the example in C")?;
        let target = Board::Mps2.target();
        let toolchain = Toolchain::find(target)?;
        let built = project::target().join("bare-metal");
        let mut cargo = toolchain.build(target);
        if toolchain == Toolchain::Rustup {
            // Debian's is told this folder already.
            cargo.arg("--target-dir").arg(&built);
        }
        cargo.current_dir(project::root().join("device/capi")).args(["--locked", "--quiet", "--release"]);
        process::succeed(&mut cargo)?;
        Ok(CExample { library: built.join(target).join("release/libsealift.a"), folder: folder.into() })
    }

    /// Compiles and links one program; returns the linked ELF file.
    pub(super) fn program(&self, name: &str, defines: &[&str]) -> Result<Vec<u8>> {
        let capi = project::root().join("device/capi");
        let layout = project::root().join("device/bare-metal/layout");
        let out = self.folder.join(format!("{name}-c.elf"));
        let mut gcc = process::command("arm-none-eabi-gcc");
        gcc.args([
            "-mcpu=cortex-m3",
            "-mthumb",
            "-Os",
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-unused-function",
        ]);
        gcc.args(["-ffreestanding", "-ffunction-sections", "-nostdlib", "-Wl,--gc-sections", "-Wl,--build-id=none"]);
        gcc.args(defines);
        gcc.arg(format!("-L{}", layout.display()))
            .arg(format!("-T{}", layout.join(format!("mps2-{name}.ld")).display()));
        gcc.arg("-o").arg(&out).arg(capi.join("example/start.c")).arg(capi.join(format!("example/{name}.c")));
        gcc.arg(&self.library).arg("-lgcc");
        process::succeed(&mut gcc)?;
        project::read(&out)
    }

    /// The same, as the bytes that stand in a slot.
    pub(super) fn image(&self, name: &str, defines: &[&str]) -> Result<Vec<u8>> {
        images::raw(&self.program(name, defines)?)
    }
}
