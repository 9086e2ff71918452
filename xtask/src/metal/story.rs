//! The story of one device, each step of it checked.

use std::path::{Path, PathBuf};

use sealift_manifests::Version;

use super::{
    Language,
    c_example::CExample,
    factory,
    firmware::{Board, Firmware},
    machine::{self, Files, Machine, Seen, Tamper},
    release::{Project, Release},
};
use crate::{
    error::{Error, Result},
    project,
};

/// A device, its release engineer, and who watches.
struct Stage<'a, S> {
    board: Board,
    boot: PathBuf,
    memory: PathBuf,
    project: Project,
    machine: Option<Machine>,
    say: &'a S,
    steps: usize,
    acts: usize,
}

impl<S: Fn(&str)> Stage<'_, S> {
    fn power_on(&mut self) -> Result<()> {
        self.machine = Some(Machine::start(self.board, &self.boot, &self.memory)?);
        Ok(())
    }

    /// Waits for each of these lines, in their order; what comes between them is shown too. A line of the device that says
    /// that it refused something, where none is expected, ends the story.
    fn expect(&mut self, files: Option<(&Release, Tamper)>, wanted: &[&str]) -> Result<()> {
        let (bundle, tamper) = files.map_or((&[][..], as_is as Tamper), |(release, tamper)| (&release.bundle, tamper));
        let mut files = Files { project: &self.project, bundle, tamper, requests: usize::MAX };
        let machine = self.machine.as_mut().ok_or_else(|| wrong("the machine is off"))?;
        for wanted in wanted {
            loop {
                let Seen::Line(line) = machine.next(&mut files)? else { continue };
                (self.say)(&format!("   | {line}"));
                if line.contains(wanted) {
                    break;
                }
                if line.contains("SL-") || line.contains("nothing runs") {
                    return Err(wrong(&format!("`{line}` came instead of `{wanted}`")));
                }
            }
            self.steps += 1;
        }
        Ok(())
    }

    fn update(&mut self, release: &Release, bundle: usize) -> Result<()> {
        let machine = self.machine.as_mut().ok_or_else(|| wrong("the machine is off"))?;
        machine.send(&format!("update {} {bundle}", release.target))
    }

    fn heading(&mut self, text: &str) {
        self.acts += 1;
        (self.say)(&format!("\n{}. {text}", self.acts));
    }
}

fn wrong(what: &str) -> Error {
    Error::Content { path: PathBuf::from("the story"), what: what.into() }
}

fn as_is(_: &mut [u8]) {}

fn flip(payload: &mut [u8]) {
    let middle = payload.len() / 2;
    payload[middle] ^= 1;
}

/// The programs of one device: its bootloader, and its application in three versions.
struct Programs {
    boot: Vec<u8>,
    old: Vec<u8>,
    new: Vec<u8>,
    hangs: Vec<u8>,
}

impl Programs {
    fn in_rust(board: Board) -> Result<Programs> {
        let app = |features| Firmware::small(board, "app", features).image();
        let boot = Firmware::small(board, "boot", "").build(&[])?;
        Ok(Programs { boot, old: app("")?, new: app("release-1-1")?, hangs: app("release-1-1,fault-hang")? })
    }

    fn in_c(folder: &Path) -> Result<Programs> {
        let example = CExample::start(folder)?;
        let app = |defines: &[&str]| example.image("app", defines);
        let boot = example.program("boot", &[])?;
        Ok(Programs {
            boot,
            old: app(&[])?,
            new: app(&["-DRELEASE_1_1"])?,
            hangs: app(&["-DRELEASE_1_1", "-DFAULT_HANG"])?,
        })
    }
}

/// Deepest stack of the application of this profile, over an update from 1.0 to 1.1 by delta: its own word, from paint that is
/// left.
pub(crate) fn stack_of_an_update(profile: &'static str) -> Result<u64> {
    let folder =
        tempfile::tempdir().map_err(|source| Error::File { act: "create", path: "a folder".into(), source })?;
    let board = Board::Mps2;
    let app = |features| Firmware { board, program: "app", features, profile }.image();
    let (old, new) = (app("")?, app("release-1-1")?);
    let boot = folder.path().join("boot.elf");
    project::write(&boot, &Firmware { board, program: "boot", features: "", profile }.build(&[])?)?;
    let project = Project::start(folder.path(), board)?;
    let memory = folder.path().join("memory");
    project.release("1.0.0", "1", &old)?;
    let flash = factory::flash(board.hardware(), project.repository, &project.root()?, &old, Version([1, 0, 0]), 1)
        .map_err(|why| wrong(&why.to_string()))?;
    machine::program(board, &memory, &flash)?;
    let release = project.release("1.1.0", "2", &new)?;
    if release.delta.is_none() {
        return Err(wrong("1.1.0 has no delta"));
    }
    let stack = std::cell::Cell::new(None);
    let hear = |line: &str| {
        let words = line.split_once("installed; stack used, at most ").map(|(_, words)| words);
        stack.set(words.and_then(|words| words.split(' ').next()?.parse().ok()).or(stack.get()));
    };
    let mut stage = Stage { board, boot, memory, project, machine: None, say: &hear, steps: 0, acts: 0 };
    stage.power_on()?;
    stage.expect(None, &["ready"])?;
    stage.update(&release, release.bundle.len())?;
    stage.expect(Some((&release, as_is)), &["installed", "on trial", "app: confirmed"])?;
    stack.get().ok_or_else(|| wrong("the application did not say how deep its stack went"))
}

