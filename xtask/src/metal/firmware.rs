//! Building the programs of `device/bare-metal`.

use crate::{apt, bare_metal::Toolchain, error::Result, images, process, project};

/// A machine that QEMU emulates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Board {
    /// Cortex-M3.
    Mps2,
    /// RISC-V 32.
    Virt,
}

impl Board {
    /// Its hardware id in signed metadata.
    pub(crate) fn hardware(self) -> &'static str {
        match self {
            Board::Mps2 => "mps2-an385",
            Board::Virt => "qemu-virt-rv32",
        }
    }

    /// What it is compiled for.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Board::Mps2 => "thumbv7m-none-eabi",
            Board::Virt => "riscv32imac-unknown-none-elf",
        }
    }
}

/// A program to build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Firmware {
    /// For which machine.
    pub(crate) board: Board,
    /// Its name in the manifest.
    pub(crate) program: &'static str,
    /// Its features, separated by commas.
    pub(crate) features: &'static str,
    /// Cargo profile: `release` is for size, `fast` for speed.
    pub(crate) profile: &'static str,
}

impl Firmware {
    /// The small build of a program.
    pub(crate) fn small(board: Board, program: &'static str, features: &'static str) -> Self {
        Firmware { board, program, features, profile: "release" }
    }

    /// Builds it; returns the linked ELF file with its symbols. The next build of the same program takes its place.
    pub(crate) fn build(&self, environment: &[(&str, &str)]) -> Result<Vec<u8>> {
        let target = self.board.target();
        // Debian's, which compiles core with the firmware's own options: sizes and panics are claimed of that.
        let toolchain = Toolchain::debian().or_else(|_| Toolchain::find(target))?;
        apt::install(&["lld"], "the linker of the bare-metal programs")?;
        let folder = project::target().join("bare-metal");
        let mut cargo = toolchain.build(target);
        if toolchain == Toolchain::Rustup {
            // Debian's is told this folder already.
            cargo.arg("--target-dir").arg(&folder);
        }
        cargo.current_dir(project::root().join("device/bare-metal"));
        cargo.args(["--locked", "--quiet", "--profile", self.profile, "--bin", self.program]);
        cargo.args(["--features", self.features]).envs(environment.iter().copied());
        process::succeed(&mut cargo)?;
        project::read(&folder.join(target).join(self.profile).join(self.program))
    }

    /// Builds it; returns the bytes that stand in a slot.
    pub(crate) fn image(&self) -> Result<Vec<u8>> {
        images::raw(&self.build(&[])?)
    }
}
