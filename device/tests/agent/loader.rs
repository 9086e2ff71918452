//! Boot loaders: a file, U-Boot's environment through its own tools, and one that starts another slot than it was told.

use std::io::Write as _;
use std::process::Command;

use crate::world::*;

/// Queues the job and has the loader and the kernel's command line stand in files.
fn world(loader: &str, running: Option<&str>) -> World {
    let world = World::new();
    world.queue(Some(&world.fleet.files().bundle()));
    let mut toml = format!("[boot]\nloader = \"{loader}\"\n");
    if running.is_some() {
        toml.push_str(&format!("running_slot = \"cmdline:{}\"\n", world.text("cmdline")));
    }
    std::fs::write(world.state().join("agent.toml"), toml.replace("DIR", world.directory.path().to_str().unwrap()))
        .unwrap();
    if let Some(slot) = running {
        runs(&world, slot);
    }
    world
}

/// The machine rebooted into this slot.
fn runs(world: &World, slot: &str) {
    std::fs::write(world.path("cmdline"), format!("console=ttyS0 root=/dev/x sealift.slot={slot} quiet\n")).unwrap();
}

fn file(world: &World) -> String {
    std::fs::read_to_string(world.path("slot")).unwrap_or_default()
}

const REBOOT: [&str; 2] = ["--reboot-command", "true"];

