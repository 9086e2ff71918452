//! `cargo xtask demo --bare-metal`: the bootloader and the application of `device/bare-metal` on the two machines that QEMU
//! emulates, updated with releases that the real `sealift` signs.

mod c_example;
mod factory;
mod firmware;
mod machine;
mod release;
mod story;

pub(crate) use firmware::{Board, Firmware};
pub(crate) use release::Project;
pub(crate) use story::stack_of_an_update;

use std::process::ExitCode;

use crate::{apt, error::Result, process};

/// Installs QEMU when it is missing.
pub(crate) fn emulators() -> Result<()> {
    if ["qemu-system-arm", "qemu-system-riscv32"].iter().all(|program| process::which(program).is_some()) {
        return Ok(());
    }
    apt::install(&["qemu-system-arm", "qemu-system-misc"], "an emulator, to run the bootloader and the application")
}

/// What bootloader and application are written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Language {
    /// `device/bare-metal`.
    Rust,
    /// `device/capi/example`.
    C,
}

/// Every device whose story is told.
const DEVICES: [(Board, Language); 3] =
    [(Board::Mps2, Language::Rust), (Board::Virt, Language::Rust), (Board::Mps2, Language::C)];

/// Tells the story of each device; each step is checked, and the first that goes wrong ends it with a failure.
pub(crate) fn run() -> Result<ExitCode> {
    println!(
        "Three devices, each a bootloader and an application in QEMU, take updates that the real `sealift` signs. Behind `|` is\n\
         what a device says on its UART. The first run compiles the programs, which takes some minutes; later ones half a minute.\n"
    );
    tell_all()?;
    println!("An emulator shows that the software is right, not that a board is.");
    Ok(ExitCode::SUCCESS)
}

/// The same for `cargo xtask test`: how many steps went right.
pub(crate) fn tell_all() -> Result<usize> {
    emulators()?;
    let mut sum = 0;
    for (board, language) in DEVICES {
        println!("== {} in {language:?}: compiling its programs", board.hardware());
        let steps = story::tell(board, language, |line| println!("{line}"))?;
        println!("\n{} in {language:?}: {steps} steps, each as it should be\n", board.hardware());
        sum += steps;
    }
    Ok(sum)
}