/// Tells the story; returns how many lines came as they should.
pub(super) fn tell(board: Board, language: Language, say: impl Fn(&str)) -> Result<usize> {
    let folder =
        tempfile::tempdir().map_err(|source| Error::File { act: "create", path: "a folder".into(), source })?;
    let Programs { boot: bootloader, old, new, hangs } = match language {
        Language::Rust => Programs::in_rust(board)?,
        Language::C => Programs::in_c(folder.path())?,
    };
    let boot = folder.path().join("boot.elf");
    project::write(&boot, &bootloader)?;
    let project = Project::start(folder.path(), board)?;
    let memory = folder.path().join("memory");
    let first = project.release("1.0.0", "1", &old)?;
    let flash = factory::flash(board.hardware(), project.repository, &project.root()?, &old, Version([1, 0, 0]), 1)
        .map_err(|why| wrong(&why.to_string()))?;
    machine::program(board, &memory, &flash)?;
    let mut stage = Stage { board, boot, memory, project, machine: None, say: &say, steps: 0, acts: 0 };

    stage.heading("The device leaves the factory with 1.0.0: its bootloader checks the image and starts it.");
    stage.power_on()?;
    stage.expect(
        None,
        &["boot: slot a holds 1.0.0", "weather station 1.0", "version 1.0.0, security counter 1", "ready"],
    )?;

    let second = stage.project.release("1.1.0", "2", &new)?;
    let (full, delta) = second.sizes;
    let delta = delta.ok_or_else(|| wrong("1.1.0 has no delta"))?;
    stage.heading(&format!(
        "1.1.0 comes as a delta, {delta} bytes for an image of {full}, and the power is cut in its middle: 1.0.0 runs on."
    ));
    stage.update(&second, second.bundle.len())?;
    cut_in_the_middle(&mut stage, &second, (delta as usize / 256) / 2)?;
    machine::spoil_slot_b(board, &stage.memory)?;
    stage.heading("What it had written by then is spoilt, too. The update again, and the power is cut once more.");
    stage.power_on()?;
    stage.expect(None, &["boot: slot a holds 1.0.0", "ready"])?;
    stage.update(&second, second.bundle.len())?;
    cut_in_the_middle(&mut stage, &second, (delta as usize / 256) / 3)?;
    stage.power_on()?;
    stage.expect(None, &["boot: slot a holds 1.0.0", "ready"])?;
    stage.heading("The update again, to its end: 1.1.0 runs on trial, finds itself well, confirms itself.");
    stage.update(&second, second.bundle.len())?;
    let trial = ["verified; installs", "installed", "boot: slot b holds 1.1.0, on trial", "weather station 1.1"];
    stage.expect(Some((&second, as_is)), &trial)?;
    stage.expect(None, &["app: confirmed", "version 1.1.0, security counter 2", "ready"])?;

    let third = stage.project.release("1.2.0", "2", &hangs)?;
    stage.heading("A bad bundle, with one bit of a signature changed: refused (SL-201).");
    let mut forged = third.clone();
    let timestamp =
        sealift_manifests::bundle::files(&third.bundle).next().and_then(|file| file.ok()).map_or(1, <[u8]>::len);
    forged.bundle[timestamp - 1] ^= 1;
    stage.update(&forged, forged.bundle.len())?;
    stage.expect(Some((&forged, as_is)), &["refused: SL-201", "ready"])?;
    stage.heading("The former release, well signed and older than what the device has seen: refused (SL-401).");
    stage.update(&first, first.bundle.len())?;
    stage.expect(Some((&first, as_is)), &["refused: SL-401", "ready"])?;
    stage.heading("A bad image, with one bit changed: refused (SL-6..), and 1.1.0 runs on.");
    stage.update(&third, third.bundle.len())?;
    stage.expect(Some((&third, flip)), &["verified; installs", "refused: SL-6", "ready"])?;
    stage.send_reset()?;
    stage.expect(None, &["boot: slot b holds 1.1.0", "version 1.1.0", "ready"])?;

    stage.heading("1.2.0, well signed, hangs on its trial: the watchdog bites, and 1.1.0 is back.");
    stage.update(&third, third.bundle.len())?;
    let hung = ["verified; installs", "installed", "boot: slot a holds 1.2.0, on trial", "weather station 1.1"];
    stage.expect(Some((&third, as_is)), &hung)?;
    stage.expect(None, &["boot: slot b holds 1.1.0", "version 1.1.0, security counter 2", "ready"])?;
    Ok(stage.steps)
}

/// Answers some requests for payload, and then cuts the power.
fn cut_in_the_middle<S: Fn(&str)>(stage: &mut Stage<'_, S>, release: &Release, requests: usize) -> Result<()> {
    let mut files = Files { project: &stage.project, bundle: &release.bundle, tamper: as_is, requests };
    let machine = stage.machine.as_mut().ok_or_else(|| wrong("the machine is off"))?;
    while let Seen::Line(line) = machine.next(&mut files)? {
        (stage.say)(&format!("   | {line}"));
        if line.contains("SL-") || line.contains("installed;") {
            return Err(wrong("the power was to be cut before this"));
        }
    }
    (stage.say)("   | (the power is cut)");
    stage.machine = None;
    stage.steps += 1;
    Ok(())
}

impl<S: Fn(&str)> Stage<'_, S> {
    fn send_reset(&mut self) -> Result<()> {
        self.machine.as_mut().ok_or_else(|| wrong("the machine is off"))?.send("reset")
    }
}