#[test]
fn a_file_tells_the_loader_slot_and_trial_and_the_confirmation() {
    let world = world("file:DIR/slot", Some("a"));
    assert_eq!(world.once(&REBOOT).code, 0);
    assert_eq!(file(&world), "slot=b\ntrial=1\n");
    runs(&world, "b");
    let booted = world.run(&["boot", "--health-check", "true"]);
    assert_eq!((booted.code, booted.last()["version"].as_str()), (0, Some("1.1.0")), "{booted:?}");
    assert_eq!(file(&world), "slot=b\ntrial=0\n");
    let written = std::fs::metadata(world.path("slot")).unwrap().modified().unwrap();
    assert_eq!(world.once(&REBOOT).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    assert_eq!(
        std::fs::metadata(world.path("slot")).unwrap().modified().unwrap(),
        written,
        "a normal boot writes nothing"
    );
}

#[test]
fn a_loader_that_gave_up_on_the_trial_ends_it() {
    let world = world("file:DIR/slot", Some("a"));
    assert_eq!(world.once(&REBOOT).code, 0);
    // Its boot counter ran out: it started the old slot.
    let booted = world.run(&["boot", "--health-check", "true"]);
    assert_eq!((booted.code, booted.last()["version"].as_str()), (0, Some("1.0.0")), "{booted:?}");
    assert_eq!(booted.last()["outcome"]["kind"], "reverted");
    assert_eq!(file(&world), "slot=a\ntrial=0\n");
    assert_eq!(world.once(&REBOOT).code, 1);
    world.assert_outcome("FAILED", Some("SL-706"), "1.0.0");
    assert_eq!(world.counter(), 3);
}

#[test]
fn an_image_that_is_not_well_is_left_by_a_reboot_into_the_old_slot() {
    let world = world("file:DIR/slot", Some("a"));
    assert_eq!(world.once(&REBOOT).code, 0);
    runs(&world, "b");
    let flag = world.text("rebooted");
    let booted = world.run(&["boot", "--health-check", "false", "--reboot-command", &format!("touch {flag}")]);
    assert_eq!(booted.code, 1, "{booted:?}");
    assert!(booted.stderr.contains("slot b") && booted.stderr.contains("slot a has to run"), "{}", booted.stderr);
    assert!(exists(&world.path("rebooted")));
    assert_eq!(file(&world), "slot=a\ntrial=0\n");
    runs(&world, "a");
    assert_eq!(world.run(&["boot"]).last()["version"], "1.0.0");
    assert_eq!(world.once(&REBOOT).code, 1);
    world.assert_outcome("FAILED", Some("SL-706"), "1.0.0");
}

#[test]
fn a_command_line_that_names_no_slot_is_told_and_nothing_is_confirmed() {
    let world = world("file:DIR/slot", Some("a"));
    runs(&world, "c");
    let booted = world.run(&["boot"]);
    assert_eq!(booted.code, 4, "{booted:?}");
    assert!(booted.stderr.contains("sealift.slot="), "{}", booted.stderr);
}

#[test]
fn a_file_installed_by_hand_waits_for_the_boot_where_the_loader_says_what_runs() {
    let world = world("file:DIR/slot", Some("a"));
    let payload = world.file("image", &world.fleet.targets[0].image);
    let bundle = world.file("bundle", &world.fleet.files().bundle());
    let done = world.run(&["install", &bundle, "--payload", &payload]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(file(&world), "slot=b\ntrial=1\n");
    runs(&world, "b");
    assert_eq!(world.run(&["boot"]).last()["version"], "1.1.0");
}

/// An environment as U-Boot writes it: CRC-32, a flag where there are two copies, then `name=value` with zeros between.
fn environment(size: usize, redundant: Option<u8>, variables: &[&str]) -> Vec<u8> {
    let head = 4 + usize::from(redundant.is_some());
    let mut data: Vec<u8> = variables.iter().flat_map(|v| v.bytes().chain([0])).collect();
    data.resize(size - head, 0);
    let crc = data.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    [&(!crc).to_le_bytes()[..], &redundant.into_iter().collect::<Vec<_>>(), &data].concat()
}

fn printenv(world: &World) -> String {
    let said = Command::new("fw_printenv").args(["-c", &world.text("fw_env.config")]).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn u_boots_environment_is_told_through_its_own_tools_and_keeps_what_else_it_holds() {
    let there = |program: &str| Command::new(program).arg("-h").output().is_ok();
    if !there("fw_setenv") || !there("fw_printenv") {
        println!("LEFT OUT: fw_setenv and fw_printenv aren't installed (Debian: apt install libubootenv-tool)");
        return;
    }
    let world = world("uboot:DIR/fw_env.config", Some("a"));
    const SIZE: usize = 0x4000;
    for (name, flag) in [("env", 1), ("env-redund", 0)] {
        let copy = environment(SIZE, Some(flag), &["bootlimit=3", "bootcmd=run start", "bootcount=2"]);
        std::fs::File::create(world.path(name)).unwrap().write_all(&copy).unwrap();
    }
    let config = format!("{} 0x0 {SIZE:#x}\n{} 0x0 {SIZE:#x}\n", world.text("env"), world.text("env-redund"));
    world.file("fw_env.config", config.as_bytes());
    assert!(printenv(&world).contains("bootcmd=run start"), "{}", printenv(&world));
    let done = world.once(&REBOOT);
    assert_eq!(done.code, 0, "{done:?}");
    let told = printenv(&world);
    for line in ["sealift_slot=b", "upgrade_available=1", "bootcount=0", "bootlimit=3", "bootcmd=run start"] {
        assert!(told.lines().any(|told| told == line), "{line} in {told}");
    }
    runs(&world, "b");
    let booted = world.run(&["boot", "--health-check", "true"]);
    assert_eq!((booted.code, booted.last()["version"].as_str()), (0, Some("1.1.0")), "{booted:?}");
    let told = printenv(&world);
    assert!(
        told.lines().any(|line| line == "sealift_slot=b") && told.lines().any(|line| line == "upgrade_available=0"),
        "{told}"
    );
    // A normal boot writes no environment: flash wears.
    let before = (std::fs::read(world.path("env")).unwrap(), std::fs::read(world.path("env-redund")).unwrap());
    assert_eq!(world.once(&REBOOT).code, 0);
    world.assert_outcome("SUCCEEDED", None, "1.1.0");
    assert_eq!(before, (std::fs::read(world.path("env")).unwrap(), std::fs::read(world.path("env-redund")).unwrap()));
}

#[test]
fn without_u_boots_tools_or_with_a_broken_configuration_nothing_is_activated_in_silence() {
    let world = world("uboot:DIR/none.config", None);
    let done = world.run(&["boot"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("boot loader"), "{}", done.stderr);
}
