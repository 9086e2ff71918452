//! Where slots are: files, block devices, and what is refused.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use crate::world::*;

fn provision(world: &World, state: &str, a: &str, b: &str, size: &str) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealift-device"));
    command.args(["provision", "--json", "--state", &world.text(state), "--root", &world.text("root")]);
    command.args(["--product", "thermostat", "--hardware", "board-a", "--image", &world.text("v1")]);
    command.args([
        "--image-version",
        "1.0.0",
        "--security-counter",
        "3",
        "--slot-size",
        size,
        "--slot-a",
        a,
        "--slot-b",
        b,
    ]);
    Done::of(command.output().unwrap())
}

#[test]
fn two_names_of_one_place_a_short_one_and_what_is_no_storage_are_no_slots() {
    let world = World::new();
    let long = world.file("long", &[0; 100_000]);
    let short = world.file("short", &[0; 50_000]);
    std::os::unix::fs::symlink(&long, world.path("link")).unwrap();
    std::fs::hard_link(&long, world.path("hard")).unwrap();
    for (b, word) in [
        (world.text("link"), "same as slot A"),
        (world.text("hard"), "same as slot A"),
        (short, "has 50000 bytes"),
        ("/dev/null".into(), "neither a regular file nor a block device"),
        (world.directory.path().to_str().unwrap().into(), "neither a regular file nor a block device"),
    ] {
        let done = provision(&world, "other", &long, &b, "98304");
        assert_eq!(done.code, 4, "{b}: {done:?}");
        assert!(done.stderr.contains(word), "{b}: {}", done.stderr);
        assert!(!exists(&world.path("other")));
        assert_eq!(std::fs::read(&long).unwrap(), [0; 100_000], "nothing was written before the checks");
    }
}

/// Disk that a folder takes, in bytes.
fn taken(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().flatten().fold(0, |sum, entry| {
        let metadata = entry.metadata().unwrap();
        sum + if metadata.is_dir() { taken(&entry.path()) } else { metadata.blocks() * 512 }
    })
}

#[test]
fn the_disk_is_taken_in_the_factory_and_an_update_needs_no_more_of_it() {
    let world = World::new();
    let before = taken(&world.state());
    // Two slots of 2 MB; world.rs provisions them.
    assert!(before >= 4_000_000, "{before}");
    world.queue(Some(&world.fleet.files().bundle()));
    assert_eq!(world.once(&[]).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    let after = taken(&world.state());
    assert!(after <= before + 128 * 1024, "{before} before, {after} after");
}

/// A loop device over a file; only root has them.
struct Loop(String);

impl Loop {
    fn over(path: &str) -> Option<Loop> {
        let said = Command::new("losetup").args(["--find", "--show", path]).output().ok()?;
        let name = String::from_utf8(said.stdout).ok()?.trim().to_owned();
        (said.status.success() && name.starts_with("/dev/")).then_some(Loop(name))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

#[test]
fn an_update_runs_between_two_block_devices() {
    let world = World::new();
    let (a, b) = (world.file("disk-a", &[0; 2_000_896]), world.file("disk-b", &[0; 2_000_896]));
    let (Some(a), Some(b)) = (Loop::over(&a), Loop::over(&b)) else {
        println!("LEFT OUT: loop devices can't be made here (root and losetup are needed)");
        return;
    };
    let keys = world.state().join("keys");
    let kept = world.path("kept");
    std::fs::rename(&keys, &kept).unwrap();
    let connection = std::fs::read(world.state().join("connection.json")).unwrap();
    std::fs::remove_dir_all(world.state()).unwrap();
    // A device smaller than stated is refused.
    let done = provision(&world, "state", &a.0, &b.0, "4000000");
    assert!(done.code == 4 && done.stderr.contains("bytes"), "{done:?}");
    let done = provision(&world, "state", &a.0, &b.0, "2000000");
    assert_eq!(done.code, 0, "{done:?}");
    std::fs::remove_dir(&keys).unwrap();
    std::fs::rename(&kept, &keys).unwrap();
    std::fs::write(world.state().join("connection.json"), connection).unwrap();
    world.queue(Some(&world.fleet.files().bundle()));
    let done = world.once(&["--health-check", "test -b \"$SEALIFT_SLOT_PATH\""]);
    assert_eq!(done.code, 0, "{done:?}");
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    let image = &world.fleet.targets[0].image;
    assert_eq!(&std::fs::read(&b.0).unwrap()[..image.len()], &image[..], "the device holds the image");
}
