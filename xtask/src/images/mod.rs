//! `cargo xtask images`: builds the application of `device/bare-metal` in its versions, and writes the images of `test-images`
//! and their table.

mod convert;
mod emulator;
mod table;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{
    bare_metal::Toolchain,
    error::{Error, Result},
    marked,
    metal::{Board, Firmware},
    project,
};

/// The loadable bytes of an ELF file in one piece.
pub(crate) fn raw(elf: &[u8]) -> Result<Vec<u8>> {
    let formats = convert::formats(elf, &["bin"])?;
    Ok(formats.into_iter().next().map(|(_, bytes)| bytes).unwrap_or_default())
}

/// Options of `cargo xtask images`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write nothing: build, and fail if the checked-in images aren't what comes out
    #[arg(long)]
    check: bool,
    /// Don't boot the images in QEMU
    #[arg(long)]
    no_boot: bool,
}

/// One image: the same application, built in one of its ways.
struct Image {
    /// File name without its ending.
    name: &'static str,
    board: Board,
    features: &'static str,
    /// Endings of the files that are checked in.
    formats: &'static [&'static str],
    /// What it is for, in the table.
    what: &'static str,
    /// What QEMU must answer when it boots the image.
    boots: Boots,
}

/// What an image does when it is booted on the board of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Boots {
    /// Its self-test passes, exit code 0.
    Healthy,
    /// Its self-test fails, exit code 1.
    Unhealthy,
    /// It refuses the CPU, exit code 2 (booted on an an385).
    WrongHardware,
    /// It never ends.
    Hangs,
}

/// A release is handed around without its symbols.
const STRIPPED: &[(&str, &str)] = &[("CARGO_PROFILE_RELEASE_STRIP", "symbols")];

const ALL: &[&str] = &["elf", "bin", "hex"];
const RAW: &[&str] = &["bin"];

const IMAGES: &[Image] = &[
    Image {
        name: "station-1.0.0-mps2-an385",
        board: Board::Mps2,
        features: "",
        formats: ALL,
        what: "release 1.0.0, Cortex-M3",
        boots: Boots::Healthy,
    },
    Image {
        name: "station-1.1.0-mps2-an385",
        board: Board::Mps2,
        features: "release-1-1",
        formats: ALL,
        what: "release 1.1.0, Cortex-M3",
        boots: Boots::Healthy,
    },
    Image {
        name: "station-1.1.0-mps2-an386",
        board: Board::Mps2,
        features: "release-1-1,board-an386",
        formats: RAW,
        what: "release 1.1.0 for another board (Cortex-M4): wrong hardware for an an385",
        boots: Boots::WrongHardware,
    },
    Image {
        name: "station-1.1.0-mps2-an385-unhealthy",
        board: Board::Mps2,
        features: "release-1-1,fault-selftest",
        formats: RAW,
        what: "its self-test fails: a trial boot must end in a revert",
        boots: Boots::Unhealthy,
    },
    Image {
        name: "station-1.1.0-mps2-an385-hangs",
        board: Board::Mps2,
        features: "release-1-1,fault-hang",
        formats: RAW,
        what: "never reports: the watchdog must end its trial boot",
        boots: Boots::Hangs,
    },
    Image {
        name: "station-1.0.0-qemu-virt-rv32",
        board: Board::Virt,
        features: "",
        formats: ALL,
        what: "release 1.0.0, RISC-V 32",
        boots: Boots::Healthy,
    },
    Image {
        name: "station-1.1.0-qemu-virt-rv32",
        board: Board::Virt,
        features: "release-1-1",
        formats: ALL,
        what: "release 1.1.0, RISC-V 32",
        boots: Boots::Healthy,
    },
];

/// Folder of the checked-in images.
fn folder() -> PathBuf {
    project::root().join("test-images/images")
}

/// Builds every image; writes or compares.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let toolchain = Toolchain::debian()?;
    let compiler = toolchain.version()?;
    println!("building {} images with Debian's {compiler}", IMAGES.len());
    let scratch = project::target().join("test-images");
    let mut rows = Vec::new();
    let mut differing = Vec::new();
    for image in IMAGES {
        let elf = Firmware::small(image.board, "app", image.features).build(STRIPPED)?;
        for (ending, bytes) in convert::formats(&elf, image.formats)? {
            let name = format!("{}.{ending}", image.name);
            let (checked_in, fresh) = (folder().join(&name), scratch.join(&name));
            project::write(&fresh, &bytes)?;
            if options.check {
                if fs::read(&checked_in).ok().as_deref() != Some(&bytes[..]) {
                    differing.push(name.clone());
                }
            } else {
                project::write(&checked_in, &bytes)?;
            }
            println!("  {name}: {} bytes", bytes.len());
            rows.push(table::Row::new(name, &bytes, image.what));
        }
        if !options.no_boot {
            boot(image, &scratch)?;
        }
    }
    if options.check {
        for name in &differing {
            println!("  {name} differs from the checked-in file");
        }
        let verdict = if differing.is_empty() { "every image is as checked in" } else { "images differ" };
        println!(
            "{verdict}; the table names the compiler that made them, and they hold the verifier of then: another gives other bytes"
        );
        return Ok(if differing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let readme = project::root().join("test-images/README.md");
    let text = marked::replace(&project::read_text(&readme)?, "images", &table::text(&rows, &compiler), &readme)?;
    project::write(&readme, text.as_bytes())?;
    println!("wrote {} files to {} and their table to {}", rows.len(), folder().display(), readme.display());
    Ok(ExitCode::SUCCESS)
}

/// Boots every checked-in image: its name, what QEMU answered, and whether that is right.
pub(crate) fn boot_checked_in() -> Result<Vec<(String, String, bool)>> {
    let mut answers = Vec::new();
    for image in IMAGES {
        let file = folder().join(format!("{}.bin", image.name));
        let answer = emulator::boot(image.board, &file, image.boots)?;
        let found = answer.map_or_else(|| "QEMU is missing".into(), |found| format!("{found:?}"));
        answers.push((image.name.to_owned(), found, answer == Some(image.boots)));
    }
    Ok(answers)
}

/// Boots an image and holds its answer to what the table says of it.
fn boot(image: &Image, scratch: &Path) -> Result<()> {
    let file = scratch.join(format!("{}.bin", image.name));
    let Some(found) = emulator::boot(image.board, &file, image.boots)? else {
        println!("  not booted: QEMU is not installed (Debian: qemu-system-arm, qemu-system-misc)");
        return Ok(());
    };
    if found == image.boots {
        println!("  booted in QEMU: {found:?}, as it should");
        return Ok(());
    }
    Err(Error::Content { path: file, what: format!("booted in QEMU: {found:?} instead of {:?}", image.boots) })
}
